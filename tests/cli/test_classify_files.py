"""`gfnet-dynn classify` for lists, files of answers, interrupted runs and copies."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.bulk.answer_file import AnswerFile
from gfnet_dynn.errors import StorageError
from gfnet_dynn.runtime.prediction import Prediction
from tests import bundles
from tests.cli.conftest import Outcome, Run

QUICK = ("--precision", "fp32", "--threads", "1")
NAMES = ("b.png", "a.png", "bad.png", "c.png", "absent.png", "d.png")
GOOD = [name for name in NAMES if name not in ("bad.png", "absent.png")]


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle, four images and a damaged one, and a list of them with one that is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundles.write_tiny(tmp_path / "tiny.gfd")
    for name, pixels in zip(GOOD, bundles.images(len(GOOD)), strict=True):
        Image.fromarray(pixels).save(name)
    Path("bad.png").write_bytes(b"no image")
    Path("names.txt").write_text("\n".join(NAMES), encoding="utf-8")


@pytest.fixture
def classify(run: Run) -> Run:
    return lambda *arguments: run("gfnet-dynn", "classify", "tiny.gfd", *arguments, *QUICK)


def rows(file: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def send(monkeypatch: pytest.MonkeyPatch, names: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))


@pytest.mark.parametrize("place", [("-",), ("--list", "-"), ("--list", "names.txt")], ids=" ".join)
@pytest.mark.parametrize("batch", ["1", "3"])
def test_a_list_is_answered_in_its_order_and_what_cannot_be_read_has_a_line_in_its_place(
    classify: Run, monkeypatch: pytest.MonkeyPatch, place: tuple[str, ...], batch: str
) -> None:
    send(monkeypatch, "\r\n".join(NAMES).encode() + b"\n\n")
    outcome = classify(*place, "-o", "answers.jsonl", "--batch", batch)
    assert outcome.status == 2
    answers = rows("answers.jsonl")
    assert [each["source"] for each in answers] == list(NAMES)
    assert [each["source"] for each in answers if "error" not in each] == GOOD
    assert "bad.png is not an image in a known format" in str(answers[2]["error"])
    assert "no image at absent.png" in str(answers[4]["error"])
    assert outcome.err.count("error:") == 2
    assert "2 of 6 files could not be read" in outcome.out
    assert not Path("answers.jsonl.part").exists()


def test_answers_come_before_the_list_has_ended(monkeypatch: pytest.MonkeyPatch, classify: Run) -> None:
    printed: list[str] = []

    class Growing(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            if printed or not self.tell():
                return super().readline(-1 if size is None else size)
            pytest.fail("the second name is read before the first is answered")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Growing(b"a.png\nb.png\n")))
    monkeypatch.setattr("gfnet_dynn.cli.classify._print", printed.append)
    assert classify("-").status == 0
    assert [line.split(":")[0] for line in printed] == ["a.png", "b.png"]


def test_csv_has_the_error_in_its_last_column(classify: Run) -> None:
    assert classify("--list", "names.txt", "-o", "answers.csv", "--top", "2").status == 2
    table = list(csv.reader(io.StringIO(Path("answers.csv").read_text(encoding="utf-8"))))
    assert {len(row) for row in table} == {len(table[0])}
    assert [row[0] for row in table[1:]] == list(NAMES)
    assert [bool(row[-1]) for row in table[1:]] == [name not in GOOD for name in NAMES]


def test_a_file_has_the_bytes_that_would_be_printed(classify: Run) -> None:
    for form in ("text", "csv", "json"):
        printed = classify("--list", "names.txt", "--format", form).out
        assert classify("--list", "names.txt", "--format", form, "-o", "answers").status == 2
        assert " ".join(Path("answers").read_text(encoding="utf-8").split()) == printed


def test_parquet_holds_what_json_does(classify: Run) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    latin = os.fsdecode(b"caf\xe9.png")
    shutil.copy("a.png", latin)
    places = ("--list", "names.txt", latin, "--top", "2")
    assert classify(*places, "-o", "answers.jsonl").status == 2
    assert classify(*places, "-o", "answers.parquet").status == 2
    table = parquet.read_table("answers.parquet").to_pylist()
    assert [each["source"] for each in table] == ["caf\\udce9.png", *NAMES]
    for row, answer in zip(table, rows("answers.jsonl"), strict=True):
        assert row["error"] == answer.get("error")
        if "error" not in answer:
            assert isinstance(answer["probabilities"], dict)
            ranked = [(row[f"label_{rank}"], row[f"probability_{rank}"]) for rank in (1, 2)]
            assert ranked == list(answer["probabilities"].items())
            assert (row["exit"], row["macs"], row["policy"]) == (answer["exit"], answer["macs"], answer["policy"])


def test_parquet_without_its_extra_is_refused_before_the_work(classify: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: None if name == "pyarrow" else find_spec(name))
    outcome = classify("a.png", "-o", "answers.parquet")
    assert outcome.status == 2
    assert "gfnet-dynn[parquet]" in outcome.err
    assert not list(Path().glob("answers*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--list", "absent.txt"), "cannot read the list absent.txt: No such file"),
        (("--list", "empty.txt"), "nothing to classify: empty.txt has no file names"),
        (("--list", "long.txt"), "line 1 of long.txt is longer than any path"),
        (("-", "--list", "-"), "standard input is named twice"),
        (("a.png", "--format", "parquet"), "Parquet is written to a file: add --output FILE"),
        (("a.png", "--resume"), "--resume continues a file of answers: add the --output"),
        (("a.png", "-o", "folder"), "folder is a folder: name the file to write"),
        (("folder", "--copy-to", "folder/sorted"), "--copy-to folder/sorted lies in folder"),
    ],
)
def test_what_cannot_be_done_is_told(
    classify: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    Path("empty.txt").write_bytes(b"\n\n")
    Path("long.txt").write_bytes(b"x" * 5000)
    Path("folder").mkdir()
    shutil.copy("a.png", "folder")
    send(monkeypatch, b"")
    outcome = classify(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(Path().glob("*.part"))


def test_a_list_without_a_model_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch, b"a.png\n")
    outcome = run("gfnet-dynn", "classify", "-")
    assert outcome.status == 2
    assert "name a bundle first, or give --gsd" in outcome.err


def test_of_many_unreadable_files_the_first_are_named_and_all_are_counted(classify: Run) -> None:
    Path("names.txt").write_text("".join(f"absent{number}.png\n" for number in range(25)), encoding="utf-8")
    outcome = classify("--list", "names.txt")
    assert outcome.status == 2
    assert outcome.err.count("error:") == 10
    assert "absent9.png" in outcome.err
    assert "25 files could not be read: --format csv or json has a line for each" in outcome.err


def interrupted(classify: Run, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Outcome:
    """A run that ends after four files, each of which is saved."""
    write = AnswerFile.write

    def stop(self: AnswerFile, answers: list[Prediction]) -> None:
        if self.state.names >= 4:
            raise StorageError("the disk is full")
        write(self, answers)

    with monkeypatch.context() as patch:
        patch.setattr(AnswerFile, "write", stop)
        outcome = classify(*arguments)
    assert outcome.status == 2
    assert "4 answers kept in answers" in outcome.err
    return outcome


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt", ".parquet"])
@pytest.mark.parametrize("tail", [b"", b'{"source": "half'])
def test_a_resumed_run_ends_with_the_same_bytes(
    classify: Run, monkeypatch: pytest.MonkeyPatch, suffix: str, tail: bytes
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra parquet")
    whole, file = Path(f"whole{suffix}"), Path(f"answers{suffix}")
    expected = classify("--list", "names.txt", "-o", whole)
    interrupted(classify, monkeypatch, "--list", "names.txt", "-o", str(file))
    assert not file.exists()
    with Path(f"{file}.part/rows").open("ab") as unfinished:
        unfinished.write(tail)
    outcome = classify("--list", "names.txt", "-o", file, "--resume")
    assert outcome.status == 2
    assert file.read_bytes() == whole.read_bytes()
    assert "continues after 4 answers" in outcome.err
    assert outcome.out.replace(str(file), str(whole)) == expected.out
    assert outcome.err.count("error:") == expected.err.count("error:")
    assert not Path(f"{file}.part").exists()


@pytest.mark.parametrize(
    ("more", "names", "message"),
    [
        (("--resume", "--top", "2"), NAMES, "had top 1, this one has 2"),
        (("--resume", "--policy", "plain"), NAMES, "had policy gates"),
        (("--resume", "--batch", "2"), NAMES, "had batch 1, this one has 2"),
        (
            ("--resume",),
            ("a.png", *NAMES),
            "the first 4 files of the interrupted run in answers.jsonl.part were others",
        ),
        (("--resume",), NAMES[:3], "the first 4 files of the interrupted run in answers.jsonl.part were others"),
        ((), NAMES, "answers.jsonl.part holds 4 answers of an interrupted run: continue it with --resume"),
    ],
)
def test_another_run_is_not_continued_and_loses_nothing(
    classify: Run, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], names: tuple[str, ...], message: str
) -> None:
    arguments = ("--list", "names.txt", "-o", "answers.jsonl")
    interrupted(classify, monkeypatch, *arguments)
    before = Path("answers.jsonl.part/rows").read_bytes()
    Path("names.txt").write_text("\n".join(names), encoding="utf-8")
    outcome = classify(*arguments, *more)
    assert outcome.status == 2
    assert message in outcome.err
    assert Path("answers.jsonl.part/rows").read_bytes() == before
    assert not Path("answers.jsonl").exists()


def test_another_bundle_is_not_continued_with(classify: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(classify, monkeypatch, "--list", "names.txt", "-o", "answers.jsonl")
    bundles.write_tiny(Path("tiny.gfd"), model="another")
    outcome = classify("--list", "names.txt", "-o", "answers.jsonl", "--resume")
    assert outcome.status == 2
    assert "had bundle " in outcome.err


def test_resume_without_an_interrupted_run_begins_at_the_start(classify: Run) -> None:
    outcome = classify("a.png", "-o", "answers.jsonl", "--resume")
    assert outcome.status == 0
    assert "no interrupted run to resume" in outcome.err
    assert [each["source"] for each in rows("answers.jsonl")] == ["a.png"]


def test_an_answer_file_is_replaced_only_by_a_complete_one(classify: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("answers.jsonl").write_text("earlier\n", encoding="utf-8")
    interrupted(classify, monkeypatch, "--list", "names.txt", "-o", "answers.jsonl")
    assert Path("answers.jsonl").read_text(encoding="utf-8") == "earlier\n"


def test_images_are_copied_by_class(classify: Run) -> None:
    assert classify("--list", "names.txt", "-o", "answers.jsonl", "--copy-to", "sorted").status == 2
    expected = {f"{each['label']}/{each['source']}" for each in rows("answers.jsonl") if "error" not in each}
    found = {path.relative_to("sorted").as_posix() for path in Path("sorted").rglob("*.*")}
    assert found == expected
    assert len(found) == len(GOOD)


def many(count: int) -> list[str]:
    """Names of so many small JPEGs, each hundredth of them damaged, in a folder `many`."""
    Path("many").mkdir()
    contents = []
    for pixels in bundles.images(50):
        buffer = io.BytesIO()
        Image.fromarray(np.kron(pixels, np.ones((2, 2, 1), np.uint8))).save(buffer, "JPEG")
        contents.append(buffer.getvalue())
    names = [f"many/{number:05}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        content = contents[number % len(contents)]
        Path(name).write_bytes(content[:80] if number % 100 == 37 else content)
    return names


@pytest.mark.parametrize("batch", [pytest.param("1", marks=pytest.mark.slow), "32"])
def test_of_ten_thousand_files_all_good_ones_are_answered_in_order(classify: Run, batch: str) -> None:
    names = many(10_000)
    outcome = classify("many", "-o", "answers.jsonl", "--batch", batch)
    assert outcome.status == 2
    answers = rows("answers.jsonl")
    assert [each["source"] for each in answers] == names
    assert [number for number, each in enumerate(answers) if "error" in each] == list(range(37, 10_000, 100))
    assert "100 of 10000 files could not be read" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize("batch", [pytest.param("1", marks=pytest.mark.release), "8"])
def test_killed_at_any_moment_a_resumed_run_ends_with_the_same_bytes(classify: Run, batch: str) -> None:
    many(6_000)
    arguments = ["classify", "tiny.gfd", "many", *QUICK, "--batch", batch, "--copy-to", "sorted", "-o"]
    assert classify("many", "--batch", batch, "--copy-to", "whole", "-o", "whole.csv").status == 2
    for least in sorted(random.SystemRandom().sample(range(4_000), 4)):
        process = subprocess.Popen([sys.executable, "-m", "gfnet_dynn", *arguments, "answers.csv", "--resume"])
        while process.poll() is None and len(list(Path("sorted").rglob("*.jpg"))) < least:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"it ended before {least} copies were seen"
    outcome = classify("many", "--batch", batch, "--copy-to", "sorted", "-o", "answers.csv", "--resume")
    assert outcome.status == 2
    assert Path("answers.csv").read_bytes() == Path("whole.csv").read_bytes()
    copies = [{path.relative_to(root) for path in Path(root).rglob("*")} for root in ("sorted", "whole")]
    assert copies[0] == copies[1]
    assert not Path("answers.csv.part").exists()
