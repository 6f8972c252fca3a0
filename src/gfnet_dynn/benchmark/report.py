"""A device benchmark as tables and as JSON, with the source of every number."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gfnet_dynn import __version__
from gfnet_dynn.benchmark.cold_start import ColdStart
from gfnet_dynn.benchmark.energy_use import EnergyReport
from gfnet_dynn.benchmark.measurement import CandidateFigures, Preprocessing
from gfnet_dynn.system.processor import processor
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
class DeviceReport:
    """All figures of one run on one machine.

    Attributes:
        machine: where.
        bundle: name of the bundle that the benchmark is about.
        images: that were timed.
        rounds: times that all was repeated.
        candidates: the bundle in each engine and precision, and whatever stands beside it.
        preprocessing: before the network, at the bundle's input size.
        cold_starts: of a fresh process.
        energy: by meter.
        exported: what export found on the selection split, by precision and policy.
        notes: what could not be measured, and why.
    """

    machine: Machine
    bundle: str
    images: int
    rounds: int
    candidates: tuple[CandidateFigures, ...]
    preprocessing: Preprocessing
    cold_starts: tuple[ColdStart, ...]
    energy: EnergyReport
    exported: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def sources(report: DeviceReport) -> list[str]:
    """How each number came about."""
    machine, before = report.machine, report.preprocessing
    identities = [each.identity for each in report.candidates]
    engines = ", ".join(dict.fromkeys(each.engine for each in identities))
    extent = f"{counted(report.images, 'image')} and {counted(report.rounds, 'round')}"
    policies = dict.fromkeys(f"{each.name} at {each.input_px} px: {each.policy}" for each in identities)
    return [
        f"Time: measured on this machine ({machine.processor}, {machine.architecture}; {engines}) at batch 1, "
        f"{counted(machine.threads, 'thread')}, over {extent}, all exits of all networks in turns. full: all segments; "
        "mix: by the exit policy; both the network alone. file→label: with decoding and resizing.",
        f"Exit policies: {'; '.join(policies)}.",
        f"Decoding {before.decode.median_ms:.2f} ms, resizing {before.fit.median_ms:.2f} ms (medians, measured apart, "
        f"at {identities[0].input_px} px). MACs: counted from shapes. MB: the graphs in this precision.",
        "top-1: measured on these images, by the folders that they lie in; – where those are no classes of it.",
        "Fresh process: from start to exit of `gfnet-dynn classify` with one image, medians; peak resident memory.",
        *report.notes,
    ]


@dataclass(frozen=True)
class Table:
    """Title, headings, rows of texts, and a line below."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def tables(report: DeviceReport) -> list[Table]:
    """All figures for people."""
    return [_networks(report), _exits(report.candidates), _starts(report.cold_starts), _energy(report.energy)]


def _networks(report: DeviceReport) -> Table:
    headings = ("ms", "full: median", "mix: median", "mean", "p90", "p99", "file→label: mean", "img/s", "top-1 %", "MB")
    rows = []
    for each in report.candidates:
        mix, size = each.mix, each.identity.size_bytes
        times = (each.full.median_ms, mix.median_ms, mix.mean_ms, mix.p90_ms, mix.p99_ms, each.end_to_end.mean_ms)
        accuracy = "–" if each.accuracy is None else f"{100 * each.accuracy:.1f}"
        megabytes = "–" if size is None else f"{size / 1e6:.1f}"
        cells = (*(f"{value:.2f}" for value in times), f"{each.images_per_s:.0f}", accuracy, megabytes)
        rows.append((each.identity.label, *cells))
    title = f"{report.bundle}: {counted(report.images, 'image')}, batch 1, {counted(report.machine.threads, 'thread')}"
    return Table(title, headings, tuple(rows))


def _exits(candidates: Sequence[CandidateFigures]) -> Table:
    """A row for each exit of each network that has early ones."""
    rows = [
        (
            each.identity.label if index == 0 else "",
            way.name,
            f"{100 * way.macs_share:.1f}",
            f"{100 * way.latency_share:.1f}",
            f"{way.latency.median_ms:.2f}",
            f"{100 * way.share:.0f}",
        )
        for each in candidates
        if len(each.exits) > 1
        for index, way in enumerate(each.exits)
    ]
    headings = ("", "exit", "% of MACs", "% of time", "ms, median", "% of images leave")
    return Table("Leaving at each exit", headings, tuple(rows))


def _starts(starts: Sequence[ColdStart]) -> Table:
    rows = [
        (
            f"{each.engine} {each.precision}",
            f"{each.seconds:.2f}",
            "–" if each.peak_mb is None else f"{each.peak_mb:.0f}",
            str(each.starts),
        )
        for each in starts
    ]
    return Table("A fresh process, one image", ("", "s", "peak MB", "starts"), tuple(rows))


def _energy(energy: EnergyReport) -> Table:
    rows = []
    for each in energy.figures:
        above, idle = ("–" if value is None else f"{value:.2f}" for value in (each.above_idle_mj, each.idle_power_w))
        rows.append(
            (f"{each.identity.label}; {each.meter}: {each.covers}", f"{each.image_mj:.2f}", above, idle, each.kind)
        )
    caption = "; ".join([*([] if rows else ["not measurable here"]), *energy.why_not])
    headings = ("", "mJ", "above idle", "idle W", "kind")
    return Table("Energy of an image, file to label", headings, tuple(rows), caption)


def device_report_to_dict(report: DeviceReport) -> dict[str, Any]:
    """As JSON values."""
    described = asdict(report)
    for mine, each in zip(described["candidates"], report.candidates, strict=True):
        mine["images_per_s"] = each.images_per_s
        for point in mine["curve"]:
            point["threshold"] = None if math.isinf(point["threshold"]) else point["threshold"]
    return {**described, "sources": sources(report)}
