"""When samples leave a bundle's network, how that came about, and what is guaranteed of it."""

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
    """When an image is called unlike those that the network knows.

    Attributes:
        score: of familiarity.
        thresholds: for those that leave at each exit, [G + 1]; below it an image is unknown.
        false_alarms: share of images like the calibration images that is called unknown, at most.
    """

    score: FamiliarityScore
    thresholds: tuple[float, ...]
    false_alarms: float


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
    coverage: float


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

    name: str
    score: Score
    thresholds: tuple[float, ...]
    source: str
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
            described["references"] = {name: each.to_dict() for name, each in self.references.items()}
        if self.unknowns:
            described["unknowns"] = {
                **asdict(self.unknowns),
                "thresholds": _without_infinities(self.unknowns.thresholds),
            }
        if self.sets:
            described["sets"] = {**asdict(self.sets), "quantiles": _without_infinities(self.sets.quantiles)}
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
        unknowns=_read_unknowns(found.inner("unknowns")) if "unknowns" in found.names else None,
        sets=_read_sets(found.inner("sets")) if "sets" in found.names else None,
    )


@lru_cache
def _digest(score: Score, thresholds: tuple[float, ...], fitted: Fitted) -> str:
    """Cached, as every answer bears it."""
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
        return Reference.from_dict(found.value)
    except (CalibrationError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"its manifest has a reference that is not usable: {error}") from error


def _read_unknowns(found: Fields) -> UnknownRule:
    thresholds = _with_infinities(found.numbers_or_none("thresholds"), -math.inf)
    return UnknownRule(found.one_of("score", FAMILIARITY_SCORES), thresholds, found.share("false_alarms"))


def _read_sets(found: Fields) -> PredictionSets:
    quantiles = _with_infinities(found.numbers_or_none("quantiles"), math.inf)
    return PredictionSets(found.one_of("score", SET_SCORES), quantiles, found.share("coverage"))


def _without_infinities(values: tuple[float, ...]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _with_infinities(values: tuple[float | None, ...], infinity: float) -> tuple[float, ...]:
    return tuple(infinity if value is None else value for value in values)
