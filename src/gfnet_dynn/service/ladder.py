"""The levels that load lowers images to: cheaper policies of the bundle, then earlier and earlier last exits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.service.costs import SegmentCosts, reached_shares


@dataclass(frozen=True, slots=True)
class Level:
    """A policy, and the exit that an image takes at the latest, 0 to G, whatever the policy says."""

    policy: Policy
    last: int


class Ladder:
    """The levels of one network, dearest first."""

    def __init__(
        self, policies: Iterable[Policy], costs: SegmentCosts, precision: str, lowest: Policy | None = None
    ) -> None:
        """`lowest`: the last level; None: the cheapest policy, ending at the first exit for every image."""
        self._costs, self._precision, self.final = costs, precision, costs.segments - 1
        self._policies = tuple(policies)  # recognised by identity: every request asks for what one of them costs
        self._reached = {id(each): self._count(each) for each in self._policies}
        ranked = sorted((Level(each, self.final) for each in self._policies), key=self._typical, reverse=True)
        if lowest is None:
            cheapest = ranked[-1].policy
            self._levels = (*ranked, *(Level(cheapest, last) for last in reversed(range(self.final))))
        else:
            least = self._typical(Level(lowest, self.final))
            self._levels = tuple(each for each in ranked if self._typical(each) >= least)
        self._below = {id(each): self._cheaper(each) for each in self._policies}

    def seconds(self, level: Level) -> float:
        """Expected time of an image in full batches."""
        return self._costs.factor * self._typical(level)

    def _typical(self, level: Level) -> float:
        return self._costs.mean_seconds(self.reached(level.policy)[: level.last + 1])

    def reached(self, policy: Policy) -> tuple[float, ...]:
        """Expected share of the images that each segment runs for, [G + 1]."""
        found = self._reached.get(id(policy))
        return self._count(policy) if found is None else found

    def _count(self, policy: Policy) -> tuple[float, ...]:
        return reached_shares(policy, self._precision, self.final + 1)

    def below(self, policy: Policy) -> tuple[Level, ...]:
        """The levels that are cheaper than a policy."""
        found = self._below.get(id(policy))
        return self._cheaper(policy) if found is None else found

    def _cheaper(self, policy: Policy) -> tuple[Level, ...]:
        most = self._typical(Level(policy, self.final))
        return tuple(each for each in self._levels if self._typical(each) < most)
