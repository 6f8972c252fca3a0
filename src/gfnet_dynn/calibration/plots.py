"""The reliability plot: what each exit's confidence is worth."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from gfnet_dynn.calibration.report import CalibrationReport, ExitReliability
from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.system.storage import write_bytes

SUFFIXES = (".png", ".svg", ".pdf")

_SIDE = 2.6  # inches of a panel
_COLUMNS = 4
_DPI = 130


def require_plot(path: Path) -> None:
    """Refuse at once what `draw_reliability` would refuse after everything was computed.

    Raises:
        StorageError: the file's kind is none of `SUFFIXES`.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise StorageError(f"a plot is written as {', '.join(SUFFIXES)}, not as {path.name}")
    _figure(1, 1)


def draw_reliability(report: CalibrationReport, path: Path) -> Path:
    """Draw accuracy over confidence, a panel for each exit, with the standard error of each bin.

    Args:
        report: what calibration found.
        path: with one of `SUFFIXES`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: as `require_plot`, or it cannot be written.
    """
    require_plot(path)
    columns = min(_COLUMNS, len(report.exits))
    rows = -(-len(report.exits) // columns)
    figure = _figure(_SIDE * columns, _SIDE * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, exit_ in zip(panels, report.exits, strict=False):
        _draw(panel, exit_)
    for empty in panels[len(report.exits) :]:
        empty.set_visible(False)
    images = sum(each.count for each in report.exits[0].bins)
    figure.supxlabel(f"confidence, % (bins of equal mass over {images} images, ± one standard error)", fontsize="small")
    figure.supylabel("right, %", fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=_DPI)
    return write_bytes(path, buffer.getvalue())


def _draw(panel: Any, exit_: ExitReliability) -> None:
    panel.plot((0, 100), (0, 100), color="0.7", linewidth=1)
    panel.errorbar(
        [100 * each.confidence for each in exit_.bins],
        [100 * each.accuracy for each in exit_.bins],
        yerr=[100 * each.standard_error for each in exit_.bins],
        fmt="o-",
        markersize=3,
        capsize=2,
    )
    panel.set_title(
        f"{exit_.name}: ECE {100 * exit_.error:.1f} %\nat temperature {exit_.temperature:.2f}: "
        f"{100 * exit_.error_scaled:.1f} %",
        fontsize="small",
    )


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("a reliability plot", "plots") from error
    return Figure(figsize=(width, height), layout="constrained")
