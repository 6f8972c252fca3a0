"""One worker: a compiled network, and partitions one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from gfnet_dynn.archive.job import Job, PartitionSummary
from gfnet_dynn.archive.output import publish, schema_of, waiting_rows
from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.archive.tally import PartitionTally
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.display import printable
from gfnet_dynn.errors import BundleError, EngineError, ImageError
from gfnet_dynn.images.decode import IN_MEMORY
from gfnet_dynn.runtime.prediction import Prediction, make_prediction
from gfnet_dynn.runtime.predictor import load
from gfnet_dynn.runtime.segments import usual_batch

DIGITS = 12
"""Of the bundle's SHA-256, in the column `model`."""

_BATCHES_READ = 16  # in memory at once, so that the images that do not exit fill the batches of later segments

_Answer = tuple[Item, Prediction | ImageError]


class PartitionWorker:
    """Classifies partitions. To be opened once in a process or actor, which it serves alone."""

    def __init__(self, job: Job) -> None:
        """Open the bundle.

        Raises:
            BundleError: missing, damaged, or another one than the job's.
            EngineError: the engine cannot run it, or is of another version than the job's.
        """
        found = read_bundle(find_bundle(job.bundle)).sha256
        if found != job.bundle_sha256:
            raise BundleError(
                f"{job.bundle} is another bundle here ({found[:DIGITS]}) than where the run began "
                f"({job.bundle_sha256[:DIGITS]}): copy the same file to all machines"
            )
        self._job, self._schema = job, schema_of(job.source.columns())
        self._classifier = load(
            job.bundle, engine=job.runtime, precision=job.precision, threads=job.threads, decode=job.decode
        )
        if self._classifier.net.engine_name != job.runtime_version:
            raise EngineError(
                f"the inference engine here is {self._classifier.net.engine_name}, and {job.runtime_version} where the "
                "run began: install the same version on all machines, as answers may differ in their last digits"
            )
        self._policy = self._classifier.policy(job.policy, job.threshold)

    def run(self, partition: Partition) -> PartitionSummary:
        """Read, classify and publish one partition, in the file that it names.

        Where two workers do the same partition, both write the same bytes.

        Raises:
            DataError: the partition cannot be read now, and nothing was written.
            EngineError: the network computes what is no number.
            StorageError: no space or no permission; nothing is published.
        """
        job, net = self._job, self._classifier.net
        tally = PartitionTally(partition.number, net.manifest, self._policy, net.precision, job.false_alarms)
        with waiting_rows(job.output, self._schema) as rows:
            for answers in self._answer_windows(job.source.items(partition)):
                rows.add([self._row(item, answer) for item, answer in answers])
                for item, answer in answers:
                    tally.add(item.id, answer)
            metadata = job.source.schema_metadata(partition)
            publish(job.output / partition.file_name, rows, summary := tally.summary(), metadata)
        return summary

    def _answer_windows(self, items: Iterable[Item]) -> Iterator[list[_Answer]]:
        """The answers to some images after the other; those that do not exit share the batches of later segments."""
        batch = usual_batch(self._classifier.manifest.input.size)
        remaining = iter(items)
        while window := list(islice(remaining, batch * _BATCHES_READ)):
            read = [(item, self._read(item)) for item in window]
            predictions = self._predict([image for _, image in read if isinstance(image, np.ndarray)], batch)
            yield [(item, image if isinstance(image, ImageError) else next(predictions)) for item, image in read]

    def _read(self, item: Item) -> Any:
        """The image as input of the network, uint8 [S, S, 3], or the error of one that cannot be read."""
        if isinstance(item.picture, ImageError):
            return item.picture
        try:
            return self._classifier.read(item.picture)
        except ImageError as error:
            return ImageError(str(error).replace(IN_MEMORY, printable(item.id)))

    def _predict(self, images: list[Any], batch: int) -> Iterator[Prediction]:
        if not images:
            return
        net, policy = self._classifier.net, self._policy
        logits, exits, distances = net.decide(np.stack(images), policy, batch)
        if not np.isfinite(logits).all():
            raise EngineError("the network computes what is no number: export it again, or try --precision fp32")
        for row, (values, exit_index) in enumerate(zip(logits, exits.tolist(), strict=True)):
            distance = None if distances is None else distances[row]
            yield make_prediction(net.manifest, policy, net.precision, values, exit_index, None, distance)

    def _row(self, item: Item, answer: Prediction | ImageError) -> Mapping[str, Any]:
        shared = {"id": item.id, "policy": self._policy.name, "model": self._job.bundle_sha256[:DIGITS], **item.place}
        if isinstance(answer, ImageError):
            return {**shared, "error": str(answer)}
        return {
            **shared,
            "label": answer.label,
            "confidence": round(answer.confidence, 6),
            "exit": answer.exit,
            "unknown": answer.unknown,
        }
