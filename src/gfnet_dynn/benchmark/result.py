"""Result of a benchmark: tables, JSON, and a page with plots, with the source of every number."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn import __version__
from gfnet_dynn.benchmark.cold_start import ColdStart
from gfnet_dynn.benchmark.energy_use import EnergyReport
from gfnet_dynn.benchmark.measurement import CandidateFigures, Preprocessing
from gfnet_dynn.benchmark.plots import draw_candidates
from gfnet_dynn.reporting.page import html_page
from gfnet_dynn.reporting.plot import save_figure
from gfnet_dynn.reporting.table import Table, Tabular
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
class BenchmarkResult(Tabular):
    """All figures of one benchmark on one machine.

    Attributes:
        machine: where.
        subject: name of the bundle, run or model.
        images: number of images that were timed; random ones if there is no end-to-end latency.
        repeats: rounds over all images.
        candidates: the subject in each engine and precision, then baselines, then torch.
        preprocessing: at the subject's input size; None without files.
        cold_starts: of fresh processes; empty unless the subject is a bundle.
        energy: by meter.
        exported: the bundle's own report of its export, by precision and policy.
        omitted: what could not be measured, and why.
    """

    machine: Machine
    subject: str
    images: int
    repeats: int
    candidates: tuple[CandidateFigures, ...]
    preprocessing: Preprocessing | None
    cold_starts: tuple[ColdStart, ...]
    energy: EnergyReport
    exported: Mapping[str, Any]
    omitted: tuple[str, ...] = ()

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
            whole = "–" if each.end_to_end is None else f"{each.end_to_end.mean_ms:.2f}"
            rows.append((each.identity.label, *(f"{value:.2f}" for value in values), whole))
        headings = ("candidate", "full, median", "policy, median", "mean", "p90", "p99", "end-to-end mean")
        return Table(f"Latency in ms of {self.subject}: {what}", headings, tuple(rows))

    def _accuracy(self) -> Table:
        rows = []
        for each in self.candidates:
            size = each.identity.size_bytes
            rows.append(
                (
                    each.identity.label,
                    "–" if each.accuracy is None else str(each.accuracy),
                    "–" if each.end_to_end is None else f"{1000 / each.end_to_end.mean_ms:.0f}",
                    f"{each.identity.macs / 1e6:.0f}",
                    "–" if size is None else f"{size / 1e6:.1f}",
                )
            )
        headings = ("candidate", "accuracy", "images/s", "M MACs", "MB")
        return Table("Accuracy (95% interval) and size", headings, tuple(rows))

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
            (
                f"{each.engine} {each.precision}",
                f"{each.seconds:.2f}",
                "–" if each.peak_mb is None else f"{each.peak_mb:.0f}",
                str(each.starts),
            )
            for each in self.cold_starts
        )
        return Table("Fresh process, one image", ("engine", "s", "peak MB", "starts"), rows)

    def _energy(self) -> Table:
        rows = []
        for each in self.energy.figures:
            above, idle = (
                "–" if value is None else f"{value:.2f}" for value in (each.above_idle_mj, each.idle_power_w)
            )
            meter = f"{each.meter}: {each.covers}"
            rows.append((each.identity.label, meter, f"{each.image_mj:.2f}", above, idle, each.kind))
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

    def plot(self, path: Path) -> Path:
        """Draw accuracy against latency, the exits taken, and the latency of each exit; returns `path`.

        Raises:
            MissingExtraError: matplotlib is not installed.
            StorageError: the format is unknown, or the file cannot be written.
        """
        return save_figure(draw_candidates(self.candidates), path)

    def to_html(self) -> bytes:
        """A page with all tables, the plot and the notes.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        title = f"{self.subject} on {self.machine.processor}"
        return html_page(title, self.tables(), [draw_candidates(self.candidates)], self.notes())
