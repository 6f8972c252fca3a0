"""Draw accuracy against end-to-end latency of networks with and without exits, from a stored benchmark.

    python experiments/front.py

Reads docs/results/benchmark_lite0.json, which an earlier version wrote, with its keys `contenders` and `accuracy`, and
writes docs/assets/front.svg. Bars are 95% Wilson intervals over the images.
"""

from __future__ import annotations

import json

import numpy as np
from figures import ROOT

from gfnet_dynn.reporting.plot import draw_accuracies, new_figure, save_figure
from gfnet_dynn.uncertainty.intervals import Proportion

FIGURES = ROOT / "docs" / "results" / "benchmark_lite0.json"
NAMES = {"lite0m-s0": ("Lite0 with early exits, 160 px", "o", "C0"), "static224m": ("Lite0, static, 224 px", "s", "C3")}


def main() -> None:
    """Draw."""
    stored = json.loads(FIGURES.read_text(encoding="utf-8"))
    images, machine = stored["images"], stored["machine"]
    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    for each in stored["contenders"]:
        identity, accuracy = each["identity"], each["accuracy"]
        label, marker, colour = NAMES[identity["name"]]
        share = Proportion.of(np.arange(images) < round(accuracy * images))
        x, y = each["end_to_end"]["mean_ms"], 100 * share.value
        draw_accuracies(axes, [x], [share], marker, color=colour, alpha=0.8, label=label)
        engine = f"{identity['engine'].split()[0]} {identity['precision']}"
        axes.annotate(engine, (x, y), textcoords="offset points", xytext=(3, 8), fontsize=7, rotation=90)
    axes.set(
        title=f"UC Merced, {images} val images; batch 1, {machine['threads']} thread, {machine['processor']}",
        xlabel="mean end-to-end latency, file to label (ms, measured)",
        ylabel="top-1 accuracy (%, measured)",
        xlim=(0, None),
    )
    axes.title.set_fontsize(9)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    save_figure(figure, ROOT / "docs" / "assets" / "front.svg")


if __name__ == "__main__":
    main()
