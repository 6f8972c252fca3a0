"""Plots of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gfnet_dynn.benchmark.measurement import CandidateFigures
from gfnet_dynn.reporting.plot import new_figure
from gfnet_dynn.uncertainty.intervals import Proportion


def draw_candidates(candidates: Sequence[CandidateFigures]) -> Any:
    """Accuracy against latency where it is known, the exits taken where there are early ones, latency of each exit."""
    early = [each for each in candidates if len(each.exits) > 1]
    panels: list[tuple[Any, Sequence[CandidateFigures]]] = [(_exit_latency, candidates)]
    if early:
        panels.insert(0, (_exit_shares, early))
    if known := [each for each in candidates if each.accuracy is not None]:
        panels.insert(0, (_accuracy_latency, known))
    figure = new_figure(8, 4 * len(panels))
    for (draw, shown), axes in zip(panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True):
        draw(axes, shown)
    return figure


def _label(figures: CandidateFigures) -> str:
    return figures.identity.label.replace("$", r"\$")  # which begins a formula


def _accuracy_latency(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    for each in candidates:
        points = [(point.mean_ms, point.accuracy) for point in each.curve]
        points = points or [(each.full.mean_ms, each.accuracy)] if each.accuracy else points
        milliseconds, accuracies = zip(*points, strict=True)
        values, bars = [100 * one.value for one in accuracies], _bars(accuracies)
        axes.errorbar(milliseconds, values, bars, fmt="o-", label=_label(each), markersize=3, elinewidth=0.5)
    title = f"Accuracy against latency over thresholds, {candidates[0].accuracy.n} images, 95% intervals"  # type: ignore[union-attr] # all have one
    axes.set(title=title, xlabel="mean latency of the network, ms", ylabel="accuracy, %")
    axes.legend(fontsize="x-small")


def _bars(accuracies: Sequence[Proportion]) -> list[list[float]]:
    below = [100 * (each.value - each.low) for each in accuracies]
    return [below, [100 * (each.high - each.value) for each in accuracies]]


def _exit_shares(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    for position, each in enumerate(candidates):
        left = 0.0
        for index, exit_ in enumerate(each.exits):
            axes.barh(position, 100 * exit_.share, left=left, color=f"C{index}", label=exit_.name)
            left += 100 * exit_.share
    axes.set(title="Exits taken", xlabel="images, %", xlim=(0, 130))
    axes.set_yticks(range(len(candidates)), [_label(each) for each in candidates], fontsize="x-small")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), fontsize="x-small", loc="right")


def _exit_latency(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    for each in candidates:
        macs = [exit_.macs_share * each.identity.macs / 1e6 for exit_ in each.exits]
        axes.plot(macs, [exit_.latency.median_ms for exit_ in each.exits], "o-", label=_label(each), markersize=3)
    axes.set(title="Latency of each exit", xlabel="M MACs", ylabel="median latency of the network, ms", ylim=(0, None))
    axes.legend(fontsize="x-small")
