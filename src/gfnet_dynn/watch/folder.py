"""Complete files of a folder, found by listing it: works on every file system, needs no events of the system."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import is_image_name, walk
from gfnet_dynn.progress import Log
from gfnet_dynn.watch.frame import FileStamp, Frame, file_key
from gfnet_dynn.watch.seen import SeenFiles

_NS = 1_000_000_000
_MOST_WAITING = 10_000  # files between their first sight and their answer that are remembered at once
_SPARE_KEYS = 10_000  # known files that are gone and yet remembered


class FolderSource:
    """The new, complete images in a folder and below it; a `FrameSource`."""

    def __init__(
        self, root: Path, settle_s: float, seen: SeenFiles, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises DataError: there is no such folder, or it cannot be read."""
        self._root = root.absolute()
        if reason := self._why_away():
            raise DataError(f"cannot watch {root}: {reason}; name a folder, camera, camera:N or /dev/videoN")
        self._settle_s, self._seen, self._log, self._clock = settle_s, seen, log, clock
        self._device = self._root.stat().st_dev
        self._waiting: dict[Path, tuple[FileStamp, float]] = {}  # when they were first seen so
        self._is_away = False
        self._problems: set[str] = set()
        self.has_more = False

    def skip_present(self) -> int:
        """Take all files that are there for known; returns their number."""
        count = 0
        for path, found in self._images(set()):
            self._seen.add(file_key(str(path), FileStamp.of(found)))
            count += 1
        return count

    def look(self) -> Sequence[Frame]:
        """The files that are complete and not known, by their time of change, then by name."""
        reason = self._why_away()
        if bool(reason) != self._is_away:
            self._is_away = bool(reason)
            self._log(
                f"note: {self._root} is away ({reason}): waits for it" if reason else f"note: {self._root} is back"
            )
        self.has_more = False
        if reason:
            return ()
        now, before = self._clock(), self._waiting
        present: set[int] = set()
        problems: set[str] = set()
        ready: list[Frame] = []
        self._waiting = {}
        for path, found in self._images(problems):
            stamp = FileStamp.of(found)
            present.add(key := file_key(str(path), stamp))
            if key in self._seen:
                continue
            if len(self._waiting) == _MOST_WAITING:
                self.has_more = True
                continue
            known_stamp, since = before.get(path, (None, now))
            self._waiting[path] = (stamp, since if known_stamp == stamp else now)
            if self._is_complete(found, now - self._waiting[path][1]):
                ready.append(Frame(path, path, stamp))
        self._report(problems)
        self._forget(present, complete=not problems and not self.has_more)
        self.has_more = self.has_more and bool(ready)  # where none is complete yet, looking at once finds no more
        return sorted(ready, key=_age)

    def is_current(self, frame: Frame) -> bool:
        """Whether the file is still what was found; also where it has gone, as it does not come again."""
        try:
            return FileStamp.of(frame.source.stat()) == frame.stamp
        except OSError:
            return True

    def close(self) -> None:
        """Nothing is held open."""

    def _is_complete(self, found: os.stat_result, waited_s: float) -> bool:
        """Whether it stood still long enough since its first sight, or before it was renamed into place.

        A write sets both times alike, a rename the second one alone: their difference needs no clock but the file
        system's own.
        """
        return max(waited_s, (found.st_ctime_ns - found.st_mtime_ns) / _NS) >= self._settle_s

    def _images(self, problems: set[str]) -> Iterator[tuple[Path, os.stat_result]]:
        """Regular files with the name of an image; messages of folders that cannot be read are added to `problems`."""
        for path in walk(self._root):
            if isinstance(path, DataError):
                problems.add(str(path))
            elif is_image_name(path.name):
                try:
                    found = path.stat()
                except OSError:  # it has gone, or is a broken link
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield path, found

    def _why_away(self) -> str | None:
        try:
            with os.scandir(self._root):
                return None
        except OSError as error:
            return error.strerror

    def _report(self, problems: set[str]) -> None:
        """Log each folder that cannot be read once, until it can."""
        for problem in sorted(problems - self._problems):
            self._log(f"note: {problem}")
        self._problems = problems

    def _forget(self, present: set[int], *, complete: bool) -> None:
        """Forget known files that are gone, where they are many: but never for an unmounted disk, which comes back."""
        are_many = len(self._seen) > 2 * len(present) + _SPARE_KEYS
        if complete and are_many and self._root.stat().st_dev == self._device:
            self._seen.retain(present)


def _age(frame: Frame) -> tuple[int, Path]:
    assert frame.stamp is not None, "files have one"
    return frame.stamp.modified_ns, frame.source
