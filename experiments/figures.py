"""The arguments of an experiment, and its figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def arguments(*paths: str, **numbers: int) -> argparse.Namespace:
    """Paths, then whole numbers with their defaults; `--write NAME` is an option."""
    parser = argparse.ArgumentParser()
    for name in paths:
        parser.add_argument(name, type=Path)
    for name, default in numbers.items():
        parser.add_argument(name, type=int, nargs="?", default=default)
    parser.add_argument("--write", metavar="NAME", help="store the figures as docs/results/NAME.json")
    return parser.parse_args()


def write_figures(figures: Mapping[str, Any], name: str | None) -> None:
    """Print figures; with a name, write them to docs/results/NAME.json."""
    text = json.dumps(figures, indent=1) + "\n"
    if name:
        (ROOT / "docs" / "results" / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
