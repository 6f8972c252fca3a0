"""What was found in a data set, as values and as sentences: problems to mend before training, and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.catalogue.registry import KNOWN_SETS
from gfnet_dynn.display import printable
from gfnet_dynn.images.files import describe_skipped
from gfnet_dynn.wording import counted

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CorruptFile:
    """An image that cannot be decoded: its path below the data set's folder, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class OddSize:
    """A size in pixels, ``WIDTHxHEIGHT``, that is not the most common one; how many images have it, and a few paths."""

    size: str
    images: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartReport:
    """One part of a data set: train, val, test, or `all` where it is split at random later.

    Attributes:
        part: its name.
        folder: its path below the data set's folder.
        images_per_class: class → number of files, the corrupt ones included.
        formats: format of the content, whatever the suffix → number of images.
        common_size: most common ``WIDTHxHEIGHT`` in pixels, or None without images.
        odd_sizes: the other sizes, most images first.
        corrupt: files that cannot be decoded.
        duplicates: groups of paths of copies of one image.
        skipped: other files among the images.
    """

    part: str
    folder: str
    images_per_class: dict[str, int]
    formats: dict[str, int]
    common_size: str | None
    odd_sizes: tuple[OddSize, ...]
    corrupt: tuple[CorruptFile, ...]
    duplicates: tuple[tuple[str, ...], ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that was found; it is fine where `problems` is empty.

    Attributes:
        name: of the data set.
        root: its folder.
        parts: one report for each part.
        leaks: groups of paths of copies of one image that lie in more than one part.
        conflicts: groups of paths of copies of one image that lie in more than one class.
        problems: what should be mended before training, in words.
        notes: what is worth knowing but does no harm, in words.
    """

    name: str
    root: str
    parts: tuple[PartReport, ...]
    leaks: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    problems: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold."""
        return asdict(self)


def find_problems(
    config: DatasetConfig,
    parts: Sequence[PartReport],
    leaks: Sequence[tuple[str, ...]],
    conflicts: Sequence[tuple[str, ...]],
    name: str,
) -> list[str]:
    """What should be mended before training, worst first; empty where there is nothing."""
    found = [
        *_corrupt(parts),
        *_leaked(leaks),
        *_in_two_classes(conflicts),
        *_class_counts(config, parts),
        *_missing_classes(parts),
    ]
    unlike = _unlike_published(parts, name)
    return [*found, *unlike] if _is_nearly_whole(parts, name) else found


def find_notes(parts: Sequence[PartReport], conflicts: Sequence[tuple[str, ...]], name: str) -> list[str]:
    """What does no harm but is worth knowing."""
    unlike = [] if _is_nearly_whole(parts, name) else _part_of_the_set(parts, name)
    return [*unlike, *_odd_sizes(parts), *_mixed_formats(parts), *_repeated(parts, conflicts), *_skipped(parts)]


def _corrupt(parts: Sequence[PartReport]) -> Iterator[str]:
    for part in parts:
        if part.corrupt:
            faults = _listed([file.reason for file in part.corrupt])
            yield f"{part.part}: {counted(len(part.corrupt), 'file')} cannot be decoded:{faults}"


def _leaked(leaks: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if leaks:
        shown = _listed([" = ".join(group) for group in leaks])
        images = "1 image is" if len(leaks) == 1 else f"{len(leaks)} images are"
        yield f"{images} in more than one part, so reports would be too good:{shown}"


def _in_two_classes(conflicts: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if conflicts:
        shown = _listed([" = ".join(group) for group in conflicts])
        images = "1 image is" if len(conflicts) == 1 else f"{len(conflicts)} images are"
        yield f"{images} in more than one class, so no answer is right:{shown}"


def _class_counts(config: DatasetConfig, parts: Sequence[PartReport]) -> Iterator[str]:
    for part in parts:
        count = len(part.images_per_class)
        if count != config.num_classes:
            yield f"{part.part}: {counted(count, 'class folder')} in {part.folder} instead of {config.num_classes}"
        empty = [name for name, images in part.images_per_class.items() if not images]
        if empty:
            folders = "class folder" if len(empty) == 1 else "class folders"
            yield f"{part.part}: no images in the {folders} {_shorten(empty)}"


def _missing_classes(parts: Sequence[PartReport]) -> Iterator[str]:
    everywhere = {name for part in parts for name in part.images_per_class}
    for part in parts:
        missing = sorted(everywhere - set(part.images_per_class))
        if missing:
            classes = "class" if len(missing) == 1 else "classes"
            yield f"{part.part}: without the {classes} {_shorten(missing)}, which other parts have"


def _totals(parts: Sequence[PartReport]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for part in parts:
        totals.update(part.images_per_class)
    return totals


def _unlike(parts: Sequence[PartReport], name: str) -> dict[str, int]:
    """The classes whose number of images is not the published one."""
    if name not in KNOWN_SETS:
        return {}
    least, most = KNOWN_SETS[name].images_per_class
    return {label: count for label, count in _totals(parts).items() if not least <= count <= most}


def _is_nearly_whole(parts: Sequence[PartReport], name: str) -> bool:
    # With most classes complete, the others have lost files; with most incomplete, somebody took a part of the set.
    return len(_unlike(parts, name)) * 2 < len(_totals(parts))


def _published(name: str) -> str:
    least, most = KNOWN_SETS[name].images_per_class
    return f"{least}" if least == most else f"{least} to {most}"


def _unlike_published(parts: Sequence[PartReport], name: str) -> list[str]:
    unlike = [f"{label} ({count})" for label, count in _unlike(parts, name).items()]
    return [f"images per class unlike the published {_published(name)}: {_shorten(unlike)}"] if unlike else []


def _part_of_the_set(parts: Sequence[PartReport], name: str) -> list[str]:
    images = counted(_totals(parts).total(), "image")
    return [f"{images} of the {KNOWN_SETS[name].images} published ({_published(name)} per class): not the whole set"]


def _odd_sizes(parts: Sequence[PartReport]) -> Iterator[str]:
    for part in parts:
        if part.odd_sizes:
            sizes = [f"{odd.images} of {odd.size} px ({odd.examples[0]})" for odd in part.odd_sizes]
            count = sum(odd.images for odd in part.odd_sizes)
            images = "1 image is" if count == 1 else f"{count} images are"
            yield f"{part.part}: {images} not of {part.common_size} px, to be resized:{_listed(sizes)}"


def _mixed_formats(parts: Sequence[PartReport]) -> Iterator[str]:
    formats: Counter[str] = Counter()
    for part in parts:
        formats.update(part.formats)
    if len(formats) > 1:
        yield f"several formats: {', '.join(f'{count} {kind}' for kind, count in formats.most_common())}"


def _skipped(parts: Sequence[PartReport]) -> Iterator[str]:
    for part in parts:
        if part.skipped:
            yield f"{part.part}: {describe_skipped(map(Path, part.skipped))} skipped, such as {part.skipped[0]}"


def _repeated(parts: Sequence[PartReport], conflicts: Sequence[tuple[str, ...]]) -> Iterator[str]:
    known = {path for group in conflicts for path in group}
    for part in parts:
        groups = [group for group in part.duplicates if not known.issuperset(group)]
        if groups:
            shown = _listed([" = ".join(group) for group in groups])
            count = len(groups)
            images = "1 image is" if count == 1 else f"{count} different images are"
            yield f"{part.part}: {images} there more than once:{shown}"


def _shorten(items: Sequence[str]) -> str:
    return ", ".join(map(printable, _first(items)))


def _listed(items: Sequence[str]) -> str:
    """One item goes on in the line; several get a line each."""
    shown = [printable(item) for item in _first(items)]
    return f" {shown[0]}" if len(shown) == 1 else "".join(f"\n  {item}" for item in shown)


def _first(items: Sequence[str]) -> list[str]:
    rest = len(items) - _SHOWN
    return [*items[:_SHOWN], *([f"and {rest} more"] if rest > 0 else [])]
