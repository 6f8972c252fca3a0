"""Classify images with a bundle. Needs no torch and no network connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from gfnet_dynn.bulk.sources import iter_sources
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.errors import DataError, ModelChoiceError, OptionError
from gfnet_dynn.images.files import describe_skipped, require_images
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.runtime.model_choice import choose_model
from gfnet_dynn.runtime.prediction import Answer, Prediction, Unreadable
from gfnet_dynn.runtime.predictor import Classifier, load
from gfnet_dynn.runtime.request import STDIN, ClassifyRequest
from gfnet_dynn.units import percent


@dataclass(frozen=True)
class ClassifyResult(Tabular):
    """Predictions in the order of the files, and one error for each file or folder that cannot be read."""

    predictions: tuple[Prediction, ...]
    unreadable: tuple[DataError, ...]

    def tables(self) -> Sequence[Table]:
        """One row for each image; columns for unknown images and prediction sets where the policy has them."""
        unknown = any(each.unknown is not None for each in self.predictions)
        sets = any(each.prediction_set is not None for each in self.predictions)
        headings = ["image", "class", "confidence", "exit", *["unknown"] * unknown, *["prediction set"] * sets]
        rows = []
        for each in self.predictions:
            more = [*(["yes" if each.unknown else "no"] * unknown), *([", ".join(each.prediction_set or ())] * sets)]
            rows.append((str(each.source), each.label, percent(each.confidence, 1), each.exit, *more))
        return [Table("", tuple(headings), tuple(rows))]

    def notes(self) -> Sequence[str]:
        """The unreadable files."""
        return [str(error) for error in self.unreadable]


def classify(request: ClassifyRequest) -> ClassifyResult:
    """Classify images; for its errors see `iter_classify`, for more images than fit into memory `classify_files`."""
    unreadable: list[DataError] = []
    predictions = tuple(iter_classify(request, on_unreadable=unreadable.append))
    return ClassifyResult(predictions, tuple(unreadable))


def iter_classify(
    request: ClassifyRequest,
    *,
    on_unreadable: Callable[[DataError], None] | None = None,
    log: Log = ignore_log,
    ask: Callable[[ModelChoiceError], str] | None = None,
) -> Iterator[Prediction]:
    """Yield each prediction as soon as it is made.

    `on_unreadable` is called with the error of each file or folder that cannot be read, which is then skipped; by
    default it is raised. `log` receives notes on skipped files, on the model that was chosen, and where the policy was
    not calibrated in the precision that runs. `ask` returns the name of a built-in model where none follows from the
    images; by default the error is raised.

    Raises:
        BundleError: missing, damaged, of another version, or without that policy or precision.
        DataError: the only file or folder cannot be read.
        EngineError: the engine cannot run the bundle.
        ModelChoiceError: no bundle is named, and no built-in model follows from the images.
    """
    opened = open_classifier(request, log=log, ask=ask)
    for answer in chain.from_iterable(opened.answer_batches(iter_sources(request, log))):
        if isinstance(answer, Prediction):
            yield answer
        elif on_unreadable is None:
            raise answer.error
        else:
            on_unreadable(answer.error)


@dataclass(frozen=True)
class OpenedClassifier:
    """A classifier with the policy and batch of a request, and what identifies its bundle."""

    classifier: Classifier
    bundle_sha256: str
    request: ClassifyRequest

    def answer_batches(self, sources: Iterable[Path | Unreadable]) -> Iterator[list[Answer]]:
        """The answers to one batch after the other."""
        wanted = self.request
        return self.classifier.answer_batches(
            sources, policy=wanted.policy, threshold=wanted.threshold, batch=wanted.batch
        )


def open_classifier(
    request: ClassifyRequest, *, log: Log, ask: Callable[[ModelChoiceError], str] | None
) -> OpenedClassifier:
    """Read and compile the request's bundle, or the built-in model that suits its images; see `iter_classify`."""
    path = request.bundle or _chosen(request, log, ask)
    classifier = load(
        path, engine=request.engine, precision=request.precision, threads=request.threads, decode=request.decode
    )
    policy, precision = classifier.policy(request.policy, request.threshold), classifier.net.precision
    if policy.covered and precision not in policy.covered:
        log(
            f"note: the policy {policy.name} was calibrated in {', '.join(policy.covered)}, and guarantees nothing in "
            f"{precision}: calibrate with --all-precisions, or classify without --precision"
        )
    return OpenedClassifier(classifier, read_bundle(find_bundle(path)).sha256, request)


def _chosen(request: ClassifyRequest, log: Log, ask: Callable[[ModelChoiceError], str] | None) -> Path:
    if request.gsd is None and (request.name_list is not None or STDIN in request.images):
        raise OptionError("a list of names does not tell which model suits them: name a bundle first, or give --gsd")
    files = (each for each in iter_sources(request, ignore_log) if isinstance(each, Path))
    try:
        choice = choose_model(files, request.gsd)
    except ModelChoiceError as error:
        if ask is None:
            raise
        return find_bundle(ask(error))
    log(f"note: model {choice.name}: {choice.reason}")
    return choice.bundle


def find_readable(
    places: Sequence[Path], on_unreadable: Callable[[DataError], None] | None, log: Log = ignore_log
) -> list[Path]:
    """The images in files and folders that can be read, in order; as `iter_classify`.

    Raises:
        DataError: a place cannot be read or has no image, and it is the only one or `on_unreadable` is None.
    """
    files: list[Path] = []
    for place in places:
        try:
            found = require_images(place)
        except DataError as error:
            if len(places) == 1 or on_unreadable is None:
                raise
            on_unreadable(error)
        else:
            files += found.images
            if found.skipped:
                log(f"note: {describe_skipped(found.skipped)} skipped, such as {found.skipped[0]}")
    return files
