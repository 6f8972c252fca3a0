"""`gfnet-dynn classify`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule
from gfnet_dynn.exits import Fitted
from gfnet_dynn.runtime import Prediction, load
from gfnet_dynn.units import percent
from tests import bundles
from tests.cli.conftest import Run

PICTURES = [f"pictures/{name}" for name in ("a.png", "b/c.jpg", "b/d.TIF")]
BETWEEN = "\t"  # between the classes of a set in CSV; no class name contains it
QUICK = ("--precision", "fp32", "--threads", "1")


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle and a folder of three images, one of them in a folder of its own format."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundles.write_tiny(tmp_path / "tiny.gfd")
    for name, pixels in zip(PICTURES, bundles.images(3), strict=True):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(name)


def predictions(*names: str, policy: str | None = None) -> list[Prediction]:
    return load("tiny.gfd", precision="fp32", threads=1).classify(names or PICTURES, policy=policy)


def described(each: Prediction, top: int = 1) -> str:
    ranked = "  ".join(f"{name} {percent(value, 1)}" for name, value in each.ranked(top))
    return f"{each.source}: {ranked}  ({each.exit})\n"


class Exact:
    """The `run` fixture makes spaces of line breaks; here they count."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.monkeypatch = run, monkeypatch

    def __call__(self, *arguments: str) -> str:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            outcome = self.run("gfnet-dynn", "classify", *arguments, *QUICK)
        assert outcome.status == 0, outcome.err
        buffer = out.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@pytest.fixture
def exact(run: Run, monkeypatch: pytest.MonkeyPatch) -> Exact:
    return Exact(run, monkeypatch)


def test_text_is_a_line_for_each_image(exact: Exact) -> None:
    assert exact("tiny.gfd", *PICTURES) == "".join(map(described, predictions()))
    assert len({each.exit for each in predictions()}) > 1


def test_a_folder_stands_for_the_images_below_it_in_order(exact: Exact) -> None:
    Path("pictures/notes.txt").write_text("no image", encoding="utf-8")
    expected = "".join(map(described, predictions()))
    assert exact("tiny.gfd", "pictures") == expected
    assert exact("tiny.gfd", "pictures/a.png", "pictures/b") == expected


def test_more_classes_are_given_where_asked_for(exact: Exact) -> None:
    for top in (2, 3):
        expected = "".join(described(each, top) for each in predictions())
        assert exact("tiny.gfd", "pictures", "--top", str(top)) == expected
    assert exact("tiny.gfd", "pictures", "--top", "9") == exact("tiny.gfd", "pictures", "--top", "3")


@pytest.mark.parametrize("top", [1, 2, 9])
def test_json_is_an_object_a_line(exact: Exact, top: int) -> None:
    lines = exact("tiny.gfd", "pictures", "--format", "json", "--top", str(top)).splitlines()
    assert [json.loads(line) for line in lines] == [each.to_dict(top) for each in predictions()]
    assert [len(json.loads(line)["probabilities"]) for line in lines] == [min(top, 3)] * 3


def test_what_is_no_number_is_null_in_json(exact: Exact) -> None:
    segments = [bundles.segment(index, lean=float("nan")) for index in range(bundles.STAGES)]
    bundles.write_tiny(Path("nan.gfd"), bundles.files(fp32=segments))
    for line in exact("nan.gfd", "pictures", "--format", "json").splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["confidence"] is None


@pytest.mark.parametrize("top", [1, 2, 9])
def test_csv_is_a_table_with_as_many_columns_as_classes_asked_for(exact: Exact, top: int) -> None:
    printed = exact("tiny.gfd", "pictures", "--format", "csv", "--top", str(top))
    rows, number = list(csv.reader(io.StringIO(printed))), min(top, 3)
    columns = ["source", "exit", *(f"{what}_{rank + 1}" for rank in range(number) for what in ("label", "probability"))]
    assert rows[0] == [*columns, "unknown", "prediction_set", "policy", "precision", "error"]
    for row, each in zip(rows[1:], predictions(), strict=True):
        ranked = each.ranked(number)
        assert row[:2] == [str(each.source), each.exit]
        assert row[2:-5:2] == [name for name, _ in ranked]
        assert [float(cell) for cell in row[3:-5:2]] == pytest.approx([value for _, value in ranked], abs=1e-6)
        assert row[-5:] == ["", "", "gates", "fp32", ""]  # what the policy cannot tell is empty


@pytest.mark.parametrize(
    ("options", "policy", "precision"),
    [
        ((), "gates", "fp32"),
        (("--policy", "plain"), "plain", "fp32"),
        (("--policy", "plain", "--threshold", "0.5"), "own", "fp32"),
        (("--precision", "int8"), "gates", "int8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_programs_are_told_which_policy_and_precision_answered(
    run: Run, options: tuple[str, ...], policy: str, precision: str
) -> None:
    line = ("gfnet-dynn", "classify", "tiny.gfd", "pictures/a.png", *QUICK, *options, "--format")
    said = json.loads(run(*line, "json").out)
    assert (said["policy"], said["precision"]) == (policy, precision)
    assert run(*line, "csv").out.endswith(f",{policy},{precision},")
    assert precision not in run(*line, "text").out


@pytest.mark.parametrize(
    ("covered", "precision", "notes"), [(["fp32"], "int8", 1), (["fp32"], "fp32", 0), (["fp32", "int8"], "int8", 0)]
)
def test_a_precision_that_the_policy_does_not_cover_is_noted_once(
    run: Run, covered: list[str], precision: str, notes: int
) -> None:
    policy = replace(bundles.CALIBRATED, guarantee={"precisions": covered})
    bundles.write_tiny(Path("tiny.gfd"), policies=(policy, *bundles.POLICIES))
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "pictures", "--precision", precision, "--threads", "1")
    assert outcome.status == 0
    assert outcome.err.count("note: the policy calibrated was calibrated in fp32") == notes
    assert outcome.err.count("--all-precisions") == notes


def test_names_that_csv_must_quote_come_back(exact: Exact) -> None:
    name = 'pictures/one, "two".png'
    Path(PICTURES[0]).rename(name)
    assert list(csv.reader(io.StringIO(exact("tiny.gfd", name, "--format", "csv"))))[1][0] == name


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_class_names_of_any_language_are_printed(exact: Exact, form: str) -> None:
    bundles.write_tiny(Path("tiny.gfd"), classes=("森", "Fluß", "ville 🏙"))
    printed = exact("tiny.gfd", "pictures", "--format", form, "--top", "3")
    if form == "json":
        assert set(json.loads(printed.splitlines()[0])["probabilities"]) == {"森", "Fluß", "ville 🏙"}
    else:
        assert all(name in printed for name in ("森", "Fluß", "ville 🏙"))


@pytest.mark.skipif(sys.platform != "linux", reason="only here are file names bytes")
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_file_name_that_is_no_text_is_printed_escaped(exact: Exact, form: str) -> None:
    name = os.fsdecode(b"pictures/caf\xe9.png")
    Path(PICTURES[0]).rename(name)
    printed = exact("tiny.gfd", name, "--format", form)
    assert ("pictures/caf\\udce9.png" if form == "json" else "pictures/caf\\xe9.png") in printed
    if form == "json":
        assert json.loads(printed)["source"] == name


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_batches_and_threads_change_nothing_that_is_printed(exact: Exact, form: str) -> None:
    alone = exact("tiny.gfd", "pictures", "--format", form)
    assert exact("tiny.gfd", "pictures", "--format", form, "--batch", "2", "--threads", "2") == alone


def test_policies_and_thresholds_decide_where_images_leave(exact: Exact) -> None:
    assert exact("tiny.gfd", "pictures", "--policy", "plain") == "".join(map(described, predictions(policy="plain")))
    assert exact("tiny.gfd", "pictures", "--policy", "full").count("(final)") == 3
    assert exact("tiny.gfd", "pictures", "--threshold", "0").count("(exit 1)") == 3
    assert exact("tiny.gfd", "pictures", "--threshold", "inf,0").count("(exit 2)") == 3


STRANGE = UnknownRule((1e9, -math.inf, -math.inf), 0.05)
"""All that leave at the first exit are unknown, no others are."""

CALIBRATED = (
    replace(bundles.CALIBRATED, score="gate", thresholds=(0.7, 0.6), unknown_rule=STRANGE),
    Policy(
        "sets",
        "gate",
        (0.7, 0.6),
        "made up",
        prediction_sets=PredictionSets((0.1, math.inf, math.inf), 0.9),
    ),
    Policy("alarms", "max-softmax", (0.8, 0.7), "made up", Fitted((2.0, 1.0, 0.5)), unknown_rule=STRANGE),
    *bundles.POLICIES,
)


@pytest.fixture
def calibrated() -> None:
    bundles.write_tiny(Path("tiny.gfd"), policies=CALIBRATED)


@pytest.mark.usefixtures("calibrated")
def test_text_warns_of_unknown_images_and_names_the_classes_among_which_the_true_one_is(exact: Exact) -> None:
    lines = exact("tiny.gfd", "pictures").splitlines()
    assert len({each.exit for each in predictions()}) > 1
    for line, each in zip(lines, predictions(), strict=True):
        ranked = f"{each.label} {percent(each.confidence, 1)}  ({each.exit})"
        warned = "unknown, most similar to " if each.exit == "exit 1" else ""
        assert each.prediction_set is not None
        assert line == f"{each.source}: {warned}{ranked}  set: {', '.join(each.prediction_set)}"


@pytest.mark.usefixtures("calibrated")
def test_json_says_what_the_policy_can_tell_and_nothing_more(exact: Exact) -> None:
    for name, fields in (
        ("calibrated", {"unknown", "prediction_set"}),
        ("sets", {"prediction_set"}),
        ("alarms", {"unknown"}),
        ("gates", set()),
        ("full", set()),
    ):
        answers = [
            json.loads(line)
            for line in exact("tiny.gfd", "pictures", "--format", "json", "--policy", name).splitlines()
        ]
        assert answers == [each.to_dict(1) for each in predictions(policy=name)]
        for each in answers:
            assert set(each) & {"unknown", "prediction_set"} == fields
            assert each.get("unknown") in (None, each["exit"] == "exit 1")
            assert each["label"] in each.get("prediction_set", [each["label"]])


@pytest.mark.usefixtures("calibrated")
def test_csv_has_a_column_for_each_of_them(exact: Exact) -> None:
    for name in ("calibrated", "sets", "alarms", "gates"):
        printed = exact("tiny.gfd", "pictures", "--format", "csv", "--policy", name)
        for row, each in zip(csv.DictReader(io.StringIO(printed)), predictions(policy=name), strict=True):
            assert row["unknown"] == {True: "true", False: "false", None: ""}[each.unknown]
            assert row["prediction_set"].split(BETWEEN) == list(each.prediction_set or [""])


def test_classes_in_csv_come_back_whatever_they_are_called(exact: Exact) -> None:
    classes = ("storage tanks", 'dense, "residential"', "a|b; c/d")
    all_classes = PredictionSets((math.inf,) * 3, 0.9)
    policy = Policy("sets", "gate", (0.7, 0.6), "made up", prediction_sets=all_classes)
    bundles.write_tiny(Path("tiny.gfd"), classes=classes, policies=(policy, *bundles.POLICIES))
    for row in csv.DictReader(io.StringIO(exact("tiny.gfd", "pictures", "--format", "csv"))):
        assert sorted(row["prediction_set"].split(BETWEEN)) == sorted(classes)


@pytest.mark.usefixtures("calibrated")
def test_policies_that_were_calibrated_are_switched_at_will(exact: Exact) -> None:
    said = {name: exact("tiny.gfd", "pictures", "--policy", name) for name in (each.name for each in CALIBRATED)}
    assert exact("tiny.gfd", "pictures") == said["calibrated"]
    for name in ("gates", "plain", "full"):  # as in a bundle that was never calibrated
        bundles.write_tiny(Path("plain.gfd"))
        assert said[name] == exact("plain.gfd", "pictures", "--policy", name)
    assert len(set(said.values())) == len(said)


@pytest.mark.usefixtures("calibrated")
def test_a_policy_that_is_not_there_is_told_with_those_that_are(run: Run) -> None:
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "pictures", "--policy", "fast", *QUICK)
    assert outcome.status == 2
    assert "no exit policy 'fast'; it has calibrated, sets, alarms, gates, plain, full" in outcome.err


@pytest.mark.usefixtures("calibrated")
def test_thresholds_of_the_caller_end_what_was_promised(exact: Exact) -> None:
    printed = exact("tiny.gfd", "pictures", "--threshold", "0.5", "--format", "json")
    for line in printed.splitlines():
        assert not {"unknown", "prediction_set"} & set(json.loads(line))


def test_the_faster_precision_is_taken_and_remembered(run: Run) -> None:
    assert run("gfnet-dynn", "classify", "tiny.gfd", "pictures", "--threads", "1").status == 0
    (file,) = Path("cache").rglob("*.json")
    assert json.loads(file.read_text(encoding="utf-8"))["fastest"] in {"fp32", "int8"}


@pytest.mark.parametrize("batch", ["1", "2", "8"])
def test_an_unreadable_file_is_named_and_the_others_are_classified(run: Run, batch: str) -> None:
    Path("pictures/b/bad.png").write_bytes(b"no image")
    Path("pictures/b/cut.jpg").write_bytes(Path("pictures/b/c.jpg").read_bytes()[:300])
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "pictures", *QUICK, "--batch", batch)
    assert outcome.status == 2
    assert outcome.out == " ".join("".join(map(described, predictions())).split())
    assert "error: pictures/b/bad.png is not an image in a known format" in outcome.err
    assert "error: cannot decode pictures/b/cut.jpg" in outcome.err
    assert outcome.err.count("error:") == 2
    assert "Traceback" not in outcome.err


def test_where_no_file_can_be_read_nothing_is_printed(run: Run) -> None:
    Path("pictures/bad.png").write_bytes(b"")
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "pictures/bad.png", *QUICK)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("error: pictures/bad.png") == 1


def test_a_place_without_images_takes_no_answer_from_the_others(run: Run) -> None:
    Path("empty").mkdir()
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "empty", "pictures/a.png", "absent")
    assert outcome.status == 2
    assert outcome.out.startswith("pictures/a.png: ")
    assert "the folder empty has no images" in outcome.err
    assert "no file or folder absent" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny.gfd", "pictures/absent.png"), "no file or folder pictures/absent.png"),
        (("tiny.gfd", "empty"), "the folder empty has no images (.bmp, .jpeg, .jpg, .png, .tif"),
        (("absent.gfd", "pictures"), "no bundle at absent.gfd: `gfnet-dynn export` writes one"),
        (("pictures", "pictures"), "name a bundle"),
        (("pictures/a.png", "pictures"), "name a bundle"),
        (("damaged.gfd", "pictures"), "damaged.gfd is not a bundle, or a damaged one: Bad CRC-32 for file"),
        (("half.gfd", "pictures"), "half.gfd is not a bundle, or a damaged one"),
        (("newer.gfd", "pictures"), "is of version 2 and this program reads version 1: update gfnet-dynn"),
        (("tiny.gfd", "pictures", "--policy", "fast"), "no exit policy 'fast'; it has gates, plain, full"),
        (("tiny.gfd", "pictures", "--threshold", "high"), "--threshold"),
        (("tiny.gfd", "pictures", "--threshold", ""), "--threshold"),
        (("tiny.gfd", "pictures", "--threshold", "0.5,"), "--threshold"),
        (("tiny.gfd", "pictures", "--threshold", "0.1,0.2,0.3"), "3 thresholds for a network with 2 early exits"),
        (("tiny.gfd", "pictures", "--threshold", "-1"), "a threshold is a confidence score from 0 to 1"),
        (("tiny.gfd", "pictures", "--threshold", "nan"), "a threshold is a confidence score from 0 to 1"),
        (("tiny.gfd", "pictures", "--top", "0"), "--top"),
        (("tiny.gfd", "pictures", "--batch", "0"), "--batch"),
        (("tiny.gfd", "pictures", "--format", "xml"), "--format"),
        (("tiny.gfd", "pictures", "--engine", "tvm"), "--engine"),
        (("tiny.gfd", "pictures", "--precision", "fp16"), "--precision"),
        (("fp32.gfd", "pictures", "--precision", "int8"), "fp32.gfd has no segments in int8; it has fp32"),
        (("tiny.gfd",), "name image files or folders of them after tiny.gfd"),
        (("", "pictures"), "it is empty"),
    ],
)
def test_what_cannot_be_done_is_told_without_a_traceback(run: Run, arguments: tuple[str, ...], message: str) -> None:
    whole = Path("tiny.gfd").read_bytes()
    first = whole.index(bundles.segment(0))
    Path("damaged.gfd").write_bytes(whole[: first + 9] + b"\0" + whole[first + 10 :])
    Path("half.gfd").write_bytes(whole[: len(whole) // 2])
    bundles.packed(Path("newer.gfd"), bundles.members(version=2))
    bundles.write_tiny(Path("fp32.gfd"), bundles.files(fp32=bundles.segments()))
    Path("empty").mkdir()
    outcome = run("gfnet-dynn", "classify", *arguments)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize("form", ["text", "csv", "json"])
def test_a_file_name_cannot_steer_the_terminal(exact: Exact, form: str) -> None:
    name = "pictures/\x1b[31m\n\u202e.png"
    Path(PICTURES[0]).rename(name)
    printed = exact("tiny.gfd", name, "--format", form)
    assert not set("\x1b\u202e") & set(printed)
    assert printed.count("\n") == (2 if form == "csv" else 1)
    if form == "json":
        assert json.loads(printed)["source"] == name


def test_csv_holds_no_formula(exact: Exact) -> None:
    Path(PICTURES[0]).rename("=1+1.png")
    bundles.write_tiny(Path("tiny.gfd"), classes=("@a", "-b", "+c"))
    rows = list(csv.reader(io.StringIO(exact("tiny.gfd", "=1+1.png", "--format", "csv"))))
    assert (rows[1][0], rows[1][2][0]) == ("'=1+1.png", "'")


def test_files_of_other_formats_are_counted(run: Run) -> None:
    Path("pictures/scene.jp2").write_bytes(b"")
    Path("pictures/.hidden.txt").write_bytes(b"")
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "pictures", *QUICK)
    assert outcome.status == 0
    assert "1 other file (1 .jp2) skipped, such as pictures/scene.jp2" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO there")
def test_a_fifo_does_not_stop_the_others(run: Run) -> None:
    os.mkfifo("fifo.png")
    os.close(os.open("fifo.png", os.O_RDWR | os.O_NONBLOCK))
    outcome = run("gfnet-dynn", "classify", "tiny.gfd", "fifo.png", PICTURES[0], *QUICK)
    assert outcome.status == 2
    assert "fifo.png is a FIFO" in outcome.err
    assert PICTURES[0] in outcome.out
