from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.exits.sweep import OperatingPoint
from gfnet_dynn.export.precision_loss import too_much_lost

LABELS = np.zeros(400, np.int64)


def point(wrong: slice | list[int]) -> OperatingPoint:
    predictions = LABELS.copy()
    predictions[wrong] = 1
    return OperatingPoint((), np.zeros(400, np.intp), predictions, float((predictions == 0).mean()), (1.0,), (1.0,), 1)


@pytest.mark.parametrize(
    ("fp32_wrong", "int8_wrong", "kept"),
    [
        (slice(0, 20), slice(0, 20), True),  # the same images
        (slice(0, 20), slice(20, 40), True),  # as many, others
        (slice(0, 0), slice(0, 4), True),  # half a percent is 2, and chance makes 2 of 4
        (slice(0, 0), slice(0, 5), False),  # 5 > 2 + 2.24
        (slice(0, 16), slice(8, 32), False),  # 16 lost, 8 gained: 8 > 2 + 4.9
        (slice(0, 20), slice(0, 0), True),  # better than before
    ],
)
def test_a_loss_beyond_chance_leaves_int8_out(fp32_wrong: slice, int8_wrong: slice, *, kept: bool) -> None:
    said = too_much_lost({"gates": point(fp32_wrong)}, {"gates": point(int8_wrong)}, LABELS)
    assert (said is None) == kept


def test_every_policy_must_pass_and_the_one_that_does_not_is_named() -> None:
    fine, bad = point(slice(0, 1)), point(slice(0, 60))
    said = too_much_lost({"full": fine, "gates": fine}, {"full": fine, "gates": bad}, LABELS)
    assert said == "int8 is left out: by the policy gates it is right on 340 images, where fp32 is on 399, of 400"
