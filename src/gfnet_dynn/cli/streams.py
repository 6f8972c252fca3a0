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


def is_output_failure(error: BaseException) -> bool:
    """Whether a write to standard output has failed."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _FAILURES


def discard_output() -> None:
    """Send what is still to be printed nowhere: Python would try once more at its end, and fail with a message."""
    with suppress(OSError, ValueError):
        place = os.open(os.devnull, os.O_WRONLY)
        os.dup2(place, sys.stdout.fileno())
        os.close(place)
