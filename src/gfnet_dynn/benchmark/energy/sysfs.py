"""Read single values from the sensor files of Linux."""

from __future__ import annotations

from pathlib import Path

from gfnet_dynn.errors import MeterError


def read_text(path: Path) -> str:
    """Content of a file, stripped.

    Raises:
        MeterError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        raise MeterError(
            f"{path} is not readable for this user: run as root, or allow it with `sudo chmod a+r {path}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise MeterError(
            f"{path} cannot be read ({reason}): check that the sensor is on and its driver loaded"
        ) from error


def read_number(path: Path) -> int:
    """Whole number in a file.

    Raises:
        MeterError: it cannot be read, or contains something else.
    """
    text = read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise MeterError(f"{path} contains {text[:40]!r}, not a whole number: check the sensor's driver") from error
