"""Write the figures of an experiment as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def write_figures(figures: Mapping[str, Any], name: str | None) -> None:
    """Print figures; with a name, write them to docs/results/NAME.json."""
    text = json.dumps(figures, indent=1) + "\n"
    if name:
        (ROOT / "docs" / "results" / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
