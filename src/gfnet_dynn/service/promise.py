"""Whether the guarantee of a policy still holds for what the service sees."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.service.task import Task
from gfnet_dynn.uncertainty.eprocess import LiveShiftTest

Promise = Literal["holds", "in doubt", "none"]
"""`holds`: the policy has a guarantee, and nothing speaks against it. `in doubt`: live images differ from the
calibration images. `none`: there is no guarantee, or the image exited earlier than its policy says."""


@dataclass(frozen=True)
class Evidence:
    """The test of one policy's live answers: an e-value, which raises the alarm where it reaches `alarm_at`."""

    status: Promise
    evidence: float
    largest_evidence: float
    alarm_at: float
    images: int


class PromiseWatch:
    """Tests the live answers of each calibrated policy in one precision; several threads may share it."""

    def __init__(self, policies: Mapping[str, Policy], precision: str, level: float) -> None:
        """`level`: probability that a test ever raises a false alarm, however often one looks."""
        self._lock = threading.Lock()
        self._precision = precision
        self._tests = {
            name: LiveShiftTest(policy.references[precision], level)
            for name, policy in policies.items()
            if precision in policy.references
        }

    def observe(self, task: Task, confidence: float) -> Promise:
        """Count an answer, and say what its guarantee is worth."""
        policy = task.policy
        if task.exit_index is None or task.is_cut_short:
            return "none"
        test = self._tests.get(policy.name)
        if test is None:
            return "none"
        with self._lock:
            if task.is_counted:
                test.observe(task.exit_index, confidence)
            return self._status(policy, test)

    def _status(self, policy: Policy, test: LiveShiftTest) -> Promise:
        if not policy.guarantee.get("statement") or self._precision not in policy.covered:
            return "none"
        return "in doubt" if test.shift_detected else "holds"

    def evidence(self, policies: Mapping[str, Policy]) -> dict[str, Evidence]:
        """Of each policy that is tested, by name."""
        with self._lock:
            return {
                name: Evidence(
                    self._status(policies[name], test),
                    test.evidence,
                    test.largest_evidence,
                    test.alarm_at,
                    test.images,
                )
                for name, test in self._tests.items()
            }
