"""Exit policies of a bundle: thresholds with their score, origin and guarantee."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from gfnet_dynn.errors import BundleError
from gfnet_dynn.exits import NEVER, UNFITTED, ExitArrays, Fitted, Score, by_score
from gfnet_dynn.system.storage import to_json
from gfnet_dynn.uncertainty.conformal import familiarity, is_unknown
from gfnet_dynn.uncertainty.drift import Reference

Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*\Z")]
"""Without what steers a terminal."""

Share = Annotated[float, Meta(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class UnknownRule:
    """When the answer for an out-of-distribution image is "unknown".

    Attributes:
        thresholds: of each exit, [G + 1]; an image whose familiarity is below is unknown.
        false_alarms: false-alarm rate, over images from the distribution of the calibration images.
        distance: an image that is further from the training images is unknown; None: the network computes no distance.
    """

    thresholds: tuple[float, ...]
    false_alarms: Share
    distance: float | None = None

    def applies(
        self,
        logits: npt.NDArray[np.float32],
        exits: npt.NDArray[np.intp],
        distances: npt.NDArray[np.float32] | None,
    ) -> npt.NDArray[np.bool_]:
        """Whether each image is unknown, [N]; logits [N, K] are of the exits taken, [N], 0 to G; distances [N].

        Raises:
            BundleError: the rule needs distances, which the network did not compute.
        """
        strange = is_unknown(familiarity(logits), np.array(self.thresholds)[exits])
        if self.distance is None:
            return strange
        if distances is None:
            raise BundleError("its rule for unknown images needs distances, which its graphs do not compute")
        return strange | is_unknown(-distances, -self.distance)


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Conformal prediction sets.

    Attributes:
        quantiles: of each exit, [G + 1]; infinite: all classes.
        coverage: probability that the true class is in the set, over images from the distribution of the calibration
            images.
    """

    quantiles: tuple[float, ...]
    coverage: Share


@dataclass(frozen=True, slots=True)
class Policy:
    """An exit policy.

    Attributes:
        name: unique in its bundle.
        score: the confidence score that is compared with the thresholds.
        thresholds: of each early exit, [G]; `NEVER`: no image takes it.
        source: how the thresholds were determined.
        guarantee: statement, data and conditions, as JSON values; empty: none.
        references: outputs at calibration, by precision, for later tests for a shift.
        unknown_rule: when an image is unknown; None: never.
    """

    name: Text
    score: Score
    thresholds: tuple[float, ...]
    source: Text
    fitted: Fitted = UNFITTED
    guarantee: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    unknown_rule: UnknownRule | None = None
    prediction_sets: PredictionSets | None = None

    def scores(self, arrays: ExitArrays) -> ExitArrays:
        """The same arrays with the policy's score as `gates`."""
        return by_score(arrays, self.score, self.fitted)

    @property
    def covered(self) -> tuple[str, ...]:
        """Precisions that it was calibrated in, and that its guarantee therefore covers; empty: not calibrated."""
        found = self.guarantee.get("precisions")
        return tuple(map(str, found)) if isinstance(found, list | tuple) else ()

    @property
    def digest(self) -> str:
        """Identifies score, thresholds and fitted parameters, but not the network: twelve hexadecimal digits."""
        return _digest(self.score, self.thresholds, self.fitted)

    def require_fit(self, num_exits: int, num_classes: int) -> None:
        """Refuse parts that are for another number of exits, G + 1, or of classes.

        Raises:
            BundleError: names the part.
        """
        gates = num_exits - 1
        lengths = {
            "thresholds": (len(self.thresholds), gates),
            "temperatures": (len(self.fitted.temperatures), num_exits),
            "tables": (len(self.fitted.tables), gates),
            "unknown_rule": (len(self.unknown_rule.thresholds) if self.unknown_rule else num_exits, num_exits),
            "prediction_sets": (len(self.prediction_sets.quantiles) if self.prediction_sets else num_exits, num_exits),
            **{f"references.{name}": (len(each.exit_counts), num_exits) for name, each in self.references.items()},
        }
        optional = () if self.score == "neighbours" else ("tables",)
        for part, (found, wanted) in lengths.items():
            if found != wanted and not (found == 0 and part in ("temperatures", *optional)):
                raise BundleError(f"its policy {self.name} has {found} {part} for a network with {gates} early exits")
        for name, each in self.references.items():
            if len(each.classes) != num_classes:
                raise BundleError(
                    f"its policy {self.name} has references.{name} of {len(each.classes)} classes for a network with "
                    f"{num_classes}"
                )

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold, with null for infinities."""
        described: dict[str, Any] = msgspec.json.decode(to_json(self))
        return described


def restore_infinities(policy: object) -> None:
    """Put the infinities back for which JSON has null, in what will be read as a `Policy`."""
    if not isinstance(policy, dict):
        return
    for part, key, infinity in (
        (policy, "thresholds", NEVER),
        (policy.get("unknown_rule"), "thresholds", -math.inf),
        (policy.get("prediction_sets"), "quantiles", math.inf),
    ):
        if isinstance(part, dict) and isinstance(values := part.get(key), list):
            part[key] = [infinity if value is None else value for value in values]


@lru_cache
def _digest(score: Score, thresholds: tuple[float, ...], fitted: Fitted) -> str:
    """Cached, as every prediction carries it."""
    return hashlib.sha256(to_json((score, thresholds, fitted))).hexdigest()[:12]
