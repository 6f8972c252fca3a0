"""Result of a benchmark: tables, JSON, and a page with plots, with the source of every number."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gfnet_dynn import __version__
from gfnet_dynn.benchmark.energy_use import EnergyReport
from gfnet_dynn.benchmark.measurement import CandidateFigures, ColdStart, Preprocessing
from gfnet_dynn.reporting.plot import draw_accuracies, new_figure
from gfnet_dynn.reporting.table import Plotted, Table, number
from gfnet_dynn.system.machine import processor
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    processor: str
    architecture: str
    system: str
    python: str
    gfnet_dynn: str
    threads: int

    @classmethod
    def here(cls, threads: int) -> Machine:
        """This machine."""
        system = f"{platform.system()} {platform.release()}"
        return cls(processor(), platform.machine(), system, sys.version.split()[0], __version__, threads)


@dataclass(frozen=True)
class BenchmarkResult(Plotted):
    """All figures of one benchmark on one machine."""

    machine: Machine
    subject: str  # name of the bundle, run or model
    images: int  # number of images that were timed; random ones if there is no end-to-end latency
    repeats: int  # rounds over all images
    candidates: tuple[CandidateFigures, ...]  # the subject in each engine and precision, then baselines, then torch
    preprocessing: Preprocessing | None  # at the subject's input size; None without files
    cold_starts: tuple[ColdStart, ...]  # of fresh processes; empty unless the subject is a bundle
    energy: EnergyReport
    exported: Mapping[str, Any]  # the bundle's own report of its export, by precision and policy
    omitted: tuple[str, ...] = ()  # what could not be measured, and why

    def tables(self) -> Sequence[Table]:
        """Latency, accuracy and size of each candidate; exits; cold starts; energy."""
        found = [self._latency(), self._accuracy(), self._exits(), self._cold_starts(), self._energy()]
        return [table for table in found if table.rows]

    def _latency(self) -> Table:
        what = f"{counted(self.images, 'image')}, batch 1, {counted(self.machine.threads, 'thread')}"
        rows = []
        for each in self.candidates:
            mix = each.mix
            values = (each.full.median_ms, mix.median_ms, mix.mean_ms, mix.p90_ms, mix.p99_ms)
            whole = each.end_to_end.mean_ms if each.end_to_end else None
            rows.append((each.identity.label, *map(number, (*values, whole))))
        headings = ("candidate", "full, median", "policy, median", "mean", "p90", "p99", "end-to-end mean")
        return Table(f"Latency in ms of {self.subject}: {what}", headings, tuple(rows))

    def _accuracy(self) -> Table:
        rows = tuple(
            (
                each.identity.label,
                "–" if each.accuracy is None else str(each.accuracy),
                number(1000 / each.end_to_end.mean_ms if each.end_to_end else None, 0),
                f"{each.identity.macs / 1e6:.0f}",
                number(each.identity.size_bytes and each.identity.size_bytes / 1e6, 1),
            )
            for each in self.candidates
        )
        return Table("Accuracy (95% interval) and size", ("candidate", "accuracy", "images/s", "M MACs", "MB"), rows)

    def _exits(self) -> Table:
        """One row for each exit of each candidate that has early exits."""
        rows = tuple(
            (
                each.identity.label if index == 0 else "",
                exit_.name,
                percent(exit_.macs_share, 1),
                percent(exit_.latency_share, 1),
                f"{exit_.latency.median_ms:.2f}",
                percent(exit_.share, 0),
            )
            for each in self.candidates
            if len(each.exits) > 1
            for index, exit_ in enumerate(each.exits)
        )
        headings = ("candidate", "exit", "MACs", "time", "median ms", "images")
        return Table("Exits: share of the full network's cost, and of the images by the policy", headings, rows)

    def _cold_starts(self) -> Table:
        rows = tuple(
            (f"{each.engine} {each.precision}", number(each.seconds), number(each.peak_mb, 0), str(each.starts))
            for each in self.cold_starts
        )
        return Table("Fresh process, one image", ("engine", "s", "peak MB", "starts"), rows)

    def _energy(self) -> Table:
        rows = []
        for each in self.energy.figures:
            numbers = map(number, (each.image_mj, each.above_idle_mj, each.idle_power_w))
            rows.append((each.identity.label, f"{each.meter}: {each.covers}", *numbers, each.kind))
        headings = ("candidate", "meter", "mJ", "above idle", "idle W", "kind")
        return Table("Energy per image, end to end", headings, tuple(rows))

    def notes(self) -> Sequence[str]:
        """How each number was obtained."""
        machine, identities = self.machine, [each.identity for each in self.candidates]
        engines = ", ".join(dict.fromkeys(each.engine for each in identities))
        extent = f"{counted(self.images, 'image')} and {counted(self.repeats, 'round')}"
        policies = dict.fromkeys(f"{each.name} at {each.input_px} px: {each.policy}" for each in identities)
        lines = [
            f"Latency: measured on this machine ({machine.processor}, {machine.architecture}; {engines}), batch 1, "
            f"over {extent}, all exits of all candidates in turns. full, policy: the network alone, through all blocks "
            "and by the exit policy. end-to-end: with decoding and resizing.",
            f"Exit policies: {'; '.join(policies)}.",
            "MACs: counted from shapes. MB: graphs of this precision.",
        ]
        if self.energy.unavailable:
            which = "further meters" if self.energy.figures else "not measured"
            lines.append(f"Energy, {which}: {'; '.join(self.energy.unavailable)}.")
        if self.preprocessing is None:
            return [*lines, "Images: random pixels, which give no accuracy and no end-to-end latency.", *self.omitted]
        decode, fit = self.preprocessing.decode.median_ms, self.preprocessing.fit.median_ms
        lines += [
            f"Preprocessing: decoding {decode:.2f} ms, resizing {fit:.2f} ms at {identities[0].input_px} px (medians).",
            f"Accuracy: top-1 on these {counted(self.images, 'image')}, whose folders name the classes; – where the "
            "folders are not classes of the candidate, or its classifier is untrained.",
        ]
        if self.cold_starts:
            lines.append("Fresh process: one run of `gfnet-dynn classify`, start to exit; medians.")
        return [*lines, *self.omitted]

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `gfnet-dynn calibrate --benchmark` reads them."""
        return {**asdict(self), "sources": list(self.notes())}

    def draw(self) -> Any:
        """Accuracy against latency where it is known, the exits taken where some are early, latency of each exit."""
        known = [each for each in self.candidates if each.accuracy is not None]
        early = [each for each in self.candidates if len(each.exits) > 1]
        panels = ((_accuracy_latency, known), (_exit_shares, early), (_exit_latency, self.candidates))
        drawn = [(draw, shown) for draw, shown in panels if shown]
        figure = new_figure(8, 4 * len(drawn))
        for (draw, shown), axes in zip(drawn, figure.subplots(len(drawn), squeeze=False)[:, 0], strict=True):
            draw(axes, shown)
        return figure


def _label(figures: CandidateFigures) -> str:
    return figures.identity.label.replace("$", r"\$")  # which begins a formula


def _accuracy_latency(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    for each in candidates:
        points = [(point.mean_ms, point.accuracy) for point in each.curve]
        points = points or [(each.full.mean_ms, each.accuracy)] if each.accuracy else points
        milliseconds, accuracies = zip(*points, strict=True)
        draw_accuracies(axes, milliseconds, accuracies, "o-", label=_label(each), markersize=3, capsize=0)
    title = f"Accuracy against latency over thresholds, {candidates[0].accuracy.n} images, 95% intervals"  # type: ignore[union-attr] # all have one
    axes.set(title=title, xlabel="mean latency of the network, ms", ylabel="accuracy, %")
    axes.legend(fontsize="x-small")


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
