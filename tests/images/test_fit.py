from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfnet_dynn.images.fit import fit, load_input
from gfnet_dynn.spec.network import InputSpec

HEIGHT, WIDTH = 12, 20
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    pixels = fit(RGB[:, :HEIGHT], InputSpec(HEIGHT))
    np.testing.assert_array_equal(pixels, RGB[:, :HEIGHT])
    assert pixels.flags.writeable


def test_an_image_is_stretched_to_the_square() -> None:
    stripes = np.repeat(np.array([[0], [255]], np.uint8), 30, axis=0) * np.ones((1, 90), np.uint8)
    pixels = fit(np.dstack([stripes] * 3), InputSpec(16))
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:6].max() < 20
    assert pixels[10:].min() > 235


@given(size=st.integers(1, 24), extra=st.integers(0, 40))
@settings(deadline=None, max_examples=60)
def test_padding_of_any_size_reflects_around_the_image(size: int, extra: int) -> None:
    image = np.array(Image.fromarray(RGB).resize((size, size)))
    pixels = fit(image, InputSpec(size + extra, pad=extra))
    assert pixels.shape == (size + extra, size + extra, 3)
    before = extra // 2
    np.testing.assert_array_equal(pixels[before : before + size, before : before + size], image)
    period = max(1, 2 * (size - 1))  # a walk to and fro over the image
    for row in range(size + extra):
        place = (row - before) % period
        source = min(place, period - place)
        np.testing.assert_array_equal(pixels[row, before : before + size], image[source])


def test_an_odd_padding_puts_the_surplus_pixel_last() -> None:
    square = RGB[:, :HEIGHT]
    pixels = fit(square, InputSpec(HEIGHT + 3, pad=3))
    np.testing.assert_array_equal(pixels[1:-2, 1:-2], square)
    np.testing.assert_array_equal(pixels[0, 1:-2], square[1])
    np.testing.assert_array_equal(pixels[-2:, 1:-2], square[[-2, -3]])


def test_reading_and_fitting_go_together(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(RGB).save(path)
    pixels = load_input(path, InputSpec(32, pad=4))
    content = np.asarray(Image.fromarray(RGB).resize((28, 28), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels[2:-2, 2:-2], content)
