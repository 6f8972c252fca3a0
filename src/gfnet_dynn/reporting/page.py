"""A report as one HTML page; nothing is fetched when it is opened."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from gfnet_dynn.reporting.plot import to_svg
from gfnet_dynn.reporting.table import Table

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }}
table {{ border-collapse: collapse }} svg, img {{ max-width: 100%; height: auto }}
td, th {{ border-bottom: 1px solid #ccc; padding: 0.3em 0.7em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def html_page(title: str, tables: Sequence[Table], figures: Sequence[Any] = (), notes: Sequence[str] = ()) -> bytes:
    """Tables, figures of matplotlib as SVG, and notes below a heading, in UTF-8; texts are escaped."""
    items = "".join(f"<li>{html.escape(note)}</li>\n" for note in notes)
    parts = [*(table.to_html() for table in tables), *map(to_svg, figures), f"<ul>{items}</ul>" if items else ""]
    return _PAGE.format(title=html.escape(title), body="\n".join(parts)).encode(errors="replace")
