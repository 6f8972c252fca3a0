"""What a card says of the ground that an image shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.test_models import card


def test_a_chip_is_as_large_as_stated_or_follows_from_the_distances() -> None:
    unstated = card("Satellite scenes", (5, 20))
    assert unstated.chip_side_m(64) == pytest.approx(640)
    assert replace(unstated, chip_m=500.0).chip_side_m(64) == 500
