"""`gfnet-dynn archive`."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.cli.streams import print_note
from gfnet_dynn.wording import counted

if TYPE_CHECKING:
    from gfnet_dynn.archive.job import PartitionSummary
    from gfnet_dynn.cli.terminal import Terminal


def archive(request: ArchiveRequest) -> None:
    """Classify an archive of any size into a folder of Parquet files, a row for each image.

    SOURCE is cut into partitions, which workers classify. Interrupted work continues with the same command: a
    partition is finished exactly when its file is there. An image that cannot be read is a row with its error; the
    exit status is then 2. Needs the extra archive, and no torch.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.archiving import archive as run

    console = Terminal()
    progress = _Progress(console)
    try:
        result = run(request, on_partition=progress, log=print_note)
    except KeyboardInterrupt:
        print_note(f"{progress.finished} kept in {request.output}: the same command continues")
        raise
    finally:
        progress.close()
    console.show(result, files=[request.output])
    if result.summary.errors:
        raise SystemExit(2)


class _Progress:
    """A bar of partitions with the rate and the time left; an `OnPartition`."""

    def __init__(self, console: Terminal) -> None:
        from gfnet_dynn.cli.terminal import progress_bar

        self._bar = progress_bar(console)
        self._task = self._bar.add_task("archive", total=None, note="")
        self._began, self._before = time.monotonic(), 0
        self._done = self._total = self._rows = 0

    def __call__(self, summary: PartitionSummary | None, done: int, total: int) -> None:
        """One more, or those before."""
        if summary is None:
            self._began, self._before = time.monotonic(), done
            self._bar.start()
        else:
            self._rows += summary.rows
        self._done, self._total = done, total
        self._bar.update(self._task, completed=done, total=total, note=self._note())

    def _note(self) -> str:
        if self._done == self._before:
            return ""
        seconds = time.monotonic() - self._began
        left = timedelta(seconds=round(seconds * (self._total - self._done) / (self._done - self._before)))
        return f"{self._rows / max(seconds, 1e-9):.0f} images/s, {left} left"

    @property
    def finished(self) -> str:
        """`3 of 20 partitions`."""
        return f"{self._done} of {counted(self._total, 'partition')}"

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()
