"""Prints, as pip constraints, the oldest version of each base dependency that pyproject.toml allows."""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"]:
    name, version = re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:;.*)?", requirement).groups()
    sys.stdout.write(f"{name}=={version}\n")
