"""Classify images with a bundle. No torch, no network connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gfnet_dynn.errors import DataError
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.runtime.predictor import load
from gfnet_dynn.runtime.request import ClassifyRequest
from gfnet_dynn.units import percent
from gfnet_dynn.workflows.image_files import find_readable


@dataclass(frozen=True)
class ClassifyResult(Tabular):
    """What was found.

    Attributes:
        predictions: one for each readable image, in the order of the files.
        unreadable: one error for each file or folder that cannot be read.
    """

    predictions: tuple[Prediction, ...]
    unreadable: tuple[DataError, ...]

    def tables(self) -> Sequence[Table]:
        """One row for each image."""
        rows = tuple(
            (str(each.source), each.label, percent(each.confidence, 1), each.exit) for each in self.predictions
        )
        return [Table("", ("image", "class", "confidence", "exit"), rows)]

    def notes(self) -> Sequence[str]:
        """The unreadable files."""
        return [str(error) for error in self.unreadable]


def classify(
    request: ClassifyRequest,
    *,
    on_prediction: Callable[[Prediction], None] | None = None,
    on_unreadable: Callable[[DataError], None] | None = None,
) -> ClassifyResult:
    """Classify images.

    Args:
        request: bundle, images, exit policy, engine.
        on_prediction: called with each prediction as soon as it is there.
        on_unreadable: called with the error of each file or folder that cannot be read; the others go on.

    Raises:
        BundleError: missing, damaged, of another version, or without that policy or precision.
        DataError: the only file or folder cannot be read.
        EngineError: the engine cannot run the bundle.
    """
    predictions: list[Prediction] = []
    unreadable: list[DataError] = []

    def omit(error: DataError) -> None:
        unreadable.append(error)
        if on_unreadable:
            on_unreadable(error)

    files = find_readable(request.images, omit)
    classifier = load(request.bundle, engine=request.engine, precision=request.precision, threads=request.threads)
    for prediction in classifier.classify_each(
        files, policy=request.policy, threshold=request.threshold, batch=request.batch, unreadable=omit
    ):
        predictions.append(prediction)
        if on_prediction:
            on_prediction(prediction)
    return ClassifyResult(tuple(predictions), tuple(unreadable))
