"""`gfnet-dynn data`: list, download and check data sets."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, download and check data sets.", no_args_is_help=True)
