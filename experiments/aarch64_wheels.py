"""Check that the base install needs only wheels on linux aarch64 (Raspberry Pi, Jetson), for each Python.

    python experiments/aarch64_wheels.py

Asks pip for a dry run on that platform; nothing is installed. Writes docs/aarch64_wheels.json; exits with status 1
if a dependency has no wheel. Wheels are chosen for that platform and Python; environment markers are evaluated by the
Python that runs this.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlparse

from figures import ROOT, write_figures

PYTHONS = ("3.11", "3.12", "3.13")
# Oldest first: glibc 2.17 to 2.28, which Raspberry Pi OS 11 and JetPack 5 have.
PLATFORMS = ("linux_aarch64", "manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)))


def resolve(requirements: list[str], python: str) -> list[str]:
    """File names of the wheels that an installation on aarch64 would take.

    Raises:
        SystemExit: a dependency has no wheel there.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--target", folder]
        command += [part for platform in PLATFORMS for part in ("--platform", platform)]
        result = subprocess.run(
            [*command, "--report", str(report), *requirements], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SystemExit(f"Python {python}: {result.stderr.strip()}")
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return sorted(Path(unquote(urlparse(each["download_info"]["url"]).path)).name for each in found)


def main() -> None:
    """Resolve for each Python and store what was found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheels = {python: resolve(project["dependencies"], python) for python in PYTHONS}
    described = {
        "command": "python experiments/aarch64_wheels.py",
        "what": "wheels that the base install takes on linux aarch64, by Python; resolved by pip, not installed",
        "wheels": wheels,
    }
    write_figures(described, "aarch64_wheels")


if __name__ == "__main__":
    main()
