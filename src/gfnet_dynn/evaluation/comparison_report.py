"""A comparison of runs as tables, JSON values and a plot, with the source of every number."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from gfnet_dynn.evaluation.comparison import Group, PolicyMeans
from gfnet_dynn.reporting.plot import draw_accuracies, new_figure
from gfnet_dynn.reporting.table import Plotted, Table
from gfnet_dynn.wording import counted

SOURCES = {
    "accuracy, macro F1": "per cent, measured on the images of the heading; no epoch, head or threshold was chosen on "
    "them; in parentheses the 95% interval of the accuracy for that number of images (Wilson)",
    "±": "sample standard deviation over runs that differ in their seed alone",
    "M MACs (share)": "multiply-accumulates of an image in millions, counted from shapes; share of the same network's "
    "full pass; with early exits the mean over the images",
    "gates, max-softmax": "one threshold for all exits, for the learned gates or the largest softmax probability, "
    "chosen on the selection split of training: the last before more images there than --allowed-loss get another "
    "answer than the full network's; no guarantee",
    "weights": "in millions, of all exits together, counted",
    "training": "minutes in training steps, measured on the machine that trained; without the teacher's own training",
    "exits": "accuracy if all images took that exit, and its M MACs",
}
_POLICIES = {"full": "s", "gates": "*", "max-softmax": "^"}
"""Names, and markers in the plot."""


@dataclass(frozen=True)
class ReportResult(Plotted):
    """Evaluated runs in groups that differ in their seed alone, why other folders were skipped, files written."""

    groups: tuple[Group, ...]
    skipped: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def tables(self) -> Sequence[Table]:
        """For each data set the networks, then their exits."""
        tables: list[Table] = []
        by_data = sorted(self.groups, key=lambda group: group.data)  # stable: within a data set the order stays
        for data, members in groupby(by_data, key=lambda group: group.data):
            groups = list(members)
            title = f"{data.data_set}, {counted(data.images, f'{data.part} image')} (list {data.fingerprint[:8]})"
            tables.append(_main_table(title, groups))
            if with_exits := [group for group in groups if len(group.exit_macs) > 1]:
                rows = tuple((group.name, _exits(group)) for group in with_exits)
                tables.append(Table(f"{title}: each exit", ("network", "accuracy % at M MACs of each exit"), rows))
        return tables

    def notes(self) -> Sequence[str]:
        """The sources of the numbers, and the folders that were skipped."""
        return [*(f"{what}: {source}." for what, source in SOURCES.items()), *self.skipped]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: each group's figures, and the runs that they come from."""
        return {"sources": SOURCES, "groups": [_described(group) for group in self.groups], "skipped": self.skipped}

    def draw(self) -> Any:
        """Accuracy with 95% intervals against mean MACs."""
        figure = new_figure(9, 5 + 0.22 * len(self.groups))
        axes = figure.subplots()
        for index, group in enumerate(self.groups):
            label = textwrap.fill(f"{group.name} ({group.data.data_set}, n = {group.data.images})", 130)
            colour = f"C{index % 10}"
            swept = [each for run in group.runs[:1] for each in run.evaluation["sweeps"].get("gate", ())]
            curve = sorted((each["mean_macs"] / 1e6, 100 * each["accuracy"]) for each in swept)
            axes.plot(*zip(*curve, strict=True), "-", color=colour, linewidth=1)
            for name, means in group.policies.items():
                marker = _POLICIES.get(name, "o")
                label_once = label if name == "full" else None
                place = [means.mean_macs.mean / 1e6]
                draw_accuracies(axes, place, [means.interval], marker, color=colour, markersize=9, label=label_once)
        axes.set(xlabel="mean MACs of an image (millions, counted)", ylabel="top-1 accuracy (%), 95% interval")
        axes.set_title("■ full network   ★ gates   ▲ max-softmax   — gates of the first run, swept", fontsize=9)
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", fontsize=7)
        return figure


def _main_table(title: str, groups: Sequence[Group]) -> Table:
    headings = ["network", "seeds", "weights M"]
    for name in _POLICIES:
        f1 = ("macro F1 %",) if name == "full" else ()
        headings += [f"{name}: accuracy % (95%)", *f1, "M MACs (share)"]
    rows = tuple(
        (
            group.name,
            str(len(group.runs)),
            f"{group.parameters / 1e6:.2f}",
            *(cell for name in _POLICIES for cell in _cells(group.policies.get(name), f1=name == "full")),
            group.train_seconds.text(1 / 60),
        )
        for group in groups
    )
    return Table(title, (*headings, "training min"), rows)


def _cells(means: PolicyMeans | None, *, f1: bool) -> tuple[str, ...]:
    if means is None:
        return "–", "–"
    low, high = 100 * means.interval.low, 100 * means.interval.high
    accuracy = f"{means.accuracy.text(100)} ({low:.1f}–{high:.1f})"
    macs = f"{means.mean_macs.text(1e-6, 0)} ({means.macs_share.text(100, 0)}%)"
    return (accuracy, means.macro_f1.text(100), macs) if f1 else (accuracy, macs)


def _exits(group: Group) -> str:
    pairs = zip(group.exit_accuracy, group.exit_macs, strict=True)
    return " · ".join(f"{accuracy.text(100)} at {macs / 1e6:.0f}" for accuracy, macs in pairs)


def _described(group: Group) -> Mapping[str, Any]:
    exits = zip(group.exit_macs, group.exit_accuracy, strict=True)
    return {
        "name": group.name,
        "data": asdict(group.data),
        "choices": dict(group.runs[0].choices),
        "seeds": [run.seed for run in group.runs],
        "parameters": group.parameters,
        "policies": {name: _policy(means) for name, means in group.policies.items()},
        "exits": [{"macs": macs, "accuracy": asdict(accuracy)} for macs, accuracy in exits],
        "train_seconds": asdict(group.train_seconds),
    }


def _policy(means: PolicyMeans) -> Mapping[str, Any]:
    described = asdict(means)
    interval = described.pop("interval")
    return {**described, "accuracy_interval": [interval["low"], interval["high"]]}
