"""Which precisions auto may take, and how many images it would need to be allowed more."""

from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.bundle.precisions import ALLOWED_LOSS, auto_precisions, describe, images_needed
from gfnet_dynn.uncertainty.intervals import PairedDifference, paired_difference


def difference(gained: int, lost: int, count: int) -> PairedDifference:
    fp32, int8 = np.ones(count, bool), np.ones(count, bool)
    fp32[:gained] = False
    int8[gained : gained + lost] = False
    return paired_difference(fp32, int8)


def test_few_images_allow_nothing_but_fp32() -> None:
    assert auto_precisions({"int8": {"full": difference(0, 0, 336)}}) == ("fp32",)
    assert auto_precisions({"int8": {"full": difference(0, 0, 2000)}}) == ("fp32", "int8")
    assert auto_precisions({}) == ("fp32",)


def test_the_measured_loss_of_a_real_set_is_not_allowed() -> None:
    assert auto_precisions({"int8": {"full": difference(2, 14, 840)}}) == ("fp32",)


def test_one_policy_that_may_lose_too_much_is_enough() -> None:
    fine, bad = difference(0, 0, 2000), difference(0, 20, 2000)
    assert auto_precisions({"int8": {"full": fine, "gates": bad}}) == ("fp32",)


@pytest.mark.parametrize(("gained", "lost", "count"), [(0, 0, 100), (3, 3, 840), (10, 12, 2000)])
def test_with_so_many_images_the_interval_would_do(gained: int, lost: int, count: int) -> None:
    needed = images_needed(difference(gained, lost, count))
    assert needed is not None
    for factor, enough in ((0.8, False), (1.2, True)):
        scaled = difference(
            round(gained * factor * needed / count), round(lost * factor * needed / count), round(factor * needed)
        )
        assert (scaled.low >= -ALLOWED_LOSS) is enough
    assert str(needed) in describe("int8", {"full": difference(gained, lost, count)})


def test_no_number_of_images_makes_up_for_a_real_loss() -> None:
    assert images_needed(difference(2, 14, 840)) is None
