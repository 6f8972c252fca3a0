"""An evaluation for the terminal: one table over the thresholds, one over the exits."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from gfnet_dynn.evaluation.evaluation import Evaluation, Judgement
from gfnet_dynn.wording import counted


def print_evaluation(evaluation: Evaluation, chosen_where: str, console: Console) -> None:
    """Print both tables, and how their numbers came about.

    Args:
        evaluation: what to print.
        chosen_where: when and on what the chosen threshold was found.
        console: where to.
    """
    console.print(_thresholds_table(evaluation))
    console.print(_exits_table(evaluation))
    lines = ["Accuracy, F1 and shares: measured on these images. MACs: counted from shapes."]
    if evaluation.chosen or evaluation.plain:
        lines.append(f"Chosen thresholds: found {chosen_where}; they carry no guarantee.")
    if evaluation.plain:
        lines.append("Plain: leaving by an exit's largest probability instead of its learned gate.")
    if evaluation.times:
        setting = evaluation.times.setting
        rounds = counted(setting.repeats, "round")
        lines.append(
            f"Latency: measured on {setting.images} of the images at batch 1, median of {rounds}, "
            f"{setting.engine}, threads {setting.threads}, {setting.device}; {setting.scope}."
        )
    console.print("\n".join(lines), highlight=False)


def _thresholds_table(evaluation: Evaluation) -> Table:
    what = f"{evaluation.model}, {evaluation.input_px} px, {evaluation.data_set}"
    table = Table(title=f"{what}: {counted(evaluation.images, f'{evaluation.part} image')}")
    for heading in ("threshold", "top-1 %", "F1 %", "MMACs", "of full", "ms", "% leaving at each exit"):
        table.add_column(heading, justify="right")
    for judgement in evaluation.sweep:
        table.add_row(*_threshold_cells(judgement))
    if evaluation.chosen:
        table.add_section()
        table.add_row(*_threshold_cells(evaluation.chosen, "chosen "), style="bold")
    if evaluation.plain:
        table.add_row(*_threshold_cells(evaluation.plain, "plain "))
    return table


def _threshold_cells(judgement: Judgement, prefix: str = "") -> tuple[str, ...]:
    point = judgement.point
    first = point.thresholds[0] if point.thresholds else math.inf
    return (
        prefix + (f"{first:g}" if math.isfinite(first) else "never"),
        f"{100 * point.accuracy:.1f}",
        f"{100 * judgement.macro_f1:.1f}",
        f"{judgement.mean_macs / 1e6:.1f}",
        f"{100 * point.mean_cost:.0f} %",
        "–" if judgement.latency_ms is None else f"{judgement.latency_ms:.2f}",
        " ".join(f"{100 * share:3.0f}" for share in point.shares),
    )


def _exits_table(evaluation: Evaluation) -> Table:
    judgement = evaluation.chosen or evaluation.sweep[-1]
    title = "Exits at the chosen threshold" if evaluation.chosen else "Exits; none leaves early"
    table = Table(title=title)
    for heading in ("exit", "MMACs", "ms", "top-1 %, all images", "leaving %", "top-1 % of those"):
        table.add_column(heading, justify="right")
    times = evaluation.times.milliseconds.mean(axis=0) if evaluation.times else None
    for index, macs in enumerate(evaluation.exit_macs):
        accuracy = judgement.point.exit_accuracy[index]
        table.add_row(
            str(index + 1) if index < len(evaluation.exit_macs) - 1 else "final",
            f"{macs / 1e6:.1f}",
            "–" if times is None else f"{times[index]:.2f}",
            f"{100 * evaluation.exit_accuracy[index]:.1f}",
            f"{100 * judgement.point.shares[index]:.1f}",
            "–" if math.isnan(accuracy) else f"{100 * accuracy:.1f}",
        )
    return table
