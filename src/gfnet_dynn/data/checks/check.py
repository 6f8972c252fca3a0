"""Checks a data set on disk: every image is decoded, counted and compared with the others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.catalogue.download import part_folders
from gfnet_dynn.data.checks.report import DataCheckResult, Group, PartReport, find_problems, find_remarks
from gfnet_dynn.data.splits.folders import parent_hint
from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.images.copies import group_copies
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import FoundFiles, find_classes
from gfnet_dynn.images.fingerprint import fingerprint
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnProgress, ignore_progress


@dataclass(frozen=True, slots=True)
class _File:
    """One file; where it cannot be decoded, `fault` is the reason and the fields before it are empty."""

    path: str
    part: str
    label: str
    size: str = ""
    format: str = ""
    fingerprint: bytes = b""
    fault: str | None = None


def check_folder(
    name: str,
    config: DatasetConfig,
    root: Path,
    on_progress: OnProgress = ignore_progress,
    decode: DecodeOptions = DEFAULT,
) -> DataCheckResult:
    """Decode every image of a data set and report what is wrong; `name` decides which published counts are compared.

    Copies of an image are recognised as in `images.copies`, also re-encoded, resized or turned.

    Raises:
        DataError: `root` has none of the folders in `config`, or no image, or cannot be read.
    """
    folders = part_folders(config)
    # Unlike in `scan_folders`, an empty class or missing folder is a finding, no error.
    listings = {part: find_classes(root / each) if (root / each).is_dir() else {} for part, each in folders.items()}
    listed = [
        _File(path, part, label)
        for part, classes in listings.items()
        for label, found in classes.items()
        for path in _below(root, found.images)
    ]
    if not listed:
        expected = " or ".join(f"{folder}/CLASS/*" for folder in folders.values())
        hint = next(filter(None, (parent_hint(root, folder) for folder in folders.values())), "; check --data-path")
        raise DataError(f"no images in {root}: {name} is expected to have {expected} there{hint}")
    files: list[_File] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for one in pool.map(lambda file: _decode(root, file, decode), listed):
            files.append(one)
            on_progress("Decoding", len(files), len(listed))
    parts = [_report(root, part, folders[part], classes, files) for part, classes in listings.items()]
    checked = DataCheckResult(name, str(root), parts, *_repetitions(files))
    return replace(checked, problems=[*find_problems(config, checked)], remarks=[*find_remarks(checked)])


def _below(root: Path, files: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.relative_to(root).as_posix() for path in files)


def _decode(root: Path, file: _File, decode: DecodeOptions) -> _File:
    try:
        pixels = read_image(root / file.path, decode)
        with Image.open(root / file.path) as header:
            kind = header.format or "unknown"
    except (ImageError, OSError) as error:
        return replace(file, fault=str(error))
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    return replace(file, size=size, format=kind, fingerprint=fingerprint(pixels))


def _report(
    root: Path, part: str, folder: str, classes: Mapping[str, FoundFiles], files: Sequence[_File]
) -> PartReport:
    own = [file for file in files if file.part == part]
    decoded = [file for file in own if file.fault is None]
    sizes = [size for size, _ in Counter(file.size for file in decoded).most_common()]
    return PartReport(
        part,
        folder,
        images_per_class={name: len(found.images) for name, found in classes.items()},
        skipped=tuple(path for found in classes.values() for path in _below(root, found.skipped)),
        formats=dict(Counter(file.format for file in decoded)),
        common_size=sizes[0] if sizes else None,
        odd_sizes={size: tuple(file.path for file in decoded if file.size == size) for size in sizes[1:]},
        corrupt={file.path: file.fault for file in own if file.fault is not None},
    )


def _repetitions(files: Sequence[_File]) -> tuple[list[Group], list[Group], list[Group]]:
    """Groups of copies of one image: in several parts, in several classes, and those in one class of one part."""
    decoded = [file for file in files if file.fault is None]
    leaks, contradictions, repeated = list[Group](), list[Group](), list[Group]()
    for indices in group_copies(b"".join(file.fingerprint for file in decoded)):
        group = [decoded[index] for index in indices]
        paths = tuple(file.path for file in group)
        parts, labels = ({getattr(file, name) for file in group} for name in ("part", "label"))
        if len(parts) > 1:
            leaks.append(paths)
        if len(labels) > 1:
            contradictions.append(paths)
        if len(parts) == len(labels) == 1:
            repeated.append(paths)
    return leaks, contradictions, repeated
