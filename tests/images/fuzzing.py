"""Damages images of all formats and reads them, in a process whose memory can be watched.

    python -m tests.images.fuzzing COUNT

Prints JSON: how many were read, how many were errors of ours, the longest time and how much memory grew.
"""

from __future__ import annotations

import io
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from gfnet_dynn.errors import ImageError
from gfnet_dynn.images.decode import decode
from gfnet_dynn.images.fit import fit
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.spec.network import InputSpec
from tests.damage import damaged
from tests.image_bytes import png16_bytes, tiff_bytes

SPEC = InputSpec(16)


def encoded(image_format: str, mode: str = "RGB", **options: object) -> bytes:
    """A picture of 48 × 40 pixels as a file."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8))
    file = io.BytesIO()
    picture.resize((48, 40), Image.Resampling.BICUBIC).convert(mode).save(file, image_format, **options)
    return file.getvalue()


WIDE = np.random.default_rng(0).integers(0, 65536, (9, 11, 3)).astype(np.uint16)
PICTURES = (
    *(encoded("JPEG"), encoded("JPEG", "L"), encoded("JPEG", "CMYK"), encoded("JPEG", progressive=True)),
    *(encoded("PNG"), encoded("PNG", "P"), encoded("PNG", "I;16")),
    *(png16_bytes(WIDE), png16_bytes(WIDE // np.uint16(32))),
    *(
        encoded("TIFF"),
        tiff_bytes(WIDE, ">"),
        tiff_bytes(WIDE[:, :, :1]),
        tiff_bytes(WIDE[:, :, :1].astype(np.float32)),
    ),
    *(encoded("TIFF", compression=each) for each in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
    *(encoded("BMP"), encoded("BMP", "P"), encoded("WEBP"), encoded("WEBP", "RGBA"), encoded("WEBP", lossless=True)),
)


def memory_mb(kind: str) -> float:
    """Resident memory of this process: now (`VmRSS`), or the highest (`VmHWM`; getrusage counts the parent's too)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def read_damaged(count: int) -> dict[str, Any]:
    """Read `count` damaged images, the same ones each time.

    Returns:
        `read`, `errors`: numbers of images; `longest_s`: of one image; `grown_mb`: of the highest resident memory.
    """
    ends, times = {"read": 0, "errors": 0}, [0.0]
    for content in PICTURES:  # what is loaded once does not count
        decode(content, None, DecodeOptions(stretch=(0, 65535)))
    before = memory_mb("VmRSS")

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        content=st.sampled_from(PICTURES).flatmap(damaged),
        side=st.sampled_from([None, SPEC.size]),
        stretch=st.sampled_from([None, (0.0, 2047.0)]),
    )
    def read(content: bytes, side: int | None, stretch: tuple[float, float] | None) -> None:
        began = time.perf_counter()
        try:
            pixels = fit(decode(content, side, DecodeOptions(stretch=stretch)), SPEC)
        except ImageError:
            ends["errors"] += 1
        else:
            assert pixels.shape == (SPEC.size, SPEC.size, 3)
            assert pixels.dtype == np.uint8
            ends["read"] += 1
        times.append(time.perf_counter() - began)

    read()
    return {**ends, "longest_s": round(max(times), 3), "grown_mb": round(memory_mb("VmHWM") - before, 1)}


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module=r"PIL\b")
    sys.stdout.write(json.dumps(read_damaged(int(sys.argv[1]))))
