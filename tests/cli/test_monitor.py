"""`gfnet-dynn monitor`."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import LEARNED_FROM
from gfnet_dynn.cli.app import main
from gfnet_dynn.runtime import Prediction, load
from gfnet_dynn.uncertainty.drift import BINS, FEWEST_IMAGES, Observations, Reference, compare, reference_of
from gfnet_dynn.workflows import monitoring
from tests import bundles
from tests.calibration.folders import write_scenes
from tests.cli.conftest import Outcome, Run
from tests.fingerprints import of_files, store_anew, write_scene
from tests.test_architecture import without_torch

QUICK = ("--precision", "fp32", "--threads", "1")
FULL = bundles.POLICIES[2]
EXITS = {"exit 1": 0, "exit 2": 1, "final": 2}


def write_pictures(folder: Path, images: bundles.Images) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    return folder


def observed(predictions: list[Prediction]) -> Observations:
    return Observations(
        np.array([EXITS[each.exit] for each in predictions]),
        np.array([each.confidence for each in predictions]),
        np.array([bundles.CLASSES.index(each.label) for each in predictions]),
    )


def reference_by(policy: str, images: bundles.Images, path: Path, precision: str = "fp32") -> Reference:
    answers = load(path, precision=precision, threads=1).classify(list(images), policy=policy)
    return reference_of(observed(answers), 3, 3)


def of(outcome: Outcome, name: str) -> dict[str, Any]:
    """One test of what `--json` printed."""
    found: dict[str, Any] = next(each for each in json.loads(outcome.out)["tests"] if each["of"] == name)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a reference of 200 images; `same`: 60 others that come alike; `dark`: 60 that do not."""
    root = tmp_path_factory.mktemp("monitored")
    plain = bundles.write_tiny(root / "plain.gfd")
    seen = bundles.images(200, seed=1)
    gates, plainly, full = bundles.POLICIES
    watched = (
        plainly,
        replace(gates, references={"fp32": reference_by("gates", seen, plain)}),
        replace(full, references={"fp32": reference_by("full", seen, plain)}),
    )
    bundles.write_tiny(root / "tiny.gfd", policies=watched)
    write_pictures(root / "same", bundles.images(60, seed=2))
    write_pictures(root / "dark", bundles.images(60, seed=3) // 4)
    return root


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(made / "tiny.gfd", "tiny.gfd")
    for name in ("same", "dark"):
        Path(name).symlink_to(made / name)


def monitor(run: Run, *arguments: str) -> Outcome:
    outcome = run("gfnet-dynn", "monitor", "tiny.gfd", "--policy", "gates", *arguments, *QUICK)
    assert "Traceback" not in outcome.err
    return outcome


def log_of(run: Run, name: str, *images: str, policy: str = "gates", more: tuple[str, ...] = ()) -> str:
    classified = ("gfnet-dynn", "classify", "tiny.gfd", *images, "--policy", policy, "--format", "json", *QUICK, *more)
    outcome = run(*classified)
    assert outcome.status == 0, outcome.err
    Path(name).write_text(outcome.out.replace("} {", "}\n{") + "\n", encoding="utf-8")
    return name


def test_images_that_come_alike_raise_no_alarm(run: Run) -> None:
    outcome = monitor(run, "same")
    assert (outcome.status, outcome.err) == (0, "")
    assert "no shift detected" in outcome.out
    assert "n = 60 new and 200 calibration images" in outcome.out


def test_images_that_come_otherwise_are_recognised_by_the_exit_status_too(run: Run) -> None:
    outcome = monitor(run, "dark")
    assert (outcome.status, outcome.err) == (1, "")
    assert "shift detected" in outcome.out
    assert "no shift" not in outcome.out
    assert "n = 60 new and 200 calibration images" in outcome.out
    assert "next: gfnet-dynn calibrate tiny.gfd" in outcome.out


@pytest.mark.parametrize("folder", ["same", "dark"])
def test_images_and_the_log_of_classify_agree(run: Run, folder: str) -> None:
    from_images = monitor(run, folder, "--json")
    from_log = monitor(run, log_of(run, "log.jsonl", folder), "--json")
    assert from_log == from_images
    assert from_log.status == (folder == "dark")


@pytest.mark.parametrize("more", [("--top", "3"), ("--batch", "7")])
def test_a_log_may_say_more_than_is_needed(run: Run, more: tuple[str, ...]) -> None:
    assert monitor(run, log_of(run, "log.jsonl", "same", more=more), "--json") == monitor(run, "same", "--json")


def test_what_is_found_is_what_the_comparison_finds(run: Run) -> None:
    said = json.loads(monitor(run, "same", "--json", "--significance-level", "5%", "--seed", "3").out)
    bundle = read_bundle(Path("tiny.gfd"))
    reference = bundle.manifest.policy("gates").references["fp32"]
    files = sorted(Path("same").iterdir())
    answers = load("tiny.gfd", precision="fp32", threads=1).classify(files, policy="gates")
    found = compare(reference, observed(answers), 0.05, 3)
    assert said == {
        **json.loads(json.dumps(asdict(found))),
        "shift_detected": False,
        "policy": "gates",
        "precision": "fp32",
    }
    assert (said["images"], said["reference_images"], said["significance_level"]) == (60, 200, 0.05)
    assert [each["of"] for each in said["tests"]] == ["exits", "confidences", "classes"]


def test_another_mix_of_classes_is_a_shift(run: Run) -> None:
    """Images of one class alone, of which each left as its class does."""
    answers = load("tiny.gfd", precision="fp32", threads=1).classify(sorted(Path("same").iterdir()), policy="gates")
    most = max(bundles.CLASSES, key=lambda name: sum(each.label == name for each in answers))
    files = [str(each.source) for each in answers if each.label == most]
    assert len(files) >= FEWEST_IMAGES
    outcome = monitor(run, *files, "--json")
    assert outcome.status == 1
    assert of(outcome, "classes")["p"] < 0.01 / 3
    shares = dict(zip(bundles.CLASSES, of(outcome, "classes")["shares"], strict=True))
    assert shares[most] == 1


def test_json_is_one_line_whatever_the_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(
        "sys.argv", ["gfnet-dynn", "monitor", "tiny.gfd", "dark", "--policy", "gates", "--json", *QUICK]
    )
    with pytest.raises(SystemExit):
        main()
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["shift_detected"] is True


def test_images_and_logs_are_taken_together(run: Run) -> None:
    log = log_of(run, "half.log", *(f"same/{number:04}.png" for number in range(30)))
    together = monitor(run, log, *(f"same/{number:04}.png" for number in range(30, 60)), "--json")
    assert together == monitor(run, "same", "--json")
    twice = json.loads(monitor(run, log, log, "--json").out)
    assert twice["images"] == 60


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson", ".log", ".LOG"])
def test_logs_are_known_by_their_names(run: Run, suffix: str) -> None:
    assert monitor(run, log_of(run, f"log{suffix}", "same")).status == 0


def test_a_log_from_before_a_new_calibration_is_refused(run: Run) -> None:
    """By name it is the same policy, and its images left otherwise."""
    log = log_of(run, "log.jsonl", "same")
    bundle = read_bundle(Path("tiny.gfd"))
    policies = tuple(
        replace(each, thresholds=(0.25, *each.thresholds[1:])) if each.name == "gates" else each
        for each in bundle.manifest.policies
    )
    bundles.write_tiny(Path("tiny.gfd"), policies=policies)
    outcome = monitor(run, log)
    assert (outcome.status, outcome.out) == (2, "")
    assert "line 1 of log.jsonl was made by a policy 'gates' with another score, other thresholds or" in outcome.err
    assert monitor(run, log_of(run, "new.jsonl", "same")).status in (0, 1)


def test_empty_lines_of_a_log_are_passed_over(run: Run) -> None:
    log = Path(log_of(run, "log.jsonl", "same"))
    log.write_text("\n  \n" + log.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    assert monitor(run, "log.jsonl", "--json") == monitor(run, "same", "--json")


def test_the_policy_is_the_first_unless_another_is_named(run: Run) -> None:
    first = run("gfnet-dynn", "monitor", "tiny.gfd", "same", *QUICK)
    assert first.status == 2  # the first one was not calibrated
    full = run("gfnet-dynn", "monitor", "tiny.gfd", "same", "--policy", "full", "--json", *QUICK)
    assert of(full, "exits")["shares"] == [0, 0, 1]


def test_where_nothing_has_changed_an_alarm_is_as_frequent_as_the_level_says(made: Path) -> None:
    reference = read_bundle(made / "tiny.gfd").manifest.policy("gates").references["fp32"]
    classifier, alarms = load(made / "tiny.gfd", precision="fp32", threads=1), 0
    for seed in range(100):
        answers = classifier.classify(list(bundles.images(40, seed=100 + seed)), policy="gates", batch=40)
        alarms += compare(reference, observed(answers), 0.1).shift_detected
    assert alarms <= 18  # 10 are expected, with a deviation of 3


LINE = (
    '{"source": "a.png", "label": "town", "confidence": 0.75, "exit": "final", "macs": 400, '
    f'"policy": "gates", "policy_digest": "{bundles.POLICIES[0].digest}", "precision": "fp32"}}'
)


def with_line(line: str) -> str:
    """Twenty good lines and then another one."""
    return "\n".join([LINE] * FEWEST_IMAGES) + f"\n{line}\n"


def test_the_good_lines_are_good(run: Run) -> None:
    Path("log.jsonl").write_text(with_line(LINE), encoding="utf-8")
    assert monitor(run, "log.jsonl").status in (0, 1)


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        LINE[:40],
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        "[" * 100_000,
        LINE.replace("final", "exit 3"),
        LINE.replace('"final"', "2"),
        LINE.replace('"final"', "null"),
        LINE.replace('"final"', '["final"]'),
        LINE.replace('"exit"', '"Exit"'),
        LINE.replace('"confidence"', '"certainty"'),
        LINE.replace('"town"', '"sea"'),
        LINE.replace('"town"', "2"),
        LINE.replace('"town"', '["town"]'),
        LINE.replace('"label": "town", ', ""),
        LINE.replace("0.75", "null"),
        LINE.replace("0.75", '"high"'),
        LINE.replace("0.75", "[]"),
        LINE.replace("0.75", "1" + "0" * 400),
        LINE.replace("0.75", "9" * 5000),
        LINE.replace(', "policy": "gates"', ""),
        LINE.replace('"gates"', "null"),
        LINE.replace('"gates"', '["gates"]'),
        LINE.replace('"gates"', "9" * 400),
        LINE.replace('"policy_digest"', '"digest"'),
        LINE.replace(f'"{bundles.POLICIES[0].digest}"', "12"),
        LINE.replace(', "precision": "fp32"', ""),
        LINE.replace('"fp32"', "null"),
        LINE.replace('"fp32"', "32"),
        LINE.replace('"fp32"', '["fp32"]'),
        LINE.replace('"fp32"', '"fp16"'),
        LINE.replace('"fp32"', '"auto"'),
    ],
    ids=range(35),
)
def test_a_line_that_classify_does_not_write_is_named(run: Run, line: str) -> None:
    Path("log.jsonl").write_text(with_line(line), encoding="utf-8")
    outcome = monitor(run, "log.jsonl")
    assert outcome.status == 2
    assert (
        f"line {FEWEST_IMAGES + 1} of log.jsonl is not what `gfnet-dynn classify --format json` writes" in outcome.err
    )
    assert outcome.out == ""


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-0.1", "1.5", "1e999"])
def test_a_confidence_that_is_no_probability_is_refused(run: Run, value: str) -> None:
    Path("log.jsonl").write_text(with_line(LINE.replace("0.75", value)), encoding="utf-8")
    outcome = monitor(run, "log.jsonl")
    assert outcome.status == 2
    assert "some confidences are not numbers from 0 to 1" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.jsonl",), "cannot read the log absent.jsonl"),
        (("folder.log",), "cannot read the log folder.log"),
        (("bytes.log",), "cannot read the log bytes.log"),
        (("empty.log",), "the logs are empty: give at least 20"),
        (("few.log",), "19 new images cannot be compared: at least 20"),
        (("same/0000.png",), "1 new image cannot be compared: at least 20"),
        (("absent",), "no file or folder absent"),
        (("empty",), "the folder empty has no images"),
        (("bad.png",), "bad.png is not an image in a known format"),
        (("bad.png",), "none of the images can be read"),
        (("bad.png", "absent", "empty"), "none of the images can be read"),
        (("absent", "empty"), "none of the images can be read"),
        (("enough.log", "bad.png"), "none of the images can be read"),
        (("same", "--significance-level", "0%"), "--significance-level must be at least 0.01%"),
        (("same", "--significance-level", "100%"), "--significance-level must be at least 0.01% and below 100%"),
        (("same", "--significance-level", "1"), "did you mean 1%?"),
        (("same", "--significance-level", "-1%"), "--significance-level"),
        (("same", "--significance-level", "101%"), "--significance-level"),
        (("same", "--significance-level", "nan%"), "--significance-level"),
        (("same", "--seed", "-1"), "--seed"),
        (("same", "--engine", "tvm"), "--engine"),
        (("same", "--policy", "fast"), "the bundle has no exit policy 'fast'; it has plain, gates, full"),
        ((), "Missing argument"),
        (("",), "it is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_compared_is_told_without_a_traceback(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    Path("folder.log").mkdir()
    Path("empty").mkdir()
    Path("bytes.log").write_bytes(b"\xff\xfe\x00")
    Path("bad.png").write_bytes(b"no image")
    Path("empty.log").write_text("", encoding="utf-8")
    Path("few.log").write_text("\n".join([LINE] * (FEWEST_IMAGES - 1)), encoding="utf-8")
    Path("enough.log").write_text("\n".join([LINE] * FEWEST_IMAGES), encoding="utf-8")
    outcome = monitor(run, *arguments)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.out == ""


def test_a_policy_that_was_not_calibrated_names_one_that_was(run: Run) -> None:
    outcome = run("gfnet-dynn", "monitor", "tiny.gfd", "same", "--policy", "plain", *QUICK)
    assert outcome.status == 2
    assert outcome.err == "error: the policy plain is not calibrated: take --policy gates"


def test_a_bundle_that_was_not_calibrated_says_what_does_it(run: Run) -> None:
    bundles.write_tiny(Path("plain.gfd"))
    outcome = run("gfnet-dynn", "monitor", "plain.gfd", "same", *QUICK)
    assert outcome.status == 2
    assert "`gfnet-dynn calibrate`" in outcome.err


def test_a_reference_of_few_images_is_told(run: Run) -> None:
    few = Reference(((19, *(0,) * (BINS - 1)), (0,) * BINS, (0,) * BINS), (19, 0, 0))
    bundles.write_tiny(
        Path("tiny.gfd"), policies=(replace(bundles.POLICIES[0], references={"fp32": few}), *bundles.POLICIES[1:])
    )
    outcome = monitor(run, "same")
    assert outcome.status == 2
    assert "19 calibration images cannot be compared: at least 20" in outcome.err


@pytest.mark.parametrize("bundle", ["absent.gfd", "same", "LOG.log"])
def test_what_is_no_bundle_is_refused(run: Run, bundle: str) -> None:
    Path("LOG.log").write_text(LINE, encoding="utf-8")
    outcome = run("gfnet-dynn", "monitor", bundle, "same", *QUICK)
    assert outcome.status == 2
    assert bundle in outcome.err
    assert "Traceback" not in outcome.err


def test_calibrate_and_monitor_work_hand_in_hand(run: Run, made: Path) -> None:
    """From a folder of labelled images to an alarm: temperatures and all, in the log as from images."""
    write_scenes(Path("scenes"), bundles.images(120, seed=4))
    options = ("--max-mmacs", "0.00025", "--score", "margin", "--threads", "1")
    assert run("gfnet-dynn", "calibrate", "tiny.gfd", "scenes", *options).status == 0
    assert run("gfnet-dynn", "monitor", "tiny.gfd", "same", "--policy", "calibrated", *QUICK).status == 0
    drifted = run("gfnet-dynn", "monitor", "tiny.gfd", "dark", "--policy", "calibrated", "--json", *QUICK)
    assert drifted.status == 1
    assert json.loads(drifted.out)["policy"] == "calibrated"
    log = log_of(run, "log.jsonl", "dark", policy="calibrated")
    assert run("gfnet-dynn", "monitor", "tiny.gfd", log, "--policy", "calibrated", "--json", *QUICK) == drifted


@pytest.fixture
def both(made: Path) -> None:
    """`both.gfd`: in int8 the folder `seen` left just so, in fp32 nothing was like it."""
    seen, gates = bundles.images(200, seed=1), bundles.POLICIES[0]
    own = reference_by("gates", seen, made / "plain.gfd", "int8")
    other = Reference(((200, *(0,) * (BINS - 1)), (0,) * BINS, (0,) * BINS), (200, 0, 0))
    bundles.write_tiny(Path("both.gfd"), policies=(replace(gates, references={"fp32": other, "int8": own}), FULL))
    write_pictures(Path("seen"), seen)


IN_INT8 = ("--precision", "int8")


@pytest.mark.usefixtures("both")
def test_the_reference_is_that_of_the_precision(run: Run) -> None:
    """In int8, the images of the calibration are held against how they left in int8."""
    in_int8 = run("gfnet-dynn", "monitor", "both.gfd", "seen", "--json", "--precision", "int8", "--threads", "1")
    assert in_int8.status == 0, in_int8.err
    assert of(in_int8, "exits")["distance"] == 0
    in_fp32 = run("gfnet-dynn", "monitor", "both.gfd", "seen", "--json", *QUICK)
    assert in_fp32.status == 1
    assert of(in_fp32, "exits")["distance"] > 0.1


@pytest.mark.usefixtures("both")
def test_the_reference_of_a_log_is_that_of_the_precision_that_it_names(run: Run) -> None:
    for precision, status in (("int8", 0), ("fp32", 1)):
        log = log_of(run, f"{precision}.log", "seen", more=("--precision", precision))
        for options in ((), ("--precision", "auto"), ("--precision", precision)):
            outcome = run("gfnet-dynn", "monitor", "both.gfd", log, "--json", *options)
            assert outcome.status == status, outcome.err
            assert (of(outcome, "exits")["distance"] == 0) == (precision == "int8")


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_images_beside_a_log_are_classified_in_its_precision(
    run: Run, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    asked: list[str] = []

    def spied(*place: Path, **options: Any) -> Any:
        asked.append(options["precision"])
        return load(*place, **options)

    monkeypatch.setattr(monitoring, "load", spied)
    log = log_of(run, "log.jsonl", "seen", more=("--precision", precision))
    both = run("gfnet-dynn", "monitor", "both.gfd", log, "seen", "--json", "--threads", "1")
    assert json.loads(both.out)["images"] == 400
    assert asked == [precision]
    assert (of(both, "exits")["distance"] == 0) == (precision == "int8")
    assert run("gfnet-dynn", "monitor", "both.gfd", log, "seen", "--json", "--precision", precision) == both


@pytest.mark.usefixtures("both")
def test_a_precision_that_contradicts_the_log_is_refused(run: Run) -> None:
    log = log_of(run, "log.jsonl", "same", more=IN_INT8)
    for seen in ((log,), (log, "same"), ("same", log)):
        outcome = run("gfnet-dynn", "monitor", "both.gfd", *seen, "--precision", "fp32")
        assert (outcome.status, outcome.out) == (2, "")
        assert "made in int8, not in --precision fp32" in outcome.err


@pytest.mark.usefixtures("both")
def test_logs_that_mix_precisions_are_refused(run: Run) -> None:
    first, second = log_of(run, "first.log", "same"), log_of(run, "second.log", "same", more=IN_INT8)
    outcome = run("gfnet-dynn", "monitor", "both.gfd", first, second)
    assert (outcome.status, outcome.out) == (2, "")
    assert "line 1 of second.log was made in int8, the lines before it in fp32" in outcome.err
    mixed = Path(first).read_text(encoding="utf-8") + Path(second).read_text(encoding="utf-8")
    Path("mixed.log").write_text(mixed, encoding="utf-8")
    outcome = run("gfnet-dynn", "monitor", "both.gfd", "mixed.log")
    assert outcome.status == 2
    assert "line 61 of mixed.log was made in int8, the lines before it in fp32" in outcome.err


def test_a_precision_in_which_nothing_was_calibrated_is_told(run: Run) -> None:
    log = log_of(run, "log.jsonl", "same", more=IN_INT8)
    for seen in (some_unreadable("same"), log):  # before the images are read: none is named
        line = ("tiny.gfd", str(seen), "--policy", "gates", *IN_INT8, "--threads", "1")
        outcome = run("gfnet-dynn", "monitor", *line)
        assert outcome.status == 2
        assert outcome.err == (
            "error: the policy gates was calibrated in fp32 and not in int8: classify with --precision fp32, "
            "or calibrate with --all-precisions"
        )


@pytest.mark.parametrize(
    ("made_by", "more", "said", "instead"),
    [
        ("full", (), "full", "--policy full, or a log of 'gates'"),
        ("plain", (), "plain", "a log of 'gates'"),  # which was not calibrated
        ("gates", ("--threshold", "0.5"), "own", "a log of 'gates' ('own' is the policy with --threshold)"),
    ],
    ids=["calibrated", "not calibrated", "own"],
)
def test_a_log_by_another_policy_is_refused(
    run: Run, made_by: str, more: tuple[str, ...], said: str, instead: str
) -> None:
    """Its images left elsewhere, or by other thresholds: what is compared would differ whatever the images."""
    good, log = log_of(run, "good.log", "same"), log_of(run, "log.jsonl", "same", policy=made_by, more=more)
    for seen in ((log,), (good, log), (log, "same")):
        outcome = monitor(run, *seen)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == (
            f"error: line 1 of log.jsonl was made by the policy '{said}' and not by 'gates': give {instead}"
        )


def test_a_policy_named_as_the_log_names_it_is_monitored(run: Run) -> None:
    log = log_of(run, "log.jsonl", "same", policy="full")
    outcome = run("gfnet-dynn", "monitor", "tiny.gfd", log, "--policy", "full", "--json")
    assert of(outcome, "exits")["shares"] == [0, 0, 1]


def test_one_line_by_another_policy_is_named_however_it_calls_it(run: Run) -> None:
    strange = LINE.replace('"gates"', json.dumps("\x1b[2J" + "x" * 500))
    Path("log.jsonl").write_text(with_line(strange), encoding="utf-8")
    outcome = monitor(run, "log.jsonl")
    assert outcome.status == 2
    assert r"line 21 of log.jsonl was made by the policy '\x1b[2Jxxxx" in outcome.err
    assert outcome.err.endswith("x' and not by 'gates': give a log of 'gates'")
    assert len(outcome.err) < 200


def test_logs_alone_need_no_network(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(run, "log.jsonl", "dark")
    monkeypatch.setattr(monitoring, "load", lambda *_, **__: pytest.fail("the network was loaded"))
    assert monitor(run, log, "--engine", "openvino").status == 1


def test_logs_alone_need_no_engine(run: Run) -> None:
    log = log_of(run, "log.jsonl", "dark")
    body = 'sys.modules["onnxruntime"] = None\nfrom gfnet_dynn.cli.app import main\nmain()'
    result = without_torch(body, "monitor", "tiny.gfd", log, "--policy", "gates")
    assert result.returncode == 1, result.stderr
    assert "shift detected" in result.stdout


def some_unreadable(folder: str) -> Path:
    """The images of a folder, with one that is none and one that is cut off among them."""
    mine = Path(shutil.copytree(folder, "mine"))
    (mine / "0030a.png").write_bytes(b"no image")
    (mine / "0040a.png").write_bytes((mine / "0040.png").read_bytes()[:60])
    return mine


@pytest.mark.parametrize(("folder", "status"), [("same", 2), ("dark", 1)])
def test_an_unreadable_image_is_named_and_the_others_are_compared(run: Run, folder: str, status: int) -> None:
    outcome = monitor(run, str(some_unreadable(folder)), "--json")
    assert outcome.out == monitor(run, folder, "--json").out
    assert outcome.status == status
    assert "error: mine/0030a.png is not an image in a known format" in outcome.err
    assert "mine/0040a.png" in outcome.err
    assert outcome.err.count("error:") == 2


def taught(tmp_path: Path) -> list[Path]:
    """`tiny.gfd` with the record that it learned from three scenes; these, stored anew."""
    scenes = [write_scene(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    content = {**bundles.files(), LEARNED_FROM: of_files(scenes)}
    bundles.write_tiny(Path("tiny.gfd"), content, policies=read_bundle(Path("tiny.gfd")).manifest.policies)
    return [store_anew(scene, Path("learned") / f"{scene.stem}.jpg", scale=0.875) for scene in scenes]


def test_images_that_the_network_learned_from_are_left_out(run: Run, tmp_path: Path) -> None:
    before = monitor(run, "same", "--json").out
    copies = taught(tmp_path)
    outcome = monitor(run, "same", "learned", "--json")
    assert (outcome.status, outcome.out) == (0, before)
    assert "note: skipped 3 images" in outcome.err
    assert str(copies[0]) in outcome.err


def test_where_the_network_learned_from_all_images_nothing_is_compared(run: Run, tmp_path: Path) -> None:
    taught(tmp_path)
    outcome = monitor(run, "learned")
    assert (outcome.status, outcome.out) == (2, "")
    assert "all 3 images" in outcome.err


def test_a_place_without_images_takes_no_comparison_from_the_others(run: Run) -> None:
    Path("empty").mkdir()
    for seen in (("same", "empty", "absent"), ("empty", "same", "absent")):
        outcome = monitor(run, *seen, "--json")
        assert (outcome.status, outcome.out) == (2, monitor(run, "same", "--json").out)
        assert "error: the folder empty has no images" in outcome.err
        assert "error: no file or folder absent" in outcome.err


def test_an_unreadable_image_beside_a_log_is_named_too(run: Run) -> None:
    log = log_of(run, "log.jsonl", "same")
    outcome = monitor(run, log, str(some_unreadable("same")), "--json")
    assert (outcome.status, json.loads(outcome.out)["images"]) == (2, 120)
    assert outcome.err.count("error:") == 2


def test_monitoring_changes_no_file(run: Run) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in Path().iterdir())
    monitor(run, "dark")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in Path().iterdir()) == before


def test_help_says_what_the_exit_status_means(run: Run) -> None:
    outcome = run("gfnet-dynn", "monitor", "--help")
    assert outcome.status == 0
    assert "exit status is 1" in outcome.out


def test_the_command_monitors_without_torch_and_onnx() -> None:
    body = 'sys.modules["onnx"] = None\nfrom gfnet_dynn.cli.app import main\nmain()'
    result = without_torch(body, "monitor", "tiny.gfd", "dark", "--policy", "gates", *QUICK)
    assert result.returncode == 1, result.stderr
    assert "shift detected" in result.stdout
