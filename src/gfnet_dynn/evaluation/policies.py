"""The exit policies that training chose. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.scores import Score, by_score
from gfnet_dynn.exits.sweep import ALLOWED_LOSS, choose_threshold

_CHOSEN: tuple[tuple[str, Score, str], ...] = (
    ("gates", "gate", "threshold"),
    ("max-softmax", "max_softmax", "max_softmax_threshold"),
)
"""Name, score, and key in the provenance of a checkpoint."""


def trained_policies(provenance: Mapping[str, Any], num_gates: int) -> tuple[Policy, ...]:
    """Learned gates, max-softmax, and the full network, by a checkpoint's provenance; the first two where they save."""
    found = [
        Policy(
            name,
            score,
            tuple(chosen["thresholds"]),
            f"{chosen.get('rule', 'unknown rule')}; chosen on the {chosen.get('chosen_on', 'unknown data')}",
        )
        for name, score, key in _CHOSEN
        if num_gates and (chosen := provenance.get(key) or {}).get("thresholds")
    ]
    return (*found, Policy(FULL, "gate", (NEVER,) * num_gates, "no image exits early"))


def has_thresholds(provenance: Mapping[str, Any]) -> bool:
    """Whether training chose thresholds; earlier stages do not."""
    return all(provenance.get(key) for _, _, key in _CHOSEN)


def choose_thresholds(
    arrays: ExitArrays, costs: Sequence[float], chosen_on: str, allowed_loss: float = ALLOWED_LOSS
) -> dict[str, Any]:
    """Thresholds from the outputs over a selection split, as a provenance holds them; costs of the exits, [G + 1].

    `allowed_loss` is the share of the images that may get another answer than the full network's.
    """
    return {
        key: {**choose_threshold(by_score(arrays, score), costs, allowed_loss), "chosen_on": chosen_on}
        for _, score, key in _CHOSEN
    }
