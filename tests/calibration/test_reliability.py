from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from gfnet_dynn.calibration.result import CalibrationResult
from gfnet_dynn.errors import MissingExtraError, StorageError
from tests.calibration.populations import order
from tests.calibration.test_result import both, made


@pytest.fixture(scope="module")
def report() -> CalibrationResult:
    return made(both(400), order())


def test_each_exit_has_its_panel_with_its_figures(report: CalibrationResult, tmp_path: Path) -> None:
    drawn = report.plot(tmp_path / "reliability.svg").read_text(encoding="utf-8")
    for each in report.reliability:
        assert f"{each.name}: ECE {100 * each.error:.1f}%" in drawn
        assert f"at temperature {each.temperature:.2f}: {100 * each.error_scaled:.1f}%" in drawn
    assert "n = 200" in drawn  # of 400, the half that temperatures were not fitted to


def test_a_point_stands_where_its_bin_is(
    report: CalibrationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes  # noqa: PLC0415

    drawn: list[tuple[list[float], list[float]]] = []
    errorbar = Axes.errorbar

    def kept(axes: Axes, x: list[float], y: list[float], **more: object) -> object:
        drawn.append((x, y))
        return errorbar(axes, x, y, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "errorbar", kept)
    report.plot(tmp_path / "reliability.png")
    assert len(drawn) == len(report.reliability)
    for (x, y), each in zip(drawn, report.reliability, strict=True):
        assert x == [100 * one.confidence for one in each.bins]
        assert y == [100 * one.accuracy for one in each.bins]


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".svg", ".pdf"])
def test_the_file_is_what_its_name_says(report: CalibrationResult, tmp_path: Path, suffix: str) -> None:
    path = report.plot(tmp_path / f"reliability{suffix}")
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix.lower()]
    assert path.read_bytes().startswith(start)
    if suffix.lower() == ".png":
        with Image.open(path) as image:
            assert image.width > image.height > 200  # four panels in a row


@pytest.mark.parametrize("name", ["plot", "plot.jpg", "plot.json"])
def test_a_file_of_another_kind_is_refused(report: CalibrationResult, tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match=name):
        report.plot(tmp_path / name)


def test_without_matplotlib_the_extra_is_named(
    report: CalibrationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="plots"):
        report.plot(tmp_path / "plot.png")
