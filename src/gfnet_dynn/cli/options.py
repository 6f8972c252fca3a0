"""What commands that are built by typer need."""

from __future__ import annotations

from pathlib import Path

import typer

SPELLINGS = {"token_normalize_func": lambda token: token.replace("_", "-")}
"""Context settings with which every option is understood with hyphens and with underscores."""


def path(text: str | Path) -> Path:
    """Reads the path that an option takes; an empty one, as of an unset shell variable, would be the working folder."""
    if text == "":
        raise typer.BadParameter("it is empty: name a file or folder ('.' is the working folder)")
    return Path(text)
