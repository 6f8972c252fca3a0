"""A class map as a picture."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from gfnet_dynn.reporting.class_map import LegendEntry, draw_class_map, round_length

RED, GREY = (200, 30, 30), (128, 128, 128)
LEGEND = (LegendEntry(0, "town", "60.0%", RED), LegendEntry(1, "unknown", "40.0%", GREY, hatched=True))


def drawn(classes: npt.NDArray[np.uint8], cell_m: tuple[float, float] = (100.0, 100.0)) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(draw_class_map("A \x1b title", classes, cell_m, LEGEND))) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def places(pixels: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    return np.asarray((pixels == colour).all(axis=-1))


def test_cells_have_their_colours_and_unknown_ones_are_hatched() -> None:
    classes = np.zeros((10, 10), np.uint8)
    classes[:, 5:] = 1
    pixels = drawn(classes)
    assert places(pixels, RED).sum() == pytest.approx(500_000, rel=0.01)  # and its key in the legend
    hatched = pixels[70:1000, 600:1000]
    assert 0.1 < places(hatched, (40, 40, 40)).mean() < 0.4
    assert (places(hatched, GREY) | places(hatched, (40, 40, 40))).all()


def test_nodata_is_white() -> None:
    pixels = drawn(np.full((10, 10), 255, np.uint8))
    assert (pixels[80:900, 60:900] == 255).all()


def test_cells_that_are_higher_than_wide_stay_so() -> None:
    rows, columns = np.nonzero(places(drawn(np.zeros((10, 10), np.uint8), (100.0, 200.0))[:, :540], RED))
    assert np.ptp(rows) + 1 == pytest.approx(2 * (np.ptp(columns) + 1), rel=0.01)


def test_the_scale_bar_has_its_length() -> None:
    pixels = drawn(np.zeros((10, 10), np.uint8))  # 1,000 m are 1,000 px, and at most 0.3 of them: 200 m
    black = places(pixels[1080:], (0, 0, 0))[:, 24 : 24 + 215]
    longest = max(int(row.sum()) for row in black)
    assert longest == pytest.approx(200, abs=3)


@pytest.mark.parametrize(("most", "length"), [(300.0, 200), (0.6, 0.5), (50.0, 50), (9999.0, 5000), (1000.0, 1000)])
def test_lengths_are_round(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)
