"""The result of `map`; needs no rasterio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted


@dataclass(frozen=True, slots=True)
class ClassArea:
    """Area of one class.

    Attributes:
        name: the class.
        km2: area of the valid pixels of its cells.
        share: of the mapped area, 0 to 1.
        interval: limits of the share where early exits harm as much as the guarantee allows; None: no guarantee.
    """

    name: str
    km2: float
    share: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ExitUse:
    """One exit: its name, the chips that took it, and multiply-accumulates of one."""

    name: str
    chips: int
    macs: int


@dataclass(frozen=True)
class Unreadable:
    """Pixels of the scene that cannot be read, and column and row of the first."""

    pixels: int
    first: tuple[int, int]


@dataclass(frozen=True)
class WorkTime:
    """How long it took.

    Attributes:
        seconds: of the whole command.
        inference_seconds: of them in the network.
        full_inference_seconds: estimate for the network without early exits, from timing some chips.
        units: blocks in all.
        resumed_units: of them, those that an earlier, interrupted run had finished.
    """

    seconds: float
    inference_seconds: float
    full_inference_seconds: float
    units: int
    resumed_units: int


@dataclass(frozen=True)
class MapResult(Tabular):
    """What was mapped.

    Attributes:
        scene: its name.
        files: all that were written, the class map first.
        areas: of each class, unknown last where the policy has a rule for it.
        guarantee: statement of the policy that bounds the intervals; empty: none.
        blocks: draws that the intervals count.
        exits: chips that took each.
        cells: rows and columns of the maps.
        cell_m: width and height of a cell, in metres.
        chip_m: side of a chip, in metres.
        stretch: samples that became 0 and 255; None: bytes as they were.
        times: how long it took.
        unreadable: None: everything was read.
        warnings: what to mind.
    """

    scene: str
    files: tuple[Path, ...]
    areas: tuple[ClassArea, ...]
    guarantee: str
    blocks: int
    exits: tuple[ExitUse, ...]
    cells: tuple[int, int]
    cell_m: tuple[float, float]
    chip_m: float
    stretch: tuple[float, float] | None
    times: WorkTime
    unreadable: Unreadable | None
    warnings: tuple[str, ...]

    @property
    def chips(self) -> int:
        """Chips that were classified."""
        return sum(each.chips for each in self.exits)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all chips; counted from shapes."""
        return sum(each.chips * each.macs for each in self.exits)

    @property
    def macs_share(self) -> float:
        """The same as a share of the full network's."""
        full = self.chips * self.exits[-1].macs
        return self.macs / full if full else 0.0

    def tables(self) -> Sequence[Table]:
        """Areas, exits, and how it was done."""
        return [self._areas(), self._exits(), self._work()]

    def _areas(self) -> Table:
        found = sorted((each for each in self.areas if each.km2), key=lambda area: -area.km2)
        rows = tuple((each.name, _km2(each.km2), percent(each.share, 1), _interval(each)) for each in found)
        headings = ("class", "km²", "share", "early exits")
        return Table(f"Area of each class in {self.scene}", headings, rows, self._caption()).without_empty_columns()

    def _caption(self) -> str:
        absent = len(self.areas) - sum(1 for each in self.areas if each.km2)
        parts = [f"{counted(absent, 'class', 'classes')} not found."] if absent else []
        if self.guarantee:
            parts.append(
                f"Early exits: limits of the share if they harm as much as the guarantee allows ({self.guarantee}), "
                "for images like those of the calibration. Neighbouring cells are not independent, so blocks of cells "
                f"count as draws: {self.blocks}. Errors of the full network are not included."
            )
        return " ".join(parts)

    def _exits(self) -> Table:
        total = max(1, self.chips)
        rows = (
            (each.name, f"{each.chips:,}", percent(each.chips / total, 1), f"{each.macs / 1e6:.4g}")
            for each in self.exits
        )
        return Table("Exits", ("exit", "chips", "share", "M MACs"), tuple(rows))

    def _work(self) -> Table:
        (height, width), (across, down), times = self.cells, self.cell_m, self.times
        stretch = "as stored" if self.stretch is None else f"{self.stretch[0]:g} to {self.stretch[1]:g} become 0 to 255"
        rows = [
            ("map", f"{width} × {height} cells of {across:.4g} × {down:.4g} m; chips of {self.chip_m:.4g} m"),
            ("samples", stretch),
            ("MACs", f"{percent(self.macs_share, 1)} of the full network's"),
            ("time", self._time()),
            ("network", f"{times.inference_seconds:.1f} s; in full: {times.full_inference_seconds:.1f} s (estimated)"),
        ]
        if times.resumed_units:
            rows.append(("resumed", f"{times.resumed_units} of {times.units} blocks were finished before"))
        return Table("", ("", "value"), tuple(rows))

    def _time(self) -> str:
        resumed = self.times.resumed_units or not self.times.seconds
        return f"{self.times.seconds:.1f} s" + ("" if resumed else f", {self.chips / self.times.seconds:.0f} chips/s")

    def notes(self) -> Sequence[str]:
        """What could not be read, and warnings."""
        found = [f"warning: {each}" for each in self.warnings]
        if self.unreadable:
            column, row = self.unreadable.first
            found.append(
                f"error: {self.unreadable.pixels:,} pixels of {self.scene} cannot be read, the first in row {row}, "
                f"column {column}: they are nodata in the maps; get the file anew and map it again"
            )
        return found


def _km2(area: float) -> str:
    return f"{area:,.0f}" if area >= 1000 else f"{area:.4g}"


def _interval(area: ClassArea) -> str:
    return f"{100 * area.interval[0]:.1f}–{percent(area.interval[1], 1)}" if area.interval else "–"
