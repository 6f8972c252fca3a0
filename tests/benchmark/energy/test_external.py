from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy import meter as sampling
from gfnet_dynn.benchmark.energy.external import ExternalMeter, find_external
from gfnet_dynn.errors import MeterError

BEGIN_S = 1_700_000_000.0


def write_log(path: Path, *samples: tuple[float, float]) -> None:
    lines = "".join(f"{BEGIN_S + time_s},{power_w}\n" for time_s, power_w in samples)
    path.write_text(f"time_s,power_w\n{lines}", encoding="utf-8")


def meter_of(path: Path, *samples: tuple[float, float]) -> ExternalMeter:
    write_log(path, *samples)
    return ExternalMeter("external meter", "all", str(path), path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "power.csv"


@pytest.mark.parametrize(
    ("start_s", "end_s", "joules"),
    [
        (0.0, 4.0, 2.5 + 4 + 4.5 + 4),  # the whole log
        (1.0, 3.0, 4 + 4.5),  # from one sample to another
        (0.5, 3.25, 0.5 * 3.25 + 4 + 4.5 + 0.25 * 4.75),  # both ends between samples
        (1.25, 1.75, 0.5 * 4),  # between two samples
        (2.0, 2.5, 0.5 * 4.25),
    ],
)
def test_power_is_integrated_over_the_interval_alone(path: Path, start_s: float, end_s: float, joules: float) -> None:
    meter = meter_of(path, (0, 1), (1, 4), (2, 4), (3, 5), (4, 3))
    energy = meter.energy_between(BEGIN_S + start_s, BEGIN_S + end_s)
    assert energy.joules == pytest.approx(joules)
    assert energy.seconds == end_s - start_s


def test_a_block_is_measured_by_the_log_that_is_there_afterwards(path: Path) -> None:
    times = iter([BEGIN_S + 1, BEGIN_S + 3])
    meter = replace(meter_of(path), clock=lambda: next(times), sleep=lambda _: pytest.fail("waited for nothing"))
    energy = meter.measure(lambda: write_log(path, (0, 2), (2, 2), (4, 2)))
    assert (energy.joules, energy.seconds) == (4.0, 2.0)


def test_the_last_sample_is_waited_for(path: Path) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            write_log(path, (0, 2), (1, 2), (2, 2))

    times = iter([BEGIN_S, BEGIN_S + 1.5])
    meter = replace(meter_of(path, (0, 2), (1, 2)), clock=lambda: next(times), sleep=nap)
    energy = meter.measure(lambda: None)
    assert energy.joules == 3.0
    assert naps == [1.0] * 3


def test_a_log_that_does_not_go_on_is_not_waited_for_for_ever(path: Path) -> None:
    naps: list[float] = []
    times = iter([BEGIN_S, BEGIN_S + 1.5])
    meter = replace(meter_of(path), clock=lambda: next(times), sleep=naps.append, wait_s=4.0)
    with pytest.raises(MeterError, match="has no samples yet"):
        meter.measure(lambda: None)
    assert naps == [1.0] * 4


@pytest.mark.parametrize(("start_s", "end_s"), [(-0.5, 1.0), (1.0, 2.5), (10.0, 11.0), (-5.0, -4.0)])
def test_a_log_that_does_not_cover_the_interval_is_refused(path: Path, start_s: float, end_s: float) -> None:
    meter = meter_of(path, (0, 1), (1, 1), (2, 1))
    with pytest.raises(MeterError) as caught:
        meter.energy_between(BEGIN_S + start_s, BEGIN_S + end_s)
    assert f"{path} covers 1700000000.000 s to 1700000002.000 s" in str(caught.value)
    assert f"from {BEGIN_S + start_s:.3f} s to {BEGIN_S + end_s:.3f} s" in str(caught.value)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 6.0), (1.5, 5.5), (2.0, 3.0), (0.5, 1.25), (4.0, 5.5)])
def test_a_gap_in_the_interval_is_refused_even_at_its_ends(
    path: Path, start_s: float, end_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = meter_of(path, (0, 1), (1, 1), (5, 1), (6, 1))
    with pytest.raises(MeterError, match=r"power\.csv: no sample for 4\.00 s"):
        meter.energy_between(BEGIN_S + start_s, BEGIN_S + end_s)
    monkeypatch.setattr(sampling, "MAX_GAP_S", 4.0)
    assert meter.energy_between(BEGIN_S + start_s, BEGIN_S + end_s).joules == pytest.approx(end_s - start_s)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 1.0), (0.25, 0.5), (5.0, 6.0)])
def test_a_gap_elsewhere_does_not_matter(path: Path, start_s: float, end_s: float) -> None:
    meter = meter_of(path, (0, 1), (1, 1), (5, 1), (6, 1))
    energy = meter.energy_between(BEGIN_S + start_s, BEGIN_S + end_s)
    assert energy.joules == pytest.approx(end_s - start_s)


@pytest.mark.parametrize("end_s", [0.0, -1.0])
def test_a_clock_that_did_not_go_forward_is_refused(path: Path, end_s: float) -> None:
    with pytest.raises(MeterError, match="no time passed"):
        meter_of(path, (-2, 1), (1, 1)).energy_between(BEGIN_S, BEGIN_S + end_s)


def test_a_log_is_found_by_its_path(path: Path) -> None:
    write_log(path)
    ((meter,), reasons) = find_external(path)
    assert reasons == []
    assert (meter.name, meter.covers, meter.source) == (
        "external meter",
        "everything that the external meter supplies",
        str(path),
    )


def test_a_log_that_cannot_be_read_is_reported(path: Path) -> None:
    meters, (reason,) = find_external(path)
    assert meters == []
    assert reason.startswith(f"external meter: cannot read the meter's log {path}")
