"""Reliability of each exit's confidences: figures and plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.fitting import split
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.guarantees.risk import risk_of
from gfnet_dynn.reporting.plot import new_figure, save_figure
from gfnet_dynn.uncertainty.intervals import Proportion
from gfnet_dynn.uncertainty.reliability import Bin, equal_mass_error, fit_temperature, reliability_bins
from gfnet_dynn.units import percent

_BINS = 10
_SIDE = 2.6  # inches of a panel
_COLUMNS = 4


@dataclass(frozen=True)
class ExitReliability:
    """Reliability of one exit, over images that its temperature was not fitted on, as if all took this exit.

    Attributes:
        name: of the exit.
        accuracy: with its interval.
        error: expected calibration error, equal mass, 0 to 1.
        brier: 0 to 2.
        temperature: fitted on other images.
        error_scaled: as `error`, with the temperature.
        bins: points of the reliability plot, without it.
    """

    name: str
    accuracy: Proportion
    error: float
    brier: float
    temperature: float
    error_scaled: float
    bins: tuple[Bin, ...]


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


def draw_reliability(exits: Sequence[ExitReliability], path: Path) -> Path:
    """Draw accuracy over confidence, one panel for each exit, with the standard error of each bin.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: another suffix than .png, .svg or .pdf, or the file cannot be written.
    """
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
    return save_figure(figure, path)


def _draw(panel: Any, exit_: ExitReliability) -> None:
    confidences, accuracies, deviations = (
        [100 * getattr(each, name) for each in exit_.bins] for name in ("confidence", "accuracy", "standard_error")
    )
    panel.plot((0, 100), (0, 100), color="0.7", linewidth=1)
    panel.errorbar(confidences, accuracies, yerr=deviations, fmt="o-", markersize=3, capsize=2)
    errors = f"ECE {percent(exit_.error, 1)}\nat temperature {exit_.temperature:.2f}: {percent(exit_.error_scaled, 1)}"
    panel.set_title(f"{exit_.name}: {errors}", fontsize="small")
