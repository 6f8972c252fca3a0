"""Thousands of damaged bundles and images: the right answer or an error with a name, nothing else."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.errors import GFNetDynnError, ImageError
from gfnet_dynn.runtime import Classifier, load
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.precision import compile_net
from tests import bundles
from tests.damage import damaged
from tests.image_bytes import png16_bytes, tiff_bytes

EXAMPLES = settings(
    max_examples=2000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # a slow device is no fault
DIRECTORY = 600  # bytes at the end of a tiny bundle that are the zip's directory
ENGINE = make_engine("onnxruntime", EngineOptions(threads=1))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def test_a_damaged_bundle_gives_the_same_answers_or_an_error(bundle: Path) -> None:
    images, policy = bundles.images(6), bundles.POLICIES[0]
    whole = {name: compile_net(read_bundle(bundle), name, ENGINE).decide(images, policy) for name in ("fp32", "int8")}
    ends: Counter[str] = Counter()

    @EXAMPLES
    @given(content=damaged(bundle.read_bytes(), tail=DIRECTORY), precision=st.sampled_from(sorted(whole)))
    def read_damaged(content: bytes, precision: str) -> None:
        path = bundle.with_name("damaged.gfd")
        path.write_bytes(content)
        try:
            net = compile_net(read_bundle(path), precision, ENGINE)
            answers = net.decide(images, net.manifest.policy("gates"))
        except GFNetDynnError as error:
            assert str(path) in str(error)
            ends["error"] += 1
        else:
            np.testing.assert_array_equal(answers.logits, whole[precision].logits)
            np.testing.assert_array_equal(answers.exits, whole[precision].exits)
            assert net.manifest == read_bundle(bundle).manifest
            ends["same"] += 1

    read_damaged()
    assert ends["error"] > 1000, ends
    assert ends["same"] > 50, ends


def encoded(image_format: str, mode: str = "RGB", **options: object) -> bytes:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8))
    file = io.BytesIO()
    picture.resize((48, 40), Image.Resampling.BICUBIC).convert(mode).save(file, image_format, **options)
    return file.getvalue()


WIDE = np.random.default_rng(0).integers(0, 65536, (9, 11, 3)).astype(np.uint16)
PICTURES = (
    *(encoded("JPEG"), encoded("JPEG", "L"), encoded("JPEG", "CMYK"), encoded("JPEG", progressive=True)),
    *(encoded("PNG"), encoded("PNG", "P"), encoded("PNG", "I;16"), png16_bytes(WIDE)),
    *(encoded("TIFF"), encoded("TIFF", compression="tiff_lzw"), tiff_bytes(WIDE, ">"), tiff_bytes(WIDE[:, :, :1])),
    *(encoded("BMP"), encoded("BMP", "P"), encoded("WEBP"), encoded("WEBP", lossless=True)),
)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow tells of damaged TIFF tags
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_damaged_image_is_read_or_is_an_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # damage may ask for a huge image
    classifier: Classifier = load(bundle, precision="fp32", threads=1)
    path, ends = bundle.with_name("damaged.img"), Counter[str]()

    @EXAMPLES
    @given(content=st.sampled_from(PICTURES).flatmap(damaged))
    def read_damaged(content: bytes) -> None:
        path.write_bytes(content)
        try:
            pixels = classifier.read(path)
        except ImageError as error:
            assert str(path) in str(error)
            ends["error"] += 1
        else:
            assert pixels.shape == (bundles.SIDE, bundles.SIDE, 3)
            assert pixels.dtype == np.uint8
            ends["read"] += 1

    read_damaged()
    assert min(ends["error"], ends["read"]) > 300, ends
