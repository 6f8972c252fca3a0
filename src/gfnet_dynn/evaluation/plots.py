"""Pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.evaluation.evaluation import Evaluation
from gfnet_dynn.wording import counted

_DPI = 130


def draw_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw accuracy against mean MACs, exit shares, and the confusion matrix.

    Args:
        evaluation: what to draw.
        folder: exists; gets the PNG files.

    Returns:
        The files.

    Raises:
        StorageError: a file cannot be written.
    """
    drawings = {
        "accuracy_macs.png": _accuracy_against_macs(evaluation),
        "exit_shares.png": _exit_shares(evaluation),
        "confusion.png": _confusion(evaluation),
    }
    for name, figure in drawings.items():
        try:
            figure.savefig(folder / name, dpi=_DPI)
        except OSError as error:
            raise StorageError(f"cannot save {folder / name}: {error.strerror}") from error
    return [folder / name for name in drawings]


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("drawing plots", "train") from error
    return Figure(figsize=(width, height), layout="constrained")


def _accuracy_against_macs(evaluation: Evaluation) -> Any:
    figure = _figure(6.4, 4.4)
    axes = figure.subplots()
    exit_mmacs = np.array(evaluation.exit_macs) / 1e6
    gated = sorted((judgement.mean_macs / 1e6, 100 * judgement.point.accuracy) for judgement in evaluation.sweep)
    axes.plot(
        exit_mmacs, [100 * a for a in evaluation.exit_accuracy], "s--", color="0.55", label="every image at one exit"
    )
    axes.plot(*zip(*gated, strict=True), "o-", color="C0", label="learned gates, thresholds swept")
    plain = sorted((judgement.mean_macs / 1e6, 100 * judgement.point.accuracy) for judgement in evaluation.plain_sweep)
    axes.plot(*zip(*plain, strict=True), "^:", color="C2", label="plain rule: largest probability")
    if evaluation.chosen:
        x, y = evaluation.chosen.mean_macs / 1e6, 100 * evaluation.chosen.point.accuracy
        axes.plot([x], [y], "*", markersize=15, color="C3", label="threshold chosen on selection split")
    axes.set(xlabel="mean MACs of an image (millions, counted)", ylabel="top-1 accuracy (%, measured)")
    figure.suptitle(_subtitle(evaluation), fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _exit_shares(evaluation: Evaluation) -> Any:
    figure = _figure(8.0, 4.4)
    axes = figure.subplots()
    labels = [_threshold_label(judgement.point.thresholds) for judgement in evaluation.sweep]
    shares = 100 * np.array([judgement.point.shares for judgement in evaluation.sweep])
    bottom = np.zeros(len(labels))
    for index in range(shares.shape[1]):
        name = f"exit {index + 1}" if index < shares.shape[1] - 1 else "final"
        colour = (0.15 + 0.75 * index / max(1, shares.shape[1] - 1),)
        axes.bar(labels, shares[:, index], bottom=bottom, label=name, color=_viridis(colour[0]))
        bottom += shares[:, index]
    axes.set(xlabel="gate threshold", ylabel="share of images (%)", ylim=(0, 100))
    figure.suptitle(_subtitle(evaluation), fontsize=10)
    figure.legend(loc="outside right upper")
    return figure


def _viridis(position: float) -> Any:
    from matplotlib import colormaps  # noqa: PLC0415 # slow to import; there, as a figure exists

    return colormaps["viridis"](position)


def _confusion(evaluation: Evaluation) -> Any:
    judgement = evaluation.chosen or evaluation.sweep[-1]
    count = len(evaluation.classes)
    longest = max(map(len, evaluation.classes))
    side = max(4.2, 1.6 + 0.06 * longest + 0.28 * count)  # inches; the title needs the former
    figure = _figure(side, side)
    axes = figure.subplots()
    rows = judgement.confusion / np.maximum(judgement.confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(count), evaluation.classes, rotation=90, fontsize=7)
    axes.set_yticks(range(count), evaluation.classes, fontsize=7)
    shown = (judgement.confusion > 0) | np.eye(count, dtype=bool)  # a class that is never recognised is seen as 0
    for row, column in zip(*np.nonzero(shown), strict=True):
        colour = "white" if rows[row, column] > 0.5 else "black"
        number = str(judgement.confusion[row, column])
        axes.text(column, row, number, ha="center", va="center", fontsize=6 if count > 12 else 9, color=colour)
    axes.set(xlabel="predicted", ylabel="true")
    what = "at the chosen threshold" if evaluation.chosen else "through the full network"
    figure.suptitle(f"{_subtitle(evaluation)}\nimages {what}, shaded by row", fontsize=9)
    return figure


def _subtitle(evaluation: Evaluation) -> str:
    network = f"{evaluation.model}, {evaluation.input_px} px"
    images = counted(evaluation.images, f"{evaluation.part} image")
    return f"{network}\n{evaluation.data_set}, {images}"


def _threshold_label(thresholds: tuple[float, ...]) -> str:
    first = thresholds[0] if thresholds else float("inf")
    return f"{first:g}" if np.isfinite(first) else "never"
