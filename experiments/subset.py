"""Some images of a folder of classes, copied into folders of their own."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path


def copy_some(images: Path, parts: Sequence[Path], per_class: int) -> None:
    """Different random images of each class for each part, at most `per_class` each, drawn by a fixed seed."""
    draw = random.Random(0)
    for folder in sorted(each for each in images.iterdir() if each.is_dir()):
        files = sorted(folder.iterdir())
        count = min(per_class, len(files) // len(parts))
        chosen = draw.sample(files, len(parts) * count)
        for number, part in enumerate(parts):
            (part / folder.name).mkdir(parents=True)
            for each in chosen[number * count : (number + 1) * count]:
                shutil.copy(each, part / folder.name)
