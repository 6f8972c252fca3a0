"""Further plots of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.evaluation.result import EvaluationResult, threshold_text
from gfnet_dynn.reporting.plot import new_figure, save_figure


def draw_evaluation(result: EvaluationResult, folder: Path) -> list[Path]:
    """Draw accuracy against mean MACs, the shares of the exits, and the confusion matrix, as PNG files in a folder.

    Raises MissingExtraError without matplotlib, StorageError if a file cannot be written.
    """
    figures = {"accuracy_macs": result.draw(), "confusion": _confusion(result)}
    figures |= {"exit_shares": _exit_shares(result)} if result.sweeps else {}
    return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _exit_shares(result: EvaluationResult) -> Any:
    figure = new_figure(8.0, 4.4)
    axes = figure.subplots()
    swept = next(iter(result.sweeps.values()))
    labels = [threshold_text(each.policy.thresholds) for each in swept]
    shares = 100 * np.array([each.point.shares for each in swept])
    bottom = np.zeros(len(labels))
    for index, name in enumerate(result.subject.exits):
        grey = f"{0.85 - 0.7 * index / max(1, len(result.subject.exits) - 1):.2f}"
        axes.bar(labels, shares[:, index], bottom=bottom, label=name, color=grey, edgecolor="white")
        bottom += shares[:, index]
    axes.set(xlabel="threshold of the learned gates", ylabel="share of images (%)", ylim=(0, 100))
    figure.suptitle(result.title, fontsize=10, wrap=True)
    figure.legend(loc="outside right upper")
    return figure


def _confusion(result: EvaluationResult) -> Any:
    counts, names = result.default.confusion, result.subject.classes
    side = max(4.6, 1.6 + 0.06 * max(map(len, names)) + 0.28 * len(names))  # inches; the title needs the former
    figure = new_figure(side, side)
    axes = figure.subplots()
    rows = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    shown = (counts > 0) | np.eye(len(names), dtype=bool)  # a class that is never recognised shows 0
    for row, column in zip(*np.nonzero(shown), strict=True):
        colour, size = "white" if rows[row, column] > 0.5 else "black", 6 if len(names) > 12 else 9
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size, color=colour)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle(f"{result.title}\npolicy {result.default.policy.name}; shaded by row", fontsize=9, wrap=True)
    return figure
