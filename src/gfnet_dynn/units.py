"""Percentages that cannot be mistaken: `95%` and `0.95` are the same, `95` is refused. And sizes such as `256M`."""

from __future__ import annotations

import math
import re
from typing import Any

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import option

_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def parse_share(text: str) -> float:
    """The fraction, 0 to 1, from a percentage such as `95%` or a fraction such as `0.95`.

    Raises OptionError: neither, or out of range; proposes the percentage that may be meant.
    """
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError as error:
        raise OptionError(f"{text!r} is not a percentage: write 5% or 0.05") from error
    if not percent and value >= 1 and math.isfinite(value):
        raise OptionError(f"{text!r} has no unit: did you mean {number}%? (fractions are below 1)")
    if not 0 <= value <= 1:  # NaN too
        raise OptionError(f"{text!r} is out of range: percentages go from 0% to 100%, fractions from 0 to 1")
    return value


def share_option(default: float | None, help: str, **more: Any) -> Any:  # noqa: A002 # as `option`
    """An `option` that takes a percentage or fraction."""
    return option(default, help, parse=parse_share, metavar="SHARE", **more)


def percent(share: float, digits: int | None = None) -> str:
    """`0.95` → `95%`; with `digits` decimal places, otherwise as many as the number has, at most six."""
    return f"{100 * share:.{digits}f}%" if digits is not None else f"{round(100 * share, 6):g}%"


def points(difference: float, digits: int = 1) -> str:
    """A difference of two shares in percentage points: `-0.004` → `-0.4 pp`."""
    return f"{100 * difference:+.{digits}f} pp"


def parse_bytes(text: str) -> int:
    """`256M` → 268435456; raises OptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise OptionError(f"a size is a number of bytes such as 256M or 2G, not {text!r}")
    return int(float(found[1]) * _BYTES[found[2].upper()])


def size(count: int) -> str:
    """`268435456` → `256M`: as `parse_bytes` reads it."""
    unit, factor = next((unit, factor) for unit, factor in reversed(_BYTES.items()) if count % factor == 0)
    return f"{count // factor}{unit}"
