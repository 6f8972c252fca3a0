"""`gfnet-dynn calibrate`."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfnet_dynn.bundle.archive import read_bundle, update_bundle
from gfnet_dynn.bundle.manifest import FULL, LEARNED_FROM, Exit
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.calibration import search
from gfnet_dynn.calibration.outputs import collect_outputs, find_calibration_images, load_outputs, store_outputs
from gfnet_dynn.exits import SCORES, first_exit
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import calibration as calibrating
from tests import bundles
from tests.calibration.benchmarks import BESIDE, FAST, candidate, energy, report, write_benchmark
from tests.calibration.folders import labels_of, write_scenes
from tests.cli.conftest import Outcome, Run
from tests.fingerprints import of_files
from tests.runtime.engines import ONNXRUNTIME
from tests.test_architecture import without_torch

IMAGES = 120
BUDGET = ("--max-mmacs", "0.00025")
PRICES = np.array((100, 250, 400)) / 1e6
POLICIES = ["gates", "plain", "full"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `scenes`, and what the tiny bundle says of it as `kept.npz`; never to be changed by a test."""
    root = tmp_path_factory.mktemp("labelled")
    write_scenes(root / "scenes", bundles.images(IMAGES))
    bundle = read_bundle(bundles.write_tiny(root / "tiny.gfd"))
    found = find_calibration_images(root / "scenes", bundle)
    store_outputs(root / "kept.npz", collect_outputs(bundle, found, ONNXRUNTIME))
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
    """Of all images, in each precision; measured costs are those of int8 alone."""
    bundle = read_bundle(Path("tiny.gfd"))
    stored = load_outputs(Path("kept.npz"), bundle)
    return [
        float(prices[first_exit(policy.scores(arrays).gates, policy.thresholds)].mean())
        for name, arrays in stored.precisions.items()
        if prices is PRICES or name == "int8"
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
    assert 0.00024 < max(mean_costs(policy)) <= 0.00025 * (1 + 1e-9)
    assert "bundle: tiny.gfd" in outcome.out
    assert "guarantee: none on accuracy" in outcome.out
    assert "next: gfnet-dynn classify tiny.gfd IMAGES --policy calibrated" in outcome.out
    assert "not the bundle's default" not in outcome.out


def test_a_policy_that_is_worse_than_the_default_is_stored_behind_it(calibrate: Calibrate, run: Run) -> None:
    """By a score that knows little, at a higher cost than the default's."""
    outcome = calibrate("--max-mmacs", "0.0003")
    assert names_of() == [*POLICIES, "calibrated"]
    assert "not the bundle's default" in outcome.out
    assert "the policy gates is more accurate" in outcome.out
    assert "next: gfnet-dynn bundle set-default tiny.gfd calibrated" in outcome.out
    assert run("gfnet-dynn", "bundle", "set-default", "tiny.gfd", "calibrated").status == 0
    assert names_of() == ["calibrated", *POLICIES]


BOTH, ONE = ("fp32", "int8"), ("fp32",)


@pytest.mark.parametrize(
    ("automatic", "options", "covered"),
    [
        (BOTH, (), BOTH),
        (ONE, (), ONE),
        (ONE, ("--precision", "int8"), BOTH),
        (ONE, ("--all-precisions",), BOTH),
    ],
    ids=str,
)
@pytest.mark.parametrize("images", ["scenes", "kept.npz"])
def test_a_policy_covers_the_precisions_that_run_by_default_and_those_asked_for(
    calibrate: Calibrate, automatic: tuple[str, ...], options: tuple[str, ...], covered: tuple[str, ...], images: str
) -> None:
    bundles.write_tiny(Path("tiny.gfd"), auto_precisions=automatic)
    outcome = calibrate(*BUDGET, *options, "--report", "report.json", images=images)
    policy = policy_of(name="calibrated")
    assert policy.covered == tuple(policy.references) == covered
    report = json.loads(Path("report.json").read_bytes())
    assert list(report["expected"]) == list(covered)
    assert report["precision"] in covered
    assert f"valid in {', '.join(covered)}" in outcome.out
    assert ("--all-precisions adds int8" in outcome.out) == (covered == ONE)


@pytest.mark.parametrize(
    ("automatic", "options", "facts", "absent"),
    [
        (BOTH, (), ("in int8", "--no-int8"), "--all-precisions"),
        (BOTH, ("--all-precisions",), ("in int8", "--no-int8"), "--all-precisions"),
        (ONE, ("--all-precisions",), ("in int8", "without --all-precisions"), "--no-int8"),
        (ONE, ("--precision", "int8"), ("in int8", "without --precision int8"), "--no-int8"),
    ],
    ids=str,
)
def test_a_refusal_names_the_precision_and_how_to_leave_it_out(
    run: Run, automatic: tuple[str, ...], options: tuple[str, ...], facts: tuple[str, ...], absent: str
) -> None:
    worse = [bundles.segment(index, lean=-1.8) for index in range(bundles.STAGES)]  # answers the other way round
    graphs = bundles.files(fp32=bundles.segments(), int8=worse)
    bundles.write_tiny(Path("worse.gfd"), graphs, auto_precisions=automatic)
    asked = ("--risk", "disagreement", "--risk-limit", "20%", "--threads", "1")
    outcome = run("gfnet-dynn", "calibrate", "worse.gfd", "scenes", *asked, *options)
    assert outcome.status == 2
    assert all(fact in outcome.err for fact in facts)
    assert absent not in outcome.err
    if automatic == ONE:
        assert run("gfnet-dynn", "calibrate", "worse.gfd", "scenes", *asked).status == 0


def test_no_precision_is_blamed_where_fp32_is_not_good_enough_either(run: Run) -> None:
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", "--risk", "error", "--risk-limit", "2%")
    assert outcome.status == 2
    assert "in int8" in outcome.err
    assert "--no-int8" not in outcome.err


def test_a_policy_that_came_meanwhile_is_kept(calibrate: Calibrate, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*arguments: Any) -> Any:
        update_bundle(Path("tiny.gfd"), lambda found: replace(found, policies=(bundles.CALIBRATED, *found.policies)))
        return search.find_policy(*arguments)

    monkeypatch.setattr(calibrating, "find_policy", meanwhile)
    calibrate(*BUDGET, "--name", "mine")
    assert names_of() == ["mine", "calibrated", *POLICIES]


def test_a_bundle_that_was_replaced_meanwhile_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*arguments: Any) -> Any:
        bundles.write_tiny(Path("tiny.gfd"), bundles.files(fp32=bundles.segments("int8")))
        return search.find_policy(*arguments)

    monkeypatch.setattr(calibrating, "find_policy", meanwhile)
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", *BUDGET)
    assert outcome.status == 2
    assert "tiny.gfd" in outcome.err
    assert names_of() == POLICIES


def test_classify_uses_it_unless_told_else(calibrate: Calibrate, run: Run) -> None:
    calibrate("--max-mmacs", "0.0001")
    said = run(
        "gfnet-dynn", "classify", "tiny.gfd", "scenes", "--precision", "fp32", "--threads", "1", "--format", "csv"
    )
    assert said.out.count("exit 1,") == IMAGES


def test_images_and_what_was_kept_of_them_give_the_same_bundle(calibrate: Calibrate) -> None:
    options = (*BUDGET, "--score", "margin", "--coverage", "80%", "--false-alarms", "10%")
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
    calibrate("--risk", "harmful-exits", "--risk-limit", "20%", "--name", "careful")
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
    assert policy_of().source.startswith("calibrated: mean MACs at most 0.00025 M MACs; 120 images, data ")


def test_the_same_command_writes_the_same_bundle(calibrate: Calibrate) -> None:
    options = ("--risk", "harmful-exits", "--risk-limit", "20%", "--per-exit", "--coverage", "90%")
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
    assert "bundle: deep/er/other.gfd" in outcome.out


def test_what_the_network_learned_from_stays_in_the_bundle(calibrate: Calibrate) -> None:
    content = {**bundles.files(), LEARNED_FROM: bytes(32)}
    bundles.write_tiny(Path("tiny.gfd"), content)
    calibrate(*BUDGET, images="scenes")
    bundle = read_bundle(Path("tiny.gfd"))
    assert bundle.manifest.learned_from == LEARNED_FROM
    assert bundle.read(LEARNED_FROM) == bytes(32)
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
    content = {**bundles.files(), LEARNED_FROM: bytes(32)}
    bundles.write_tiny(Path("tiny.gfd"), content, learned_from=LEARNED_FROM, provenance={"learned_from": described})
    said = calibrate(*BUDGET, images="scenes").out
    assert ("not recorded" in said) == (doubted is not None)
    assert doubted is None or f"training images of {doubted} " in said


def test_the_plot_is_drawn_where_it_is_asked_for(calibrate: Calibrate) -> None:
    outcome = calibrate("--risk", "harmful-exits", "--risk-limit", "20%", "--plot", "deep/reliability.svg")
    assert "exit 1: ECE" in Path("deep/reliability.svg").read_text(encoding="utf-8")
    assert "plot: deep/reliability.svg" in outcome.out


def test_the_report_holds_the_policy_and_the_figures(calibrate: Calibrate) -> None:
    outcome = calibrate("--risk", "harmful-exits", "--risk-limit", "20%", "--report", "deep/report.json")
    said = json.loads(Path("deep/report.json").read_text(encoding="utf-8"))
    assert said["policy"] == json.loads(json.dumps(policy_of().to_dict()))
    assert (said["guarantee_tested"]["images"], said["images"]) == (IMAGES, IMAGES)
    assert "report: deep/report.json" in outcome.out
    assert f"{100 * said['expected']['fp32']['accuracy']['value']:.1f}%" in outcome.out


def test_a_risk_is_guaranteed_at_the_level_asked_for(calibrate: Calibrate) -> None:
    options = ("--risk", "harmful-exits", "--risk-limit", "20%", "--confidence", "0.9", "--method", "exact")
    outcome = calibrate(*options)
    guarantee = policy_of(name="calibrated").guarantee
    assert guarantee["statement"] == "harmful exits at most 20% with 90% confidence"
    assert (guarantee["risk_limit"], guarantee["confidence"], guarantee["method"]) == (0.2, 0.9, "exact")
    assert guarantee["precisions"] == ["fp32", "int8"]
    assert guarantee["images"] == {"tested": IMAGES, "fitted": 0, "sets_and_unknown": 0}
    assert "guarantee: harmful exits at most 20% with 90% confidence, against the full network in fp32" in outcome.out


def test_the_precisions_are_compared(calibrate: Calibrate) -> None:
    stored = load_outputs(Path("kept.npz"), read_bundle(Path("tiny.gfd"))).precisions
    fp32, int8 = (stored[name].correct[:, -1] for name in ("fp32", "int8"))
    said = calibrate(*BUDGET).out
    lost, gained = int((fp32 & ~int8).sum()), int((int8 & ~fp32).sum())
    assert lost > gained
    found = re.search(r"int8, full network (\S+) pp (\S+) pp to (\S+) pp (\d+) (\d+) (\d+)", said)
    assert found
    assert float(found[1]) == pytest.approx(100 * (gained - lost) / IMAGES, abs=0.05)
    assert float(found[2]) < float(found[1]) < float(found[3])
    assert tuple(map(int, found.groups()[3:])) == (gained, lost, IMAGES)


@pytest.mark.parametrize("score", SCORES)
def test_every_signal_may_decide_with_sets_and_alarms(calibrate: Calibrate, score: str) -> None:
    calibrate(*BUDGET, "--score", score, "--coverage", "80%", "--false-alarms", "20%")
    policy = policy_of(name="calibrated")
    assert policy.score == score
    assert bool(policy.fitted.tables) == (score == "neighbours")
    assert policy.prediction_sets is not None
    assert policy.unknown_rule is not None
    assert (policy.prediction_sets.coverage, policy.unknown_rule.false_alarms) == (0.8, 0.2)
    answers = load("tiny.gfd", precision="fp32", threads=1).classify(
        list(bundles.images(30, seed=5)), policy="calibrated"
    )
    assert all(each.label in (each.prediction_set or ()) for each in answers)
    assert {type(each.unknown) for each in answers} == {bool}


def test_a_bundle_that_does_not_know_its_training_images_says_so(calibrate: Calibrate) -> None:
    assert "no record of its training images" in calibrate(*BUDGET).out
    content = {**bundles.files(), LEARNED_FROM: bytes(32)}
    bundles.write_tiny(Path("taught.gfd"), content)
    assert "no record" not in calibrate(*BUDGET, images="scenes", bundle="taught.gfd").out


def test_thresholds_for_each_exit(calibrate: Calibrate) -> None:
    calibrate("--risk", "harmful-exits", "--risk-limit", "20%", "--per-exit")
    images = policy_of().guarantee["images"]
    assert images in (
        {"tested": 84, "fitted": 36, "sets_and_unknown": 0},  # its own path was cheaper
        {"tested": 120, "fitted": 0, "sets_and_unknown": 0},  # one for all, to which nothing was fitted
    )
    assert len(policy_of().thresholds) == 2


def test_a_time_is_kept_by_what_the_benchmark_says(calibrate: Calibrate) -> None:
    outcome = calibrate("--max-ms", "8", "--benchmark", "bench.json")
    times = np.array(FAST) + BESIDE
    assert 7.8 < max(mean_costs(policy_of(), times)) <= 8
    budget = policy_of().guarantee["budget"]
    assert (budget["quantity"], budget["mean"], budget["p99"]) == ("latency", 8.0, None)
    assert budget["means"] == pytest.approx(times.tolist())
    assert (budget["precision"], budget["unit"]) == ("int8", "ms")
    assert re.search(r"fp32 \S+ \(\S+\) \S+% \S+ \d+% – ", outcome.out)
    assert re.search(r"int8 \S+ \(\S+\) \S+% \S+ \d+% [78]", outcome.out)


@pytest.mark.parametrize(("deadline", "last"), [("9.5", 0), ("14", 1)])
def test_a_deadline_is_kept_by_every_image(calibrate: Calibrate, deadline: str, last: int) -> None:
    calibrate("--p99-ms", deadline, "--benchmark", "bench.json")
    classifier = load("tiny.gfd", precision="int8", threads=1)
    exits = {each.exit for each in classifier.classify(list(bundles.images(40, seed=9)))}
    assert exits == {("exit 1", "exit 2")[last]}


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
    outcome = calibrate("--risk", "harmful-exits", "--risk-limit", "20%", "--benchmark", "bench.json")
    assert "latency: measured end to end" in outcome.out
    assert "budget" not in policy_of(name="calibrated").guarantee
    assert "latency" not in calibrate("--risk", "harmful-exits", "--risk-limit", "20%").out


def test_the_worse_precision_decides(calibrate: Calibrate) -> None:
    """Both are compared with the full network in fp32, from which int8 differs everywhere."""
    options = ("--risk", "disagreement", "--risk-limit", "40%", "--confidence", "90%")
    calibrate(*options, "--name", "both", images="scenes")
    both = policy_of(name="both")
    bundles.write_tiny(Path("tiny.gfd"), bundles.files(fp32=bundles.segments()))
    calibrate(*options, "--name", "fp32", images="scenes")
    assert both.thresholds[0] > policy_of(name="fp32").thresholds[0]
    assert policy_of(name="fp32").guarantee["precisions"] == ["fp32"]


def test_a_precision_whose_full_network_is_too_bad_is_named(run: Run) -> None:
    turned = bundles.segments()
    turned[0] = bundles.segment(0, lean=-1.9)
    bundles.write_tiny(Path("tiny.gfd"), bundles.files(fp32=bundles.segments(), int8=turned))
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "scenes", "--risk", "disagreement", "--risk-limit", "50%")
    assert outcome.status == 2
    assert "91.67%" in outcome.err


def test_images_without_labels_are_enough_for_disagreement(calibrate: Calibrate, run: Run) -> None:
    Path("plain").mkdir()
    for file in Path("scenes").rglob("*.png"):
        shutil.copy(file, f"plain/{file.name}")
    options = ("--risk", "disagreement", "--risk-limit", "40%", "--confidence", "90%")
    outcome = calibrate(
        *options, "--name", "plain2", "--outputs", "plain.npz", "--report", "report.json", images="plain"
    )
    assert "no labels" in outcome.out
    assert json.loads(Path("report.json").read_text(encoding="utf-8"))["labelled"] is False
    unlabelled = policy_of(name="plain2")
    assert unlabelled.guarantee["labelled"] is False
    calibrate(*options, images="scenes")
    assert policy_of(name="calibrated").thresholds == unlabelled.thresholds
    calibrate(*options, "--name", "again", images="plain.npz")
    assert policy_of(name="again").thresholds == unlabelled.thresholds
    for images in ("plain", "plain.npz"):
        refused = run("gfnet-dynn", "calibrate", "tiny.gfd", images, "--risk", "error", "--risk-limit", "40%")
        assert refused.status == 2
        assert "of each class" in refused.err or "for each class" in refused.err or "no images of" in refused.err


def test_all_is_whole_in_80_columns(calibrate: Calibrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = calibrate(*BUDGET, "--coverage", "90%")
    assert "…" not in outcome.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to calibrate for"),
        (("--risk-limit", "2%", "--confidence", "90%"), "--risk-limit and --confidence without --risk"),
        ((*BUDGET, "--method", "exact"), "--method without --risk"),
        (("--coverage", "90%"), "nothing to calibrate for"),
        (("--risk", "luck"), "--risk"),
        (("--risk", "harmful-exits", "--risk-limit", "0%"), "--risk-limit must be above 0%"),
        (("--risk", "harmful-exits", "--risk-limit", "100%"), "--risk-limit must be above 0% and below 100%"),
        (("--risk", "harmful-exits", "--risk-limit", "5"), "did you mean 5%?"),
        (("--risk", "harmful-exits", "--risk-limit", "-1%"), "--risk-limit"),
        (("--risk", "harmful-exits", "--risk-limit", "nan"), "--risk-limit"),
        (("--risk", "harmful-exits", "--confidence", "100%"), "--confidence must be at least 50% and below 100%"),
        (("--risk", "harmful-exits", "--confidence", "95"), "did you mean 95%?"),
        (("--risk", "harmful-exits", "--confidence", "0.4"), "--confidence must be at least 50%"),
        (("--risk", "harmful-exits", "--confidence", "101%"), "--confidence"),
        (("--risk", "accuracy-drop", "--method", "exact"), "--risk harmful-exits"),
        (("--risk", "brier", "--method", "exact"), "--method exact needs losses of 0 and 1"),
        (("--risk", "harmful-exits", "--method", "luck"), "--method"),
        (("--risk", "harmful-exits"), "the full network in int8 has 5.00% already"),
        (
            ("--risk", "error", "--risk-limit", "2%"),
            "the full network in int8 has 14.17% already",
        ),
        (
            ("--risk", "harmful-exits", "--risk-limit", "20%", "--method", "betting", *BUDGET),
            "above the budget of 0.00025",
        ),
        (
            ("--max-mmacs", "0.00005"),
            "MACs: a mean of 5e-05 M MACs is not reachable: the cheapest setting costs 0.0001",
        ),
        (("--max-mmacs", "0"), "--max-mmacs must be a positive number, not 0"),
        (("--max-mmacs", "nan"), "--max-mmacs must be a finite number, not nan"),
        (("--max-mmacs", "-1"), "--max-mmacs must be a positive number, not -1"),
        (("--max-mmacs", "0.0004"), "--max-mmacs 0.0004: the full network needs 0.0004 M MACs"),
        (("--max-mmacs", "250"), "did you mean --max-mmacs 0.00025?"),
        (("--max-ms", "12", "--benchmark", "bench.json"), "--max-ms 12: the full network needs 12 ms"),
        (("--p99-ms", "19", "--benchmark", "bench.json"), "--p99-ms 19: the full network needs 18.25 ms"),
        (("--max-mj", "36", "--benchmark", "bench.json"), "--max-mj 36: the full network needs 36 mJ"),
        (("--max-ms", "8"), "--max-ms needs --benchmark"),
        (("--p99-ms", "8"), "--p99-ms needs --benchmark"),
        (("--max-mj", "8"), "--max-mj needs --benchmark"),
        (("--max-ms", "8", "--benchmark", "kept.npz"), "cannot read the figures of `gfnet-dynn benchmark` in kept.npz"),
        (("--max-ms", "8", "--benchmark", "absent.json"), "absent.json"),
        (("--max-ms", "8", "--benchmark", "other.json"), "other.json has no figures of this network in onnxruntime"),
        (("--max-mj", "24", "--benchmark", "dark.json"), "dark.json has no measured energy"),
        (
            ("--max-ms", "8", "--benchmark", "fast.json", "--precision", "fp32"),
            "fast.json has no figures of this network in onnxruntime fp32",
        ),
        (("--max-mmacs", "1", "--p99-ms", "8"), "one kind of budget at a time, not --max-mmacs and --p99-ms"),
        ((*BUDGET, "--coverage", "100%"), "--coverage must be above 0% and below 100%, not 100%"),
        ((*BUDGET, "--coverage", "0%"), "--coverage must be above 0%"),
        ((*BUDGET, "--coverage", "90"), "did you mean 90%?"),
        ((*BUDGET, "--coverage", "99%"), "--coverage 99% needs 99 images"),
        ((*BUDGET, "--false-alarms", "-5%"), "--false-alarms"),
        ((*BUDGET, "--false-alarms", "1%"), "--false-alarms 1% needs 99 images"),
        ((*BUDGET, "--name", "full"), "'full'"),
        ((*BUDGET, "--name", "own"), "'own'"),
        ((*BUDGET, "--name", " "), "' '"),
        ((*BUDGET, "--name", "two\nlines"), "'two\\nlines'"),
        ((*BUDGET, "--name", os.fsdecode(b"caf\xe9")), "'caf\\udce9'"),
        ((*BUDGET, "--score", "telepathy"), "--score"),
        ((*BUDGET, "--engine", "tvm"), "--engine"),
        ((*BUDGET, "--threads", "0"), "--threads"),
        ((*BUDGET, "--seed", "-1"), "--seed"),
        ((*BUDGET, "--output", "scenes"), "scenes is a folder: name the file to write"),
        ((*BUDGET, "--report", "scenes"), "scenes is a folder: name the file to write"),
        ((*BUDGET, "--outputs", "."), ". is a folder: name the file to write"),
        ((*BUDGET, "--output", "tiny.gfd/inside.gfd"), "cannot create the folder"),
        ((*BUDGET, "--report", ""), "it is empty"),
        ((*BUDGET, "--plot", "plot.jpg"), "--plot must end in .png, .svg, .pdf, not plot.jpg"),
        ((*BUDGET, "--plot", "same.png", "--report", "same.png"), "--report and --plot are both same.png"),
        ((*BUDGET, "--report", "tiny.gfd"), "--report and BUNDLE are both tiny.gfd"),
        ((*BUDGET, "--outputs", "tiny.gfd"), "--outputs and BUNDLE are both tiny.gfd"),
        ((*BUDGET, "--outputs", "./tiny.gfd", "-o", "b.gfd"), "--outputs and BUNDLE are both tiny.gfd"),
        ((*BUDGET, "--report", "tiny.gfd", "-o", "b.gfd"), "--report and BUNDLE are both tiny.gfd"),
        ((*BUDGET, "--outputs", "b.gfd", "-o", "b.gfd"), "--output and --outputs are both b.gfd"),
        ((*BUDGET, "--outputs", "same", "--report", "same"), "--report and --outputs are both same"),
        ((*BUDGET, "--report", "kept.npz"), "--report and IMAGES are both kept.npz"),
        ((*BUDGET, "-o", "kept.npz"), "--output and IMAGES are both kept.npz"),
        (("--max-ms", "8", "--benchmark", "bench.json", "--report", "bench.json"), "--report and --benchmark are"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_told_and_nothing_is_written(run: Run, options: tuple[str, ...], message: str) -> None:
    bigger = bundles.manifest(exits=(Exit("exit 1", 0, 100), Exit("exit 2", 1, 250), Exit("final", 2, 999)))
    write_benchmark(Path("other.json"), report(candidate(manifest=bigger)))
    write_benchmark(Path("dark.json"), report(candidate()))
    write_benchmark(Path("fast.json"), report(candidate("int8", FAST)))
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "kept.npz", *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def changed_scenes(root: Path) -> Path:
    """The labelled images as one's own, to be changed."""
    shutil.copytree("scenes", root, symlinks=False)
    return root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "no folder mine"),
        (lambda root: shutil.rmtree(root / "river"), "mine has no images of river"),
        (lambda root: (root / "river").rename(root / "rivers"), "mine/rivers is no class of the network: did you mean"),
        (
            lambda root: shutil.copy(next((root / "town").iterdir()), root / "field" / "copy.png"),
            "such as mine/field/copy.png, mine/town/",
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
    path = bundles.write_tiny(Path("taught.gfd"), {**bundles.files(), LEARNED_FROM: of_files(known)})
    before = path.read_bytes()
    outcome = run("gfnet-dynn", "calibrate", "taught.gfd", "scenes", *BUDGET)
    assert outcome.status == 2
    assert f"the network was trained or selected on 3 of the {IMAGES} images, such as {known[0]}" in outcome.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "unlisted", "changed"])
def test_a_bundle_whose_training_images_are_not_known_rightly_is_refused(run: Run, how: str) -> None:
    packed = bytes(range(32))
    content = {**bundles.files(), LEARNED_FROM: {"cut": packed[:-3], "empty": b""}.get(how, packed)}
    path, members = Path("broken.gfd"), bundles.members()
    if how in ("cut", "empty"):
        bundles.write_tiny(path, content)
    else:
        described = bundles.manifest(bundles.files() if how == "unlisted" else content).to_dict()
        members["manifest.json"] = json.dumps(described).encode()
        if how != "missing":
            members[LEARNED_FROM] = packed[::-1] if how == "changed" else packed
        bundles.packed(path, members)
    outcome = run("gfnet-dynn", "calibrate", "broken.gfd", "scenes", *BUDGET)
    assert outcome.status == 2
    said = {
        "missing": f"broken.gfd: it lacks {LEARNED_FROM}: copy or export it anew",
        "cut": f"broken.gfd: its {LEARNED_FROM} has 29 bytes, not 32 for each image",
        "empty": f"broken.gfd: its {LEARNED_FROM} has 0 bytes, not 32 for each image",
        "unlisted": f"broken.gfd: it holds {LEARNED_FROM}, which its manifest does not name",
        "changed": f"broken.gfd: its {LEARNED_FROM} is not what was exported",
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
    assert "they are of another network" in outcome.err


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
        ("--risk", "harmful-exits", "--risk-limit", "0.1%"),
        ("--risk", "harmful-exits", "--risk-limit", "20%", "--method", "betting", *BUDGET),
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
    monkeypatch.setattr(calibrating, "find_calibration_images", lambda *_, **__: pytest.fail("images were read"))
    for options in (("--max-ms", "8"), (), (*BUDGET, "--name", "full"), (*BUDGET, "--outputs", ".")):
        assert run("gfnet-dynn", "calibrate", "tiny.gfd", "scenes", *options).status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--max-mmacs", "0.00009"),
            "MACs: a mean of 9e-05 M MACs is not reachable: the cheapest setting costs 0.0001",
        ),
        (("--max-mmacs", "0.00009", "--risk", "harmful-exits"), "MACs: a mean of 9e-05 M MACs is not reachable"),
        (("--max-ms", "5", "--benchmark", "bench.json"), "latency: a mean of 5 ms is not reachable: the cheapest"),
        (("--max-mj", "1", "--benchmark", "bench.json"), "energy: a mean of 1 mJ is not reachable: the cheapest"),
        (("--p99-ms", "5", "--benchmark", "bench.json"), "a deadline of 5 ms is not reachable: the 99th percentile of"),
        (("--max-ms", "9", "--p99-ms", "5", "--benchmark", "bench.json"), "a deadline of 5 ms is not reachable"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_not_even_the_cheapest_exit_keeps_is_told_before_any_image_is_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(calibrating, "find_calibration_images", lambda *_, **__: pytest.fail("images were read"))
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
    assert "in fp32 the network's output for scenes/field/" in outcome.err
    assert f"{IMAGES - 1} others" in outcome.err
    assert not Path("new.npz").exists()


def test_a_network_without_early_exits_is_refused(run: Run) -> None:
    graph = {"fp32/segment0.onnx": bundles.segment(0, outputs=("logits",))}
    never = Policy(FULL, "gate", (), "no image leaves early")
    bundles.write_tiny(Path("plain.gfd"), graph, exits=(Exit("final", 0, 5),), policies=(never,))
    outcome = run("gfnet-dynn", "calibrate", "plain.gfd", "scenes", "--risk", "error", "--risk-limit", "50%")
    assert outcome.status == 2
    assert "no early exits" in outcome.err


def test_too_few_images_are_told_how_many_would_do(run: Run) -> None:
    few = bundles.images(9, seed=1)
    write_scenes(Path("few"), few, np.arange(9) % 3)
    outcome = run(
        "gfnet-dynn", "calibrate", "tiny.gfd", "few", "--risk", "harmful-exits", "--score", "margin", "--threads", "1"
    )
    assert outcome.status == 2
    assert "6 images cannot support harmful exits at most 1% with 95% confidence: at least 299" in outcome.err
    assert "6 of the 9 images given are tested" in outcome.err


def test_one_image_of_each_class_is_enough_for_a_budget(run: Run) -> None:
    images = bundles.images(40)
    labels = labels_of(images, wrong=0)
    rows = [int(np.flatnonzero(labels == label)[0]) for label in range(3)]
    write_scenes(Path("one"), images[rows], labels[rows])
    outcome = run("gfnet-dynn", "calibrate", "tiny.gfd", "one", *BUDGET, "--score", "neighbours")
    assert outcome.status == 0, outcome.err
    assert policy_of(name="calibrated").fitted.tables


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
    result = without_torch(body, "calibrate", "tiny.gfd", "scenes", *BUDGET, "--coverage", "90%", "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert names_of() == ["calibrated", *POLICIES]
