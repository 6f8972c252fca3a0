"""Plots by matplotlib, which only training and the extra `plots` bring."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.system.storage import write_bytes

_DPI = 130
FORMATS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches, without a window or global state; raises MissingExtraError without matplotlib."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("drawing plots", "plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def draw_accuracies(axes: Any, positions: Sequence[float], accuracies: Sequence[Any], style: str, **more: Any) -> None:
    """Points in per cent with error bars over their intervals, on axes of matplotlib.

    Accuracies have `value`, `low` and `high` from 0 to 1; `style` is a format such as `o-`; `more` is for `errorbar`.
    """
    below = [100 * (each.value - each.low) for each in accuracies]
    above = [100 * (each.high - each.value) for each in accuracies]
    values = [100 * each.value for each in accuracies]
    axes.errorbar(positions, values, yerr=[below, above], fmt=style, **{"capsize": 2, "elinewidth": 0.8, **more})


def save_figure(figure: Any, path: Path | str) -> Path:
    """Write a figure in the format of its suffix; raises StorageError for one not in `FORMATS`, or if writing fails."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise StorageError(f"{path}: a plot is one of {', '.join(FORMATS)}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower()[1:], dpi=_DPI)
    return write_bytes(path, buffer.getvalue())


def to_svg(figure: Any) -> str:
    """The `<svg>` element of a figure, to stand in an HTML page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
