"""`gfnet-dynn benchmark`, and the same from Python: one result for bundles, runs and named models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gfnet_dynn.benchmark.energy_use import EnergyReport
from gfnet_dynn.benchmark.in_torch import TorchCandidate
from gfnet_dynn.benchmark.measurement import ColdStart
from gfnet_dynn.benchmark.request import BenchmarkRequest
from gfnet_dynn.errors import GFNetDynnError, OptionError
from gfnet_dynn.model.checkpoint import save_checkpoint
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from gfnet_dynn.workflows import benchmarking
from gfnet_dynn.workflows.benchmarking import benchmark
from tests import bundles
from tests.benchmark.energy.nvidia import Gpu, install
from tests.cli.conftest import Run

QUICK = ("--images", "4", "--repeats", "1", "--energy-seconds", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle, a run with its classes and input, and images in folders of classes; the run's weights are fresh."""
    for index, pixels in enumerate(bundles.images(9)):
        place = tmp_path / "images" / bundles.CLASSES[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index}.png")
    bundles.write_tiny(tmp_path / "tiny.gfd")
    spec = NetSpec(GFNetSpec(width=8, depth=4, patch_size=4), (0, 2), InputSpec(bundles.SIDE), bundles.CLASSES)
    torch.manual_seed(0)
    provenance = {"threshold": {"thresholds": [0.5, 0.5]}, "max_softmax_threshold": {"thresholds": [0.9, 0.9]}}
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "model.safetensors", build_net(spec), spec, provenance)
    return tmp_path


@pytest.fixture
def no_cold_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds, and one test has them."""
    monkeypatch.setattr(benchmarking, "measure_cold_start", lambda *_: ColdStart(0.5, 60.0, 1, "fp32", "onnxruntime"))


def stored(file: str = "figures.json") -> dict[str, Any]:
    described: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    return described


def test_a_bundle_beside_another_and_its_run_in_torch(folder: Path, run: Run) -> None:
    other = bundles.write_tiny(folder / "other.gfd")
    line = (folder / "tiny.gfd", folder / "images", "--against", other, "--torch", folder / "run", *QUICK)
    outcome = run(
        "gfnet-dynn", "benchmark", *line, "--engine", "onnxruntime", "--json", "figures.json", "--html", "report.html"
    )
    assert outcome.status == 0, outcome.err
    found = stored()
    names = [(each["identity"]["name"], each["identity"]["engine"].split()[0]) for each in found["candidates"]]
    assert {("tiny", "onnxruntime"), ("other", "onnxruntime")} < set(names)
    assert names[-2:] == [("early exits", "torch"), ("as published", "torch")]
    assert all(each["end_to_end"]["mean_ms"] > 0 for each in found["candidates"])
    assert [each["share"] for each in found["candidates"][-1]["exits"]] == [1.0]
    assert {each["accuracy"]["n"] for each in found["candidates"][:-1]} == {4}
    assert found["candidates"][-1]["accuracy"] is None
    assert found["cold_starts"][0]["peak_mb"] > 20
    assert found["command"].startswith("gfnet-dynn benchmark")
    assert "<svg" in Path("report.html").read_text(encoding="utf-8")
    assert "calibrate" in outcome.out
    assert "--benchmark figures.json" in outcome.out


@pytest.mark.usefixtures("no_cold_starts")
def test_a_run_and_a_named_model_give_the_same_kind_of_result(folder: Path, run: Run) -> None:
    in_torch = ("gfnet-96x8", "--input-size", "32")
    subjects = ((folder / "run", folder / "images"), (folder / "tiny.gfd", folder / "images"), in_torch)
    keys = []
    for subject in subjects:
        outcome = run("gfnet-dynn", "benchmark", *subject, *QUICK, "--json", "figures.json")
        assert outcome.status == 0, outcome.err
        found = stored()
        keys.append((set(found), set(found["candidates"][0]), set(found["candidates"][0]["exits"][0])))
        assert found["candidates"][0]["exits"][-1]["macs_share"] == 1
    assert keys[0] == keys[1] == keys[2]
    assert [each["name"] for each in found["candidates"][0]["exits"]] == [
        "exit 1",
        "exit 2",
        "exit 3",
        "exit 4",
        "final",
    ]
    assert (found["candidates"][0]["end_to_end"], found["preprocessing"]) == (None, None)


def test_a_run_exits_by_the_thresholds_that_training_found(folder: Path) -> None:
    request = BenchmarkRequest(
        subject=str(folder / "run"), images=(folder / "images",), num_images=3, repeats=1, energy_seconds=0
    )
    (figures,) = benchmark(request).candidates
    assert figures.identity.policy.startswith("gates ")
    assert figures.accuracy is not None
    (full,) = benchmark(replace(request, policy="full")).candidates
    assert [each.share for each in full.exits] == [0, 0, 1]
    assert full.accuracy == full.full_accuracy


def test_a_named_model_has_baselines_beside_it(folder: Path) -> None:
    request = BenchmarkRequest(
        subject="gfnet-96x8",
        input_size=32,
        images=(folder / "images",),
        against=(str(folder / "tiny.gfd"),),
        engine=("onnxruntime",),
        num_images=1,
        repeats=1,
        energy_seconds=0,
    )
    names = [each.identity.label for each in benchmark(request).candidates]
    assert names == ["gfnet-96x8, torch fp32", "tiny, onnxruntime fp32", "tiny, onnxruntime int8"]


@pytest.mark.usefixtures("no_cold_starts")
def test_progress_is_reported_and_nothing_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[str, int, int]] = []
    request = BenchmarkRequest(
        subject=str(folder / "tiny.gfd"), images=(folder / "images",), num_images=1, repeats=2, energy_seconds=0
    )
    benchmark(request, on_progress=lambda *each: seen.append(each))
    assert ("Measuring latency", 2, 2) in seen
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("no_cold_starts")
def test_an_estimate_is_marked(folder: Path, run: Run) -> None:
    line = (folder / "tiny.gfd", folder / "images", "--images", "1", "--repeats", "1", "--engine", "onnxruntime")
    outcome = run("gfnet-dynn", "benchmark", *line, "--energy-seconds", "0.01", "--estimate-power-w", "5")
    assert outcome.status == 0, outcome.err
    assert "estimated" in outcome.out


def test_the_energy_of_a_gpu_is_measured_where_a_candidate_runs_on_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Gpu(energy_mj=1))
    asked: list[list[str]] = []

    def noted(candidates: Any, files: Any, meters: Any, *more: Any) -> EnergyReport:
        del candidates, files, more
        asked.append([meter.name for meter in meters[0]])
        return EnergyReport((), ())

    monkeypatch.setattr("gfnet_dynn.workflows.benchmarking.measure_energy", noted)
    request = BenchmarkRequest(subject=str(folder / "run"), images=(folder / "images",), num_images=1, repeats=1)
    benchmark(request)
    monkeypatch.setattr(TorchCandidate, "device_name", "Accelerator 9")
    result = benchmark(request)
    assert ["NVML GPU 0" in names for names in asked] == [False, True]
    assert "Accelerator 9" in result.tables()[0].rows[0][0]


@pytest.mark.usefixtures("no_cold_starts", "tiny_model")
def test_static_networks_by_name_are_exported_for_it(folder: Path, run: Run) -> None:
    line = (folder / "tiny.gfd", folder / "images", "--engine", "onnxruntime", "--against", "efficientnet-lite0")
    outcome = run("gfnet-dynn", "benchmark", *line, *QUICK, "--json", "figures.json")
    assert outcome.status == 0, outcome.err
    found = [each for each in stored()["candidates"] if each["identity"]["name"] == "efficientnet-lite0"]
    exact, int8 = (each["identity"] for each in found)
    assert (exact["precision"], int8["precision"]) == ("fp32", "int8")
    assert exact["macs"] == pytest.approx(384e6, rel=0.01)
    assert int8["size_bytes"] < 0.35 * exact["size_bytes"]
    assert found[0]["accuracy"] is None  # its classifier is untrained


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (("tiny.gfd",), ("tiny.gfd", "images")),
        (("tiny.gfd", "images", "--against", "none.gfd"), ("none.gfd",)),
        (("tiny.gfd", "images", "--against", "gfnet-xs"), ("gfnet-xs",)),
        (("tiny.gfd", "images", "--policy", "careful"), ("careful",)),
        (("tiny.gfd", "images", "--engine", "onnxruntim"), ("onnxruntime",)),
        (("tiny.gfd", "images", "--torch", "nowhere"), ("nowhere",)),
        (("tiny.gfd", "images", "--torch", "run", "--policy", "plain"), ("plain", "gates")),
        (("tiny.gfd", "nothing"), ("nothing",)),
        (("none.gfd", "images"), ("none.gfd",)),
        (("tiny.gfd", "images", "--meter-csv", "none.csv"), ("--meter-csv", "none.csv")),
        (("tiny.gfd", "images", "--estimate-power-w", "inf"), ("--estimate-power-w", "inf")),
        (("tiny.gfd", "images", "--energy-seconds", "-1"), ("--energy-seconds", "-1")),
        (("tiny.gfd", "images", "--threads", "9999"), ("--threads", "9999")),
        (("tiny.gfd", "images", "--json", "."), ("folder",)),
        (("tiny.gfd", "images", "--pad"), ("--pad", "tiny.gfd")),
        (("gfnet-96x8", "--engine", "openvino"), ("--engine", "gfnet-96x8")),
        (("gfnet-96x8", "--torch", "run"), ("--torch", "gfnet-96x8")),
        (("gfnet-96x8", "--policy", "max-softmax"), ("max-softmax", "full")),
        (("gfnet-96x8", "--input-size", "30"), ("--input-size 24 or 32", "--pad")),
        (("gfnet-xl",), ("gfnet-xs",)),
    ],
)
def test_what_cannot_be_measured_is_an_error(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    outcome = run("gfnet-dynn", "benchmark", *line, "--images", "1", "--repeats", "1")
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert all(fact in outcome.err for fact in facts), outcome.err


@pytest.mark.parametrize("option", ["num_images", "repeats", "threads"])
def test_a_count_below_one_names_its_option(option: str) -> None:
    with pytest.raises(OptionError, match=f"--{option.removeprefix('num_')} must be at least 1, not 0"):
        BenchmarkRequest(subject="gfnet-96x8", **{option: 0})  # type: ignore[arg-type] # a count


def test_another_run_than_that_of_the_bundle_is_refused(folder: Path) -> None:
    bundles.write_tiny(folder / "tiny.gfd", classes=("a", "b", "c"))
    request = BenchmarkRequest(
        subject=str(folder / "tiny.gfd"), images=(folder / "images",), torch=folder / "run", energy_seconds=0
    )
    with pytest.raises(GFNetDynnError, match=r"tiny\.gfd"):
        benchmark(request)


def test_padding_makes_a_size_possible(run: Run) -> None:
    outcome = run("gfnet-dynn", "benchmark", "gfnet-96x8", "--input-size", "30", "--pad", *QUICK, "--json", "a.json")
    assert outcome.status == 0, outcome.err
    assert stored("a.json")["candidates"][0]["identity"]["input_px"] == 32


def test_help_is_grouped_and_hides_rare_options(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, complete = (run("gfnet-dynn", "benchmark", option).out for option in ("--help", "--help-all"))
    assert all(panel in plain for panel in ("Candidates:", "Measurement:", "Energy:", "Output:"))
    assert ("--seed" in plain, "--seed" in complete) == (False, True)
