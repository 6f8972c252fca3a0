"""From a bundle and image files to predictions.

>>> from gfnet_dynn.runtime import load
>>> for each in load("scene.gfd").classify(["photo.jpg"]):
...     print(each.label, each.confidence, each.exit)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.bundle.manifest import OWN, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.exits import per_exit
from gfnet_dynn.images.fit import fit, load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.runtime.engine import DEFAULT_ENGINE, EngineOptions, default_threads, make_engine
from gfnet_dynn.runtime.precision import AUTO, compile_net, load_fastest
from gfnet_dynn.runtime.prediction import Answer, Prediction, Unreadable, make_prediction
from gfnet_dynn.runtime.segments import SegmentedNet

Picture = str | Path | bytes | npt.NDArray[np.uint8]
"""A file, the content of one, or an RGB image in memory, uint8 [height, width, 3]."""

_Image = tuple[Path | None, npt.NDArray[np.uint8]]  # source, and input of the network
_MOST_UNREADABLE = 256  # that wait in a batch for its images


def load(
    path: str | Path,
    *,
    engine: str = DEFAULT_ENGINE,
    precision: str = AUTO,
    threads: int | None = None,
    spinning: bool = False,
    decode: DecodeOptions = DEFAULT,
) -> Classifier:
    """Read a bundle and compile it.

    Args:
        path: what `gfnet-dynn export` wrote, the name of a built-in model, or `hf://OWNER/NAME[@REVISION]`.
        engine: `onnxruntime` or `openvino`.
        precision: `fp32`, `int8`, or `auto`, the faster one on this device of those that the bundle allows for `auto`.
        threads: of one forward pass; by default the processors that this process may use, at most four.
        spinning: waiting threads keep the processor busy: faster where nothing else runs.
        decode: how image files are decoded.

    Raises:
        BundleError: missing, damaged, of another version, or without that precision.
        EngineError: unknown engine, or it cannot take the graphs.
        HubError: the address leads to no bundle.
        MissingExtraError: the engine is not installed.
    """
    options = EngineOptions(default_threads() if threads is None else threads, spinning)
    bundle, made = read_bundle(find_bundle(path)), make_engine(engine, options)
    net = load_fastest(bundle, made, options) if precision == AUTO else compile_net(bundle, precision, made)
    return Classifier(net, decode)


class Classifier:
    """A compiled bundle; several threads may share one. `net` computes the logits."""

    def __init__(self, net: SegmentedNet, decode: DecodeOptions = DEFAULT) -> None:
        self.net, self._decode = net, decode

    @property
    def manifest(self) -> Manifest:
        """Classes, input, exits and policies of the bundle."""
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
        # Guarantee, sets and the rule for unknown images were calibrated at the policy's own thresholds.
        return Policy(OWN, policy.score, thresholds, "set by the caller", policy.fitted)

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
            pictures: files or arrays, or a single one.
            policy: an exit policy of the bundle; its default one if None.
            threshold: replaces the thresholds of that policy: one for all exits, or one for each.
            batch: images at once; those that continue are compacted after each exit.

        Raises:
            ImageError: an image cannot be read; `classify_each` yields those before it.
        """
        if isinstance(pictures, str | Path | bytes | np.ndarray):
            pictures = [pictures]
        return list(self.classify_each(pictures, policy=policy, threshold=threshold, batch=batch))

    def classify_each(
        self,
        pictures: Iterable[Picture],
        *,
        policy: str | None = None,
        threshold: float | Sequence[float] | None = None,
        batch: int = 1,
        on_unreadable: Callable[[DataError], None] | None = None,
    ) -> Iterator[Prediction]:
        """Yield each prediction as soon as it is made; see `classify`.

        `on_unreadable` is called with the error of an image that cannot be read, which is then skipped; None: raise it.
        """
        for answer in chain.from_iterable(
            self.answer_batches(pictures, policy=policy, threshold=threshold, batch=batch)
        ):
            if isinstance(answer, Prediction):
                yield answer
            elif on_unreadable is None:
                raise answer.error
            else:
                on_unreadable(answer.error)

    def answer_batches(
        self,
        pictures: Iterable[Picture | Unreadable],
        *,
        policy: str | None = None,
        threshold: float | Sequence[float] | None = None,
        batch: int = 1,
    ) -> Iterator[list[Answer]]:
        """Yield the answers to one batch after the other, unreadable pictures in their places; see `classify`.

        Nothing of a batch is read before the answers to the one before are taken. Where one ends depends on the
        pictures alone, so that work may continue at the beginning of any.
        """
        chosen = self.policy(policy, threshold)
        for read in self._read_batches(pictures, max(1, batch)):
            images = [each for each in read if not isinstance(each, Unreadable)]
            predictions = self._predict(images, chosen) if images else iter(())
            yield [each if isinstance(each, Unreadable) else next(predictions) for each in read]

    def _predict(self, images: Sequence[_Image], policy: Policy) -> Iterator[Prediction]:
        answers = self.net.decide(np.stack([image for _, image in images]), policy)
        for row, (source, _) in enumerate(images):
            distance = None if answers.distances is None else answers.distances[row]
            logits, exit_index = answers.logits[row], int(answers.exits[row])
            yield make_prediction(self.manifest, policy, self.net.precision, logits, exit_index, source, distance)

    def _read_batches(
        self, pictures: Iterable[Picture | Unreadable], batch: int
    ) -> Iterator[list[_Image | Unreadable]]:
        read: list[_Image | Unreadable] = []
        images = 0
        for picture in pictures:
            read.append(picture if isinstance(picture, Unreadable) else self._try(picture))
            images += not isinstance(read[-1], Unreadable)
            if images in (0, batch) or len(read) == batch + _MOST_UNREADABLE:
                yield read
                read, images = [], 0
        if read:
            yield read

    def _try(self, picture: Picture) -> _Image | Unreadable:
        source = None if isinstance(picture, np.ndarray | bytes) else Path(picture)
        try:
            return source, self.read(picture)
        except ImageError as error:
            return Unreadable(source, error)

    def read(self, picture: Picture) -> npt.NDArray[np.uint8]:
        """A picture as input of the network: uint8 [S, S, 3].

        Raises:
            ImageError: it cannot be read, or is not an 8-bit RGB image.
        """
        if not isinstance(picture, np.ndarray):
            content = picture if isinstance(picture, bytes) else Path(picture)
            return load_input(content, self.manifest.input, self._decode)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ImageError(f"an image in memory is uint8 [height, width, 3], not {picture.dtype} {picture.shape}")
        return fit(picture, self.manifest.input)
