"""Reduces the memory that stays allocated after a network is loaded."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD = -3  # of malloc.h
_WHILE_LOADING = 128 * 1024
_AFTERWARDS = 32 * 1024**2  # the largest value to which glibc itself raises it


@contextmanager
def copies_returned() -> Iterator[None]:
    """Inside, freed memory is returned to the system at once.

    An engine makes several copies of the weights while it reads a graph. In glibc's heap the freed holes would stay
    with the process: 11 MB of 138 for the student. Without glibc this does nothing.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        yield
        return
    adjust(_M_MMAP_THRESHOLD, _WHILE_LOADING)
    try:
        yield
    finally:
        adjust(_M_MMAP_THRESHOLD, _AFTERWARDS)
