"""Measure the base install: disk space, memory, and time to the first prediction.

    python experiments/base_install.py BUNDLE IMAGE

Makes a fresh virtual environment, installs this project into it without extras, and classifies IMAGE with BUNDLE there
in each precision, one thread, a fresh process each time. Sizes are those of the files.
Writes docs/results/base_install.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import ROOT, write_figures

from gfnet_dynn.bundle.archive import read_bundle

# Run inside the fresh environment, by its own Python.
_MEASURE = """
import json, sys
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from gfnet_dynn.benchmark.measurement import measure_cold_start

bundle, image, *precisions = sys.argv[1:]
measure = partial(measure_cold_start, Path(bundle), Path(image), "onnxruntime", options=["--threads", "1"], starts=9)
starts = [asdict(measure(precision)) for precision in precisions]
print(json.dumps({"torch_importable": find_spec("torch") is not None, "starts": starts}))
"""


def megabytes(folder: Path) -> float:
    """Size of all files below a folder, in 10⁶ bytes; a link counts for nothing."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def run(*command: str | Path) -> str:
    """Output of a command that must succeed."""
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Install, measure, store."""
    bundle, image = (Path(argument).absolute() for argument in sys.argv[1:3])
    manifest = read_bundle(bundle).manifest
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder, "environment")
        run(sys.executable, "-m", "venv", environment)
        empty = megabytes(environment)
        python = environment / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", ROOT)
        installed = megabytes(environment)
        measured: dict[str, Any] = json.loads(run(python, "-c", _MEASURE, bundle, image, *manifest.precisions))
    described = {
        "command": f"python experiments/base_install.py {bundle.name} {image.name}",
        "what": f"{manifest.model} at {manifest.input.size} px; measured here: medians of fresh processes, one thread",
        "environment_mb": {"empty": round(empty, 1), "installed": round(installed, 1)},
        "beyond_empty_mb": round(installed - empty, 1),
        **measured,
    }
    write_figures(described, "base_install")


if __name__ == "__main__":
    main()
