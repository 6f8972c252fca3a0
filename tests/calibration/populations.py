"""What calibration sees of a population whose coverage and risks are known, in both precisions of a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.search import FoundPolicy, find_policy
from gfnet_dynn.exits import ExitArrays, Score
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.guarantees.control import RiskTarget
from tests.exits.populations import SIZE, Population, make_population

COUNTED = Costs("MACs", "M MACs", (2.0, 4.0, 7.0, 10.0), None, "counted from shapes")
TIMED = Costs("latency", "ms", (2.0, 4.0, 7.0, 10.0), (3.0, 5.0, 9.0, 12.0), "measured here")

_WORSE = 0.04  # of the images, at each early exit of int8


@cache
def make_scenes() -> Population:
    """As `make_population`, but no two images have the same probabilities, so that guarantees hold without slack."""
    plain = make_population().arrays
    noise = np.random.default_rng(1).normal(0, 0.8, plain.logits.shape)
    return Population(ExitArrays((plain.logits + noise).astype(np.float32), plain.gates, plain.labels))


@cache
def make_int8() -> Population:
    """The same images in a precision whose early exits err more often, and whose gates do not know it."""
    scenes, generator = make_scenes().arrays, np.random.default_rng(2)
    logits = scenes.logits + generator.normal(0, 0.05, scenes.logits.shape).astype(np.float32)
    wrong = generator.random((SIZE, 3)) < _WORSE
    logits[:, :3][wrong] = np.roll(logits[:, :3], 1, axis=2)[wrong]
    gates = (scenes.gates + generator.normal(0, 0.01, scenes.gates.shape)).clip(0, 1).astype(np.float32)
    return Population(ExitArrays(logits, gates, scenes.labels))


def outputs(*precisions: ExitArrays) -> Outputs:
    """Arrays of fp32, and of int8 where they are given."""
    return Outputs(dict(zip(("fp32", "int8"), precisions, strict=False)), "0123", "d" * 64, "hands 1.0")


@dataclass(frozen=True)
class Order:
    """A request and its costs, in the words of the search."""

    costs: Costs = TIMED
    target: RiskTarget | None = None
    budget: float | None = None
    deadline: float | None = None
    score: Score = "gate"
    per_exit: bool = False
    coverage: float | None = None
    false_alarms: float | None = None
    unknown_by: Literal["both", "distance"] = "both"
    name: str = "calibrated"
    seed: int = 0

    @property
    def request(self) -> CalibrationRequest:
        budget = "max_mmacs" if self.costs.unit == COUNTED.unit else "max_ms"
        target = self.target and {
            "risk": self.target.risk,
            "risk_limit": self.target.limit,
            "confidence": self.target.confidence,
            "method": self.target.method,
        }
        kept = ("score", "per_exit", "coverage", "false_alarms", "unknown_by", "name", "seed")
        return CalibrationRequest(
            bundle=Path("tiny.gfd"),
            images=Path("scenes"),
            benchmark=Path("bench.json"),
            p99_ms=self.deadline,
            **{budget: self.budget},  # type: ignore[arg-type] # by name
            **{name: getattr(self, name) for name in kept},
            **(target or {}),  # type: ignore[arg-type] # by name
        )


def order(**changes: Any) -> Order:
    """A budget of 5, unless something else is asked for."""
    asked = {} if {"target", "budget", "deadline"} & set(changes) else {"budget": 5.0}
    return Order(**{**asked, **changes})


def calibrate(source: Outputs, asked: Order) -> FoundPolicy:
    return find_policy(source, asked.request, asked.costs)
