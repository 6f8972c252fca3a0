"""The request of `classify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option

EngineName = Literal["onnxruntime", "openvino"]
PrecisionName = Literal["auto", "fp32", "int8"]

_ENGINE = "Engine"


def parse_thresholds(text: str) -> float | tuple[float, ...]:
    """`0.7` → 0.7, `0.7,0.8` → (0.7, 0.8).

    Raises:
        OptionError: not numbers.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"--threshold takes one number, or one for each exit such as 0.7,0.8, not {text!r}"
        ) from error
    return values if len(values) > 1 else values[0]


@dataclass(frozen=True, kw_only=True)
@lenient
class ClassifyRequest:
    """Options."""

    bundle: Path = option(..., "Bundle written by `gfnet-dynn export`.", argument=True)
    images: tuple[Path, ...] = option(..., "Image files, and folders of them.", argument=True)
    policy: str | None = option(None, "Exit policy of the bundle. [default: the bundle's default]")
    threshold: float | tuple[float, ...] | None = option(
        None,
        "Thresholds that replace those of the policy: one number, or one for each exit: 0.7,0.8.",
        parse=parse_thresholds,
        metavar="NUMBERS",
    )
    batch: int = option(1, "Images at once; those that continue are compacted after each exit.")
    engine: EngineName = option("onnxruntime", "Inference engine; openvino is an extra.", panel=_ENGINE)
    precision: PrecisionName = option(
        "auto",
        "auto: the faster one on this device, timed once and cached; int8 only where export found no loss of accuracy.",
        panel=_ENGINE,
    )
    threads: int | None = option(None, "Processor threads. [default: at most four]", panel=_ENGINE)
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise OptionError(f"--batch must be at least 1, not {self.batch}")
