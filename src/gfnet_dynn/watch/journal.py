"""What was done: the log for people and programs, and beside it the known files, for the next start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gfnet_dynn.runtime.prediction import Answer, Prediction
from gfnet_dynn.system.storage import json_line, one_at_a_time
from gfnet_dynn.watch.answer_log import AnswerLog, numbered, read_lines
from gfnet_dynn.watch.frame import FileStamp, Frame, file_key
from gfnet_dynn.watch.request import WatchRequest
from gfnet_dynn.watch.seen import SeenFiles

_INTERVAL_S = 5.0  # between two waits for the disk: at most so much work is done again after a power cut
_MOST_WAITING = 1_000  # lines between two waits: they fit into the end of a log that is read at the next start


class Journal:
    """The log and the known files in step: on disk, a file is known only when its line is there."""

    def __init__(self, request: WatchRequest, clock: Callable[[], float] = time.monotonic) -> None:
        """Open or create both; raises StorageError."""
        self._log = AnswerLog(request.output, request.max_log_size, request.keep_logs)
        self.seen = SeenFiles(request.output.with_name(f"{request.output.name}.seen"), keep=request.resume)
        self.is_continued = request.resume and not (self.seen.is_new and not request.output.stat().st_size)
        if self.is_continued:
            for key in _logged(request.output, whole=self.seen.is_new):
                self.seen.add(key)
        self._top, self._clock, self._saved_at = request.top, clock, clock()

    def write(self, frame: Frame, answer: Answer) -> str:
        """Add the line of a frame, and know its file; returns the time in the line; raises StorageError."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._log.write(json_line(_line(frame, answer, now, self._top)))
        if frame.stamp:
            self.seen.add(file_key(str(frame.source), frame.stamp))
        self.save_when_due()
        return now

    def begin(self) -> None:
        """Put the files that are known at the start on disk in one step; raises StorageError."""
        self.seen.begin()

    def save_when_due(self) -> None:
        """Wait for the disk, unless it was not long ago; raises StorageError."""
        if self._clock() - self._saved_at >= _INTERVAL_S or self.seen.waiting >= _MOST_WAITING:
            self.save()

    def save(self) -> None:
        """Wait until the lines are on disk, then put the known files there; raises StorageError."""
        self._log.sync()
        self.seen.save()
        self._saved_at = self._clock()

    def close(self) -> None:
        """Close the log."""
        self._log.close()


@contextmanager
def open_journal(request: WatchRequest) -> Iterator[Journal]:
    """The journal of a request, saved at the end.

    Raises:
        BusyError: another process writes the same log.
        StorageError: it cannot be written, or is another kind of file.
    """
    with one_at_a_time(request.output, wait=False):
        journal = Journal(request)
        try:
            yield journal
            journal.save()
        finally:
            journal.close()


def _line(frame: Frame, answer: Answer, now: str, top: int) -> dict[str, Any]:
    stamp = {"bytes": frame.stamp.size, "modified_ns": frame.stamp.modified_ns} if frame.stamp else {}
    made = answer.to_dict(top) if isinstance(answer, Prediction) else answer.to_dict()
    return {"time": now, "source": str(frame.source), **stamp, **{key: made[key] for key in made if key != "source"}}


def _logged(log: Path, *, whole: bool) -> Iterator[int]:
    """Keys of the files in the end of the log and of the one before, or in all of them."""
    for each in (numbered(log, 1), log):
        for line in read_lines(each, whole=whole):
            source, size, modified = (line.get(name) for name in ("source", "bytes", "modified_ns"))
            if isinstance(source, str) and isinstance(size, int) and isinstance(modified, int):
                yield file_key(source, FileStamp(size, modified))
