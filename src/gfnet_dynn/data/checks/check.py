"""What is wrong with a data set on disk: every image is decoded, counted and compared before a training run does it."""

from __future__ import annotations

import os
from collections import Counter
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
from gfnet_dynn.images.copies import group_copies
from gfnet_dynn.images.decode import DEFAULT, DecodeOptions, read_image
from gfnet_dynn.images.files import FoundFiles, find_classes
from gfnet_dynn.images.fingerprint import fingerprint

__all__ = ["CheckReport", "check_dataset"]

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    path: str
    size: str = ""
    format: str = ""
    fingerprint: bytes = b""
    fault: str | None = None


def check_dataset(
    name: str,
    config: DatasetConfig,
    root: Path,
    progress: Callable[[int, int], None] | None = None,
    decode: DecodeOptions = DEFAULT,
) -> CheckReport:
    """Decode every image of a data set and report what is wrong with it.

    Copies of an image are recognised as in `images.copies`, re-encoded, resized or turned.

    Args:
        name: of the data set; the published counts of the known ones are compared.
        config: number of classes and names of the folders.
        root: folder of the data set.
        progress: called with (images decoded, images in all).
        decode: how they are decoded.

    Raises:
        DataError: `root` has none of the folders that `config` names, or not one image.
    """
    folders = part_folders(config)
    listings = {part: _list_classes(root, folder) for part, folder in folders.items()}
    places = {
        path: (part, label)
        for part, classes in listings.items()
        for label, found in classes.items()
        for path in _below(root, found.images)
    }
    if not places:
        wanted = " or ".join(f"{folder}/CLASS/*" for folder in folders.values())
        hint = next(filter(None, (parent_hint(root, folder) for folder in folders.values())), "; check --data-path")
        raise DataError(f"no images in {root}: {name} is expected to have {wanted} there{hint}")
    seen = _look_at_all(root, list(places), progress, decode)
    parts = tuple(_report(root, part, folders[part], classes, seen) for part, classes in listings.items())
    same = _copies([one for one in seen.values() if one.fault is None])
    leaks = tuple(group for group in same if len({places[path][0] for path in group}) > 1)
    conflicts = tuple(group for group in same if len({places[path][1] for path in group}) > 1)
    problems = find_problems(config, parts, leaks, conflicts, name)
    return CheckReport(name, str(root), parts, leaks, conflicts, problems, find_notes(parts, conflicts, name))


def _list_classes(root: Path, folder: str) -> dict[str, FoundFiles]:
    """Class → its files; unlike `scan_folders`, an empty class or a missing folder is a finding, no error."""
    base = root / folder
    if not base.is_dir():
        return {}
    return find_classes(base)


def _below(root: Path, files: Iterable[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(root).as_posix() for path in files)


def _look_at_all(
    root: Path, paths: Sequence[str], progress: Callable[[int, int], None] | None, decode: DecodeOptions
) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for one in pool.map(lambda path: _look_at(root, path, decode), paths):
            seen[one.path] = one
            if progress:
                progress(len(seen), len(paths))
    return seen


def _look_at(root: Path, path: str, decode: DecodeOptions) -> _Seen:
    try:
        pixels = read_image(root / path, decode)
        with Image.open(root / path) as header:
            format_name = header.format or "unknown"
    except (ImageError, OSError) as error:
        return _Seen(path, fault=str(error))
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    return _Seen(path, size, format_name, fingerprint(pixels))


def _report(root: Path, part: str, folder: str, classes: dict[str, FoundFiles], seen: dict[str, _Seen]) -> PartReport:
    looked_at = [seen[path] for found in classes.values() for path in _below(root, found.images)]
    decoded = [one for one in looked_at if one.fault is None]
    sizes = Counter(one.size for one in decoded).most_common()
    return PartReport(
        part,
        folder,
        images_per_class={name: len(found.images) for name, found in classes.items()},
        skipped=tuple(path for found in classes.values() for path in _below(root, found.skipped)),
        formats=dict(Counter(one.format for one in decoded)),
        common_size=sizes[0][0] if sizes else None,
        odd_sizes=tuple(_odd_size(size, count, decoded) for size, count in sizes[1:]),
        corrupt=tuple(CorruptFile(one.path, one.fault) for one in looked_at if one.fault is not None),
        duplicates=_copies(decoded),
    )


def _odd_size(size: str, count: int, decoded: Sequence[_Seen]) -> OddSize:
    return OddSize(size, count, tuple(one.path for one in decoded if one.size == size)[:_EXAMPLES])


def _copies(decoded: Sequence[_Seen]) -> tuple[tuple[str, ...], ...]:
    groups = group_copies(b"".join(one.fingerprint for one in decoded))
    return tuple(tuple(decoded[index].path for index in group) for group in groups)
