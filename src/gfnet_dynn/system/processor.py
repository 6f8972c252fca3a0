"""The name of the processor, which every measurement carries."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path


def processor() -> str:
    """The processor's name as the system reports it; on small boards after the name of the board."""
    names = [_board(), _name()]
    return ", ".join(filter(None, names)) or platform.processor() or platform.machine()


def _board() -> str:
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0 \n")
    except OSError:
        return ""


def _name() -> str:
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
