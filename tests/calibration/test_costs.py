from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.bundle.manifest import Exit, Manifest
from gfnet_dynn.calibration.costs import from_benchmark, macs
from gfnet_dynn.calibration.request import Quantity
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.spec.network import InputSpec
from tests import bundles
from tests.calibration.benchmarks import BESIDE, FAST, SLOW, candidate, energy, report, write_benchmark

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bench.json"


def test_macs_are_counted_in_millions() -> None:
    costs = macs(bundles.manifest())
    assert (costs.quantity, costs.unit, costs.worst, costs.source) == ("MACs", "M MACs", None, "counted from shapes")
    assert costs.means == pytest.approx((100e-6, 250e-6, 400e-6))


def test_a_frame_goes_from_file_to_label(file: Path) -> None:
    costs = from_benchmark(write_benchmark(file, report(candidate())), bundles.manifest(), "latency")
    assert (costs.quantity, costs.unit) == ("latency", "ms")
    assert costs.means == pytest.approx([BESIDE + each for each in SLOW])
    assert costs.worst == pytest.approx([BESIDE - (1.0 + 0.5) + 2.0 + 0.75 + 1.5 * each for each in SLOW])
    assert costs.source == "measured end to end; onnxruntime 1.0, fp32, on a Cortex"


def test_reading_is_never_free(file: Path) -> None:
    """Two noisy means may say that a frame takes no longer than the network alone."""
    write_benchmark(file, report(candidate(beside=-0.5)))
    assert from_benchmark(file, bundles.manifest(), "latency").means == pytest.approx([1.5 + each for each in SLOW])


def test_the_fastest_figures_count_unless_a_precision_is_named(file: Path) -> None:
    write_benchmark(file)
    assert from_benchmark(file, bundles.manifest(), "latency").means[-1] == pytest.approx(BESIDE + FAST[-1])
    slow = from_benchmark(file, bundles.manifest(), "latency", "fp32")
    assert slow.means[-1] == pytest.approx(BESIDE + SLOW[-1])
    assert "fp32" in slow.source


def test_a_precision_that_auto_may_not_take_does_not_count_unless_it_is_named(file: Path) -> None:
    cautious = bundles.manifest(auto_precisions=("fp32",))
    costs = from_benchmark(write_benchmark(file), cautious, "latency")
    assert costs.precision == "fp32"
    assert costs.means[-1] == pytest.approx(BESIDE + SLOW[-1])
    assert from_benchmark(file, cautious, "latency", "int8").precision == "int8"


def test_fastest_is_whose_full_pass_is(file: Path) -> None:
    quick_start = candidate("int8", (1.0, 2.0, 30.0))
    write_benchmark(file, report(candidate(), quick_start))
    assert from_benchmark(file, bundles.manifest(), "latency").means[-1] == pytest.approx(BESIDE + SLOW[-1])


def test_torch_and_precisions_that_the_bundle_lacks_do_not_count(file: Path) -> None:
    eager = candidate("fp32", (0.1, 0.2, 0.3), engine="torch 2.11")
    write_benchmark(file, report(eager, candidate(), candidate("int8", FAST)))
    only_fp32 = bundles.manifest(bundles.files(fp32=bundles.segments()))
    assert from_benchmark(file, only_fp32, "latency").means[-1] == pytest.approx(BESIDE + SLOW[-1])


def test_only_the_engine_that_will_run_counts(file: Path) -> None:
    """Another that is faster would grant budgets which are not kept."""
    quick = candidate("fp32", FAST, engine="openvino 1.0")
    write_benchmark(file, report(candidate(), quick))
    own = from_benchmark(file, bundles.manifest(), "latency", engine="onnxruntime")
    assert own.means[-1] == pytest.approx(BESIDE + SLOW[-1])
    assert from_benchmark(file, bundles.manifest(), "latency").means[-1] == pytest.approx(BESIDE + FAST[-1])
    write_benchmark(file, report(quick))
    with pytest.raises(
        CalibrationError, match=r"no figures of this network in onnxruntime: make them by .* --engine onnx"
    ):
        from_benchmark(file, bundles.manifest(), "latency", engine="onnxruntime")


def test_the_policies_of_a_bundle_do_not_change_what_its_exits_cost(file: Path) -> None:
    calibrated = bundles.manifest(policies=(bundles.CALIBRATED, *bundles.POLICIES))
    assert from_benchmark(write_benchmark(file), calibrated, "latency").means


def test_energy_is_the_measured_power_times_the_time(file: Path) -> None:
    fast = candidate("int8", FAST)
    write_benchmark(file, report(candidate(), fast, energies=(energy(candidate(), image_mj=99.0), energy(fast))))
    costs = from_benchmark(file, bundles.manifest(), "energy")
    assert (costs.quantity, costs.unit, costs.worst) == ("energy", "mJ", None)
    assert costs.means == pytest.approx([3.0 * (BESIDE + each) for each in FAST])
    assert costs.source == "estimated: 3.00 W by RAPL times measured ms; onnxruntime 1.0, int8, on a Cortex"


@pytest.mark.parametrize(
    "energies",
    [
        (),
        (energy(candidate(), kind="estimated"),),
        (energy(candidate("int8")),),
        (energy(candidate(engine="other 2.0")),),
        (energy(candidate(name="another")),),
    ],
    ids=["none", "estimated", "other precision", "other engine", "other network"],
)
def test_energy_that_no_meter_measured_is_asked_for(file: Path, energies: tuple[Any, ...]) -> None:
    write_benchmark(file, report(candidate(), energies=energies))
    with pytest.raises(CalibrationError) as caught:
        from_benchmark(file, bundles.manifest(), "energy")
    assert str(caught.value) == (f"{file} has no measured energy: measure where a meter is, with --energy-seconds")
    assert from_benchmark(file, bundles.manifest(), "latency").means


def with_ways(*macs: int) -> Manifest:
    names = [*(f"exit {index}" for index in range(1, len(macs))), "final"]
    content = {f"fp32/segment{index}.onnx": bytes([index]) for index in range(len(macs))}
    policies = (replace(bundles.POLICIES[2], thresholds=bundles.POLICIES[2].thresholds[:1] * (len(macs) - 1)),)
    ways = tuple(Exit(name, index, count) for index, (name, count) in enumerate(zip(names, macs, strict=True)))
    return bundles.manifest(content, exits=ways, policies=policies)


@pytest.mark.parametrize(
    "other",
    [
        bundles.manifest(input=InputSpec(16)),
        with_ways(100, 250, 401),
        with_ways(100, 251, 400),
        with_ways(200, 500, 800),
        with_ways(100, 400),
        with_ways(100, 250, 300, 400),
    ],
    ids=["size", "full", "an exit", "scaled", "fewer exits", "more exits"],
)
def test_figures_of_another_network_are_refused(file: Path, other: Manifest) -> None:
    write_benchmark(file)
    with pytest.raises(CalibrationError) as caught:
        from_benchmark(file, other, "latency")
    assert str(caught.value) == (
        f"{file} has no figures of this network: make them by `gfnet-dynn benchmark BUNDLE IMAGES --json FILE`"
    )


def test_a_bundle_that_stood_beside_one_of_another_size_is_measured_by_itself(file: Path) -> None:
    """Pictures were resized for the other one."""
    larger = candidate(manifest=bundles.manifest(input=InputSpec(16)))
    write_benchmark(file, report(larger, candidate()))
    with pytest.raises(CalibrationError, match="has no figures of this network: make them by"):
        from_benchmark(file, bundles.manifest(), "latency")
    quicker = candidate("int8", FAST, manifest=bundles.manifest(input=InputSpec(16)))
    write_benchmark(file, report(candidate(), quicker))  # of as many MACs, but another network
    assert from_benchmark(file, bundles.manifest(), "latency").means[-1] == pytest.approx(BESIDE + SLOW[-1])


def test_a_precision_that_was_not_measured_is_named(file: Path) -> None:
    write_benchmark(file, report(candidate()))
    with pytest.raises(CalibrationError, match="has no figures of this network in int8: make them by"):
        from_benchmark(file, bundles.manifest(), "latency", "int8")


def changed(place: str, value: object) -> str:
    fast = candidate("int8", FAST)
    described = report(candidate(), fast, energies=(energy(fast),))
    *outer, name = [int(part) if part.isdecimal() else part for part in place.split()]
    inner: Any = described
    for part in outer:
        inner = inner[part]
    inner[name] = value
    return json.dumps(described)


BY = "candidates 1 exits 1"


NO_LATENCY: tuple[object, ...] = (None, 3, [], {})
NO_BENCHMARKS = [
    *("", "no JSON", "{", "[]", "{}", "null", "3", '"candidates"', DEEP, '{"candidates": 3}', '{"candidates": [3]}'),
    '{"candidates": [{}]}',
    '{"exits": [], "setting": {}}',  # what `benchmark` writes of a network in torch
    *(changed(f"{BY} latency", value) for value in NO_LATENCY),
    *(changed(f"{BY} latency mean_ms", value) for value in (None, "fast", float("nan"), float("inf"), -100, 10**400)),
    *(changed(f"{BY} macs_share", value) for value in (None, "half", 10**400)),
    changed("candidates 1 exits", None),
    changed("candidates 1 identity", None),
    changed("candidates 1 identity engine", 3),
    changed("candidates 1 identity precision", []),
    changed("preprocessing decode", None),
    changed("preprocessing fit mean_ms", "quick"),
    changed("machine", None),
    changed("machine processor", "half \ud800 a character"),
]


@pytest.mark.parametrize("quantity", ["latency", "energy"])
@pytest.mark.parametrize("content", NO_BENCHMARKS, ids=range(len(NO_BENCHMARKS)))
def test_what_is_no_benchmark_is_refused_with_its_name(file: Path, content: str, quantity: Quantity) -> None:
    file.write_text(content, encoding="utf-8")
    with pytest.raises(CalibrationError) as caught:
        from_benchmark(file, bundles.manifest(), quantity)
    said = str(caught.value)
    assert str(file) in said or "must be a positive number" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("seconds", 0),
            ("seconds", 0.0),
            ("seconds", "long"),
            ("seconds", None),
            ("seconds", -1),
            ("seconds", 10**400),
        ),
        *(("images", None), ("images", "many"), ("images", 0), ("images", -3)),
        *(("image_mj", None), ("image_mj", float("nan")), ("image_mj", float("inf")), ("image_mj", -1.0)),
        *(("kind", None), ("identity", None), ("meter", "half \ud800 a character")),
    ],
)
def test_energy_that_is_no_number_is_refused(file: Path, field: str, value: object) -> None:
    file.write_text(changed(f"energy figures 0 {field}", value), encoding="utf-8")
    with pytest.raises(CalibrationError):
        from_benchmark(file, bundles.manifest(), "energy")


@pytest.mark.parametrize("place", ["absent.json", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(CalibrationError, match="cannot read the figures of `gfnet-dynn benchmark` in "):
        from_benchmark(tmp_path / place, bundles.manifest(), "latency")


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CalibrationError, match="cannot read the figures"):
        from_benchmark(file, bundles.manifest(), "latency")
