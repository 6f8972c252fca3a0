from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from gfnet_dynn.data.catalogue.archive import fetch_archive
from gfnet_dynn.errors import DownloadError, MissingExtraError
from tests.data.hub import Hub, serve
from tests.data.small_sets import ARCHIVE, address, archive_of

CONTENT = bytes(range(256)) * 4096
RIGHT = archive_of(CONTENT)
HALF = len(CONTENT) // 2


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve({address(): CONTENT}) as running:
        yield running


def unfinished(folder: Path) -> Path:
    return folder / f"{RIGHT.file}.{RIGHT.sha256[:12]}.part"


def test_an_archive_is_fetched_once_and_then_found(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = fetch_archive(RIGHT, tmp_path, endpoint=hub.endpoint, on_progress=lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert ("Fetching scenes.zip", len(CONTENT), len(CONTENT)) in seen
    assert not unfinished(tmp_path).exists()
    assert fetch_archive(RIGHT, tmp_path, endpoint=hub.endpoint) == path
    assert hub.asked == [None]


def test_an_interrupted_download_asks_only_for_the_rest(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client hands over 10 MB at a time, more than this whole archive; a piece that is cut off is lost.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    hub.cut_after, hub.down = HALF, True
    with pytest.raises(DownloadError, match="MB are kept"):
        fetch_archive(RIGHT, tmp_path, endpoint=hub.endpoint)
    have = unfinished(tmp_path).stat().st_size
    assert 0 < have <= HALF
    assert hub.asked == [None, f"bytes={have}-"]  # the client has tried again by itself
    hub.down = False
    hub.asked.clear()
    assert fetch_archive(RIGHT, tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT
    assert hub.asked == [f"bytes={have}-"]


def test_a_part_that_is_complete_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    unfinished(tmp_path).write_bytes(CONTENT)
    assert fetch_archive(RIGHT, tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT
    assert hub.asked == []


def test_a_part_that_is_too_long_is_begun_anew(hub: Hub, tmp_path: Path) -> None:
    unfinished(tmp_path).write_bytes(CONTENT + b"more")
    assert fetch_archive(RIGHT, tmp_path, endpoint=hub.endpoint).read_bytes() == CONTENT
    assert hub.asked == [None]


def test_a_wrong_hash_names_both_and_removes_the_file(hub: Hub, tmp_path: Path) -> None:
    wrong = replace(RIGHT, sha256="0" * 64)
    with pytest.raises(DownloadError) as caught:
        fetch_archive(wrong, tmp_path, endpoint=hub.endpoint)
    assert RIGHT.sha256 in str(caught.value)
    assert wrong.sha256 in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_put_there_by_hand_needs_no_hub(tmp_path: Path) -> None:
    (tmp_path / RIGHT.file).write_bytes(CONTENT)
    assert fetch_archive(RIGHT, tmp_path, endpoint="http://127.0.0.1:1") == tmp_path / RIGHT.file


def test_a_damaged_archive_put_there_by_hand_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / RIGHT.file).write_bytes(b"damaged")
    with pytest.raises(DownloadError, match=RIGHT.sha256):
        fetch_archive(RIGHT, tmp_path)
    assert (tmp_path / RIGHT.file).read_bytes() == b"damaged"


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        with pytest.raises(DownloadError, match=r"cannot fetch scenes\.zip from http.*nothing was fetched"):
            fetch_archive(RIGHT, tmp_path, endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_file_that_the_hub_does_not_have(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"other\.zip.*404"):
        fetch_archive(replace(ARCHIVE, file="other.zip"), tmp_path, endpoint=hub.endpoint)


def test_without_the_client_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="train"):
        fetch_archive(RIGHT, tmp_path)


def test_the_clients_own_bar_is_as_before(hub: Hub, tmp_path: Path) -> None:
    for path in (tmp_path / "a", tmp_path / "b"):
        fetch_archive(RIGHT, path, endpoint=hub.endpoint)
        assert are_progress_bars_disabled() == (path.name == "b")
        disable_progress_bars()
    enable_progress_bars()
