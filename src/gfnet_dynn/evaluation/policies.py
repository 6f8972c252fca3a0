"""The exit policies that training chose. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits import NEVER, ExitArrays, Score, by_score, last_within, sweep
from gfnet_dynn.units import percent

ALLOWED_LOSS = 0.01
"""Share of the images that may disagree with the full network where a threshold is chosen."""

_CANDIDATES = (*(index / 100 for index in range(100)), NEVER)

_CHOSEN: tuple[tuple[str, Score, str], ...] = (
    ("gates", "gate", "threshold"),
    ("max-softmax", "max-softmax", "max_softmax_threshold"),
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

    For each score the last of a hundred thresholds, one for all exits, before more images than `allowed_loss`, 0 to 1,
    get another answer than the full network's; see `last_within`. `thresholds` is None where none saves anything.
    """
    found: dict[str, Any] = {}
    for _, score, key in _CHOSEN:
        points = sweep(by_score(arrays, score), costs, _CANDIDATES)
        chosen, full = last_within(points, allowed_loss), points[-1]
        found[key] = {
            "thresholds": list(chosen.thresholds) if chosen.mean_cost < full.mean_cost else None,
            "accuracy": chosen.accuracy,
            "accuracy_full": full.accuracy,
            "mean_cost": chosen.mean_cost,
            "allowed_loss": allowed_loss,
            "rule": f"last of a hundred thresholds before more than {percent(allowed_loss)} of the images disagree "
            "with the full network; no guarantee",
            "chosen_on": chosen_on,
        }
    return found
