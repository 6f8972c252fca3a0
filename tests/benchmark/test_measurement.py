"""The device benchmark, without a clock: what it times is checked, not how long it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gfnet_dynn.benchmark import energy_use as device_energy
from gfnet_dynn.benchmark.candidates import Exit, Identity, labels_of
from gfnet_dynn.benchmark.cold_start import ColdStart, measure_cold_start
from gfnet_dynn.benchmark.energy.meter import Energy, Kind, Measurement, Meter
from gfnet_dynn.benchmark.energy_use import EnergyReport, EnergyRequest, measure_energy
from gfnet_dynn.benchmark.html_report import write_device_page
from gfnet_dynn.benchmark.measurement import Preprocessing, measure_candidates, measure_preprocessing
from gfnet_dynn.benchmark.report import DeviceReport, Machine, device_report_to_dict, tables
from gfnet_dynn.benchmark.timing import Latency, time_in_turns
from gfnet_dynn.cli.render.benchmark import print_device_benchmark
from gfnet_dynn.errors import EngineError, MeterError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import InputSpec
from tests.conftest import write_image


class Clock:
    """Time that passes only when somebody works."""

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
    """A network whose image n leaves at exit n mod 2, each segment taking 10 ms and reading a file 1 ms."""

    identity = Identity("worker", "hands 1.0", "fp32", "full (never)", 2, 200, "a/scene.gfd", "0" * 64, 5_000_000)
    exits = (Exit("exit 1", 0.5), Exit("final", 1.0))

    def __init__(self, clock: Clock, labels: tuple[int, ...] | None = (0, 1, 1, 1)) -> None:
        self.clock, self.labels = clock, labels
        self.answered: list[str] = []

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        return lambda image: self._work(exit_index)

    def _work(self, exit_index: int) -> int:
        self.clock.now += 0.010 * (exit_index + 1)
        return exit_index

    def decide(self, image: Images) -> int:
        return self._work(int(image[0, 0, 0, 0]) % 2)

    def read(self, file: Path) -> Images:
        self.clock.now += 0.001
        return np.full((1, 2, 2, 3), int(file.stem), np.uint8)

    def answer(self, file: Path) -> object:
        self.answered.append(file.stem)
        return self.decide(self.read(file))

    def judge(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """Exit 1 says class 0, the final classifier class 1; every second image would leave."""
        if self.labels is None:
            return None
        logits = np.zeros((len(images), 2, 2), np.float32)
        logits[:, 0, 0] = logits[:, 1, 1] = 1
        gates = (images[:, 0, 0, :1] % 2 == 0).astype(np.float32)
        return ExitArrays(logits, gates, np.array(self.labels))


FILES = [Path(f"{number}.png") for number in range(4)]


def told(done: int, total: int) -> None:
    assert 0 < done <= total


def test_calls_take_turns_at_all_images_and_first_runs_do_not_count(clock: Clock) -> None:
    order: list[tuple[str, int]] = []

    def call(name: str, milliseconds: float) -> Callable[[int], object]:
        def work(image: int) -> None:
            order.append((name, image))
            clock.now += milliseconds / 1e3

        return work

    times = time_in_turns([call("a", 1), call("b", 5)], images=3, rounds=2, told=told)
    assert times.shape == (2, 3, 2)
    assert np.allclose(times, [1, 5])
    one_round = [(name, image) for name in "ab" for image in (0, 1, 0, 1, 2)]  # two untimed
    assert order == one_round * 2


def test_a_latency_is_told_by_its_distribution() -> None:
    latency = Latency.of(np.arange(101.0).reshape(1, 101))
    assert (latency.median_ms, latency.mean_ms, latency.p90_ms, latency.p99_ms) == (50, 50, 90, 99)


def test_each_exit_the_mix_and_the_way_from_the_file(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock)], FILES, 3, told)
    assert [way.latency.median_ms for way in figures.exits] == pytest.approx([10, 20])
    assert [way.latency_share for way in figures.exits] == pytest.approx([0.5, 1])
    assert [way.macs_share for way in figures.exits] == [0.5, 1.0]
    assert figures.mix.mean_ms == pytest.approx(15)
    assert figures.end_to_end.mean_ms == pytest.approx(16)
    assert figures.images_per_s == pytest.approx(62.5)
    assert [way.share for way in figures.exits] == [0.5, 0.5]
    assert figures.accuracy == 0.75  # the third image leaves with class 0
    assert figures.full_accuracy == 0.75
    assert figures.full.median_ms == pytest.approx(20)


def test_the_curve_goes_from_the_first_exit_to_the_full_network(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock)], FILES, 1, told)
    first, last = figures.curve[0], figures.curve[-1]
    assert (first.threshold, first.accuracy) == (0, 0.25)
    assert first.mean_ms == pytest.approx(10)
    assert (last.threshold, last.accuracy) == (NEVER, 0.75)
    assert last.mean_ms == pytest.approx(20)
    assert figures.curve[1].mean_ms == pytest.approx(15)


def test_without_labels_there_is_no_accuracy(clock: Clock) -> None:
    (figures,) = measure_candidates([Worker(clock, None)], FILES, 1, told)
    assert figures.accuracy is None
    assert figures.curve == ()


def test_labels_are_the_names_of_folders(tmp_path: Path) -> None:
    files = [tmp_path / "beach" / "1.png", tmp_path / "airport" / "2.png"]
    assert labels_of(files, ("airport", "beach")).tolist() == [1, 0]  # type: ignore[union-attr] # all are classes
    assert labels_of([*files, tmp_path / "other" / "3.png"], ("airport", "beach")) is None


def test_decoding_and_resizing_are_timed_apart(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 0, 0)
    found = measure_preprocessing([tmp_path / "a.png"], InputSpec(16), 2, told)
    assert found.decode.median_ms > 0
    assert found.fit.median_ms > 0


class FakeMeter:
    """A constant power of 2 W, 3 W where images are classified."""

    name, covers, source = "fake", "all", "a test"

    def __init__(self, clock: Clock, worker: Worker, *, broken: bool = False) -> None:
        self.kind: Kind = "measured"
        self.clock, self.worker, self.broken = clock, worker, broken

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        began, answered, measurement = self.clock.now, len(self.worker.answered), Measurement()
        yield measurement
        seconds = self.clock.now - began
        power = 3 if len(self.worker.answered) > answered else 2

        def result() -> Energy:
            if self.broken:
                raise MeterError("the meter fell off")
            return Energy(power * seconds, seconds, self.name, self.covers, self.kind, self.source)

        measurement.end(result)


@pytest.fixture
def patient(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    def idle(meter: Meter, seconds: float) -> float:
        with meter.measure() as measurement:
            clock.now += seconds
        return measurement.energy.power_w

    monkeypatch.setattr(device_energy, "idle_power_w", idle)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return clock


def test_energy_is_measured_and_idle_power_taken_off(patient: Clock) -> None:
    worker = Worker(patient)
    report = measure_energy([worker], FILES, ([FakeMeter(patient, worker)], ["RAPL: none"]), EnergyRequest(1.0), told)
    (figures,) = report.figures
    assert figures.kind == "measured"
    assert figures.image_mj == pytest.approx(3 * 16, rel=0.01)
    assert figures.idle_power_w == pytest.approx(2)
    assert figures.above_idle_mj == pytest.approx(16, rel=0.01)
    assert figures.images * 0.016 == pytest.approx(figures.seconds, rel=0.05)
    assert report.why_not == ("RAPL: none",)


def test_a_meter_that_fails_half_way_takes_no_figure_with_it(patient: Clock) -> None:
    first, second = Worker(patient), Worker(patient)
    meter = FakeMeter(patient, first)

    def break_it(file: Path) -> object:
        meter.broken = True
        return Worker.answer(second, file)

    second.answer = break_it  # type: ignore[method-assign]
    report = measure_energy([first, second], FILES, ([meter], []), EnergyRequest(1.0), told)
    assert len(report.figures) == 1
    assert report.why_not == ("the meter fell off",)


def test_a_meter_that_fails_costs_no_other_figure(patient: Clock) -> None:
    worker = Worker(patient)
    meters = [FakeMeter(patient, worker, broken=True), FakeMeter(patient, worker)]
    report = measure_energy([worker], FILES, (meters, []), EnergyRequest(1.0), told)
    assert len(report.figures) == 1
    assert report.why_not == ("the meter fell off",)


def test_an_estimate_is_made_only_when_asked_for_and_says_so(patient: Clock) -> None:
    worker = Worker(patient)
    assert measure_energy([worker], FILES, ([], ["none here"]), EnergyRequest(1.0), told) == EnergyReport(
        (), ("none here",)
    )
    (figures,) = measure_energy([worker], FILES, ([], []), EnergyRequest(1.0, 5.0), told).figures
    assert figures.kind == "estimated"
    assert figures.source == "power given by the user"
    assert figures.image_mj == pytest.approx(5 * 16, rel=0.01)
    assert figures.above_idle_mj is None


def test_energy_can_be_left_out(clock: Clock) -> None:
    report = measure_energy([Worker(clock)], FILES, ([], []), EnergyRequest(0, 5.0), told)
    assert report.figures == ()
    assert "--energy-seconds 0" in report.why_not[0]


def make_report(clock: Clock, *, labelled: bool = True, name: str = "scene.gfd") -> DeviceReport:
    latency = Latency(1.0, 1.0, 2.0, 3.0)
    worker = Worker(clock, (0, 1, 1, 1) if labelled else None)
    worker.identity = replace(worker.identity, name=name)
    return DeviceReport(
        machine=Machine.here(1),
        bundle=name,
        images=4,
        rounds=1,
        candidates=measure_candidates([worker], FILES, 1, told),
        preprocessing=Preprocessing(latency, latency),
        cold_starts=(ColdStart(0.4, 110.0, 5, "fp32", "onnxruntime"), ColdStart(0.5, None, 5, "int8", "onnxruntime")),
        energy=EnergyReport((), ("no meter [here]",)),
        exported={},
        notes=("Left out: openvino.",),
    )


def test_the_report_is_json_with_its_sources(clock: Clock) -> None:
    described = json.loads(json.dumps(device_report_to_dict(make_report(clock)), allow_nan=False))
    first = described["candidates"][0]
    assert first["mix"]["mean_ms"] == pytest.approx(15)
    assert first["curve"][-1]["threshold"] is None
    assert first["identity"]["sha256"] == "0" * 64
    assert first["images_per_s"] == pytest.approx(62.5)
    assert described["cold_starts"][0]["peak_mb"] == 110
    assert any("measured on this machine" in line for line in described["sources"])
    assert any("scene.gfd at 2 px: full (never)" in line for line in described["sources"])
    assert "Left out: openvino." in described["sources"]


def test_all_figures_stand_in_tables(clock: Clock) -> None:
    networks, exits, starts, energy = tables(make_report(clock, name="worker"))
    assert networks.rows[0] == (
        *("worker, hands fp32", "20.00", "15.00", "15.00", "20.00", "20.00", "16.00", "62", "75.0", "5.0"),
    )
    assert exits.rows[0] == ("worker, hands fp32", "exit 1", "50.0", "50.0", "10.00", "50")
    assert exits.rows[1][:2] == ("", "final")
    assert [row[2] for row in starts.rows] == ["110", "–"]
    assert energy.caption == "not measurable here; no meter [here]"


@pytest.mark.parametrize("labelled", [True, False])
def test_the_page_has_figures_and_plots(clock: Clock, tmp_path: Path, labelled: bool) -> None:
    report = make_report(clock, labelled=labelled, name="$a<b[x]")
    page = write_device_page(report, tmp_path / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert "$a&lt;b[x], hands fp32" in page
    assert ("<td>75.0</td>" in page) is labelled
    assert "not measurable here; no meter [here]" in page
    assert "<script" not in page
    assert "src=" not in page  # nothing is fetched when it is opened


def test_names_of_files_are_printed_as_they_are(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    print_device_benchmark(make_report(clock, name="[/x]scene[v2]"), Console(width=200))
    assert "[/x]scene[v2], hands fp32" in capsys.readouterr().out


def test_a_fresh_process_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(EngineError, match="a fresh process cannot classify"):
        measure_cold_start(tmp_path / "none.gfd", tmp_path / "a.png", "onnxruntime", "fp32", starts=1)
