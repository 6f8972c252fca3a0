"""The exit policies that training found, as a bundle holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.scores import Score

_FOUND: tuple[tuple[str, Score, str], ...] = (
    ("gates", "gate", "threshold"),
    ("plain", "max_softmax", "plain_threshold"),
)


def policies_of(provenance: Mapping[str, Any], num_gates: int) -> tuple[Policy, ...]:
    """The policies of a trained network: its gates, the plain rule, and the full network.

    Args:
        provenance: of its checkpoint.
        num_gates: G.
    """
    full = Policy(FULL, "gate", (NEVER,) * num_gates, "no image leaves early")
    found = []
    for name, score, key in _FOUND:
        chosen = provenance.get(key) or {}
        if num_gates and chosen.get("thresholds"):
            source = f"{chosen.get('rule', 'unknown rule')}; chosen on the {chosen.get('chosen_on', 'unknown data')}"
            found.append(Policy(name, score, tuple(chosen["thresholds"]), source))
    return (*found, full)
