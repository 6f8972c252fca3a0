"""Both decoders give the same pixels, so a picture means the same wherever it is classified."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.images import decode as decoding
from gfnet_dynn.images.decode import decode, decode_jpeg, eighths, read_image
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
        ((256, 256), 160, 5),
        ((253, 256), 160, 6),
        ((256, 256), 96, 3),
        ((160, 160), 160, 8),
        ((100, 100), 160, 8),
        ((640, 640), 160, 2),
        ((639, 640), 160, 3),
        ((4000, 3000), 160, 1),
        ((100_000, 640), 160, 2),
    ],
)
def test_a_picture_is_reduced_to_the_fewest_eighths_that_hold_the_square(
    size: tuple[int, int], side: int, expected: int
) -> None:
    assert eighths(size, side) == expected


def decoded_size(path: Path, side: int) -> tuple[int, int]:
    decoded = decode(path, side)
    return (decoded.shape[1], decoded.shape[0]) if isinstance(decoded, np.ndarray) else decoded.size


@pytest.mark.parametrize("size", [(1280, 960), (1001, 1501), (2000, 700)])
def test_at_a_quarter_both_decoders_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    path, spec = tmp_path / "large.jpg", InputSpec(160)
    path.write_bytes(saved(scene(*size), quality=90))
    ours = load_input(path, spec)
    assert decoded_size(path, 160) == tuple(-(-side // 4) for side in size)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert np.array_equal(load_input(path, spec), ours)


@pytest.mark.parametrize(("size", "shares"), [((256, 256), (5, 8)), ((700, 420), (4, 4)), ((400, 380), (4, 4))])
def test_pillow_decodes_at_a_size_of_its_own_where_it_has_none_of_the_eighths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], shares: tuple[int, int]
) -> None:
    path, spec = tmp_path / "large.jpg", InputSpec(160)
    path.write_bytes(saved(scene(*size), quality=90))
    ours, at_once = load_input(path, spec).astype(int), decoded_size(path, 160)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert [at_once[0], decoded_size(path, 160)[0]] == [-(-size[0] * share // 8) for share in shares]
    assert np.abs(load_input(path, spec) - ours).mean() <= 2  # of 255; 1.8 on photographs of UC Merced


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
