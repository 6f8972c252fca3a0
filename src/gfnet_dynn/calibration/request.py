"""What a user asks of an exit policy."""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import category

from gfnet_dynn.bundle.manifest import FULL, OWN
from gfnet_dynn.calibration.score_fitting import SCALED
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.scores import Score
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.guarantees.control import COUNTING, ZERO_OR_ONE, RiskTarget

_FIT_SHARE = 0.3
_LATER_SHARE = 0.3
_UNPRINTABLE = ("Cc", "Cs")  # with one of these, the bundle could not be read again


@dataclass(frozen=True)
class CalibrationRequest:
    """One policy as it is wanted.

    Attributes:
        name: of the policy.
        costs: of each exit, in which budgets are given and what is cheapest is told.
        target: the risk to guarantee; None: none.
        budget: largest mean cost; None: none.
        deadline: that the 99th percentile of the cost must keep; None: none.
        score: by which images leave.
        per_exit: a threshold for each exit, along a path found on images apart; for a target only where that costs less
            than one for all.
        coverage: of prediction sets; None: none are given.
        false_alarms: share of images like these that may be called unknown; None: none ever is.
        seed: of the division of the images.
    """

    name: str
    costs: Costs
    target: RiskTarget | None = None
    budget: float | None = None
    deadline: float | None = None
    score: Score = "gate"
    per_exit: bool = False
    coverage: float | None = None
    false_alarms: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.target is None and self.budget is None and self.deadline is None:
            raise CalibrationError("nothing to calibrate for: give a risk, a budget or a deadline")
        if self.per_exit and self.target is not None:
            _require_shareable(self.target)
        taken = not self.name.strip() or self.name in (FULL, OWN)
        if taken or any(category(each) in _UNPRINTABLE for each in self.name):
            raise CalibrationError(f"a policy needs a printable name of its own, not {self.name!r}")
        if self.seed < 0:
            raise CalibrationError(f"a seed is 0 or more, not {self.seed}")
        for what, value in (("budget", self.budget), ("deadline", self.deadline)):
            if value is not None and not 0 < value < float("inf"):
                raise CalibrationError(f"a {what} is a positive number of {self.costs.unit}, not {value:g}")
        for what, value in (("coverage", self.coverage), ("share of false alarms", self.false_alarms)):
            if value is not None and not 0 < value < 1:
                raise CalibrationError(f"the {what} lies between 0 and 1, not at {value:g}")

    @property
    def fit_share(self) -> float:
        """Part of the images that score and path are fitted to, and thresholds are not tested on."""
        return _FIT_SHARE if self.score in SCALED or self.per_exit else 0.0

    @property
    def later_share(self) -> float:
        """Part of the images for what stands on finished thresholds: sets and unknown images."""
        return _LATER_SHARE if self.coverage is not None or self.false_alarms is not None else 0.0


def _require_shareable(target: RiskTarget) -> None:
    """A threshold for each exit is tested at what a test by counting leaves of the level; others leave nothing."""
    if target.method not in COUNTING or target.risk not in ZERO_OR_ONE:
        raise CalibrationError(
            f"{target.method} for {target.risk} leaves nothing of its level that a threshold for each exit could be tested "
            f"at: leave --per-exit away, or ask for {' or '.join(COUNTING)} and for {', '.join(ZERO_OR_ONE[:-1])} or "
            f"{ZERO_OR_ONE[-1]}"
        )
