"""`gfnet-dynn archive`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.cli import archive as verb
from gfnet_dynn.errors import OptionError
from gfnet_dynn.workflows import archiving
from tests import bundles
from tests.cli.conftest import Run

pytest.importorskip("pyarrow", reason="needs the extra archive")
pytest.importorskip("fsspec", reason="needs the extra archive")

from tests.archive.archives import COUNT, folder, run_here


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle and a folder of chips; the work is done in this process."""
    bundles.write_tiny(tmp_path / "tiny.gfd")
    folder(tmp_path / "chips")
    monkeypatch.setattr(archiving, "_engine", lambda request: run_here)


def test_a_folder_becomes_a_table_and_what_cannot_be_read_is_told(run: Run) -> None:
    outcome = run("gfnet-dynn", "archive", "tiny.gfd", "chips", "-o", "answers", "--partition-size", "10")
    assert outcome.status == 2
    assert f"1 of {COUNT} images could not be read, such as 1/0007.png: cannot decode" in outcome.out
    assert "25 images in 3 partitions" in outcome.out
    assert "written: answers" in outcome.out
    assert len(list(Path("answers").glob("*.parquet"))) == 3
    Path("chips/1/0007.png").unlink()
    assert run("gfnet-dynn", "archive", "tiny.gfd", "chips", "-o", "good").status == 0


def test_interrupted_work_says_how_to_continue(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = verb._Progress.__call__

    def interrupt(self: verb._Progress, summary: object, done: int, total: int) -> None:
        shown(self, summary, done, total)  # type: ignore[arg-type]
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(verb._Progress, "__call__", interrupt)
    outcome = run("gfnet-dynn", "archive", "tiny.gfd", "chips", "-o", "answers", "--partition-size", "10")
    assert outcome.status == 130
    assert "2 of 3 partitions kept in answers: the same command continues" in outcome.err
    assert len(list(Path("answers").glob("*.parquet"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tiny.gfd", "-o", "answers"), "name a source after tiny.gfd"),
        (("chips", "-o", "answers"), "which model?"),
        (("tiny.gfd", "chips"), "--output"),
        (("tiny.gfd", "chips", "-o", "answers", "--workers", "0"), "--workers must be at least 1"),
        (("tiny.gfd", "chips", "-o", "answers", "--memory", "1G"), "--memory is for --engine ray"),
        (("tiny.gfd", "chips", "-o", "answers", "--address", "auto"), "--address is for --engine ray"),
        (("tiny.gfd", "chips", "-o", "answers", "--policy", "none"), "no exit policy"),
        (("tiny.gfd", "chips", "-o", "gs://bucket/answers"), "shared"),
        (("tiny.gfd", "chips", "-o", "answers", "--gsd", "1"), "--gsd chooses"),
    ],
)
def test_what_cannot_be_done_is_told(run: Run, words: tuple[str, ...], message: str) -> None:
    outcome = run("gfnet-dynn", "archive", *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(Path().glob("answers/part*"))


def test_without_its_extra_the_command_names_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: None)
    outcome = run("gfnet-dynn", "archive", "tiny.gfd", "chips", "-o", "answers")
    assert outcome.status == 2
    assert "gfnet-dynn[archive]" in outcome.err


@pytest.mark.parametrize(
    ("first", "bundle", "source"),
    [
        ("s3://bucket/chips/", None, "s3://bucket/chips/"),
        ("hf://datasets/me/scenes/*.parquet", None, "hf://datasets/me/scenes/*.parquet"),
        ("chips", None, "chips"),
        ("-", None, "-"),
        ("tiny.gfd", "tiny.gfd", None),
        ("aerial", "aerial.gfd", None),
    ],
)
def test_the_first_name_is_a_bundle_or_a_source(first: str, bundle: str | None, source: str | None) -> None:
    request = ArchiveRequest(bundle=first, sources=() if source else ("more",), output=Path("answers"))
    assert (request.bundle_path.name if request.bundle_path else None) == bundle
    assert request.sources == (source or "more",)


def test_a_request_without_a_source_is_refused() -> None:
    with pytest.raises(OptionError, match="name a source"):
        ArchiveRequest(output=Path("answers"))
