"""Samples of more than 8 bit: those that use a small part of their range are refused, or stretched as asked."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from gfnet_dynn.errors import ImageError
from gfnet_dynn.images import samples
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.options import DecodeOptions
from tests.image_bytes import png16_bytes, tiff_bytes

Pixels = npt.NDArray[Any]

ELEVEN_BIT = np.random.default_rng(0).integers(3, 2041, (40, 50, 3)).astype(np.uint16)
ELEVEN_BIT[0, 0] = (3, 1000, 2040)
STRETCHED = np.rint(ELEVEN_BIT / 2047 * 255).astype(np.uint8)
TO_2047 = DecodeOptions(stretch=(0, 2047))


def lzw(pixels: Pixels) -> bytes:
    """[height, width] as a compressed TIFF."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression="tiff_lzw")
    return file.getvalue()


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


CONTENTS = {
    "colour-png": png16_bytes(ELEVEN_BIT),
    "colour-tiff": tiff_bytes(ELEVEN_BIT),
    "colour-tiff-big-endian": tiff_bytes(ELEVEN_BIT, ">"),
    "four-bands": tiff_bytes(np.dstack([ELEVEN_BIT, ELEVEN_BIT[:, :, :1]])),
    "grey-png": png(ELEVEN_BIT[:, :, 0]),
    "grey-tiff": tiff_bytes(ELEVEN_BIT[:, :, :1]),
    "grey-tiff-big-endian": tiff_bytes(ELEVEN_BIT[:, :, :1], ">"),
    "grey-lzw": lzw(ELEVEN_BIT[:, :, 0]),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_11_bit_in_16_is_refused_with_its_range_and_stretched_as_asked(name: str) -> None:
    with pytest.raises(ImageError, match=r"values 3 to 20(39|40): give --stretch .* such as 0,2047, or 0,65535"):
        read_image(CONTENTS[name])
    expected = STRETCHED if "grey" not in name else np.repeat(STRETCHED[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(read_image(CONTENTS[name], TO_2047), expected)
    taken_as_they_are = read_image(CONTENTS[name], DecodeOptions(stretch=(0, 65535)))
    assert taken_as_they_are.max() == round(2040 / 257)


@pytest.mark.parametrize("low", [100, 28_000])
def test_a_range_is_found_beside_what_is_no_data(low: int) -> None:
    pixels = np.full((40, 50, 1), 65535, np.uint16)
    pixels[:20] = 0
    pixels[5:30, 5:30, 0] = np.arange(low, low + 625).reshape(25, 25)
    with pytest.raises(ImageError, match=f"values {low} to {low + 624}"):
        read_image(tiff_bytes(pixels))
    with pytest.raises(ImageError, match=f"values {low} to {low + 624}"):
        read_image(png16_bytes(np.repeat(pixels, 3, axis=2)))


@pytest.mark.parametrize("value", [0, 65535])
def test_black_and_white_stay(value: int) -> None:
    pixels = np.full((4, 5, 3), value, np.uint16)
    for content in (png16_bytes(pixels), tiff_bytes(pixels), tiff_bytes(pixels[:, :, :1])):
        assert np.unique(read_image(content)).tolist() == [value >> 8]


def test_a_dark_part_of_a_whole_range_stays() -> None:
    pixels = np.random.default_rng(0).integers(100, 17_000, (40, 50, 3)).astype(np.uint16)
    np.testing.assert_array_equal(read_image(tiff_bytes(pixels)), pixels >> 8)


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.int16])
def test_other_samples_are_taken_with_a_stretch_only(kind: type[np.number]) -> None:
    content = tiff_bytes(ELEVEN_BIT[:, :, :1].astype(kind) - kind(100))
    with pytest.raises(ImageError, match=rf"{kind.__name__} samples, here from -97 to 19\d\d.*--stretch"):
        read_image(content)
    stretched = read_image(content, DecodeOptions(stretch=(-100, 1947)))
    np.testing.assert_array_equal(stretched, np.repeat(STRETCHED[:, :, :1], 3, axis=2))


def test_values_outside_become_black_and_white_and_no_number_black() -> None:
    values = np.array([[[-1e30], [-1], [0], [5], [10], [11], [np.inf], [-np.inf], [np.nan]]], np.float32)
    pixels = read_image(tiff_bytes(values), DecodeOptions(stretch=(0, 10)))
    assert pixels[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255, 255, 0, 0]


def test_8_bit_is_not_stretched() -> None:
    pixels = ELEVEN_BIT.astype(np.uint8)
    np.testing.assert_array_equal(read_image(png(pixels), TO_2047), pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_large_images_are_converted_piece_by_piece_alike(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(ELEVEN_BIT.astype(np.uint8)).convert(mode).save(file, "TIFF")
    contents = [*CONTENTS.values(), file.getvalue()]
    whole = [read_image(content, TO_2047) for content in contents]
    monkeypatch.setattr(samples, "_BLOCK", 150)
    monkeypatch.setattr(samples, "_RANGE_FROM", 200)
    for content, expected in zip(contents, whole, strict=True):
        np.testing.assert_array_equal(read_image(content, TO_2047), expected)
    with pytest.raises(ImageError, match="give --stretch"):
        read_image(contents[0])
