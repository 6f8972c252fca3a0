"""What an experiment found, printed as JSON and kept beside the docs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def tell(figures: Mapping[str, Any], name: str | None) -> None:
    """Print figures, and store them as docs/NAME.json where a name is given."""
    text = json.dumps(figures, indent=1) + "\n"
    if name:
        (ROOT / "docs" / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
