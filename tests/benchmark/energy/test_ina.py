from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy.sysfs import find_ina
from gfnet_dynn.errors import MeterError
from tests.benchmark.energy.metronome import Metronome, write


def sensor(root: Path, driver: str, address: str, number: int, **files: object) -> Path:
    return write(root / "sys/bus/i2c/drivers" / driver / address / "hwmon" / f"hwmon{number}", **files)


def rails(**powers: tuple[int, int] | None) -> dict[str, object]:
    """The files of an INA3221, given (millivolts, milliamperes) of each rail; None where nothing is connected."""
    files: dict[str, object] = {"in7_label": "sum of shunt voltages", "in7_input": 5, "curr4_input": 99}
    for channel, (label, power) in enumerate(powers.items(), start=1):
        files |= {f"in{channel}_label": label, f"in{channel}_enable": 1}
        if power is not None:
            files |= {f"in{channel}_input": power[0], f"curr{channel}_input": power[1]}
    return files


def test_the_input_rail_is_the_total_where_there_is_one(tmp_path: Path) -> None:
    files = rails(VDD_IN=(5000, 1000), VDD_CPU_GPU_CV=(5000, 400), VDD_SOC=(5000, 300))
    folder = sensor(tmp_path, "ina3221", "1-0040", 1, **files)

    def beat(number: int) -> None:
        write(folder, curr1_input=1000 if number == 1 else 3000)

    metronome = Metronome(2, beat)
    meters, reasons = find_ina(tmp_path, metronome.timing)
    assert reasons == []
    (meter,) = meters
    assert meter.name == "INA3221"
    assert meter.covers == "module input rail VDD_IN: the module, without its carrier board"
    assert meter.source == f"{folder / '{in,curr}1_input'}, every 50 ms"

    def work() -> None:
        metronome.wait()
        metronome.now += 0.02

    energy = meter.measure(work)
    assert metronome.pauses == [0.05, 0.05]
    assert energy.seconds == pytest.approx(0.12)
    assert energy.joules == pytest.approx(5 * 0.05 + 10 * 0.05 + 15 * 0.02)


@pytest.mark.parametrize("label", ["POM_5V_IN", "5V_IN"])
def test_older_boards_name_their_input_otherwise(tmp_path: Path, label: str) -> None:
    sensor(tmp_path, "ina3221", "6-0040", 0, **rails(CPU=(5000, 1), **{label: (5000, 1)}))
    ((meter,), _) = find_ina(tmp_path)
    assert f"input rail {label}:" in meter.covers


def test_without_an_input_rail_the_rails_are_added_but_none_twice(tmp_path: Path) -> None:
    """The rails of AGX Orin, of which VIN_SYS_5V0 is one beside others, and VDDQ_VDD2_1V8AO a part of it."""
    sensor(
        tmp_path,
        "ina3221",
        "1-0040",
        1,
        **rails(VDD_GPU_SOC=(20000, 200), VDD_CPU_CV=(20000, 50), VIN_SYS_5V0=(5000, 400)),
    )
    sensor(tmp_path, "ina3221", "1-0041", 2, **rails(NC=None, VDDQ_VDD2_1V8AO=(5000, 100)))
    metronome = Metronome(0)
    ((meter,), reasons) = find_ina(tmp_path, metronome.timing)
    assert reasons == []
    assert meter.covers.startswith("sum of the rails VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0, which may not be the whole")
    assert "1-0041" not in meter.source

    def work() -> None:
        metronome.now += 1.0

    energy = meter.measure(work)
    assert energy.joules / energy.seconds == pytest.approx(4 + 1 + 2)


def test_a_rail_fed_by_one_that_is_not_measured_counts(tmp_path: Path) -> None:
    sensor(tmp_path, "ina3221", "1-0041", 2, **rails(VDDQ_VDD2_1V8AO=(5000, 100), GPU=(5000, 1)))
    ((meter,), _) = find_ina(tmp_path)
    assert "rails VDDQ_VDD2_1V8AO, GPU," in meter.covers


def test_a_rail_that_is_switched_off_is_left_out(tmp_path: Path) -> None:
    sensor(tmp_path, "ina3221", "1-0040", 1, **rails(GPU=(5000, 1), CPU=(5000, 1)) | {"in1_enable": 0})
    ((meter,), _) = find_ina(tmp_path)
    assert "rails CPU," in meter.covers


def test_rails_without_a_switch_are_on(tmp_path: Path) -> None:
    (sensor(tmp_path, "ina3221", "1-0040", 1, **rails(CPU=(5000, 1))) / "in1_enable").unlink()
    ((meter,), _) = find_ina(tmp_path)
    assert "rails CPU," in meter.covers


def test_a_sensor_without_rails_is_reported(tmp_path: Path) -> None:
    sensor(tmp_path, "ina3221", "1-0040", 1, **rails(NC=None))
    meters, (reason,) = find_ina(tmp_path)
    assert meters == []
    assert "hwmon1 names no rail" in reason


def test_a_rail_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (sensor(tmp_path, "ina3221", "1-0040", 1, **rails(VDD_IN=(5000, 1))) / "curr1_input").unlink()
    meters, (reason,) = find_ina(tmp_path)
    assert meters == []
    assert reason.startswith("INA3221: ")
    assert "curr1_input cannot be read" in reason


def test_a_sensor_that_goes_off_meanwhile_gives_no_energy(tmp_path: Path) -> None:
    folder = sensor(tmp_path, "ina3221", "1-0040", 1, **rails(VDD_IN=(5000, 1)))
    ((meter,), _) = find_ina(tmp_path, Metronome(0).timing)

    def work() -> None:
        (folder / "in1_input").unlink()

    with pytest.raises(MeterError, match="in1_input cannot be read"):
        meter.measure(work)


@pytest.mark.parametrize("file", ["power1_label", "in1_label", "label"])
def test_an_ina238_measures_its_rail(tmp_path: Path, file: str) -> None:
    folder = sensor(tmp_path, "ina238", "2-0044", 3, power1_input=23_500_000, **{file: "VIN"})
    metronome = Metronome(0)
    ((meter,), reasons) = find_ina(tmp_path, metronome.timing)
    assert reasons == []
    assert (meter.name, meter.covers) == ("INA238 2-0044", "rail VIN")
    assert meter.source == f"{folder / 'power1_input'}, every 50 ms"

    def work() -> None:
        metronome.now += 2.0

    energy = meter.measure(work)
    assert energy.joules == pytest.approx(47.0)


def test_an_ina238_without_a_label_does_not_guess_what_it_covers(tmp_path: Path) -> None:
    sensor(tmp_path, "ina238", "2-0044", 3, power1_input=1)
    ((meter,), _) = find_ina(tmp_path)
    assert meter.covers.startswith("the rail of the sensor")


def test_both_kinds_stand_side_by_side_and_one_may_fail(tmp_path: Path) -> None:
    sensor(tmp_path, "ina238", "2-0044", 3, power1_input=1)
    sensor(tmp_path, "ina238", "2-0045", 4, power1_input="off")
    sensor(tmp_path, "ina3221", "2-0040", 5, **rails(VDD_GPU=(5000, 1)))
    meters, (reason,) = find_ina(tmp_path)
    assert [meter.name for meter in meters] == ["INA238 2-0044", "INA3221"]
    assert "2-0045/hwmon/hwmon4/power1_input contains 'off'" in reason


def test_without_sensors_it_says_where_it_looked(tmp_path: Path) -> None:
    meters, (reason,) = find_ina(tmp_path)
    assert meters == []
    assert reason.startswith(f"INA3221, INA238: no sensor below {tmp_path / 'sys/bus/i2c/drivers'}")
