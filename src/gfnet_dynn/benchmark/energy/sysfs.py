"""Single values from the files by which Linux shows its sensors."""

from __future__ import annotations

from pathlib import Path

from gfnet_dynn.errors import MeterError


def read_text(path: Path) -> str:
    """What a file says, without the line's end.

    Raises:
        MeterError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        raise MeterError(
            f"{path} may not be read by this user: run as root, or allow it with `sudo chmod a+r {path}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise MeterError(
            f"{path} cannot be read ({reason}): check that the sensor is on and its driver loaded"
        ) from error


def read_number(path: Path) -> int:
    """The whole number in a file.

    Raises:
        MeterError: it cannot be read, or holds something else.
    """
    text = read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise MeterError(
            f"{path} says {text[:40]!r} where a whole number belongs: check the sensor's driver"
        ) from error
