"""Counts of one partition, and of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gfnet_dynn.archive.job import Counts, PartitionSummary
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import ImageError
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.runtime.promise import Promise, promise_of
from gfnet_dynn.uncertainty.eprocess import LiveShiftTest

MOST_NAMED = 10
"""Unreadable images whose errors are kept."""


class PartitionTally:
    """Counts answers, and tests whether they still come as at the calibration of the policy."""

    def __init__(self, number: int, manifest: Manifest, policy: Policy, precision: str, false_alarms: float) -> None:
        self._number, self._policy, self._precision = number, policy, precision
        self._exits = {each.name: index for index, each in enumerate(manifest.exits)}
        self._full_macs = manifest.exits[-1].macs
        reference = policy.references.get(precision)
        self._test = LiveShiftTest(reference, false_alarms) if reference else None
        self._classes: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._unknown = self._errors = self._macs = 0
        self._first: list[str] = []

    def add(self, name: str, answer: Prediction | ImageError) -> None:
        """Count the answer to the image with that id."""
        if isinstance(answer, ImageError):
            self._errors += 1
            if len(self._first) < MOST_NAMED:
                self._first.append(f"{name}: {answer}")
            return
        self._taken[answer.exit] += 1
        self._macs += answer.macs
        if self._test:
            self._test.observe(self._exits[answer.exit], answer.confidence)
        if answer.unknown:
            self._unknown += 1
        else:
            self._classes[answer.label] += 1

    def summary(self) -> PartitionSummary:
        """Of all so far."""
        images = self._taken.total()
        return PartitionSummary(
            number=self._number,
            rows=images + self._errors,
            classes=dict(sorted(self._classes.items())),
            exits=dict(sorted(self._taken.items(), key=lambda each: self._exits[each[0]])),
            unknown=self._unknown,
            errors=self._errors,
            first_errors=tuple(self._first),
            macs=self._macs,
            full_macs=images * self._full_macs,
            promise=self._promise(),
        )

    def _promise(self) -> Promise:
        if self._test is None or not self._taken:  # without an answer there is nothing to promise
            return "none"
        return promise_of(self._policy, self._precision, self._test)


@dataclass(frozen=True, kw_only=True)
class ArchiveSummary(Counts):
    """Counts of an archive.

    Attributes:
        partitions: finished ones.
        promises: number of partitions by their promise.
    """

    partitions: int = 0
    promises: dict[str, int] = field(default_factory=dict)

    @property
    def macs_saved(self) -> float:
        """Share of the full network's multiply-accumulates that exits saved."""
        return 1 - self.macs / self.full_macs if self.full_macs else 0.0

    def plus(self, one: PartitionSummary) -> ArchiveSummary:
        """With one more partition."""
        return replace(
            self,
            partitions=self.partitions + 1,
            rows=self.rows + one.rows,
            classes=_sum(self.classes, one.classes),
            exits=_sum(self.exits, one.exits),
            unknown=self.unknown + one.unknown,
            errors=self.errors + one.errors,
            first_errors=(*self.first_errors, *one.first_errors)[:MOST_NAMED],
            macs=self.macs + one.macs,
            full_macs=self.full_macs + one.full_macs,
            promises=_sum(self.promises, {one.promise: 1}),
        )


def summed(partitions: Iterable[PartitionSummary]) -> ArchiveSummary:
    """Of all these."""
    whole = ArchiveSummary()
    for each in partitions:
        whole = whole.plus(each)
    return whole


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))
