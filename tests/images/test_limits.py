"""What a hostile or odd file may cost: memory is bounded from the header on, and nothing endless is opened."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.errors import ImageError, OptionError
from gfnet_dynn.images import decode as decode_module
from gfnet_dynn.images.decode import decode, read_image
from gfnet_dynn.images.fit import fit, load_input
from gfnet_dynn.images.options import MAX_PIXELS, DecodeOptions
from gfnet_dynn.spec.network import InputSpec
from tests.image_bytes import png16_bytes, png_bytes, tiff_bytes

SIDE = 5000


def bmp_header(side: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)


def webp(side: int, kind: bytes) -> bytes:
    """The beginning of a WebP that asks for side × side pixels; kind as RFC 9649 names its chunks."""
    less = side - 1
    size = {
        b"VP8X": bytes(4) + less.to_bytes(3, "little") * 2,
        b"VP8L": b"\x2f" + (less | less << 14).to_bytes(4, "little") + bytes(8),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side),
    }[kind]
    return b"RIFF\xff\xff\0\0WEBP" + kind + struct.pack("<I", len(size)) + size


def jpeg(side: int, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (9, 99, 30)).save(file, "JPEG", **options)
    return file.getvalue()


def tiff(width: int) -> bytes:
    """The header of a TIFF of one row, with one pixel."""
    found = struct.pack("<HHI", 256, 4, 1)
    return tiff_bytes(np.zeros((1, 1, 3), np.uint8)).replace(
        found + struct.pack("<I", 1), found + struct.pack("<I", width)
    )


@pytest.mark.parametrize(
    "content",
    [
        png_bytes(SIDE + 1, SIDE, b""),
        png_bytes(89_000_000, 2, b""),
        *(webp(SIDE + 1, kind) for kind in (b"VP8X", b"VP8L", b"VP8 ")),
        bmp_header(SIDE + 1),
        tiff(25_000_001),
    ],
    ids=["png", "wide-png", "webp-extended", "webp-lossless", "webp-lossy", "bmp", "tiff"],
)
def test_too_many_pixels_are_refused_by_the_header(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rgb_of", "read_wide"):
        monkeypatch.setattr(decode_module, name, lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"more than the 25 million pixels allowed.*--max-pixels"):
        read_image(content)
    assert MAX_PIXELS == SIDE**2


@pytest.mark.filterwarnings("error")
def test_the_limit_can_be_raised_and_lowered() -> None:
    content = png_bytes(30, 20, b"\0" * (20 * 91))
    assert read_image(content, DecodeOptions(600)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="30 × 20"):
        read_image(content, DecodeOptions(599))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"subsampling": 0}])
def test_a_large_jpeg_is_decoded_reduced_within_the_limit(options: dict[str, object]) -> None:
    content, limit = jpeg(1000, **options), DecodeOptions(125 * 125)
    assert decode(content, 32, limit).size == (125, 125)
    with pytest.raises(ImageError, match="1000 × 1000"):
        decode(content, None, limit)


def test_a_jpeg_of_several_scans_counts_whole() -> None:
    with pytest.raises(ImageError, match="1000 × 1000"):
        decode(jpeg(1000, progressive=True), 32, DecodeOptions(125 * 125))


def test_a_memory_error_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(png_bytes(1, 1, b"\0" * 4))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode_module, "rgb_of", fail)
    with pytest.raises(ImageError, match=r"x\.png.*memory"):
        read_image(tmp_path / "x.png")


def test_a_very_long_image_is_averaged_before_it_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps: list[float | None] = []
    resize = Image.Image.resize

    def noted(self: Image.Image, size: tuple[int, int], resample: int, *, reducing_gap: float | None) -> Image.Image:
        gaps.append(reducing_gap)
        return resize(self, size, resample, reducing_gap=reducing_gap)

    monkeypatch.setattr(Image.Image, "resize", noted)
    assert fit(np.full((2, 70_000, 3), 7, np.uint8), InputSpec(8)).tolist() == [[[7] * 3] * 8] * 8
    fit(np.zeros((2, 60_000, 3), np.uint8), InputSpec(8))
    assert gaps == [3.0, None]


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "read_bytes"):
        monkeypatch.setattr(Path, name, lambda *_: pytest.fail("opened"))


@pytest.mark.usefixtures("unopened")
def test_what_never_ends_or_answers_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    for path, kind in ((tmp_path / "fifo.png", "FIFO"), (Path("/dev/zero"), "device"), (tmp_path, "folder")):
        with pytest.raises(ImageError, match=f"{path.name} is a {kind}"):
            read_image(path)


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read whole"))
    for content, message in ((b"", "not an image"), (png_bytes(9, 9, b""), "1100 MB")):
        with (tmp_path / "x.png").open("wb") as file:
            file.write(content)
            file.truncate(1_100_000_000)  # takes no space
        with pytest.raises(ImageError, match=message):
            read_image(tmp_path / "x.png")


def test_tags_of_a_tiff_cannot_fill_the_memory() -> None:
    content = tiff(1).replace(struct.pack("<HHI", 284, 4, 1), struct.pack("<HHI", 284, 1, 1 << 30))
    with pytest.raises(ImageError, match=r"1074 MB of TIFF tags"):
        read_image(content)


@pytest.mark.parametrize("options", [{"max_pixels": 0}, {"stretch": (5, 5)}, {"stretch": (0, float("nan"))}])
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        DecodeOptions(**options)  # type: ignore[arg-type]


DAMAGED = """
import sys
from pathlib import Path
from gfnet_dynn.errors import ImageError
from gfnet_dynn.images.decode import read_image
try:
    read_image(Path(sys.argv[1]))
except ImageError as error:
    print(error)
"""


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_libtiff_writes_nothing_itself(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)).save(
        path, compression=compression
    )
    content = bytearray(path.read_bytes())
    content[5000:5200] = bytes(200)
    path.write_bytes(content)
    done = subprocess.run([sys.executable, "-c", DAMAGED, str(path)], capture_output=True, text=True, check=True)
    assert "cannot decode" in done.stdout
    assert done.stderr == ""


PEAK = """
import sys
from pathlib import Path
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.spec.network import InputSpec
from tests.images.fuzzing import memory_mb
before = memory_mb("VmRSS")
load_input(Path(sys.argv[1]), InputSpec(160), DecodeOptions(stretch=(0, 60000)))
print(memory_mb("VmHWM") - before)
"""


WRITTEN: dict[str, dict[str, Any]] = {
    "x.png": {"compress_level": 1},
    "x.webp": {"method": 0},
    "lossless.webp": {"lossless": True, "method": 0, "quality": 0},
    "lzw.tif": {"compression": "tiff_lzw"},
    "progressive.jpg": {"progressive": True, "subsampling": 0},
}


def peak_mb(path: Path) -> float:
    """How much the memory of a process grows at most while it reads an image."""
    command = [sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return float(done.stdout)


def full_size(kind: str) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    if kind == "I;16":
        return Image.fromarray(noise.astype(np.uint16) * 200)
    if kind in ("I", "F"):
        return Image.fromarray(noise.astype(np.int32 if kind == "I" else np.float32) * 200)
    return Image.fromarray(noise).convert(kind)


LIMITS = [
    *(("x.png", mode) for mode in ("L", "P", "LA", "RGB", "RGBA", "I;16")),
    *(("x.tif", mode) for mode in ("RGB", "CMYK", "I;16", "I", "F")),
    *(("lzw.tif", mode) for mode in ("RGB", "CMYK", "I;16", "F")),
    *(("x.webp", "RGB"), ("x.webp", "RGBA"), ("lossless.webp", "RGBA")),
    *(("x.bmp", "RGB"), ("x.bmp", "P"), ("progressive.jpg", "RGB"), ("progressive.jpg", "CMYK"), ("x.jpg", "L")),
]
USUAL = [("x.png", "RGBA"), ("x.tif", "F"), ("x.webp", "RGBA"), ("progressive.jpg", "CMYK")]  # one of each reader


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked for as Linux has it")
@pytest.mark.parametrize(
    ("name", "mode"), [pytest.param(*each, marks=() if each in USUAL else pytest.mark.release) for each in LIMITS]
)
def test_an_image_at_the_limit_takes_less_than_500_mb(tmp_path: Path, name: str, mode: str) -> None:
    path = tmp_path / name
    full_size(mode).save(path, **WRITTEN.get(name, {}))
    assert 0 < peak_mb(path) < 500


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked for as Linux has it")
@pytest.mark.parametrize(("form", "bands"), [pytest.param("png", 3, marks=pytest.mark.release), ("tif", 3), ("tif", 4)])
def test_16_bit_colours_at_the_limit_take_less_than_500_mb(tmp_path: Path, form: str, bands: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2048, (SIDE, SIDE, bands)).astype(np.uint16)
    path = tmp_path / f"x.{form}"
    path.write_bytes(tiff_bytes(pixels) if form == "tif" else png16_bytes(pixels))
    assert 0 < peak_mb(path) < 500


def test_reading_and_fitting_take_options(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (30, 20)).save(path)
    with pytest.raises(ImageError, match="30 × 20"):
        load_input(path, InputSpec(8), DecodeOptions(599))
