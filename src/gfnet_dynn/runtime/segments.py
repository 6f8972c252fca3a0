"""Runs the segments of a bundle one by one; no segment runs for an image that has exited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import BundleError, ImageError
from gfnet_dynn.exits import per_exit, score_at, should_exit
from gfnet_dynn.runtime.engine import Array, Engine, Graph, Port

Images = npt.NDArray[np.uint8]
"""[B, S, S, 3]: RGB, as `gfnet_dynn.images.fit` makes it."""

_UINT8, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)
_BATCH_PX, _FEWEST, _MOST = 2**15, 4, 16  # pixels, and images, of a batch
_ELSEWHERE = b"location"  # the key under which ONNX names a file with a tensor's numbers; export writes none


class Answers(NamedTuple):
    """Logits, float32 [B, K], of the exits taken, [B], 0 to G; G is the final exit. Distances: see `AllExits`."""

    logits: npt.NDArray[np.float32]
    exits: npt.NDArray[np.intp]
    distances: npt.NDArray[np.float32] | None


class ExitOutputs(NamedTuple):
    """What one segment computes for B images; see `SegmentedNet.run`.

    Features for the next segment, and gates [B]: None at the final exit. Logits, float32 [B, K]. Distances [B]: of the
    first exit, where the network computes them; see `AllExits`.
    """

    features: Array | None
    logits: npt.NDArray[np.float32]
    gates: npt.NDArray[np.float32] | None
    distances: npt.NDArray[np.float32] | None


class AllExits(NamedTuple):
    """Logits [N, G + 1, K] and gates [N, G] of every exit, float32.

    Distances [N] from the training images, in what the first exit sees; None where the network does not compute them.
    """

    logits: npt.NDArray[np.float32]
    gates: npt.NDArray[np.float32]
    distances: npt.NDArray[np.float32] | None

    @classmethod
    def joined(cls, parts: Sequence[AllExits]) -> AllExits:
        """Of one network, one batch after the other."""
        distances = [each.distances for each in parts if each.distances is not None]
        logits, gates = (np.concatenate([each[place] for each in parts]) for place in (0, 1))
        return cls(logits, gates, np.concatenate(distances) if distances else None)


class SegmentedNet:
    """The compiled segments of one bundle in one precision; several threads may share it.

    All segments but the last compute (features, logits, gate), the last one computes logits; the first one may compute
    a distance too.
    """

    def __init__(self, manifest: Manifest, graphs: Iterable[bytes], precision: str, engine: Engine) -> None:
        """Compile all G + 1 segments, from an iterator one at a time in memory, and check them against the manifest.

        Raises BundleError where they disagree, EngineError if the engine cannot take a graph.
        """
        self.manifest, self.precision, self.engine_name = manifest, precision, engine.name
        self._segments: list[Graph] = []
        for index, graph in enumerate(graphs):
            self._check(index, _ELSEWHERE not in graph, "reads weights from a file outside the bundle")
            self._segments.append(engine.compile(graph))
        num_exits, last = self.manifest.num_exits, len(self._segments) - 1
        self._check(last, last + 1 == num_exits, f"is the last one, of {num_exits}")
        self._side, classes = self.manifest.input.size, len(self.manifest.classes)
        taken = _kind(self._segments[0].input)
        same = taken == (_UINT8, (None, self._side, self._side, 3))
        self._check(0, same, f"does not take batches of 8-bit images of {self._side} px")
        for index, segment in enumerate(self._segments):
            expected = (1,) if index == last else (3, 4) if index == 0 else (3,)
            self._check(index, len(segment.outputs) in expected, "has another number of outputs")
            logits = _kind(segment.outputs[0 if index == last else 1])
            self._check(index, logits == (_FLOAT32, (None, classes)), f"does not compute logits of {classes} classes")
            if index < last:
                same = _kind(segment.outputs[0]) == _kind(self._segments[index + 1].input)
                self._check(index, same, "computes features that the next one does not take")
                single = all(_kind(each) == (_FLOAT32, (None,)) for each in segment.outputs[2:])
                self._check(index, single, "does not compute one gate for each image, or one distance")

    def _check(self, segment: int, condition: bool, otherwise: str) -> None:
        if not condition:
            raise BundleError(
                f"segment {segment + 1} in {self.precision} {otherwise}, against the bundle's manifest: export it again"
            )

    def _entering(self, images: Images) -> Array:
        if images.dtype != np.uint8 or images.shape[1:] != (self._side, self._side, 3):
            raise ImageError(
                f"the network takes uint8 [images, {self._side}, {self._side}, 3], not {images.dtype} {images.shape}"
            )
        return np.ascontiguousarray(images)

    def run(self, index: int, features: Array) -> ExitOutputs:
        """One segment, 0 to G: the first one takes images, each other one what the one before made of them.

        Raises ImageError for images of another type or size.
        """
        outputs = self._segments[index].run(features if index else self._entering(features))
        if index == len(self._segments) - 1:
            return ExitOutputs(None, outputs[0], None, None)
        following, logits, gates, *distances = outputs
        return ExitOutputs(following, logits, gates, distances[0] if distances else None)

    def decide(self, images: Images, policy: Policy, at_once: int | None = None) -> Answers:
        """Run each image up to its exit: those that continue are compacted after each segment.

        A segment takes all of them at once, or `at_once`: then later segments run full batches too, of images that come
        from several, and what is computed for an image does not depend on those beside it.

        Raises ThresholdError if the thresholds do not fit the exits, ImageError for images of another type or size.
        """
        features = self._entering(images)
        thresholds = per_exit(policy.thresholds, len(self._segments) - 1)
        logits = np.empty((len(images), len(self.manifest.classes)), np.float32)
        exits = np.full(len(images), len(thresholds), np.intp)
        distances: npt.NDArray[np.float32] | None = None
        if not len(images):
            return Answers(logits, exits, distances)
        remaining = np.arange(len(images))
        labels = np.empty((len(images), len(thresholds)), np.intp)  # at earlier exits, for scores that compare them
        for index, (segment, threshold) in enumerate(zip(self._segments, thresholds, strict=False)):
            features, exit_logits, gate, *distance = _run(segment, features, at_once)
            distances = distance[0] if distance else distances
            earlier = labels[remaining, :index]
            done = should_exit(score_at(policy.score, policy.fitted, index, exit_logits, gate, earlier), threshold)
            labels[remaining, index] = exit_logits.argmax(axis=1)
            if not done.any():
                continue
            logits[remaining[done]] = exit_logits[done]
            exits[remaining[done]] = index
            if done.all():
                return Answers(logits, exits, distances)
            remaining, features = remaining[~done], features[~done]
        (logits[remaining],) = _run(self._segments[-1], features, at_once)
        return Answers(logits, exits, distances)

    def all_exits(self, images: Images) -> AllExits:
        """The outputs of every exit for every image; raises ImageError for other images."""
        features = self._entering(images)
        logits, gates = [], []
        distances: npt.NDArray[np.float32] | None = None
        for segment in self._segments[:-1]:
            features, exit_logits, gate, *distance = segment.run(features)
            distances = np.array(distance[0]) if distance else distances
            logits.append(np.array(exit_logits))
            gates.append(np.array(gate))
        logits.append(self._segments[-1].run(features)[0])
        no_gates = np.empty((len(images), 0), np.float32)
        return AllExits(np.stack(logits, axis=1), np.stack(gates, axis=1) if gates else no_gates, distances)


def _run(segment: Graph, features: Array, at_once: int | None) -> Sequence[Array]:
    """The outputs of a segment for all features, computed for so many at a time."""
    if at_once is None:
        return segment.run(features)
    parts = [_run_several(segment, features[start : start + at_once]) for start in range(0, len(features), at_once)]
    return parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts, strict=True)]


def _run_several(segment: Graph, features: Array) -> Sequence[Array]:
    """A lone image is computed twice: engines multiply a single row in another order, so its last bits would differ."""
    if len(features) > 1:
        return segment.run(features)
    return [each[:1] for each in segment.run(np.concatenate([features, features]))]


def usual_batch(side: int) -> int:
    """Images of so many pixels a side that a segment takes at once: more are no faster on a processor, and need memory.

    Without regard to latency.
    """
    return max(_FEWEST, min(_MOST, _BATCH_PX // side**2))


def _kind(port: Port) -> tuple[np.dtype[Any], tuple[int | None, ...]]:
    return port.dtype, port.shape
