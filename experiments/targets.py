"""The guarantees that experiments ask for: by every method that gives one, and by those that seem to."""

from __future__ import annotations

import itertools
from pathlib import Path

from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.guarantees.control import GUARANTEED, Method, RiskTarget
from gfnet_dynn.guarantees.risk import RiskName

LIMITS, LEVELS = (0.005, 0.01, 0.02, 0.05), (0.95, 0.9)
_WAYS: tuple[tuple[Method, RiskName], ...] = (
    *((method, "harmful-exits") for method in GUARANTEED),
    ("betting", "accuracy-drop"),
    ("conformal", "harmful-exits"),
    ("naive", "harmful-exits"),
)


def all_targets() -> list[RiskTarget]:
    """One for each method, risk, limit and confidence level."""
    return [
        RiskTarget(risk, limit, confidence, method)
        for (method, risk), limit, confidence in itertools.product(_WAYS, LIMITS, LEVELS)
        if method not in ("naive", "conformal") or confidence == LEVELS[0]  # they know no level
    ]


def request_of(target: RiskTarget, *, per_exit: bool) -> CalibrationRequest:
    """What a user would write, for outputs that are there already."""
    place = Path("outputs")
    return CalibrationRequest(
        bundle=place,
        images=place,
        risk=target.risk,
        risk_limit=target.limit,
        confidence=target.confidence,
        method=target.method,
        per_exit=per_exit,
    )
