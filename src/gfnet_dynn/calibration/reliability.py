"""Reliability of each exit's confidences with its plot, and the confidence scores compared at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.fitting import FIT_SHARE, fit, split
from gfnet_dynn.exits import SCORES, ExitArrays, Score, by_score, softmax
from gfnet_dynn.guarantees.budget import levels
from gfnet_dynn.guarantees.paths import exits_along, values_at
from gfnet_dynn.guarantees.risk import risk_of
from gfnet_dynn.reporting.plot import new_figure
from gfnet_dynn.uncertainty.intervals import Proportion
from gfnet_dynn.uncertainty.reliability import Bin, equal_mass_error, fit_temperature, reliability_bins
from gfnet_dynn.units import percent

_BINS = 10
_SIDE = 2.6  # inches of a panel
_COLUMNS = 4


@dataclass(frozen=True)
class ExitReliability:
    """Reliability of one exit, over images that its temperature was not fitted on, as if all took this exit."""

    name: str
    accuracy: Proportion
    error: float  # expected calibration error, equal mass, 0 to 1
    brier: float  # 0 to 2
    temperature: float  # fitted on other images
    error_scaled: float  # as `error`, with the temperature
    bins: tuple[Bin, ...]  # points of the reliability plot, without it


def exit_reliability(arrays: ExitArrays, manifest: Manifest, seed: int) -> tuple[ExitReliability, ...]:
    """Reliability of all exits: temperatures from a random half of the images, all figures from the other half."""
    fitting, compared = split(arrays, len(arrays.labels) // 2, seed)
    briers = risk_of(compared, "brier").losses.mean(axis=0)
    found = []
    for index, exit_ in enumerate(manifest.exits):
        temperature = fit_temperature(fitting.logits[:, index], fitting.labels)
        logits, correct = compared.logits[:, index], compared.correct[:, index]
        plain, scaled = (softmax(logits / divisor).max(axis=1) for divisor in (1.0, temperature))
        found.append(
            ExitReliability(
                name=exit_.name,
                accuracy=Proportion.of(correct),
                error=equal_mass_error(plain, correct),
                brier=float(briers[index]),
                temperature=temperature,
                error_scaled=equal_mass_error(scaled, correct),
                bins=reliability_bins(plain, correct, _BINS),
            )
        )
    return tuple(found)


def draw_reliability(exits: Sequence[ExitReliability]) -> Any:
    """Accuracy over confidence, one panel for each exit, with the standard error of each bin."""
    columns = min(_COLUMNS, len(exits))
    rows = -(-len(exits) // columns)
    figure = new_figure(_SIDE * columns, _SIDE * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, each in zip(panels, exits, strict=False):
        _draw(panel, each)
    for empty in panels[len(exits) :]:
        empty.set_visible(False)
    n = exits[0].accuracy.n
    figure.supxlabel(f"confidence, % (bins of equal mass, n = {n}, ± one standard error)", fontsize="small")
    figure.supylabel("accuracy, %", fontsize="small")
    return figure


def _draw(panel: Any, exit_: ExitReliability) -> None:
    confidences, accuracies, deviations = (
        [100 * getattr(each, name) for each in exit_.bins] for name in ("confidence", "accuracy", "standard_error")
    )
    panel.plot((0, 100), (0, 100), color="0.7", linewidth=1)
    panel.errorbar(confidences, accuracies, yerr=deviations, fmt="o-", markersize=3, capsize=2)
    errors = f"ECE {percent(exit_.error, 1)}\nat temperature {exit_.temperature:.2f}: {percent(exit_.error_scaled, 1)}"
    panel.set_title(f"{exit_.name}: {errors}", fontsize="small")


@dataclass(frozen=True)
class Ranked:
    """One score at one mean cost."""

    score: Score
    accuracy: float  # at that cost, 0 to 1
    against_gate: float  # that minus the accuracy of the learned gate
    standard_error: float  # of that difference, over the images


def rank_scores(
    arrays: ExitArrays, costs: Sequence[float], mean_cost: float, seed: int = 0, scores: Sequence[Score] = SCORES
) -> list[Ranked]:
    """All scores at the same mean cost, the best first.

    Each score's threshold is the one with that mean cost, which needs no labels; between two thresholds, images are
    divided in proportion. The arrays are of images that nothing was trained or chosen on; they are divided into images
    for fitting and for comparing. Costs are of each exit, [G + 1], in the unit of the mean.
    """
    fitting, compared = split(arrays, round(FIT_SHARE * len(arrays.labels)), seed)
    prices, ranked = np.asarray(costs, np.float64), []
    by_gate = _correct_at(compared, prices, mean_cost)
    for score in scores:
        each = _correct_at(by_score(compared, score, fit(fitting, score)), prices, mean_cost)
        difference = each - by_gate
        error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
        ranked.append(Ranked(score, float(each.mean()), float(difference.mean()), error))
    return sorted(ranked, key=lambda each: -each.accuracy)


def _correct_at(arrays: ExitArrays, costs: npt.NDArray[np.float64], mean_cost: float) -> npt.NDArray[np.float64]:
    """Whether each image is correct at a mean cost, [N]; between two thresholds, a mean of both."""
    exits = exits_along(arrays.gates, levels([arrays]))
    means = costs[exits].mean(axis=0)
    correct = values_at(arrays.correct, exits).astype(np.float64)
    # The means fall, unless measured costs of neighbouring exits are in the wrong order.
    cheap = int(np.argmax(means <= mean_cost)) if means.min() <= mean_cost else int(means.argmin())
    if cheap == 0 or means[cheap] > mean_cost:
        return correct[:, cheap]
    share = (mean_cost - means[cheap]) / (means[cheap - 1] - means[cheap])
    return np.asarray(share * correct[:, cheap - 1] + (1 - share) * correct[:, cheap])
