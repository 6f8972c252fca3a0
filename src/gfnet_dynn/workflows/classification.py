"""What `gfnet-dynn classify` does."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from gfnet_dynn.errors import DataError, ThresholdError
from gfnet_dynn.image import SUFFIXES
from gfnet_dynn.runtime import Prediction, load
from gfnet_dynn.system.storage import json_line

_AMONG = "\t"  # between classes in one cell of CSV: their names may hold whatever else can be printed


@dataclass(frozen=True)
class Wanted:
    """What to classify, as the options of `gfnet-dynn classify` say it."""

    bundle: Path
    images: Sequence[Path]
    policy: str | None
    threshold: str | None
    top: int
    form: str
    engine: str
    precision: str
    threads: int | None
    batch: int


def run_classification(wanted: Wanted, out: TextIO, err: TextIO) -> int:
    """Classify and print, each prediction as soon as it is there.

    Returns:
        How many files or places could not be read; each was named.
    """
    threshold = parse_threshold(wanted.threshold)
    unread = Unread(err)
    files = find_readable(wanted.images, unread)
    classifier = load(wanted.bundle, engine=wanted.engine, precision=wanted.precision, threads=wanted.threads)
    write = _WRITERS[wanted.form](out, min(wanted.top, len(classifier.manifest.classes)))
    for prediction in classifier.classify_each(
        files, policy=wanted.policy, threshold=threshold, batch=wanted.batch, unreadable=unread
    ):
        write(prediction)
        out.flush()
    return unread.count


class Unread:
    """Files and places that cannot be read: each is named as it is met, and the others go on.

    Attributes:
        count: of those met so far.
    """

    def __init__(self, err: TextIO) -> None:
        self._err, self.count = err, 0

    def __call__(self, error: DataError) -> None:
        """Name one."""
        self.count += 1
        self._err.write(f"error: {error}\n")


def find_readable(places: Sequence[Path], unread: Unread) -> list[Path]:
    """The images at all places that can be looked at, in order.

    Raises:
        DataError: there is one place only, and it holds none.
    """
    files: list[Path] = []
    for place in places:
        try:
            files += find_images([place])
        except DataError as error:
            if len(places) == 1:
                raise
            unread(error)
    return files


def _text_writer(out: TextIO, top: int) -> Callable[[Prediction], None]:
    def write(prediction: Prediction) -> None:
        ranked = "  ".join(f"{name} {100 * value:.1f} %" for name, value in prediction.ranked(top))
        warned = "unknown, most like " if prediction.unknown else ""
        among = f"  among: {', '.join(prediction.among)}" if prediction.among else ""
        out.write(f"{prediction.source}: {warned}{ranked}  ({prediction.exit}){among}\n")

    return write


def _json_writer(out: TextIO, top: int) -> Callable[[Prediction], None]:
    return lambda prediction: _say(out, json_line(prediction.to_dict(top)))


def _csv_writer(out: TextIO, top: int) -> Callable[[Prediction], None]:
    writer = csv.writer(out, lineterminator="\n")
    ranks = [f"{what}{rank}" for rank in range(1, top + 1) for what in ("label", "p")]
    writer.writerow(["source", "exit", *ranks, "unknown", "among", "policy", "precision"])

    def write(prediction: Prediction) -> None:
        ranked = [cell for name, value in prediction.ranked(top) for cell in (name, f"{value:.6f}")]
        unknown = "" if prediction.unknown is None else str(prediction.unknown).lower()
        among = _AMONG.join(prediction.among or ())
        made = (prediction.policy, prediction.precision)
        writer.writerow([prediction.source, prediction.exit, *ranked, unknown, among, *made])

    return write


_WRITERS: Mapping[str, Callable[[TextIO, int], Callable[[Prediction], None]]] = {
    "text": _text_writer,
    "json": _json_writer,
    "csv": _csv_writer,
}


def _say(out: TextIO, line: str) -> None:
    out.write(line + "\n")


def find_images(places: Sequence[Path]) -> Iterator[Path]:
    """The files, and the images below the folders, in order.

    Raises:
        DataError: a folder holds no image or cannot be read, or a place does not exist.
    """
    for place in places:
        try:
            found = list(_images_at(place))
        except OSError as error:
            raise DataError(f"cannot look for images at {place}: {error.strerror}") from error
        yield from found


def _images_at(place: Path) -> Iterator[Path]:
    if not place.exists():
        raise DataError(f"no file or folder {place}")
    if not place.is_dir():
        yield place
        return
    below = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not below:
        raise DataError(f"the folder {place} holds no images ({', '.join(sorted(SUFFIXES))})")
    yield from below


def parse_threshold(text: str | None) -> float | tuple[float, ...] | None:
    """`0.7` → 0.7, `0.7,0.8` → (0.7, 0.8).

    Raises:
        ThresholdError: not numbers.
    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ThresholdError(
            f"--threshold takes a number or one for each exit such as 0.7,0.8, not {text!r}"
        ) from error
    return values if len(values) > 1 else values[0]
