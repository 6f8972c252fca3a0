"""What is wrong with a data set on disk: every image is decoded, counted and compared before a training run does it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.catalogue.download import part_folders
from gfnet_dynn.data.checks.report import CheckReport, CorruptFile, OddSize, PartReport, find_notes, find_problems
from gfnet_dynn.data.splits.folders import parent_hint
from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import find_classes

__all__ = ["CheckReport", "check_dataset"]

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    path: str
    size: str = ""
    format: str = ""
    pixels: bytes = b""
    fault: str | None = None


def check_dataset(
    name: str, config: DatasetConfig, root: Path, progress: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Decode every image of a data set and report what is wrong with it.

    Two images are duplicates where their decoded 8-bit RGB pixels are the same, whatever their names and formats.

    Args:
        name: of the data set; the published counts of the known ones are compared.
        config: number of classes and names of the folders.
        root: folder of the data set.
        progress: told of images decoded and images in all.

    Raises:
        DataError: `root` has none of the folders that `config` names, or not one image.
    """
    folders = part_folders(config)
    listings = {part: _list_classes(root, folder) for part, folder in folders.items()}
    paths = [path for classes in listings.values() for files in classes.values() for path in files]
    if not paths:
        wanted = " or ".join(f"{folder}/CLASS/*" for folder in folders.values())
        hint = next(filter(None, (parent_hint(root, folder) for folder in folders.values())), "; check --data-path")
        raise DataError(f"no images in {root}: {name} is expected to have {wanted} there{hint}")
    seen = _look_at_all(root, paths, progress)
    parts = tuple(_report(part, folders[part], classes, seen) for part, classes in listings.items())
    leaks = _leaks(listings, seen)
    return CheckReport(
        name, str(root), parts, leaks, find_problems(config, parts, leaks, name), find_notes(parts, name)
    )


def _list_classes(root: Path, folder: str) -> dict[str, list[str]]:
    """Class → paths below `root`; unlike `scan_folders`, an empty class or a missing folder is a finding, no error."""
    base = root / folder
    if not base.is_dir():
        return {}
    return {
        name: [path.relative_to(root).as_posix() for path in found.images] for name, found in find_classes(base).items()
    }


def _look_at_all(root: Path, paths: Sequence[str], progress: Callable[[int, int], None] | None) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for one in pool.map(lambda path: _look_at(root, path), paths):
            seen[one.path] = one
            if progress:
                progress(len(seen), len(paths))
    return seen


def _look_at(root: Path, path: str) -> _Seen:
    try:
        pixels = read_image(root / path)
        with Image.open(root / path) as header:
            format_name = header.format or "unknown"
    except (ImageError, OSError) as error:
        return _Seen(path, fault=str(error))
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    return _Seen(path, size, format_name, hashlib.sha256(size.encode() + pixels.tobytes()).digest())


def _report(part: str, folder: str, classes: dict[str, list[str]], seen: dict[str, _Seen]) -> PartReport:
    looked_at = [seen[path] for files in classes.values() for path in files]
    decoded = [one for one in looked_at if one.fault is None]
    sizes = Counter(one.size for one in decoded).most_common()
    return PartReport(
        part,
        folder,
        images_per_class={name: len(files) for name, files in classes.items()},
        formats=dict(Counter(one.format for one in decoded)),
        common_size=sizes[0][0] if sizes else None,
        odd_sizes=tuple(_odd_size(size, count, decoded) for size, count in sizes[1:]),
        corrupt=tuple(CorruptFile(one.path, one.fault) for one in looked_at if one.fault is not None),
        duplicates=tuple(group for group in _same_pixels(decoded) if len(group) > 1),
    )


def _odd_size(size: str, count: int, decoded: Sequence[_Seen]) -> OddSize:
    return OddSize(size, count, tuple(one.path for one in decoded if one.size == size)[:_EXAMPLES])


def _same_pixels(decoded: Iterable[_Seen]) -> list[tuple[str, ...]]:
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for one in decoded:
        groups[one.pixels].append(one.path)
    return [tuple(group) for group in groups.values()]


def _leaks(listings: dict[str, dict[str, list[str]]], seen: dict[str, _Seen]) -> tuple[tuple[str, ...], ...]:
    part_of = {path: part for part, classes in listings.items() for files in classes.values() for path in files}
    groups = _same_pixels(one for one in seen.values() if one.fault is None)
    return tuple(group for group in groups if len({part_of[path] for path in group}) > 1)
