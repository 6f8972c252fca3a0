"""The result of a watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gfnet_dynn.bulk.result import ClassifyFilesResult
from gfnet_dynn.reporting.table import Table
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class WatchResult(ClassifyFilesResult):
    """Counts of the answers since the start, the log, and counts of commands."""

    commands: int
    commands_failed: int

    @property
    def frames(self) -> int:
        """Frames in the log since the start, those that cannot be read included."""
        return self.tally.images + self.tally.unreadable

    def tables(self) -> Sequence[Table]:
        """Frames by class, and by exit; none where there were no frames."""
        return super().tables() if self.tally.images else ()

    def notes(self) -> Sequence[str]:
        """What could not be read, and the commands."""
        failed = f", {self.commands_failed} failed" if self.commands_failed else ""
        return [*super().notes(), *([f"{counted(self.commands, 'command')} run{failed}"] if self.commands else [])]
