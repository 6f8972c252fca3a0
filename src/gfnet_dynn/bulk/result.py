"""The result of classifying any number of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.bulk.class_folders import UNKNOWN
from gfnet_dynn.bulk.tally import Tally
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class ClassifyFilesResult(Tabular):
    """Counts of the answers, and the file that holds them; None: they were handed over line by line."""

    tally: Tally
    output: Path | None

    @property
    def unreadable(self) -> int:
        """Files and folders that could not be read."""
        return self.tally.unreadable

    def tables(self) -> Sequence[Table]:
        """Images by class, and by exit."""
        unknown = {UNKNOWN: self.tally.unknown} if self.tally.unknown else {}
        classes = dict(sorted(self.tally.classes.items(), key=lambda each: (-each[1], each[0])))
        return [_counts("class", {**classes, **unknown}), _counts("exit", dict(sorted(self.tally.exits.items())))]

    def notes(self) -> Sequence[str]:
        """How many files could not be read, and why the first one."""
        if not self.unreadable:
            return ()
        whole = self.tally.images + self.unreadable
        return [
            f"{self.unreadable} of {counted(whole, 'file')} could not be read, such as: {self.tally.first_errors[0]}"
        ]


def _counts(heading: str, counts: Mapping[str, int]) -> Table:
    images = sum(counts.values())
    rows = [(name, str(count), percent(count / images, 1)) for name, count in counts.items()]
    return Table("", (heading, "images", "share"), tuple(rows))
