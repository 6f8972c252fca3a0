"""Whether the guarantee of a policy still holds for what the service sees."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.runtime.promise import Promise, promise_of
from gfnet_dynn.service.task import Task
from gfnet_dynn.uncertainty.eprocess import LiveShiftTest


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
            return promise_of(policy, self._precision, test)

    def evidence(self, policies: Mapping[str, Policy]) -> dict[str, Evidence]:
        """Of each policy that is tested, by name."""
        with self._lock:
            return {
                name: Evidence(
                    promise_of(policies[name], self._precision, test),
                    test.evidence,
                    test.largest_evidence,
                    test.alarm_at,
                    test.images,
                )
                for name, test in self._tests.items()
            }
