"""`gfnet-dynn calibrate`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.learned_from import NAME, digests, pack
from gfnet_dynn.bundle.manifest import FULL, Exit
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.calibration.images import find_calibration_images
from gfnet_dynn.calibration.outputs import collect_outputs, load_outputs, store_outputs
from gfnet_dynn.exits.rule import first_exit
from gfnet_dynn.exits.scores import SCORES
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import calibration as calibrating
from tests import bundles
from tests.calibration.benchmarks import BESIDE, FAST, candidate, energy, report, write_benchmark
from tests.calibration.folders import labels_of, write_scenes
from tests.cli.conftest import Outcome, Run
from tests.runtime.engines import ONNXRUNTIME
from tests.test_architecture import without_torch

IMAGES = 120
BUDGET = ("--max-mmacs", "0.0003")
PRICES = np.array((100, 250, 400)) / 1e6
POLICIES = ["gates", "plain", "full"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `scenes`, and what the tiny bundle says of it as `kept.npz`; never to be changed by a test."""
    root = tmp_path_factory.mktemp("labelled")
    write_scenes(root / "scenes", bundles.images(IMAGES))
    bundle = read_bundle(bundles.write_tiny(root / "tiny.gfd"))
    found = find_calibration_images(root / "scenes", bundle, lambda *_: None)
    store_outputs(root / "kept.npz", collect_outputs(bundle, found, ONNXRUNTIME, lambda *_: None))
    return root


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: Path) -> None:
    """A bundle, labelled images, kept outputs and a benchmark, under short names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("scenes").symlink_to(labelled / "scenes")
    shutil.copy(labelled / "tiny.gfd", "tiny.gfd")
    shutil.copy(labelled / "kept.npz", "kept.npz")
    fast = candidate("int8", FAST)
    write_benchmark(Path("bench.json"), report(candidate(), fast, energies=(energy(fast),)))


Calibrate = Callable[..., Outcome]


@pytest.fixture
def calibrate(run: Run) -> Calibrate:
    """The tiny bundle on the kept outputs, unless something else comes first; it must succeed."""

    def calibrate_tiny(*options: str, images: str = "kept.npz", bundle: str = "tiny.gfd") -> Outcome:
        outcome = run("gfnet-dynn", "calibrate", bundle, images, "--threads", "1", *options)
        assert outcome.status == 0, outcome.err
        assert outcome.err == ""
        return outcome

    return calibrate_tiny


def policy_of(path: str = "tiny.gfd", name: str | None = None) -> Policy:
    return read_bundle(Path(path)).manifest.policy(name)


def names_of(path: str = "tiny.gfd") -> list[str]:
    return [each.name for each in read_bundle(Path(path)).manifest.policies]


def mean_costs(policy: Policy, prices: np.ndarray[Any, Any] = PRICES) -> list[float]:
    """By what the bundle itself says of all images, in each precision."""
    bundle = read_bundle(Path("tiny.gfd"))
    stored = load_outputs(Path("kept.npz"), bundle)
    return [
        float(prices[first_exit(policy.scores(arrays).gates, policy.thresholds)].mean())
        for arrays in stored.precisions.values()
    ]


def test_the_policy_becomes_the_bundles_first_and_nothing_else_changes(calibrate: Calibrate, labelled: Path) -> None:
    outcome = calibrate(*BUDGET, images="scenes")
    before, after = read_bundle(labelled / "tiny.gfd"), read_bundle(Path("tiny.gfd"))
    after.verify()
    assert names_of() == ["calibrated", *POLICIES]
    assert after.manifest.policies[1:] == before.manifest.policies
    assert after.manifest.files == before.manifest.files
    assert (after.manifest.report, after.manifest.provenance) == (before.manifest.report, before.manifest.provenance)
    policy = policy_of()
    assert max(mean_costs(policy)) <= 0.0003 * (1 + 1e-9)
    assert max(mean_costs(policy)) > 0.00029
    assert "bundle: tiny.gfd (policy calibrated, used unless another is named)" in outcome.out
    assert "guarantee: none of accuracy; the budget is met on average" in outcome.out


def test_classify_uses_it_unless_told_else(calibrate: Calibrate, run: Run) -> None:
    calibrate("--max-mmacs", "0.0001")
    said = run(
        "gfnet-dynn", "classify", "tiny.gfd", "scenes", "--precision", "fp32", "--threads", "1", "--format", "csv"
    )
    assert said.out.count("exit 1,") == IMAGES


def test_images_and_what_was_kept_of_them_give_the_same_bundle(calibrate: Calibrate) -> None:
    options = (*BUDGET, "--score", "margin", "--sets", "80", "--unknown", "10")
    calibrate(*options, "--outputs", "again.npz", "--output", "a.gfd", images="scenes")
    assert Path("again.npz").read_bytes() == Path("kept.npz").read_bytes()
    calibrate(*options, "--output", "b.gfd", images="again.npz")
    assert Path("a.gfd").read_bytes() == Path("b.gfd").read_bytes()


def test_outputs_may_be_kept_where_they_are(calibrate: Calibrate) -> None:
    before = Path("kept.npz").read_bytes()
    calibrate(*BUDGET, "--outputs", "kept.npz")
    assert Path("kept.npz").read_bytes() == before


def test_outputs_are_read_whatever_they_are_called(calibrate: Calibrate) -> None:
    calibrate(*BUDGET, "--outputs", "kept by me", images="scenes", bundle="tiny.gfd")
    calibrate(*BUDGET, "--name", "again", images="kept by me")
    assert names_of() == ["again", "calibrated", *POLICIES]


def test_outputs_that_were_kept_serve_for_further_policies(calibrate: Calibrate) -> None:
    calibrate(*BUDGET, "--name", "cheap")
    calibrate("--risk", "harmful-exits", "--at-most", "20", "--name", "careful")
    calibrate("--max-mmacs", "0.0002", "--name", "cheapest")
    assert names_of() == ["cheapest", "careful", "cheap", *POLICIES]


def test_a_name_is_there_once(calibrate: Calibrate) -> None:
    calibrate(*BUDGET)
    calibrate("--max-mmacs", "0.0002", "--name", "other")
    first = policy_of(name="calibrated")
    calibrate("--max-mmacs", "0.0002")
    assert names_of() == ["calibrated", "other", *POLICIES]
    assert policy_of().thresholds == policy_of(name="other").thresholds != first.thresholds


def test_a_policy_of_export_may_be_replaced(calibrate: Calibrate) -> None:
    calibrate(*BUDGET, "--name", "gates")
    assert names_of() == ["gates", "plain", "full"]
    assert policy_of().source.startswith("calibrated: mean MACs at most 0.0003 MMACs; 120 images, data ")


def test_the_same_command_writes_the_same_bundle(calibrate: Calibrate) -> None:
    options = ("--risk", "harmful-exits", "--at-most", "20", "--per-exit", "--sets", "90")
    calibrate(*options)
    first = Path("tiny.gfd").read_bytes()
    calibrate(*options)
    assert Path("tiny.gfd").read_bytes() == first
    calibrate(*options, "--seed", "1")
    assert Path("tiny.gfd").read_bytes() != first


def test_an_output_elsewhere_leaves_the_source_as_it_was(calibrate: Calibrate, labelled: Path) -> None:
    outcome = calibrate(*BUDGET, "-o", "deep/er/other.gfd")
    assert Path("tiny.gfd").read_bytes() == (labelled / "tiny.gfd").read_bytes()
    assert names_of("deep/er/other.gfd") == ["calibrated", *POLICIES]
    assert "bundle: deep/er/other.gfd (policy calibrated" in outcome.out


def test_what_the_network_learned_from_stays_in_the_bundle(calibrate: Calibrate) -> None:
    content = {**bundles.files(), NAME: pack([b"12345678"])}
    bundles.write_tiny(Path("tiny.gfd"), content)
    calibrate(*BUDGET, images="scenes")
    bundle = read_bundle(Path("tiny.gfd"))
    assert bundle.manifest.learned_from == NAME
    assert bundle.read(NAME) == b"12345678"
    bundle.verify()


@pytest.mark.parametrize(
    ("described", "doubted"),
    [
        ({"unknown": ["a.pth", "the teacher"]}, "a.pth and the teacher"),
        ({"unknown": []}, None),
        ({}, None),
        ("all", None),
    ],
)
def test_an_ancestor_that_may_have_seen_the_images_is_named(
    calibrate: Calibrate, described: object, doubted: str | None
) -> None:
    content = {**bundles.files(), NAME: pack([b"12345678"])}
    bundles.write_tiny(Path("tiny.gfd"), content, learned_from=NAME, provenance={"learned_from": described})
    said = calibrate(*BUDGET, images="scenes").out
    assert ("learned from is not known to the bundle" in said) == (doubted is not None)
    assert doubted is None or f"note: what {doubted} learned from" in said


def test_the_plot_is_drawn_where_it_is_asked_for(calibrate: Calibrate) -> None:
    outcome = calibrate("--risk", "harmful-exits", "--at-most", "20", "--plot", "deep/reliability.svg")
    assert "exit 1: ECE" in Path("deep/reliability.svg").read_text(encoding="utf-8")
    assert "plot: deep/reliability.svg" in outcome.out


def test_the_report_holds_the_policy_and_the_figures(calibrate: Calibrate) -> None:
    outcome = calibrate("--risk", "harmful-exits", "--at-most", "20", "--report", "deep/report.json")
    said = json.loads(Path("deep/report.json").read_text(encoding="utf-8"))
    assert said["policy"] == json.loads(json.dumps(policy_of().to_dict()))
    assert said["promise_tested"]["images"] == IMAGES
    assert said["expected"]["images"] == IMAGES
    assert "report: deep/report.json" in outcome.out
    assert f"{100 * said['expected']['accuracy']:.1f} % right" in outcome.out


def test_a_risk_is_promised_at_the_level_asked_for(calibrate: Calibrate) -> None:
    outcome = calibrate("--risk", "harmful-exits", "--at-most", "12.5", "--certainty", "90", "--method", "exact")
    guarantee = policy_of().guarantee
    assert guarantee["statement"] == "harm at most 12.5 points with 90 % certainty"
    assert (guarantee["limit"], guarantee["method"]) == (0.125, "exact")
    assert guarantee["delta"] == pytest.approx(0.1)
    assert guarantee["precisions"] == ["fp32", "int8"]
    assert guarantee["images"] == {"tested": IMAGES, "fitted": 0, "sets_and_alarms": 0}
    assert "guarantee: harm at most 12.5 points with 90 % certainty" in outcome.out


@pytest.mark.parametrize("score", SCORES)
def test_every_signal_may_decide_with_sets_and_alarms(calibrate: Calibrate, score: str) -> None:
    calibrate(*BUDGET, "--score", score, "--sets", "80", "--unknown", "20")
    policy = policy_of()
    assert policy.score == score
    assert bool(policy.fitted.tables) == (score == "neighbours")
    assert policy.prediction_sets is not None
    assert policy.unknown_rule is not None
    assert (policy.prediction_sets.coverage, policy.unknown_rule.false_alarms) == (0.8, 0.2)
    answers = load("tiny.gfd", precision="fp32", threads=1).classify(list(bundles.images(30, seed=5)))
    assert all(each.label in (each.among or ()) for each in answers)
    assert {type(each.unknown) for each in answers} == {bool}


def test_what_few_images_cannot_say_is_told(calibrate: Calibrate) -> None:
    said = " ".join(calibrate(*BUDGET, "--sets", "99", "--unknown", "1").out.split())
    nothing = "too few images leave at exit 1, exit 2, final to say anything there"
    assert f"sets: hold the true class in 99 % of cases at each exit; {nothing}" in said
    assert f"unknown: at most 1 % of images like these; {nothing}" in said
    said = " ".join(calibrate(*BUDGET, "--sets", "50", "--unknown", "50").out.split())
    assert "sets: hold the true class in 50 % of cases at each exit" in said
    assert "too few" not in said


def test_a_bundle_that_does_not_know_its_training_images_says_so(calibrate: Calibrate) -> None:
    assert "is not checked: export it anew" in " ".join(calibrate(*BUDGET).out.split())
    content = {**bundles.files(), NAME: pack([b"12345678"])}
    bundles.write_tiny(Path("taught.gfd"), content)
    assert "not checked" not in calibrate(*BUDGET, images="scenes", bundle="taught.gfd").out


def test_thresholds_for_each_exit(calibrate: Calibrate) -> None:
    calibrate("--risk", "harmful-exits", "--at-most", "20", "--per-exit")
    images = policy_of().guarantee["images"]
    assert images in (
        {"tested": 84, "fitted": 36, "sets_and_alarms": 0},  # its own path was cheaper
        {"tested": 120, "fitted": 0, "sets_and_alarms": 0},  # one for all, to which nothing was fitted
    )
    assert len(policy_of().thresholds) == 2


def test_a_time_is_kept_by_what_the_benchmark_says(calibrate: Calibrate) -> None:
    outcome = calibrate("--max-ms", "8", "--benchmark", "bench.json")
    times = np.array(FAST) + BESIDE
    assert 7.8 < max(mean_costs(policy_of(), times)) <= 8
    budget = policy_of().guarantee["budget"]
    assert (budget["quantity"], budget["mean"], budget["p99"]) == ("latency", 8.0, None)
    assert budget["exits"] == pytest.approx(times.tolist())
    assert "ms a frame" in outcome.out


@pytest.mark.parametrize(("deadline", "last"), [("9.5", 0), ("14", 1), ("18.5", 2)])
def test_a_deadline_is_kept_by_every_image(calibrate: Calibrate, deadline: str, last: int) -> None:
    calibrate("--p99-ms", deadline, "--benchmark", "bench.json")
    classifier = load("tiny.gfd", precision="int8", threads=1)
    exits = {each.exit for each in classifier.classify(list(bundles.images(40, seed=9)))}
    assert exits == {("exit 1", "exit 2", "final")[last]}


def test_a_time_and_a_deadline_are_kept_together(calibrate: Calibrate) -> None:
    calibrate("--max-ms", "7", "--p99-ms", "14", "--benchmark", "bench.json")
    assert policy_of().thresholds[1] == 0
    assert max(mean_costs(policy_of(), np.array(FAST) + BESIDE)) <= 7


def test_an_energy_is_kept_by_what_the_meter_saw(calibrate: Calibrate) -> None:
    calibrate("--max-mj", "24", "--benchmark", "bench.json")
    energies = 3 * (np.array(FAST) + BESIDE)
    assert 23.4 < max(mean_costs(policy_of(), energies)) <= 24
    assert policy_of().guarantee["budget"]["source"].startswith("estimated: 3.00 W by RAPL")


def test_with_a_benchmark_what_is_cheapest_is_what_is_fastest(calibrate: Calibrate) -> None:
    outcome = calibrate("--risk", "harmful-exits", "--at-most", "20", "--benchmark", "bench.json")
    assert "ms a frame" in outcome.out
    assert "budget" not in policy_of().guarantee
    assert "ms a frame" not in calibrate("--risk", "harmful-exits", "--at-most", "20").out


def test_the_worse_precision_decides(calibrate: Calibrate) -> None:
    """int8 whose first exit is never right: nothing may leave there, though fp32 might."""
    turned = bundles.segments()
    turned[0] = bundles.segment(0, lean=-1.9)
    bundles.write_tiny(Path("tiny.gfd"), bundles.files(fp32=bundles.segments(), int8=turned))
    options = ("--risk", "disagreement", "--at-most", "50", "--certainty", "90")
    calibrate(*options, "--name", "both", images="scenes")
    both = policy_of()
    bundles.write_tiny(Path("tiny.gfd"), bundles.files(fp32=bundles.segments()))
    calibrate(*options, "--name", "fp32", images="scenes")
    assert both.thresholds[0] > policy_of().thresholds[0]
    assert policy_of().guarantee["precisions"] == ["fp32"]


def test_all_is_whole_in_80_columns(calibrate: Calibrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = calibrate(*BUDGET, "--sets", "90")
    assert "…" not in outcome.out
    assert outcome.out.count("MACs: counted from shapes") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to calibrate for: give a risk, a budget or a deadline"),
        (("--at-most", "2", "--certainty", "90"), "--at-most and --certainty without a risk: say which by --risk"),
        ((*BUDGET, "--method", "exact"), "--method without a risk: say which by --risk"),
        (("--sets", "90"), "nothing to calibrate for"),
        (("--risk", "luck"), "--risk"),
        (("--risk", "harmful-exits", "--at-most", "0"), "limit must lie between 0 and 1, not 0"),
        (("--risk", "harmful-exits", "--at-most", "100"), "limit must lie between 0 and 1, not 1"),
        (("--risk", "harmful-exits", "--at-most", "-1"), "--at-most"),
        (("--risk", "harmful-exits", "--at-most", "nan"), "--at-most"),
        (("--risk", "harmful-exits", "--certainty", "100"), "probability of failure must lie between 0 and 1, not 0"),
        (("--risk", "harmful-exits", "--certainty", "0"), "probability of failure must lie between 0 and 1, not 1"),
        (("--risk", "harmful-exits", "--certainty", "101"), "--certainty"),
        (("--risk", "accuracy-drop", "--method", "exact"), "ask for 'harm', which is never less than the drop"),
        (("--risk", "brier", "--method", "exact"), "exact needs losses of 0 and 1"),
        (("--risk", "harmful-exits", "--method", "luck"), "--method"),
        (
            ("--risk", "harmful-exits"),
            "120 images cannot support a limit of 1 points for harm with probability 0.95: at least",
        ),
        (("--risk", "error", "--at-most", "2"), "that of the full network is"),
        (
            ("--risk", "harmful-exits", "--at-most", "20", "--method", "betting", *BUDGET),
            "above the budget of 0.0003: allow more risk, more cost",
        ),
        (("--max-mmacs", "0.00005"), "a mean MACs of 5e-05 MMACs is not reachable: the cheapest setting costs 0.0001"),
        (("--max-mmacs", "0"), "a budget is a positive number of MMACs, not 0"),
        (("--max-mmacs", "nan"), "a budget is a positive number of MMACs, not nan"),
        (("--max-mmacs", "-1"), "a budget is a positive number of MMACs, not -1"),
        (("--max-ms", "8"), "what a frame costs is measured on the device: give --benchmark FILE"),
        (("--p99-ms", "8"), "what a frame costs is measured on the device: give --benchmark FILE"),
        (("--max-mj", "8"), "what a frame costs is measured on the device: give --benchmark FILE"),
        (("--max-ms", "5", "--benchmark", "bench.json"), "a mean latency of 5 ms is not reachable"),
        (
            ("--p99-ms", "5", "--benchmark", "bench.json"),
            "a deadline of 5 ms is not reachable: the 99th percentile of the",
        ),
        (("--max-mj", "1", "--benchmark", "bench.json"), "a mean energy of 1 mJ is not reachable"),
        (("--p99-ms", "inf", "--benchmark", "bench.json"), "a deadline is a positive number of ms, not inf"),
        (
            ("--max-ms", "8", "--benchmark", "absent.json"),
            "cannot read the figures of `gfnet-dynn benchmark` in absent",
        ),
        (("--max-ms", "8", "--benchmark", "kept.npz"), "cannot read the figures of `gfnet-dynn benchmark` in kept.npz"),
        (
            ("--max-ms", "8", "--benchmark", "other.json"),
            "other.json has no figures of this network in onnxruntime: make them by",
        ),
        (
            ("--max-mj", "24", "--benchmark", "dark.json"),
            "dark.json has no measured energy: measure where a meter is",
        ),
        (("--max-mmacs", "1", "--p99-ms", "8"), "one kind of budget at a time, not --max-mmacs and --p99-ms"),
        (("--max-mj", "1", "--p99-ms", "8"), "one kind of budget at a time, not --max-mj and --p99-ms"),
        ((*BUDGET, "--sets", "100"), "the coverage lies between 0 and 1, not at 1"),
        ((*BUDGET, "--sets", "0"), "the coverage lies between 0 and 1, not at 0"),
        ((*BUDGET, "--unknown", "-5"), "the share of false alarms lies between 0 and 1, not at -0.05"),
        ((*BUDGET, "--name", "full"), "a policy needs a printable name of its own, not 'full'"),
        ((*BUDGET, "--name", "own"), "a policy needs a printable name of its own, not 'own'"),
        ((*BUDGET, "--name", " "), "a policy needs a printable name of its own, not ' '"),
        ((*BUDGET, "--name", "two\nlines"), "a policy needs a printable name of its own, not 'two\\nlines'"),
        ((*BUDGET, "--name", os.fsdecode(b"caf\xe9")), "a policy needs a printable name of its own, not 'caf\\udce9'"),
        ((*BUDGET, "--score", "telepathy"), "--score"),
        ((*BUDGET, "--engine", "tvm"), "--engine"),
        ((*BUDGET, "--threads", "0"), "--threads"),
        ((*BUDGET, "--seed", "-1"), "a seed is 0 or more, not -1"),
        ((*BUDGET, "--output", "scenes"), "scenes is a folder: name the file to write"),
        ((*BUDGET, "--report", "scenes"), "scenes is a folder: name the file to write"),
        ((*BUDGET, "--outputs", "."), ". is a folder: name the file to write"),
        ((*BUDGET, "--output", "tiny.gfd/inside.gfd"), "cannot create the folder"),
        ((*BUDGET, "--report", ""), "it is empty"),
        ((*BUDGET, "--plot", "plot.jpg"), "a plot is written as .png, .svg, .pdf, not as plot.jpg"),
        ((*BUDGET, "--plot", "same.png", "--report", "same.png"), "--report and --plot are both same.png"),
        ((*BUDGET, "--report", "tiny.gfd"), "--report and BUNDLE are both tiny.gfd: name another file"),
        ((*BUDGET, "--outputs", "tiny.gfd"), "--outputs and BUNDLE are both tiny.gfd: name another file"),
        (
            (*BUDGET, "--outputs", "./tiny.gfd", "-o", "b.gfd"),
            "--outputs and BUNDLE are both tiny.gfd: name another file",
        ),
        ((*BUDGET, "--report", "tiny.gfd", "-o", "b.gfd"), "--report and BUNDLE are both tiny.gfd: name another file"),
        ((*BUDGET, "--outputs", "b.gfd", "-o", "b.gfd"), "--output and --outputs are both b.gfd"),
        ((*BUDGET, "--outputs", "same", "--report", "same"), "--report and --outputs are both same"),
        ((*BUDGET, "--report", "kept.npz"), "--report and IMAGES are both kept.npz"),
        ((*BUDGET, "-o", "kept.npz"), "--output and IMAGES are both kept.npz"),
        (
            ("--max-ms", "8", "--benchmark", "bench.json", "--report", "bench.json"),
            "--report and --benchmark are",
        ),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_told_and_nothing_is_written(run: Run, options: tuple[str, ...], message: str) -> None:
    bigger = bundles.manifest(exits=(Exit("exit 1", 0, 100), Exit("exit 2", 1, 250), Exit("final", 2, 999)))
    write_benchmark(Path("other.json"), report(candidate(manifest=bigger)))
    write_benchmark(Path("dark.json"), report(candidate()))
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_budgets_that_were_not_given_are_not_named(run: Run) -> None:
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", "--max-ms", "3", "--max-mj", "4")
    assert outcome.status == 2
    assert outcome.err == "error: one kind of budget at a time, not --max-ms and --max-mj"
    every = run(
        "gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", *BUDGET, "--max-ms", "3", "--max-mj", "4", "--p99-ms", "1"
    )
    assert every.err.endswith("not --max-ms and --max-mj and --max-mmacs and --p99-ms")


def changed_scenes(root: Path) -> Path:
    """The labelled images as one's own, to be changed."""
    shutil.copytree("scenes", root, symlinks=False)
    return root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "no folder mine: give one that holds a folder of images for each class"),
        (lambda root: shutil.rmtree(root / "river"), "mine has no images of river: a guarantee holds for images as"),
        (lambda root: (root / "river").rename(root / "rivers"), "mine/rivers is no class of the network: did you mean"),
        (
            lambda root: shutil.copy(next((root / "town").iterdir()), root / "field" / "copy.png"),
            "2 files hold an image that another one holds too, such as mine/field/copy.png, mine/town/",
        ),
        (lambda root: (root / "field" / "bad.png").write_bytes(b"no image"), "mine/field/bad.png is not an image in a"),
    ],
    ids=["no folder", "missing", "strange", "twice", "damaged"],
)
def test_images_that_cannot_be_calibrated_on_are_refused(
    run: Run, labelled: Path, change: Callable[[Path], object], message: str
) -> None:
    change(changed_scenes(Path("mine")))
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "mine", *BUDGET, "--outputs", "new.npz")
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert Path("tiny.gfd").read_bytes() == (labelled / "tiny.gfd").read_bytes()
    assert not Path("new.npz").exists()


def test_images_that_were_in_training_are_refused(run: Run) -> None:
    known = sorted(Path("scenes/town").iterdir())[:3]
    path = bundles.write_tiny(Path("taught.gfd"), {**bundles.files(), NAME: pack(digests(known))})
    before = path.read_bytes()
    outcome = run("gfnet-dynn", "calibrate", "taught.gfd", "scenes", *BUDGET)
    assert outcome.status == 2
    assert f"the network was trained or selected on 3 of the {IMAGES} images, such as {known[0]}" in outcome.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "unlisted", "changed"])
def test_a_bundle_whose_training_images_are_not_known_rightly_is_refused(run: Run, how: str) -> None:
    packed = pack([b"12345678"])
    content = {**bundles.files(), NAME: {"cut": packed[:-3], "empty": b""}.get(how, packed)}
    path, members = Path("broken.gfd"), bundles.members()
    if how in ("cut", "empty"):
        bundles.write_tiny(path, content)
    else:
        described = bundles.manifest(bundles.files() if how == "unlisted" else content).to_dict()
        members["manifest.json"] = json.dumps(described).encode()
        if how != "missing":
            members[NAME] = b"87654321" if how == "changed" else packed
        bundles.packed(path, members)
    outcome = run("gfnet-dynn", "calibrate", "broken.gfd", "scenes", *BUDGET)
    assert outcome.status == 2
    said = {
        "missing": f"broken.gfd: it lacks {NAME}: copy or export it anew",
        "cut": f"broken.gfd: its {NAME} is cut off",
        "empty": f"broken.gfd: its {NAME} is empty",
        "unlisted": f"broken.gfd: it holds {NAME}, which its manifest does not name",
        "changed": f"broken.gfd: its {NAME} is not what was exported",
    }
    assert said[how] in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("bundle", ["absent.gfd", "kept.npz", "bench.json", "scenes"])
def test_what_is_no_bundle_is_refused(run: Run, bundle: str) -> None:
    outcome = run("gfnet-dynn", "calibrate", bundle, "kept.npz", *BUDGET)
    assert outcome.status == 2
    assert bundle in outcome.err
    assert "Traceback" not in outcome.err


def test_outputs_of_another_bundle_are_refused(run: Run) -> None:
    bundles.write_tiny(Path("other.gfd"), bundles.files(fp32=bundles.segments("int8"), int8=bundles.segments()))
    outcome = run("gfnet-dynn", "calibrate", "other.gfd", "kept.npz", *BUDGET)
    assert outcome.status == 2
    assert "kept.npz is what another network said: give the folder of images instead" in outcome.err


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_outputs_that_are_damaged_are_refused(run: Run, content: bytes) -> None:
    Path("kept.npz").write_bytes(content)
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", *BUDGET)
    assert outcome.status == 2
    assert "cannot read the outputs kept.npz" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "options",
    [
        ("--risk", "harmful-exits", "--at-most", "0.1"),
        ("--risk", "harmful-exits", "--at-most", "20", "--method", "betting", *BUDGET),
    ],
)
def test_outputs_are_kept_where_the_policy_is_refused(run: Run, labelled: Path, options: tuple[str, ...]) -> None:
    outcome = run(
        *("gfnet-dynn", "calibrate", "tiny.gfd", "scenes", "--threads", "1", *options),
        *("--outputs", "new.npz", "--report", "report.json", "-o", "other.gfd"),
    )
    assert outcome.status == 2
    assert Path("new.npz").read_bytes() == Path("kept.npz").read_bytes()
    assert not Path("report.json").exists()
    assert not Path("other.gfd").exists()
    assert Path("tiny.gfd").read_bytes() == (labelled / "tiny.gfd").read_bytes()


def test_what_is_wrong_in_the_order_is_told_before_any_image_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "find_labelled", lambda *_: pytest.fail("images were read"))
    for options in (("--max-ms", "8"), (), (*BUDGET, "--name", "full"), (*BUDGET, "--outputs", ".")):
        assert run("gfnet-dynn", "calibrate", "tiny.gfd", "scenes", *options).status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-mmacs", "0.00009"), "a mean MACs of 9e-05 MMACs is not reachable: the cheapest setting costs 0.0001"),
        (("--max-mmacs", "0.00009", "--risk", "harmful-exits"), "a mean MACs of 9e-05 MMACs is not reachable"),
        (("--max-ms", "5", "--benchmark", "bench.json"), "a mean latency of 5 ms is not reachable: the cheapest"),
        (("--max-mj", "1", "--benchmark", "bench.json"), "a mean energy of 1 mJ is not reachable: the cheapest"),
        (("--p99-ms", "5", "--benchmark", "bench.json"), "a deadline of 5 ms is not reachable: the 99th percentile of"),
        (("--max-ms", "9", "--p99-ms", "5", "--benchmark", "bench.json"), "a deadline of 5 ms is not reachable"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_not_even_the_cheapest_exit_keeps_is_told_before_any_image_is_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(calibrating, "find_labelled", lambda *_: pytest.fail("images were read"))
    monkeypatch.setattr(calibrating, "load_outputs", lambda *_: pytest.fail("outputs were read"))
    for images in ("scenes", "kept.npz"):
        outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", images, *options, "--outputs", "new.npz")
        assert outcome.status == 2
        assert message in outcome.err
        assert not Path("new.npz").exists()


def test_a_network_whose_answers_are_no_numbers_is_refused(run: Run) -> None:
    broken = [*bundles.segments()[:1], bundles.segment(1, gate="nan"), *bundles.segments()[2:]]
    bundles.write_tiny(Path("nan.gfd"), bundles.files(fp32=broken))
    outcome = run("gfnet-dynn", "calibrate", "nan.gfd", "scenes", *BUDGET, "--outputs", "new.npz")
    assert outcome.status == 2
    assert "in fp32 the network's answer to scenes/field/" in outcome.err
    assert f"is not a number (and to {IMAGES - 1} others): export it anew" in outcome.err
    assert not Path("new.npz").exists()


def test_a_network_without_early_exits_is_refused(run: Run) -> None:
    graph = {"fp32/segment0.onnx": bundles.segment(0, outputs=("logits",))}
    never = Policy(FULL, "gate", (), "no image leaves early")
    bundles.write_tiny(Path("plain.gfd"), graph, exits=(Exit("final", 0, 5),), policies=(never,))
    outcome = run("gfnet-dynn", "calibrate", "plain.gfd", "scenes", *BUDGET)
    assert outcome.status == 2
    assert "the network has no early exits, so there is nothing to choose: train it with --exits" in outcome.err


def test_too_few_images_are_told_how_many_would_do(run: Run) -> None:
    few = bundles.images(9, seed=1)
    write_scenes(Path("few"), few, np.arange(9) % 3)
    outcome = run(
        "gfnet-dynn", "calibrate", "tiny.gfd", "few", "--risk", "harmful-exits", "--score", "margin", "--threads", "1"
    )
    assert outcome.status == 2
    assert "6 images cannot support a limit of 1 points for harm with probability 0.95: at least" in outcome.err
    assert "6 of the 9 images given are tested" in outcome.err


def test_one_image_of_each_class_is_enough_for_a_budget(run: Run) -> None:
    images = bundles.images(40)
    labels = labels_of(images, wrong=0)
    rows = [int(np.flatnonzero(labels == label)[0]) for label in range(3)]
    write_scenes(Path("one"), images[rows], labels[rows])
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "one", *BUDGET, "--sets", "90", "--score", "neighbours")
    assert outcome.status == 0, outcome.err
    assert policy_of().sets is not None
    said = run("gfnet-dynn", "classify", "tiny.gfd", "one", "--precision", "fp32", "--format", "json")
    assert said.out.count('"among": ["') == 3


def test_help_says_what_to_give(run: Run) -> None:
    outcome = run("gfnet-dynn", "calibrate", "--help")
    assert outcome.status == 0
    assert "Find the cheapest exit policy that keeps a risk, a budget or both" in outcome.out
    for option in (
        "--risk",
        "--max-ms",
        "--p99-ms",
        "--max-mj",
        "--max-mmacs",
        "--benchmark",
        "--per-exit",
        "--outputs",
    ):
        assert option in outcome.out


def test_the_command_calibrates_without_torch_and_onnx(tmp_path: Path) -> None:
    body = 'sys.modules["onnx"] = None\nfrom gfnet_dynn.cli.app import main\nmain()'
    result = without_torch(body, "calibrate", "tiny.gfd", "scenes", *BUDGET, "--sets", "90", "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert names_of() == ["calibrated", *POLICIES]
