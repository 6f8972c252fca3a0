"""Both decoders give the same pixels, so a picture means the same wherever it is classified."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.images import decode as decoding
from gfnet_dynn.images.decode import decode, decode_jpeg, read_image, reduction
from gfnet_dynn.images.fit import fit, load_input
from gfnet_dynn.spec.network import InputSpec

pytest.importorskip("simplejpeg", reason="no wheel of simplejpeg for this platform: Pillow decodes all")


def scene(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(width)
    coarse = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(256, 256), (251, 250), (17, 33)])
def test_the_pixels_are_those_of_pillow(size: tuple[int, int], *, progressive: bool, subsampling: int) -> None:
    content = saved(scene(*size), quality=75, subsampling=subsampling, progressive=progressive)
    decoded = decode_jpeg(content, None, 1 << 20)
    assert decoded is not None
    assert np.array_equal(decoded, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((256, 256), 160, 1),
        ((640, 640), 160, 2),
        ((639, 640), 160, 1),
        ((1281, 1290), 160, 4),
        ((4000, 3000), 160, 8),
        ((100_000, 640), 160, 2),
    ],
)
def test_a_picture_is_reduced_to_no_less_than_twice_the_side(size: tuple[int, int], side: int, expected: int) -> None:
    assert reduction(size, side) == expected


@pytest.mark.parametrize("size", [(1280, 960), (1001, 1501), (2000, 700)])
def test_a_large_picture_is_the_same_by_both_decoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    path, spec = tmp_path / "large.jpg", InputSpec(160)
    path.write_bytes(saved(scene(*size), quality=90))
    ours = load_input(path, spec)
    assert decode(path, 160).width == -(-size[0] // reduction(size, 160)) < size[0]
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert np.array_equal(load_input(path, spec), ours)


def test_a_reduced_picture_is_nearly_that_of_all_its_pixels(tmp_path: Path) -> None:
    path, spec = tmp_path / "large.jpg", InputSpec(64)
    picture = scene(1024, 1024)
    path.write_bytes(saved(picture, quality=95))
    whole = fit(read_image(path), spec).astype(int)
    assert np.abs(load_input(path, spec) - whole).max() <= 6


def test_what_it_cannot_decode_is_left_to_pillow() -> None:
    grey = saved(scene(32, 32).convert("L"))
    cmyk = saved(scene(32, 32).convert("CMYK"))
    whole = saved(scene(32, 32))
    for content in (grey, cmyk, whole[: len(whole) // 2], b"\xff\xd8\xff", b"", b"GIF89a"):
        assert decode_jpeg(content, None, 1 << 20) is None
