"""From a bundle and image files to predictions: the Python interface of the device.

>>> from gfnet_dynn.runtime import load
>>> for each in load("scene.gfd").classify(["photo.jpg"]):
...     print(each.label, each.confidence, each.exit)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.bundle.manifest import OWN, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import ImageError
from gfnet_dynn.exits.rule import per_exit
from gfnet_dynn.images.fit import fit, load_input
from gfnet_dynn.runtime.engine import DEFAULT_ENGINE, EngineOptions, default_threads, make_engine
from gfnet_dynn.runtime.precision import AUTO, compile_net, load_fastest
from gfnet_dynn.runtime.prediction import Prediction, make_prediction
from gfnet_dynn.runtime.segments import SegmentedNet

Picture = str | Path | npt.NDArray[np.uint8]
"""A file, or an RGB image in memory, uint8 [height, width, 3]."""

_Item = TypeVar("_Item")


def load(
    path: str | Path,
    *,
    engine: str = DEFAULT_ENGINE,
    precision: str = AUTO,
    threads: int | None = None,
    spinning: bool = False,
) -> Classifier:
    """Read a bundle and make it ready.

    Args:
        path: what `gfnet-dynn export` wrote.
        engine: `onnxruntime` or `openvino`.
        precision: `fp32`, `int8`, or `auto`, the one that is faster on this device.
        threads: of one forward pass; by default the processors that this process may use, at most four.
        spinning: let waiting threads keep the processor busy: faster where nothing else runs.

    Raises:
        BundleError: missing, damaged, of another version, or without that precision.
        EngineError: unknown engine, or it cannot take the graphs.
        MissingExtraError: the engine is not installed.
    """
    options = EngineOptions(default_threads() if threads is None else threads, spinning)
    bundle = read_bundle(Path(path))
    return Classifier(_compile(bundle, engine, precision, options))


def _compile(bundle: Bundle, engine_name: str, precision: str, options: EngineOptions) -> SegmentedNet:
    engine = make_engine(engine_name, options)
    return load_fastest(bundle, engine, options) if precision == AUTO else compile_net(bundle, precision, engine)


class Classifier:
    """A bundle that is ready to classify; threads may share it.

    Attributes:
        net: its segments, for who wants logits.
    """

    def __init__(self, net: SegmentedNet) -> None:
        self.net = net

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.net.manifest

    def policy(self, name: str | None = None, threshold: float | Sequence[float] | None = None) -> Policy:
        """An exit policy of the bundle, or the same with other thresholds.

        Raises:
            BundleError: the bundle has none of that name.
            ThresholdError: the thresholds do not fit the exits.
        """
        policy = self.manifest.policy(name)
        if threshold is None:
            return policy
        thresholds = per_exit(threshold, self.manifest.num_exits - 1)
        # What its score needs stays; whatever was made for the policy's own thresholds does not hold for others.
        return Policy(OWN, policy.score, thresholds, "given by the caller", policy.fitted)

    def classify(
        self,
        pictures: Iterable[Picture] | Picture,
        *,
        policy: str | None = None,
        threshold: float | Sequence[float] | None = None,
        batch: int = 1,
    ) -> list[Prediction]:
        """Classify images.

        Args:
            pictures: files or arrays, or one alone.
            policy: an exit policy of the bundle; its first by default.
            threshold: other thresholds for that policy, one for all exits or one each.
            batch: images at once; those that stay are compacted after each exit.

        Raises:
            ImageError: an image cannot be read; `classify_each` gives those before it.
        """
        if isinstance(pictures, str | Path | np.ndarray):
            pictures = [pictures]
        return list(self.classify_each(pictures, policy=policy, threshold=threshold, batch=batch))

    def classify_each(
        self,
        pictures: Iterable[Picture],
        *,
        policy: str | None = None,
        threshold: float | Sequence[float] | None = None,
        batch: int = 1,
        unreadable: Callable[[ImageError], None] | None = None,
    ) -> Iterator[Prediction]:
        """The same, one after the other as they are ready.

        Args:
            pictures: as `classify`.
            policy: as `classify`.
            threshold: as `classify`.
            batch: as `classify`.
            unreadable: told of an image that cannot be read, which is then left out; by default it raises.
        """
        chosen = self.policy(policy, threshold)
        for chunk in _chunks(self._read_each(pictures, unreadable), batch):
            answers = self.net.decide(np.stack([image for _, image in chunk]), chosen)
            for (source, _), logits, exit_index in zip(chunk, *answers, strict=True):
                yield make_prediction(self.manifest, chosen, self.net.precision, logits, int(exit_index), source)

    def _read_each(
        self, pictures: Iterable[Picture], unreadable: Callable[[ImageError], None] | None
    ) -> Iterator[tuple[Path | None, npt.NDArray[np.uint8]]]:
        for picture in pictures:
            try:
                image = self.read(picture)
            except ImageError as error:
                if unreadable is None:
                    raise
                unreadable(error)
            else:
                yield None if isinstance(picture, np.ndarray) else Path(picture), image

    def read(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """A picture as the network takes it: uint8 [S, S, 3].

        Raises:
            ImageError: it cannot be read, or is no RGB image of 8 bits.
        """
        if not isinstance(picture, np.ndarray):
            return load_input(Path(picture), self.manifest.input)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ImageError(f"an image in memory is uint8 [height, width, 3], not {picture.dtype} {picture.shape}")
        return fit(picture, self.manifest.input)


def _chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """`itertools.batched`, which Python has from 3.12 on."""
    remaining = iter(items)
    while chunk := list(islice(remaining, max(1, size))):
        yield chunk
