"""Standard output and error, which may be closed, full or a pipe that nobody reads."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from contextlib import suppress
from typing import TextIO

from gfnet_dynn.display import printable

CLOSED_PIPE = 141
"""The exit status where the reader of a pipe has gone: what a shell gives for a process that SIGPIPE ended."""

_FAILURES = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def print_note(*lines: str) -> None:
    """Write lines to standard error, whether or not anybody reads them; a `Log`."""
    with suppress(OSError):
        sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stderr.flush()


def print_error(error: Exception) -> None:
    """Write the message of an error to standard error, on one line."""
    print_note(f"error: {error}")


def prepare_streams() -> None:
    """Give closed standard streams somewhere to go, and let all print what their encoding cannot."""
    with suppress(OSError):
        while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:  # or the next file opened would be standard output
            pass
        os.close(lowest)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 # for the whole program
        stream: TextIO = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence_libraries() -> None:
    """Pillow's warnings of damaged tags: what matters of them is raised as an error that names the file."""
    warnings.filterwarnings("ignore", module=r"PIL\b")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def output_failure(stop: BaseException | None) -> OSError | None:
    """The failed write to standard output that led to `stop`, if one did: click and rich exit silently then."""
    while stop is not None:
        if isinstance(stop, OSError) and stop.filename is None and stop.errno in _FAILURES:
            return stop
        stop = stop.__cause__ or stop.__context__
    return None


def discard_output() -> None:
    """Send what is still to be printed nowhere: Python would try once more at its end, and fail with a message."""
    with suppress(OSError, ValueError):
        place = os.open(os.devnull, os.O_WRONLY)
        os.dup2(place, sys.stdout.fileno())
        os.close(place)
