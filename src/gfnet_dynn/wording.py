"""Numbers with their nouns, for messages."""

from __future__ import annotations


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 image`, `2 images`; `plural` where it is not made with an s."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
