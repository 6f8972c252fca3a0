from __future__ import annotations

import io
import random
import stat
import zipfile
from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue.archive import list_images, open_archive, unpack
from gfnet_dynn.errors import DownloadError, StorageError
from tests.data.small_sets import png, scene_zip

BELOW = "scenes/images"


def opened(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def test_only_the_images_of_class_folders_are_listed() -> None:
    extra = {
        "scenes/images/class00/Thumbs.db": b"x",
        "scenes/images/class00/.hidden.png": b"x",
        "scenes/images/loose.png": b"x",
        "scenes/README.txt": b"x",
        "__MACOSX/scenes/images/class00/00.png": b"x",
    }
    images = list_images(opened(scene_zip(2, 2, extra)), BELOW)
    assert sorted(images) == ["class00/00.png", "class00/01.png", "class01/00.png", "class01/01.png"]


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "scenes/images/class00/../../../../evil.png", "/etc/evil.png", "..\\evil.png", "C:\\evil.png"],
)
def test_an_entry_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(DownloadError, match="evil"):
        list_images(opened(scene_zip(extra={name: b"x"})), BELOW)


def test_a_link_is_refused() -> None:
    file = io.BytesIO()
    link = zipfile.ZipInfo("scenes/images/class00/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="link"):
        list_images(opened(file.getvalue()), BELOW)


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.data.catalogue.archive._MOST_ENTRIES", 3)
    with pytest.raises(DownloadError, match=r"10 entries.* 3"):
        list_images(opened(scene_zip()), BELOW)


def test_unpacking_writes_the_bytes_and_reports(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    with opened(scene_zip()) as archive:
        images = list_images(archive, BELOW)
        places = {tmp_path / "train" / image: entry for image, entry in images.items()}
        unpack(archive, places, 0.01, lambda *step: steps.append(step))
    assert (tmp_path / "train/class01/03.png").read_bytes() == png(103)
    assert steps[-1] == ("Unpacking", 10, 10)


def test_a_flood_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with opened(scene_zip(extra={"scenes/images/class00/zeros.png": bytes(2_000_000)})) as archive:
        places = {tmp_path / image: entry for image, entry in list_images(archive, BELOW).items()}
        with pytest.raises(DownloadError, match=r"0\.001 GB"):
            unpack(archive, places, 0.001)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with opened(scene_zip()) as archive:
        entry = list_images(archive, BELOW)["class00/00.png"]
        with pytest.raises(StorageError, match="cannot unpack"):
            unpack(archive, {tmp_path / "file" / "00.png": entry}, 0.01)


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"<html>")
    with pytest.raises(DownloadError, match=r"a\.zip"), open_archive(tmp_path / "a.zip"):
        pass


def test_a_damaged_entry_is_said(tmp_path: Path) -> None:
    content = bytearray(scene_zip(1, 1))
    content[80] ^= 0xFF  # inside the stored image: its checksum no longer fits
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DownloadError, match="CRC"), open_archive(tmp_path / "a.zip") as archive:
        unpack(archive, {tmp_path / "x.png": archive.infolist()[0]}, 0.01)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_inside_what_was_compressed_is_said(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", random.Random(0).randbytes(3000))
    whole = path.read_bytes()
    for at in range(200, len(whole) - 200, 97):  # beyond the headers
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(DownloadError, match=r"cannot unpack .*a\.zip"), open_archive(path) as archive:
            unpack(archive, {tmp_path / f"{at}.png": archive.infolist()[0]}, 0.01)
