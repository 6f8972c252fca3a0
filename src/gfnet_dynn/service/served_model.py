"""A bundle that is being served: compiled, with its queue, its tests and its figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import FULL, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import BundleError, OptionError, nearest
from gfnet_dynn.exits import softmax
from gfnet_dynn.runtime.prediction import Prediction, make_prediction
from gfnet_dynn.runtime.predictor import Classifier, load
from gfnet_dynn.runtime.promise import Promise
from gfnet_dynn.service.costs import SegmentCosts, measure_costs
from gfnet_dynn.service.figures import ServiceFigures
from gfnet_dynn.service.ladder import Ladder, Level
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.promise import PromiseWatch
from gfnet_dynn.service.request import ServeRequest
from gfnet_dynn.service.scheduler import Scheduler
from gfnet_dynn.service.task import Task

_SHARE_OF_DEADLINE = 0.5  # that waiting may take before exits are lowered
_DIGEST_SHOWN = 12  # hexadecimal digits


@dataclass(frozen=True)
class Wish:
    """How a request wants its images classified.

    Attributes:
        policy: name; None: the bundle's default.
        threshold: in place of the policy's thresholds.
        deadline_s: seconds until the answer is due; None: the server's limit.
        every_exit: all exits are computed and told.
    """

    policy: str | None = None
    threshold: float | tuple[float, ...] | None = None
    deadline_s: float | None = None
    every_exit: bool = False


class ServedModel:
    """One compiled bundle and all that belongs to it."""

    def __init__(self, name: str, path: Path, request: ServeRequest) -> None:
        """Load, compile and measure.

        Raises:
            BundleError: missing, damaged, or without the policy that load may lower to.
            EngineError: the engine cannot take it.
        """
        self.name, self.path, self._request = name, path, request
        self.sha256 = read_bundle(path).sha256
        self.classifier: Classifier = load(
            path,
            engine=request.engine,
            precision=request.precision,
            threads=request.engine_threads,
            decode=request.decode,
        )
        if read_bundle(path).sha256 != self.sha256:
            raise BundleError(f"{path} was replaced while it was read: reload once it is whole")
        self.decode = request.decode
        self.policies = {each.name: each for each in self.manifest.policies}
        self.costs: SegmentCosts = measure_costs(self.classifier.net, request.batch)
        self.exit_ms = tuple(1e3 * sum(self.costs.seconds(k, 1) for k in range(n + 1)) for n in self._exits)
        self.ladder = self._ladder(request)
        self.default_policy = self.manifest.policy(request.policy).name
        self.promises = PromiseWatch(self.policies, self.precision, request.false_alarms)
        self.figures = ServiceFigures(self.manifest.num_exits)
        self.scheduler = Scheduler(self.classifier.net, self.costs, self.ladder, request.queue)

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self.classifier.manifest

    @property
    def precision(self) -> str:
        """That the network runs in."""
        return self.classifier.net.precision

    @property
    def digest(self) -> str:
        """Identifies the bundle."""
        return self.sha256[:_DIGEST_SHOWN]

    @property
    def _exits(self) -> range:
        return range(self.manifest.num_exits)

    @property
    def level(self) -> str:
        """What an image of the default policy would get now."""
        levels = self._levels(self.policies[self.default_policy])
        found = self.scheduler.level_for(levels, self._request.most_wait_ms / 1e3)
        exits = self.manifest.exits
        cut = "" if found.last == len(exits) - 1 else f", {exits[found.last].name} at the latest"
        return f"{found.policy.name}{cut}"

    def _ladder(self, request: ServeRequest) -> Ladder:
        lowest = None if request.lower_to is None else self.manifest.policy(request.lower_to)
        return Ladder(self.policies.values(), self.costs, self.precision, lowest)

    def _levels(self, policy: Policy) -> tuple[Level, ...]:
        """A policy, and what load may lower it to."""
        cheaper = self.ladder.below(policy) if self._request.lower_exits else ()
        return (Level(policy, self.ladder.final), *cheaper)

    def tasks(
        self, images: list[npt.NDArray[np.uint8]], wish: Wish, arrived: float, on_end: Callable[[Task], object]
    ) -> list[Task]:
        """Tasks for images, uint8 [S, S, 3] each, that came at a time by `time.perf_counter`.

        Raises:
            OptionError: there is no such policy.
            ServiceError: the deadline leaves less time than the first exit needs.
            ThresholdError: the thresholds do not fit the exits.
        """
        levels = self.levels_for(wish)
        deadline = arrived + self.time_limit_s(wish)
        most_wait_s = self._request.most_wait_ms / 1e3
        patience_s = most_wait_s if wish.deadline_s is None else _SHARE_OF_DEADLINE * (deadline - arrived)
        may_hurry = self._request.lower_exits and not wish.every_exit

        def ended(task: Task) -> None:
            self.figures.count(task)
            on_end(task)

        return [
            Task(
                image=each,
                levels=levels,
                deadline=deadline,
                patience_s=patience_s,
                on_end=ended,
                may_hurry=may_hurry,
                is_counted=wish.deadline_s is None,
                every_exit=wish.every_exit,
                keeps_exits=wish.every_exit,
                arrived=arrived,
            )
            for each in images
        ]

    def levels_for(self, wish: Wish) -> tuple[Level, ...]:
        """The policy that a request asks for, and what load may lower it to; raises as `tasks`."""
        self._require_time(wish)
        asked = self._policy(wish)
        is_fixed = wish.threshold is not None or wish.every_exit
        return (Level(asked, self.ladder.final),) if is_fixed else self._levels(asked)

    def _policy(self, wish: Wish) -> Policy:
        name = wish.policy or self.default_policy
        if name not in self.policies:
            raise OptionError(f"the model {self.name} has no policy {name!r}: {nearest(name, self.policies)}")
        return self.classifier.policy(name, wish.threshold)

    def _require_time(self, wish: Wish) -> None:
        needed_ms = 1e3 * self.costs.fastest_seconds(0)
        if wish.deadline_s is not None and 1e3 * wish.deadline_s < needed_ms:
            detail = f"the first exit alone needs {needed_ms:.3g} ms on this device, not {1e3 * wish.deadline_s:.3g}"
            raise ServiceError(422, "deadline too short", detail)

    def time_limit_s(self, wish: Wish) -> float:
        """Most seconds that an answer may take."""
        limit_s = self._request.time_limit_s
        return limit_s if wish.deadline_s is None else min(wish.deadline_s, limit_s)

    def prediction(self, task: Task, source: str | None) -> tuple[Prediction, Promise]:
        """The prediction of an answered task, and what its guarantee is worth."""
        if task.logits is None or task.exit_index is None:
            raise RuntimeError("a task without an answer has no prediction")
        file = None if source is None else Path(source)
        made = make_prediction(
            self.manifest, task.policy, self.precision, task.logits, task.exit_index, file, task.distance
        )
        return made, self.promises.observe(task, made.confidence)

    def describe(self) -> dict[str, Any]:
        """What a client needs to know before it asks, as JSON values."""
        manifest, full = self.manifest, self.manifest.exits[-1].macs
        card = manifest.card
        return {
            "name": self.name,
            "model": manifest.model,
            "digest": self.digest,
            "title": card.title if card else self.name,
            "gsd_m": card.gsd_m if card else None,
            "classes": list(manifest.classes),
            "input_size": manifest.input.size,
            "precision": self.precision,
            "default_policy": self.default_policy,
            "policies": [self._describe_policy(each) for each in manifest.policies],
            "exits": [
                {"name": each.name, "macs": each.macs, "macs_share": each.macs / full, "ms": round(ms, 4)}
                for each, ms in zip(manifest.exits, self.exit_ms, strict=True)
            ],
        }

    def _describe_policy(self, policy: Policy) -> dict[str, Any]:
        reference = policy.references.get(self.precision)
        full = self.manifest.exits[-1].macs
        counts = reference.exit_counts if reference else None
        pairs = zip(counts or (), self.manifest.exits, strict=False)
        share = sum(count * each.macs for count, each in pairs) / (sum(counts) * full) if counts else None
        return {
            "name": policy.name,
            "score": policy.score,
            "thresholds": [None if each > 1 else each for each in policy.thresholds],
            "statement": str(policy.guarantee.get("statement", "")),
            "coverage": policy.prediction_sets.coverage if policy.prediction_sets else None,
            "macs_share": 1.0 if policy.name == FULL else share,
            "may_be_lowered_to": [
                each.policy.name for each in self._levels(policy)[1:] if each.last == self.ladder.final
            ],
        }

    def exits_of(self, task: Task, top: int) -> list[dict[str, Any]]:
        """Every exit of a task that kept them, as JSON values."""
        return [self.describe_exit(task, each.index, top) for each in task.exits]

    def describe_exit(self, task: Task, place: int, top: int) -> dict[str, Any]:
        """One exit that has spoken, as JSON values."""
        seen, exit_ = task.exits[place], self.manifest.exits[place]
        probabilities = softmax(task.policy.fitted.scaled(seen.index, seen.logits))
        order = np.argsort(-probabilities, kind="stable")
        return {
            "exit": exit_.name,
            "score": None if seen.score is None else round(seen.score, 6),
            "label": self.manifest.classes[order[0]],
            "confidence": round(float(probabilities[order[0]]), 6),
            "macs": exit_.macs,
            "macs_share": exit_.macs / self.manifest.exits[-1].macs,
            "probabilities": {self.manifest.classes[k]: round(float(probabilities[k]), 6) for k in order[:top]},
        }

    def status(self) -> dict[str, Any]:
        """Figures as JSON values."""
        latest = self.figures.latest()
        endings = self.figures.endings()
        return {
            "answered": endings["answered"],
            "late": endings["late"],
            "gone": endings["gone"],
            "failed": endings["failed"],
            "rejected": self.figures.rejected,
            "queue": self.scheduler.pending,
            "level": self.level,
            "exit_names": [each.name for each in self.manifest.exits],
            "exit_shares": list(latest.exit_shares),
            "macs_share": self._macs_share(latest.exit_shares),
            "latency_ms": {"median": latest.median_ms, "p99": latest.p99_ms},
            "promise": {
                name: {
                    "status": each.status,
                    "evidence": each.evidence,
                    "largest_evidence": each.largest_evidence,
                    "alarm_at": each.alarm_at,
                    "images": each.images,
                }
                for name, each in self.promises.evidence(self.policies).items()
            },
        }

    def _macs_share(self, shares: tuple[float, ...]) -> float | None:
        full = self.manifest.exits[-1].macs
        mean = sum(share * each.macs for share, each in zip(shares, self.manifest.exits, strict=True))
        return mean / full if any(shares) else None

    def close(self) -> None:
        """Finish what was accepted."""
        self.scheduler.close()


def now() -> float:
    """The clock of deadlines."""
    return time.perf_counter()
