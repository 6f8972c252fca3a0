"""Output through rich that names cannot steer."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from gfnet_dynn.display import printable


class Terminal(Console):
    """A console that shows control characters in names of files and classes instead of obeying them."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does, of text that is safe to print."""
        return super().render_str(printable(text, keep="\n"), **options)
