"""Draw accuracy against the time from file to label, of a network with exits and a static one, measured in one run.

    gfnet-dynn train UCM --recipe aerial --output runs/front
    gfnet-dynn train UCM --exits none --input-size 224 --output runs/front-static
    gfnet-dynn export runs/front/checkpoint_UCM_0.75_confEE -o aerial.gfd
    gfnet-dynn export runs/front-static/checkpoint_UCM_0.75_confEE -o static.gfd
    python experiments/front.py aerial.gfd static.gfd UCM/val [REPEATS] [--write front]

Every engine and precision, batch 1, one thread, all images in turns. `ratio` compares the fastest of each, by its mean
from file to label; `difference` is their accuracy on the same images, with exits less static. Prints JSON and, with
--write, draws docs/assets/front.svg.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import ROOT, arguments, write_figures

from gfnet_dynn.benchmark.measurement import CandidateFigures
from gfnet_dynn.benchmark.result import BenchmarkResult
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.evaluation.labelled_folder import find_labelled
from gfnet_dynn.reporting.plot import draw_accuracies, new_figure, save_figure
from gfnet_dynn.runtime import load
from gfnet_dynn.uncertainty.intervals import Proportion, paired_difference
from gfnet_dynn.workflows import BenchmarkRequest, benchmark

TOO_NEAR_MS = 0.15  # for names below one another
STYLES = (("with early exits", "o", "C0"), ("static", "s", "C3"))


def main() -> None:
    """Measure, compare and draw."""
    given = arguments("exits", "static", "val", repeats=3)
    classes = read_bundle(given.exits).manifest.classes
    images = find_labelled(given.val, classes)
    result = benchmark(
        BenchmarkRequest(
            subject=str(given.exits),
            images=(given.val,),
            against=(str(given.static),),
            num_images=len(images.files),
            repeats=given.repeats,
            energy_seconds=0.0,
        )
    )
    ours, static = (candidates_of(result, path) for path in (given.exits, given.static))
    best = [min(each, key=mean_ms) for each in (ours, static)]
    correct = [
        correct_answers(path, one, images.files, images.labels, classes)
        for path, one in zip((given.exits, given.static), best, strict=True)
    ]
    difference = paired_difference(correct[1], correct[0])
    figures: dict[str, Any] = {
        "command": f"python experiments/front.py EXITS.gfd STATIC.gfd VAL {given.repeats} --write front",
        "machine": asdict(result.machine),
        "images": result.images,
        "repeats": result.repeats,
        "ratio": mean_ms(best[0]) / mean_ms(best[1]),
        "difference": asdict(difference),
        "candidates": [described(one) for one in (*ours, *static)],
    }
    write_figures(figures, given.write)
    if given.write:
        draw(figures)


def candidates_of(result: BenchmarkResult, path: Path) -> list[CandidateFigures]:
    """Those of one bundle."""
    return [each for each in result.candidates if each.identity.name == path.stem]


def mean_ms(figures: CandidateFigures) -> float:
    """From file to label."""
    assert figures.end_to_end is not None
    return figures.end_to_end.mean_ms


def correct_answers(
    path: Path,
    figures: CandidateFigures,
    files: tuple[Path, ...],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> npt.NDArray[np.bool_]:
    """Whether a candidate is right on each image, [N], by its bundle's default policy."""
    engine = figures.identity.engine.split()[0]
    classifier = load(path, engine=engine, precision=figures.identity.precision, threads=1)
    answers = [classes.index(each.label) for each in classifier.classify_each(files)]
    return np.asarray(np.array(answers) == labels)


def described(figures: CandidateFigures) -> dict[str, Any]:
    """What the table of the docs needs."""
    identity = figures.identity
    return {
        **{key: getattr(identity, key) for key in ("name", "engine", "precision", "policy", "input_px", "macs")},
        "end_to_end_mean_ms": mean_ms(figures),
        "network_mean_ms": figures.mix.mean_ms,
        "accuracy": None if figures.accuracy is None else asdict(figures.accuracy),
    }


def draw(figures: dict[str, Any]) -> None:
    """Accuracy with intervals over milliseconds."""
    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    names = list(dict.fromkeys(each["name"] for each in figures["candidates"]))
    for each in figures["candidates"]:
        kind, marker, colour = STYLES[names.index(each["name"])]
        accuracy = Proportion(**each["accuracy"])
        x, label = each["end_to_end_mean_ms"], f"Lite0 {kind}, {each['input_px']} px"
        draw_accuracies(axes, [x], [accuracy], marker, color=colour, alpha=0.8, label=label)
        near = [one["end_to_end_mean_ms"] - x for one in figures["candidates"]]
        near = [gap for gap in near if 0 < abs(gap) < TOO_NEAR_MS]
        beside = -3 if not near else -9 if min(near) > 0 else 3
        low, text = (x, 100 * accuracy.low), f"{each['engine'].split()[0]} {each['precision']}"
        axes.annotate(text, low, (beside, -3), textcoords="offset points", fontsize=7, rotation=90, va="top")
    machine = figures["machine"]
    axes.set(
        title=f"{figures['images']} val images; batch 1, {machine['threads']} thread, {machine['processor']}",
        xlabel="mean time from file to label (ms, measured)",
        ylabel="top-1 accuracy (%, measured)",
        xlim=(0, None),
        ylim=(93.5, 100),
    )
    axes.title.set_fontsize(9)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    save_figure(figure, ROOT / "docs" / "assets" / "front.svg")


if __name__ == "__main__":
    main()
