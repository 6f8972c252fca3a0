"""The result of classifying an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.archive.tally import ArchiveSummary
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class ArchiveResult(Tabular):
    """What the finished partitions hold, and how fast those of this run were.

    Attributes:
        output: folder of the answers.
        summary: of all finished partitions, those of earlier runs included.
        partitions: number of them all.
        done_now: rows that this run wrote.
        seconds: that it took.
    """

    output: Path
    summary: ArchiveSummary
    partitions: int
    done_now: int
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether all partitions are finished."""
        return self.summary.partitions == self.partitions

    @property
    def images_per_s(self) -> float:
        """Of this run, its start included."""
        return self.done_now / self.seconds if self.seconds else 0.0

    def tables(self) -> Sequence[Table]:
        """Images by class, and by exit."""
        found = self.summary
        unknown = {"unknown": found.unknown} if found.unknown else {}
        classes = dict(sorted(found.classes.items(), key=lambda each: (-each[1], each[0])))
        return [_counts("class", {**classes, **unknown}), _counts("exit", found.exits)]

    def notes(self) -> Sequence[str]:
        """What exits saved, what the promise is worth, and what could not be read."""
        found = self.summary
        lines = [f"{counted(found.rows, 'image')} in {counted(found.partitions, 'partition')}"]
        if self.done_now:
            lines[0] += f", {self.done_now} of them now: {self.images_per_s:.0f} images/s"
        if found.full_macs:
            lines.append(f"exits saved {percent(found.macs_saved, 1)} of the full network's multiply-accumulates")
        if set(found.promises) - {"none"}:
            lines.append(f"promise by partition: {', '.join(f'{name} {n}' for name, n in found.promises.items())}")
        if found.errors:
            lines.append(
                f"{found.errors} of {counted(found.rows, 'image')} could not be read, such as {found.first_errors[0]}"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return {**asdict(self.summary), "macs_saved": self.summary.macs_saved}


def _counts(heading: str, counts: Mapping[str, int]) -> Table:
    images = sum(counts.values())
    rows = [(name, str(count), percent(count / images, 1)) for name, count in counts.items()]
    return Table("", (heading, "images", "share"), tuple(rows))
