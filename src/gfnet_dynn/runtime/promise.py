"""Whether the guarantee of a policy still holds for the images that it meets."""

from __future__ import annotations

from typing import Literal

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.uncertainty.eprocess import LiveShiftTest

Promise = Literal["holds", "in doubt", "none"]
"""`holds`: the policy has a guarantee, and nothing speaks against it. `in doubt`: live images differ from the
calibration images. `none`: there is no guarantee, or the image exited earlier than its policy says."""


def promise_of(policy: Policy, precision: str, test: LiveShiftTest) -> Promise:
    """What a policy's guarantee is worth in that precision, after the images that the test has seen."""
    if not policy.guarantee.get("statement") or precision not in policy.covered:
        return "none"
    return "in doubt" if test.shift_detected else "holds"
