"""The device benchmark, without a clock: what it times is checked, not how long it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gfnet_dynn.benchmark.candidates import ExitCost, Identity, labels_of
from gfnet_dynn.benchmark.energy.meter import Energy, Meter
from gfnet_dynn.benchmark.energy_use import EnergyReport, measure_energy
from gfnet_dynn.benchmark.measurement import (
    ColdStart,
    Latency,
    Preprocessing,
    Sample,
    measure_candidates,
    measure_cold_start,
    measure_preprocessing,
    time_in_turns,
)
from gfnet_dynn.benchmark.result import BenchmarkResult, Machine
from gfnet_dynn.cli.terminal import print_tables
from gfnet_dynn.errors import EngineError, MeterError
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import InputSpec
from tests.conftest import write_image


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.perf_counter", made)
    return made


class Worker:
    """A network whose image n takes exit n mod 2; a segment takes 10 ms, reading a file 1 ms."""

    identity = Identity("worker", "hands 1.0", "fp32", "full (never)", 2, 200, "a/scene.gfd", "0" * 64, 5_000_000)
    exits = (ExitCost("exit 1", 0.5), ExitCost("final", 1.0))

    def __init__(self, clock: Clock, labels: tuple[int, ...] | None = (0, 1, 1, 1)) -> None:
        self.clock, self.labels = clock, labels
        self.answered: list[str] = []

    def forced_to(self, exit_index: int) -> Callable[[Images], object]:
        return lambda image: self._work(exit_index)

    def _work(self, exit_index: int) -> int:
        self.clock.now += 0.010 * (exit_index + 1)
        return exit_index

    def decide(self, image: Images) -> int:
        return self._work(int(image[0, 0, 0, 0]) % 2)

    def read(self, file: Path) -> Images:
        self.clock.now += 0.001
        return np.full((1, 2, 2, 3), int(file.stem), np.uint8)

    def classify(self, file: Path) -> object:
        self.answered.append(file.stem)
        return self.decide(self.read(file))

    def exit_outputs(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """Exit 1 predicts class 0, the final exit class 1; every second image exits early."""
        if self.labels is None:
            return None
        logits = np.zeros((len(images), 2, 2), np.float32)
        logits[:, 0, 0] = logits[:, 1, 1] = 1
        gates = (images[:, 0, 0, :1] % 2 == 0).astype(np.float32)
        return ExitArrays(logits, gates, np.array(self.labels))


FILES = tuple(Path(f"{number}.png") for number in range(4))
SAMPLE = Sample(FILES, 4)


def on_step(done: int, total: int) -> None:
    assert 0 < done <= total


def test_calls_take_turns_at_all_images_and_first_runs_do_not_count(clock: Clock) -> None:
    order: list[tuple[str, int]] = []

    def call(name: str, milliseconds: float) -> Callable[[int], object]:
        def work(image: int) -> None:
            order.append((name, image))
            clock.now += milliseconds / 1e3

        return work

    times = time_in_turns([call("a", 1), call("b", 5)], images=3, repeats=2, on_step=on_step)
    assert times.shape == (2, 3, 2)
    assert np.allclose(times, [1, 5])
    one_round = [(name, image) for name in "ab" for image in (0, 1, 0, 1, 2)]  # two untimed
    assert order == one_round * 2


def test_a_latency_is_told_by_its_distribution() -> None:
    latency = Latency.of(np.arange(101.0).reshape(1, 101))
    assert (latency.median_ms, latency.mean_ms, latency.p90_ms, latency.p99_ms) == (50, 50, 90, 99)


def test_each_exit_the_mix_and_the_way_from_the_file(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock)], SAMPLE, 3, on_step)
    assert [way.latency.median_ms for way in figures.exits] == pytest.approx([10, 20])
    assert [way.latency_share for way in figures.exits] == pytest.approx([0.5, 1])
    assert [way.macs_share for way in figures.exits] == [0.5, 1.0]
    assert figures.mix.mean_ms == pytest.approx(15)
    assert figures.end_to_end is not None
    assert figures.end_to_end.mean_ms == pytest.approx(16)
    assert [figures.end_to_end.p90_ms, figures.end_to_end.p99_ms] == pytest.approx([21, 21])
    assert [way.share for way in figures.exits] == [0.5, 0.5]
    assert figures.accuracy is not None  # the third image exits with class 0
    assert (figures.accuracy.value, figures.accuracy.n) == (0.75, 4)
    assert figures.full_accuracy == figures.accuracy
    assert figures.full.median_ms == pytest.approx(20)


def test_the_curve_goes_from_the_first_exit_to_the_full_network(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock)], SAMPLE, 1, on_step)
    first, last = figures.curve[0], figures.curve[-1]
    assert (first.threshold, first.accuracy.value) == (0, 0.25)
    assert first.mean_ms == pytest.approx(10)
    assert (last.threshold, last.accuracy.value) == (None, 0.75)
    assert last.mean_ms == pytest.approx(20)
    assert figures.curve[1].mean_ms == pytest.approx(15)


def test_without_labels_there_is_no_accuracy(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock, None)], SAMPLE, 1, on_step)
    assert figures.accuracy is None
    assert figures.curve == ()


def test_labels_are_the_names_of_folders(tmp_path: Path) -> None:
    files = [tmp_path / "beach" / "1.png", tmp_path / "airport" / "2.png"]
    assert labels_of(files, ("airport", "beach")).tolist() == [1, 0]  # type: ignore[union-attr] # all are classes
    assert labels_of([*files, tmp_path / "other" / "3.png"], ("airport", "beach")) is None


def test_decoding_and_resizing_are_timed_apart(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 0, 0)
    found = measure_preprocessing([tmp_path / "a.png"], InputSpec(16), 2, on_step)
    assert found.decode.median_ms > 0
    assert found.fit.median_ms > 0


@dataclass(frozen=True)
class ConstantMeter(Meter):
    """2 W, 3 W where images are classified."""

    clock: Clock
    worker: Worker
    failing: list[str]

    def measure(self, work: Callable[[], object]) -> Energy:
        began, answered = self.clock.now, len(self.worker.answered)
        work()
        seconds = self.clock.now - began
        power = 3 if len(self.worker.answered) > answered else 2
        if self.failing:
            raise MeterError(self.failing[0])
        return Energy(power * seconds, seconds)


def fake_meter(clock: Clock, worker: Worker, *failing: str) -> ConstantMeter:
    return ConstantMeter("fake", "all", "a test", clock, worker, list(failing))


@pytest.fixture
def patient(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr("time.sleep", sleep)
    return clock


def test_energy_is_measured_and_idle_power_taken_off(patient: Clock) -> None:
    worker = Worker(patient)
    report = measure_energy([worker], FILES, ([fake_meter(patient, worker)], ["RAPL: none"]), 1.0, None, on_step)
    (figures,) = report.figures
    assert figures.kind == "measured"
    assert figures.image_mj == pytest.approx(3 * 16, rel=0.01)
    assert figures.idle_power_w == pytest.approx(2)
    assert figures.above_idle_mj == pytest.approx(16, rel=0.01)
    assert figures.images * 0.016 == pytest.approx(figures.seconds, rel=0.05)
    assert report.unavailable == ("RAPL: none",)


def test_an_idle_time_that_did_not_pass_gives_no_figure(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    worker = Worker(clock)
    report = measure_energy([worker], FILES, ([fake_meter(clock, worker)], []), 1.0, None, on_step)
    assert report.figures == ()
    assert "fake: no time passed" in report.unavailable[0]


def test_a_meter_that_fails_half_way_takes_no_figure_with_it(patient: Clock) -> None:
    first, second = Worker(patient), Worker(patient)
    meter = fake_meter(patient, first)

    def break_it(file: Path) -> object:
        meter.failing.append("the meter fell off")
        return Worker.classify(second, file)

    second.classify = break_it  # type: ignore[method-assign]
    report = measure_energy([first, second], FILES, ([meter], []), 1.0, None, on_step)
    assert len(report.figures) == 1
    assert report.unavailable == ("the meter fell off",)


def test_a_meter_that_fails_costs_no_other_figure(patient: Clock) -> None:
    worker = Worker(patient)
    meters: list[Meter] = [fake_meter(patient, worker, "the meter fell off"), fake_meter(patient, worker)]
    report = measure_energy([worker], FILES, (meters, []), 1.0, None, on_step)
    assert len(report.figures) == 1
    assert report.unavailable == ("the meter fell off",)


def test_an_estimate_is_made_only_when_asked_for_and_says_so(patient: Clock) -> None:
    worker = Worker(patient)
    assert measure_energy([worker], FILES, ([], ["none here"]), 1.0, None, on_step) == EnergyReport((), ("none here",))
    (figures,) = measure_energy([worker], FILES, ([], []), 1.0, 5.0, on_step).figures
    assert figures.kind == "estimated"
    assert figures.source == "power given by the user"
    assert figures.image_mj == pytest.approx(5 * 16, rel=0.01)
    assert figures.above_idle_mj is None


def test_energy_can_be_left_out(clock: Clock) -> None:
    report = measure_energy([Worker(clock)], FILES, ([], []), 0, 5.0, on_step)
    assert report.figures == ()
    assert "--energy-seconds 0" in report.unavailable[0]


def make_result(clock: Clock, *, labelled: bool = True, name: str = "scene.gfd") -> BenchmarkResult:
    latency = Latency(1.0, 1.0, 2.0, 3.0)
    worker = Worker(clock, (0, 1, 1, 1) if labelled else None)
    worker.identity = replace(worker.identity, name=name)
    return BenchmarkResult(
        machine=Machine.here(1),
        subject=name,
        images=4,
        repeats=1,
        candidates=measure_candidates([worker], SAMPLE, 1),
        preprocessing=Preprocessing(latency, latency),
        cold_starts=(ColdStart(0.4, 110.0, 5, "fp32", "onnxruntime"), ColdStart(0.5, None, 5, "int8", "onnxruntime")),
        energy=EnergyReport((), ("no meter [here]",)),
        exported={},
        omitted=("Omitted: openvino.",),
    )


def test_the_result_is_json_with_its_sources(clock: Clock) -> None:
    described = json.loads(json.dumps(make_result(clock).to_dict(), allow_nan=False))
    first = described["candidates"][0]
    assert first["mix"]["mean_ms"] == pytest.approx(15)
    assert first["accuracy"] == {
        "value": 0.75,
        "low": pytest.approx(0.30, 0.01),
        "high": pytest.approx(0.954, 0.01),
        "n": 4,
    }
    assert first["curve"][-1]["threshold"] is None
    assert first["identity"]["sha256"] == "0" * 64
    assert described["cold_starts"][0]["peak_mb"] == 110
    assert any("measured on this machine" in line for line in described["sources"])
    assert any("scene.gfd at 2 px: full (never)" in line for line in described["sources"])
    assert "Omitted: openvino." in described["sources"]


def test_all_figures_stand_in_tables(clock: Clock) -> None:
    result = make_result(clock, name="worker")
    latency, accuracy, exits, starts = result.tables()
    assert latency.rows == (("worker, hands fp32", "20.00", "15.00", "15.00", "20.00", "20.00", "16.00"),)
    assert accuracy.rows == (("worker, hands fp32", "75.0% (30.1–95.4%)", "62", "0", "5.0"),)
    assert exits.rows[0] == ("worker, hands fp32", "exit 1", "50.0%", "50.0%", "10.00", "50%")
    assert exits.rows[1][:2] == ("", "final")
    assert [row[2] for row in starts.rows] == ["110", "–"]
    assert any("no meter [here]" in note for note in result.notes())


def test_random_images_give_latency_only(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock, None)], Sample((), 6, seed=1), 2, on_step)
    assert figures.end_to_end is None
    assert figures.full.median_ms == pytest.approx(20)
    assert sum(exit_.share for exit_ in figures.exits) == 1
    result = replace(make_result(clock, labelled=False), candidates=(figures,), preprocessing=None)
    assert any("random" in note for note in result.notes())
    assert result.tables()[0].rows[0][-1] == "–"


@pytest.mark.parametrize("labelled", [True, False])
def test_the_page_has_figures_and_plots(clock: Clock, labelled: bool) -> None:
    page = make_result(clock, labelled=labelled, name="$a<b[x]").to_html("$a<b[x]").decode()
    assert page.count("<svg") == 1
    assert "$a&lt;b[x], hands fp32" in page
    assert ("<td>75.0% (30.1–95.4%)</td>" in page) is labelled
    assert "<script" not in page
    assert "src=" not in page  # nothing is fetched when it is opened


def test_a_plot_has_bars_of_error(clock: Clock, tmp_path: Path) -> None:
    result = make_result(clock)
    assert result.plot(tmp_path / "plot.png").stat().st_size > 1000
    with_accuracy, *_ = result.draw().axes
    (bars,) = with_accuracy.containers
    assert bars.has_yerr
    (rows,) = bars.lines[2]
    assert rows.get_segments()[-1][:, 1].tolist() == pytest.approx([30.1, 95.4], rel=0.01)


def test_names_of_files_are_printed_as_they_are(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(make_result(clock, name="[/x]scene[v2]"), Console(width=200))
    assert "[/x]scene[v2], hands fp32" in capsys.readouterr().out


def test_a_fresh_process_that_fails_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(EngineError, match="a fresh process cannot classify"):
        measure_cold_start(tmp_path / "none.gfd", tmp_path / "a.png", "onnxruntime", "fp32", starts=1)
