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
    """An empty `matplotlib.figure.Figure`, in inches, without a window or global state.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("drawing plots", "plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def draw_accuracies(axes: Any, positions: Sequence[float], accuracies: Sequence[Any], style: str, **more: Any) -> None:
    """Points in per cent with error bars over their intervals.

    Args:
        axes: of matplotlib.
        positions: on the horizontal axis.
        accuracies: one for each, with `value`, `low` and `high` from 0 to 1.
        style: format of matplotlib, such as `o-`.
        more: further arguments of `Axes.errorbar`.
    """
    below = [100 * (each.value - each.low) for each in accuracies]
    above = [100 * (each.high - each.value) for each in accuracies]
    values = [100 * each.value for each in accuracies]
    axes.errorbar(positions, values, yerr=[below, above], fmt=style, **{"capsize": 2, "elinewidth": 0.8, **more})


def save_figure(figure: Any, path: Path | str) -> Path:
    """Write a figure in the format of its suffix.

    Raises:
        StorageError: the suffix is none of `FORMATS`, or the file cannot be written.
    """
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
