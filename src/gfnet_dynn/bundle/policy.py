"""Exit policies of a bundle: thresholds with their score, origin and guarantee."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from gfnet_dynn.bundle.fields import Fields
from gfnet_dynn.errors import BundleError, CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.scores import SCORES, UNFITTED, AccuracyTable, Fitted, Score, by_score
from gfnet_dynn.uncertainty.drift import Reference
from gfnet_dynn.uncertainty.out_of_distribution import FAMILIARITY_SCORES, FamiliarityScore
from gfnet_dynn.uncertainty.prediction_sets import SET_SCORES, SetScore


@dataclass(frozen=True, slots=True)
class UnknownRule:
    """When the answer for an out-of-distribution image is "unknown".

    Attributes:
        score: of familiarity.
        thresholds: of each exit, [G + 1]; an image whose familiarity is below is unknown.
        false_alarms: false-alarm rate, over images from the distribution of the calibration images.
    """

    score: FamiliarityScore
    thresholds: tuple[float, ...]
    false_alarms: float


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Conformal prediction sets.

    Attributes:
        score: of nonconformity.
        quantiles: of each exit, [G + 1]; infinite: all classes.
        coverage: probability that the true class is in the set, over images from the distribution of the calibration
            images.
    """

    score: SetScore
    quantiles: tuple[float, ...]
    coverage: float


@dataclass(frozen=True, slots=True)
class Policy:
    """An exit policy.

    Attributes:
        name: unique in its bundle.
        score: the confidence score that is compared with the thresholds.
        thresholds: of each early exit, [G]; `NEVER`: no image takes it.
        source: how the thresholds were determined.
        fitted: parameters of the score.
        guarantee: statement, data and conditions, as JSON values; empty: none.
        references: outputs at calibration, by precision, for later tests for a shift.
        unknown_rule: when an image is unknown; None: never.
        prediction_sets: None: none.
    """

    name: str
    score: Score
    thresholds: tuple[float, ...]
    source: str
    fitted: Fitted = UNFITTED
    guarantee: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    unknown_rule: UnknownRule | None = None
    prediction_sets: PredictionSets | None = None

    def scores(self, arrays: ExitArrays) -> ExitArrays:
        """The same arrays with the policy's score as `gates`."""
        return by_score(arrays, self.score, self.fitted)

    @property
    def digest(self) -> str:
        """Identifies score, thresholds and fitted parameters, but not the network: twelve hexadecimal digits."""
        return _digest(self.score, self.thresholds, self.fitted)

    def require_fit(self, num_exits: int, num_classes: int) -> None:
        """Refuse parts that are for another number of exits or classes.

        Args:
            num_exits: G + 1.
            num_classes: K.

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
        """A value that JSON can hold; `read_policy` reads it back."""
        described: dict[str, Any] = {
            "name": self.name,
            "score": self.score,
            "thresholds": _without_infinities(self.thresholds),
            "source": self.source,
        }
        if self.fitted.temperatures:
            described["temperatures"] = list(self.fitted.temperatures)
        if self.fitted.tables:
            described["tables"] = [asdict(each) for each in self.fitted.tables]
        if self.guarantee:
            described["guarantee"] = dict(self.guarantee)
        if self.references:
            described["references"] = {name: asdict(each) for name, each in self.references.items()}
        if rule := self.unknown_rule:
            described["unknown_rule"] = {**asdict(rule), "thresholds": _without_infinities(rule.thresholds)}
        if sets := self.prediction_sets:
            described["prediction_sets"] = {**asdict(sets), "quantiles": _without_infinities(sets.quantiles)}
        return described


def read_policy(found: Fields) -> Policy:
    """Read what `Policy.to_dict` wrote.

    Raises:
        BundleError: something is missing, of the wrong kind, or of a later version.
    """
    return Policy(
        name=found.text("name"),
        score=found.one_of("score", SCORES),
        thresholds=_with_infinities(found.numbers_or_none("thresholds"), NEVER),
        source=found.text("source"),
        fitted=_read_fitted(found),
        guarantee=found.inner("guarantee").value if "guarantee" in found.names else {},
        references=_read_references(found.inner("references")) if "references" in found.names else {},
        unknown_rule=_read_unknown_rule(found.inner("unknown_rule")) if "unknown_rule" in found.names else None,
        prediction_sets=_read_sets(found.inner("prediction_sets")) if "prediction_sets" in found.names else None,
    )


@lru_cache
def _digest(score: Score, thresholds: tuple[float, ...], fitted: Fitted) -> str:
    """Cached, as every prediction carries it."""
    decisive = [score, _without_infinities(tuple(map(float, thresholds))), asdict(fitted)]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:12]


def _read_fitted(found: Fields) -> Fitted:
    temperatures = found.numbers("temperatures") if "temperatures" in found.names else ()
    if not all(value > 0 for value in temperatures):
        raise BundleError(f"its policy {found.text('name')} has temperatures that are not positive")
    tables = found.inners("tables") if "tables" in found.names else ()
    return Fitted(tuple(temperatures), tuple(map(_read_table, tables)))


def _read_table(found: Fields) -> AccuracyTable:
    edges, accuracies = found.numbers("edges"), found.numbers("accuracies")
    if len(accuracies) != len(edges) + 1 or list(edges) != sorted(edges):
        raise BundleError("its manifest has a table of accuracies whose bins are not in order")
    return AccuracyTable(edges, accuracies)


def _read_references(found: Fields) -> dict[str, Reference]:
    return {name: _read_reference(found.inner(name)) for name in found.names}


def _read_reference(found: Fields) -> Reference:
    try:
        return Reference(tuple(map(tuple, found.value["histogram"])), tuple(found.value["classes"]))
    except (CalibrationError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"its manifest has a reference that is not usable: {error}") from error


def _read_unknown_rule(found: Fields) -> UnknownRule:
    thresholds = _with_infinities(found.numbers_or_none("thresholds"), -math.inf)
    return UnknownRule(found.one_of("score", FAMILIARITY_SCORES), thresholds, found.share("false_alarms"))


def _read_sets(found: Fields) -> PredictionSets:
    quantiles = _with_infinities(found.numbers_or_none("quantiles"), math.inf)
    return PredictionSets(found.one_of("score", SET_SCORES), quantiles, found.share("coverage"))


def _without_infinities(values: tuple[float, ...]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _with_infinities(values: tuple[float | None, ...], infinity: float) -> tuple[float, ...]:
    return tuple(infinity if value is None else value for value in values)
