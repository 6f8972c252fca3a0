"""Fixtures of all tests of archives."""

from __future__ import annotations

from tests.archive.archives import run

__all__ = ["run"]
