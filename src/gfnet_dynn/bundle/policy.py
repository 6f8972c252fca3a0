"""When samples leave a bundle's network, how that came about, and what is guaranteed of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gfnet_dynn.errors import BundleError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.scores import UNFITTED, Fitted, Score, by_score
from gfnet_dynn.system.storage import to_json
from gfnet_dynn.uncertainty.drift import Reference
from gfnet_dynn.uncertainty.out_of_distribution import FamiliarityScore
from gfnet_dynn.uncertainty.prediction_sets import SetScore

Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*\Z")]
"""Without what steers a terminal."""

Share = Annotated[float, Meta(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class UnknownRule:
    """When an image is called unlike those that the network knows.

    Attributes:
        score: of familiarity.
        thresholds: for those that leave at each exit, [G + 1]; below it an image is unknown.
        false_alarms: share of images like the calibration images that is called unknown, at most.
    """

    score: FamiliarityScore
    thresholds: tuple[float, ...]
    false_alarms: Share


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Classes among which the true one is, with a stated probability.

    Attributes:
        score: by which classes are taken in.
        quantiles: for those that leave at each exit, [G + 1]; infinite: all classes.
        coverage: probability that the true class is among them, over images like the calibration images.
    """

    score: SetScore
    quantiles: tuple[float, ...]
    coverage: Share


@dataclass(frozen=True, slots=True)
class Policy:
    """When a sample leaves.

    Attributes:
        name: by which it is asked for.
        score: what is compared with the thresholds.
        thresholds: one for each early exit, `NEVER` where none leaves.
        source: how the thresholds came about.
        fitted: what the score needs beside an exit's own outputs.
        guarantee: what is guaranteed, of which data and while what holds, as JSON values; empty where nothing is.
        references: exits and confidences at calibration, by precision, against which drift is checked.
        unknowns: when an image is called unknown; None: never.
        sets: prediction sets; None: none are given.
    """

    name: Text
    score: Score
    thresholds: tuple[float, ...]
    source: Text
    fitted: Fitted = UNFITTED
    guarantee: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    unknowns: UnknownRule | None = None
    sets: PredictionSets | None = None

    def scores(self, arrays: ExitArrays) -> ExitArrays:
        """The same arrays with what stands against the thresholds in place of the gates."""
        return by_score(arrays, self.score, self.fitted)

    @property
    def digest(self) -> str:
        """Of score, thresholds and what was fitted, but not of the network: twelve hexadecimal digits."""
        return _digest(self.score, self.thresholds, self.fitted)

    def require_fit(self, num_exits: int) -> None:
        """Refuse parts that are for another number of exits.

        Args:
            num_exits: G + 1.

        Raises:
            BundleError: names the part.
        """
        gates = num_exits - 1
        lengths = {
            "thresholds": (len(self.thresholds), gates),
            "temperatures": (len(self.fitted.temperatures), num_exits),
            "tables": (len(self.fitted.tables), gates),
            "unknowns": (len(self.unknowns.thresholds) if self.unknowns else num_exits, num_exits),
            "sets": (len(self.sets.quantiles) if self.sets else num_exits, num_exits),
            **{f"references.{name}": (len(each.exit_counts), num_exits) for name, each in self.references.items()},
        }
        optional = () if self.score == "neighbours" else ("tables",)
        for part, (found, wanted) in lengths.items():
            if found != wanted and not (found == 0 and part in ("temperatures", *optional)):
                raise BundleError(f"its policy {self.name} has {found} {part} for a network with {gates} early exits")

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
        (policy.get("unknowns"), "thresholds", -math.inf),
        (policy.get("sets"), "quantiles", math.inf),
    ):
        if isinstance(part, dict) and isinstance(values := part.get(key), list):
            part[key] = [infinity if value is None else value for value in values]


@lru_cache
def _digest(score: Score, thresholds: tuple[float, ...], fitted: Fitted) -> str:
    """Cached, as every answer bears it."""
    return hashlib.sha256(to_json((score, thresholds, fitted))).hexdigest()[:12]
