"""How long work reports what it is doing; a workflow prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many items are done, and how many there are."""

OnStep = Callable[[int, int], None]
"""The same for one piece of work: items done, and how many there are."""

Log = Callable[[str], None]
"""Called with a line worth reading."""


def ignore_progress(title: str, done: int, total: int) -> None:
    """Report nothing."""


def ignore_steps(done: int, total: int) -> None:
    """Report nothing."""


def ignore_log(message: str) -> None:
    """Report nothing."""
