"""Checks a data set on disk: every image is decoded, counted and compared with the others; findings as sentences."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from gfnet_dynn.data.catalogue.configs import DatasetConfig, known_sets
from gfnet_dynn.data.catalogue.download import part_folders
from gfnet_dynn.data.folders import parent_hint
from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.images.copies import group_copies
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import FoundFiles, describe_skipped, find_classes
from gfnet_dynn.images.fingerprint import fingerprint
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnProgress, ignore_progress
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.wording import counted

_SHOWN = 5

Group = tuple[str, ...]
"""Paths below the data set's folder of copies of one image."""


@dataclass(frozen=True, slots=True)
class PartReport:
    """One part of a data set: train, val, test, or `all` where it is split at random later.

    Sizes are ``WIDTHxHEIGHT`` in pixels: the most common one, and of every other the paths. `images_per_class` counts
    corrupt files too; `corrupt` has for each its path and the reason.
    """

    part: str
    folder: str
    images_per_class: Mapping[str, int]
    formats: Mapping[str, int]
    common_size: str | None
    odd_sizes: Mapping[str, Group]
    corrupt: Mapping[str, str]
    skipped: Group = ()


@dataclass(frozen=True)
class DataCheckResult(Tabular):
    """The findings; the data set is usable where `problems` is empty.

    `leaks` are copies of an image in several parts, `contradictions` in several classes, `repeated` in one class of one
    part. `problems` are sentences on what to repair before training, `remarks` on what does no harm.
    """

    name: str
    root: str
    parts: Sequence[PartReport]
    leaks: Sequence[Group]
    contradictions: Sequence[Group]
    repeated: Sequence[Group]
    problems: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def tables(self) -> Sequence[Table]:
        """One row for each part."""
        headings = ("part", "classes", "images", "per class", "size (px)", "formats", "corrupt")
        return [Table(self.name, headings, tuple(map(_row, self.parts)))]

    def notes(self) -> Sequence[str]:
        """Remarks and problems, or that there is no problem."""
        problems = [f"problem: {each}" for each in self.problems] or [f"{self.name}: no problem found"]
        return [*(f"note: {each}" for each in self.remarks), *problems]

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold."""
        return asdict(self)


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
    return replace(checked, problems=[*_problems(config, checked)], remarks=[*_remarks(checked)])


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


def _row(part: PartReport) -> tuple[str, ...]:
    counts = part.images_per_class.values()
    per_class = _range(min(counts, default=0), max(counts, default=0))
    formats = ", ".join(sorted(part.formats)) or "-"
    numbers = (str(len(counts)), str(sum(counts)), per_class, part.common_size or "-")
    return (part.part, *numbers, formats, str(len(part.corrupt)))


def _problems(config: DatasetConfig, found: DataCheckResult) -> Iterator[str]:
    """What to repair before training, the worst first."""
    for part in found.parts:
        if part.corrupt:
            files = counted(len(part.corrupt), "file")
            yield f"{part.part}: {files} cannot be decoded:{_listed(part.corrupt.values())}"
    if found.contradictions:
        yield f"{counted(len(found.contradictions), 'image')} in more than one class:{_listed(found.contradictions)}"
    if found.leaks:
        images = counted(len(found.leaks), "image")
        yield f"{images} in more than one part, which makes results too good:{_listed(found.leaks)}"
    classes = {name for part in found.parts for name in part.images_per_class}
    for part in found.parts:
        number = len(part.images_per_class)
        if number != config.num_classes:
            yield f"{part.part}: {counted(number, 'class folder')} in {part.folder} instead of {config.num_classes}"
        if empty := [name for name, images in part.images_per_class.items() if not images]:
            yield f"{part.part}: class folders without images:{_listed(empty)}"
        if missing := sorted(classes - set(part.images_per_class)):
            yield f"{part.part}: classes missing that other parts have:{_listed(missing)}"
    unlike = _unlike_published(found)
    if unlike and _nearly_whole(found):
        least, most = known_sets()[found.name].images_per_class
        yield f"images per class differ from the published {_range(least, most)}:{_listed(unlike)}"


def _remarks(found: DataCheckResult) -> Iterator[str]:
    """What does no harm."""
    if _unlike_published(found) and not _nearly_whole(found):
        images = counted(sum(_totals(found).values()), "image")
        yield f"{images} of the {known_sets()[found.name].images} published: not the whole set"
    for part in found.parts:
        if part.odd_sizes:
            sizes = [f"{len(paths)} of {size} px ({paths[0]})" for size, paths in part.odd_sizes.items()]
            images = counted(sum(map(len, part.odd_sizes.values())), "image")
            yield f"{part.part}: {images} not of {part.common_size} px, to be resized:{_listed(sizes)}"
    formats = sum((Counter(part.formats) for part in found.parts), Counter[str]())
    if len(formats) > 1:
        yield f"several formats: {', '.join(f'{count} {kind}' for kind, count in formats.most_common())}"
    for part in found.parts:
        if part.skipped:
            yield f"{part.part}: {describe_skipped(map(Path, part.skipped))} skipped, such as {part.skipped[0]}"
    if found.repeated:
        yield f"{counted(len(found.repeated), 'image')} more than once in one class:{_listed(found.repeated)}"


def _totals(found: DataCheckResult) -> Counter[str]:
    return sum((Counter(part.images_per_class) for part in found.parts), Counter[str]())


def _unlike_published(found: DataCheckResult) -> list[str]:
    """The classes whose number of images is not the published one."""
    if found.name not in known_sets():
        return []
    least, most = known_sets()[found.name].images_per_class
    return [f"{name} ({count})" for name, count in _totals(found).items() if not least <= count <= most]


def _nearly_whole(found: DataCheckResult) -> bool:
    # With most classes complete, the others have lost files; with most incomplete, it is a part of the set on purpose.
    return len(_unlike_published(found)) * 2 < len(_totals(found))


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _listed(items: Any) -> str:
    """One item in the same line; several get a line each."""
    shown = [" = ".join(item) if isinstance(item, tuple) else item for item in items]
    rest = [f"and {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    return f" {shown[0]}" if len(shown) == 1 else "".join(f"\n  {item}" for item in [*shown[:_SHOWN], *rest])
