from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import SUFFIXES
from tests.image_bytes import png16_bytes, png_bytes, tiff_bytes

HEIGHT, WIDTH = 12, 20
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY = RGB[:, :, 0]
SMOOTH = np.stack(np.broadcast_arrays(np.arange(12)[:, None] * 20, np.arange(20) * 12, np.uint8(90)), axis=2).astype(
    np.uint8
)


def read(path: Path) -> npt.NDArray[np.uint8]:
    pixels = read_image(path)
    assert (str(pixels.dtype), pixels.ndim, pixels.shape[2], pixels.flags.writeable) == ("uint8", 3, 3, True)
    return pixels


def written(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.png", {}),
        ("x.bmp", {}),
        ("x.webp", {"lossless": True}),
        ("x.tif", {}),
        ("x.tiff", {"compression": "tiff_lzw"}),
        ("x.TIF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_lossless_formats_come_back_exactly(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    assert Path(name).suffix.lower() in SUFFIXES
    np.testing.assert_array_equal(read(written(tmp_path / name, Image.fromarray(RGB), **options)), RGB)


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.webp"])
def test_lossy_formats_come_back_nearly(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, Image.fromarray(SMOOTH), quality=95)
    assert np.abs(read(path).astype(int) - SMOOTH).mean() < 4


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jpg", Image.fromarray(RGB), format="PNG")
    np.testing.assert_array_equal(read(path), RGB)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.bmp"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, name: str) -> None:
    pixels = read(written(tmp_path / name, Image.fromarray(GREY)))
    np.testing.assert_array_equal(pixels, np.stack([GREY] * 3, axis=2))


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    pixels = read(written(tmp_path / "x.png", Image.fromarray(GREY > 127)))
    np.testing.assert_array_equal(pixels[:, :, 1], np.where(GREY > 127, 255, 0))


def test_alpha_is_dropped_and_the_colours_stay(tmp_path: Path) -> None:
    alpha = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    image = Image.fromarray(np.dstack([RGB, alpha]))
    np.testing.assert_array_equal(read(written(tmp_path / "x.png", image)), RGB)


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128, 255])])
def test_palettes_are_resolved(tmp_path: Path, transparency: int | bytes | None) -> None:
    colours = np.array([(10, 20, 30), (200, 100, 0), (7, 250, 99)], np.uint8)
    indices = (GREY % 3).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    np.testing.assert_array_equal(read(written(tmp_path / "x.png", image, **options)), colours[indices])


def test_ink_becomes_light(tmp_path: Path) -> None:
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[:, 4:, 0] = 255  # cyan on the right
    path = written(tmp_path / "x.tif", Image.frombytes("CMYK", (8, 8), ink.tobytes()))
    pixels = read(path)
    np.testing.assert_array_equal(pixels[0, 0], (255, 255, 255))
    np.testing.assert_array_equal(pixels[0, 7], (0, 255, 255))


def test_ink_in_a_jpeg_becomes_light_too(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = read(written(tmp_path / "x.jpg", image, quality=95))[8, 8]
    assert red > 240
    assert max(green, blue) < 15


WIDE = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
WIDE[0, :2] = [(0, 255, 256), (65535, 65280, 32768)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_tiffs_keep_their_upper_8_bits(tmp_path: Path, order: Literal["<", ">"]) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_bytes(WIDE, order))
    pixels = read(path)
    np.testing.assert_array_equal(pixels[0, :2], [(0, 0, 1), (255, 255, 128)])
    np.testing.assert_array_equal(pixels, WIDE // 256)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_tiffs_keep_their_upper_8_bits(tmp_path: Path, order: Literal["<", ">"]) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_bytes(WIDE[:, :, :1], order))
    pixels = read(path)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:, :, channel], WIDE[:, :, 0] // 256)


def test_16_bit_grey_is_read_alike_from_png_and_tiff(tmp_path: Path) -> None:
    grey = Image.fromarray(WIDE[:, :, 1])
    png, tiff = written(tmp_path / "x.png", grey), written(tmp_path / "x.tif", grey)
    np.testing.assert_array_equal(read(png), read(tiff))
    np.testing.assert_array_equal(read(png)[:, :, 0], WIDE[:, :, 1] // 256)


def test_16_bit_colour_is_read_alike_from_png_and_tiff(tmp_path: Path) -> None:
    png, tiff = tmp_path / "x.png", tmp_path / "x.tif"
    png.write_bytes(png16_bytes(WIDE))
    tiff.write_bytes(tiff_bytes(WIDE))
    np.testing.assert_array_equal(read(png), read(tiff))


def test_a_fourth_band_is_dropped(tmp_path: Path) -> None:
    for pixels, expected in ((RGB, RGB), (WIDE, WIDE // 256)):
        path = tmp_path / "x.tif"
        path.write_bytes(tiff_bytes(np.dstack([pixels, pixels[:, :, :1]])))
        np.testing.assert_array_equal(read(path), expected)


def test_8_bit_tiffs_of_separate_planes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_bytes(RGB, planar=True))
    np.testing.assert_array_equal(read(path), RGB)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff_bytes(WIDE, planar=True), "store it interleaved by pixel"),
        (tiff_bytes(WIDE, ">", planar=True), "store it interleaved by pixel"),
        (tiff_bytes((RGB[:, :, :1] / 255).astype(np.float32)), "float32 samples, here from 0 to 0.996.* --stretch"),
        (tiff_bytes((RGB / 255).astype(np.float32)), "3 bands of float32"),
        (tiff_bytes(WIDE[:, :, :1].astype(np.int32) * 7), r"int32 .* --stretch"),
        (tiff_bytes(WIDE[:, :, :1].astype(np.int16)), r"int16 .* --stretch"),
        (tiff_bytes(np.dstack([WIDE] * 5)[:, :, :13]), "13 bands of uint16"),
    ],
    ids=["planes", "planes-big-endian", "float", "float-colour", "32-bit", "signed", "13-bands"],
)
def test_samples_that_would_be_misread_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(path)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "half.jpg", Image.fromarray(RGB), quality=95)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"cannot decode .*half\.jpg: .*truncated.*; replace or remove it"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"this is no image\n", b"\xff\xd8\xff", b"II*\0", b"<html></html>"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.jpg"):
        read_image(path)


@pytest.mark.parametrize(("image_format", "named"), [("GIF", "GIF"), ("JPEG2000", "JPEG 2000"), ("AVIF", "AVIF")])
def test_other_formats_are_named(tmp_path: Path, image_format: str, named: str) -> None:
    if image_format == "AVIF" and "AVIF" not in Image.registered_extensions().values():
        pytest.skip("this Pillow cannot write AVIF")
    path = written(tmp_path / "x.jpg", Image.fromarray(RGB), format=image_format)
    with pytest.raises(ImageError, match=rf"x\.jpg is a .*{named}.*: give JPEG, PNG"):
        read_image(path)


@pytest.mark.parametrize("image_format", ["EPS", "PPM", "ICO"])
def test_formats_that_are_not_documented_are_refused(tmp_path: Path, image_format: str) -> None:
    path = written(tmp_path / "x.jpg", Image.fromarray(RGB), format=image_format)
    with pytest.raises(ImageError, match=r"x\.jpg is not an image in a known format"):
        read_image(path)


@pytest.mark.parametrize("kind", [2, 5, 7, 10, 12], ids=["text", "fraction", "bytes", "signed fraction", "float"])
def test_a_tiff_whose_pixels_begin_at_no_whole_number_is_refused(tmp_path: Path, kind: int) -> None:
    content = bytearray(tiff_bytes(WIDE[:, :, :1]))
    content[content.index(struct.pack("<HH", 273, 4)) + 2] = kind
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"cannot decode .*x\.tif: .*; replace or remove it"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no image at .*x\.jpg"):
        read_image(tmp_path / "x.jpg")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(DataError, match=r"x\.jpg is a folder"):
        read_image(tmp_path / "x.jpg")


def test_content_in_memory_is_decoded_too() -> None:
    np.testing.assert_array_equal(read_image(png_bytes(2, 1, b"\0\1\2\3\4\5\6")), [[[1, 2, 3], [4, 5, 6]]])
    with pytest.raises(ImageError, match="in memory"):
        read_image(b"no image")


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "\x1b[2J\n.png")
    assert "\\x1b[2J\\n.png" in str(caught.value)
