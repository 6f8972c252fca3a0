"""Numbers with their nouns, and lists of names, for messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`; `plural` where it is not made with an s."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def some(names: Sequence[str], most: int = 4) -> str:
    """`a, b, c, d and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
