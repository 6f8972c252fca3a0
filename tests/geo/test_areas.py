"""How much area early exits harm at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gfnet_dynn.geo.areas import harmed_share


def guarantee(limit: float = 0.01, risk: str = "harmful-exits") -> dict[str, Any]:
    return {"risk": risk, "risk_limit": limit}


@pytest.mark.parametrize("blocks", [1, 5, 30, 300])
@pytest.mark.parametrize("limit", [0.01, 0.1])
def test_the_bound_holds_for_blocks_that_are_harmed_whole(blocks: int, limit: float) -> None:
    bound = harmed_share(guarantee(limit), blocks)
    assert bound is not None
    harmed = np.random.default_rng(0).binomial(blocks, limit, 20_000) / blocks
    assert (harmed <= bound).mean() >= 0.95


def test_the_bound_holds_for_the_worst_single_draw() -> None:
    bound = harmed_share(guarantee(0.01), 1)
    assert bound == pytest.approx(0.2)  # a fifth of the area in one scene of twenty has a mean of 1%


def test_more_blocks_narrow_it_down_to_the_limit() -> None:
    bounds = [harmed_share(guarantee(), blocks) or 0.0 for blocks in (1, 10, 100, 1000, 10**6)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize(
    "stated",
    [{}, guarantee(risk="accuracy-drop"), guarantee(risk="brier-score"), guarantee(limit=0.0), {"risk": "error"}],
)
def test_other_guarantees_bound_no_area(stated: dict[str, Any]) -> None:
    assert harmed_share(stated, 10) is None


def test_without_blocks_there_is_no_bound() -> None:
    assert harmed_share(guarantee(), 0) is None
