"""Outputs of every exit for the calibration images, in the precisions to cover: computed once, then kept.

Any further policy, with another risk, budget or score, is found from these arrays alone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.calibration.images import CalibrationImages
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.runtime.engine import Engine
from gfnet_dynn.runtime.precision import compile_net
from gfnet_dynn.system.storage import write_bytes

_FORMAT = "gfnet-dynn exit outputs 1"
_LABELLED, _UNLABELLED = "labelled", "unlabelled"
_BATCH = 16
_LARGEST = 4 * 1024**3  # bytes

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """All exits over the calibration images.

    Attributes:
        precisions: arrays by precision, `fp32` first, over the same images in the same order.
        graphs: identifies the graphs that were run.
        data: identifies the images, by SHA-256.
        engine: with its version.
        labelled: False: the labels in the arrays are the classes that the full network predicts in fp32.
    """

    precisions: Mapping[str, ExitArrays]
    graphs: str
    data: str
    engine: str
    labelled: bool = True

    @property
    def images(self) -> int:
        """N."""
        return len(next(iter(self.precisions.values())).labels)

    def only(self, precisions: Sequence[str]) -> Outputs:
        """In some precisions alone.

        Raises:
            CalibrationError: one of them is lacking.
        """
        if lacking := [name for name in precisions if name not in self.precisions]:
            raise CalibrationError(
                f"the outputs are of {', '.join(self.precisions)} and lack {', '.join(lacking)}: give the folder of "
                "images instead"
            )
        return replace(self, precisions={name: each for name, each in self.precisions.items() if name in precisions})


def graphs_of(bundle: Bundle) -> str:
    """Identifies the graphs of a bundle, whatever policies it has: the hashes of their files."""
    manifest = bundle.manifest
    return " ".join(manifest.files[name].sha256[:16] for names in manifest.precisions.values() for name in names)


def collect_outputs(
    bundle: Bundle,
    images: CalibrationImages,
    engine: Engine,
    on_step: OnStep = ignore_steps,
    decode: DecodeOptions = DEFAULT,
    precisions: Sequence[str] | None = None,
) -> Outputs:
    """Run every segment on every image.

    Args:
        bundle: to calibrate.
        images: that it has not learned from.
        engine: to run it.
        on_step: called with the number of images done, and of all.
        decode: how the images are decoded.
        precisions: to run, `fp32` among them; by default all of the bundle.

    Raises:
        BundleError: the bundle lacks one of the precisions.
        ImageError: a file cannot be read.
        CalibrationError: outputs that are not numbers.
    """
    names = sorted(precisions or bundle.manifest.precisions, key=lambda name: name != "fp32")
    nets = {name: compile_net(bundle, name, engine) for name in names}
    found: dict[str, list[tuple[_Floats, _Floats]]] = {name: [] for name in names}
    for start in range(0, len(images.files), _BATCH):
        files = images.files[start : start + _BATCH]
        pixels = np.stack([load_input(file, bundle.manifest.input, decode) for file in files])
        for name, net in nets.items():
            found[name].append(net.all_exits(pixels))
        on_step(min(start + _BATCH, len(images.files)), len(images.files))
    both = {
        name: (np.concatenate([logits for logits, _ in each]), np.concatenate([gates for _, gates in each]))
        for name, each in found.items()
    }
    labels = both["fp32"][0][:, -1].argmax(axis=1).astype(np.int64) if images.labels is None else images.labels
    for name, each in both.items():
        finite = [np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in each]
        if len(bad := np.flatnonzero(~np.logical_and(*finite))):
            raise CalibrationError(
                f"in {name} the network's output for {images.files[bad[0]]} is not a number (and for {len(bad) - 1} "
                "others): export it again from a sound checkpoint"
            )
    arrays = {name: ExitArrays(*each, labels) for name, each in both.items()}
    return Outputs(arrays, graphs_of(bundle), images.sha256, engine.name, images.labels is not None)


def store_outputs(path: Path, outputs: Outputs) -> Path:
    """Write outputs as one `.npz`.

    Raises:
        StorageError: no space or no permission.
    """
    buffer = io.BytesIO()
    first = next(iter(outputs.precisions.values()))
    kind = _LABELLED if outputs.labelled else _UNLABELLED
    about = np.array([_FORMAT, outputs.graphs, outputs.data, outputs.engine, kind])
    arrays = {f"{name}_logits": each.logits for name, each in outputs.precisions.items()}
    arrays |= {f"{name}_gates": each.gates for name, each in outputs.precisions.items()}
    np.savez(buffer, about=about, labels=first.labels, **arrays)  # type: ignore[arg-type] # allow_pickle is no name here
    return write_bytes(path, buffer.getvalue())


def load_outputs(path: Path, bundle: Bundle) -> Outputs:
    """Read what `store_outputs` wrote.

    Args:
        path: `.npz`.
        bundle: whose graphs must have been run.

    Raises:
        CalibrationError: missing, damaged, or of another bundle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST:
                raise CalibrationError(f"{path} holds more than any calibration needs")
            if (damaged := archive.testzip()) is not None:  # NumPy compares no checksum where an array ends early
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        with np.load(path, allow_pickle=False) as stored:
            form, graphs, data, engine, kind = (str(each) for each in stored["about"])
            if form != _FORMAT or kind not in (_LABELLED, _UNLABELLED):
                raise CalibrationError(f"{path} is not a '{_FORMAT}' file but {form[:40]!r}, {kind[:40]!r}")
            names = [name.removesuffix("_logits") for name in stored.files if name.endswith("_logits")]
            labels = stored["labels"].astype(np.int64)
            arrays = {
                name: ExitArrays(
                    stored[f"{name}_logits"].astype(np.float32), stored[f"{name}_gates"].astype(np.float32), labels
                )
                for name in names
            }
    except CalibrationError:
        raise
    except Exception as error:  # zipfile and NumPy raise nearly anything where a file is damaged
        raise CalibrationError(f"cannot read the outputs {path}: {error}; give the folder of images instead") from error
    manifest = bundle.manifest
    if graphs != graphs_of(bundle):
        raise CalibrationError(f"{path} holds outputs of another network: give the folder of images instead")
    shape = (len(labels), manifest.num_exits, len(manifest.classes))
    known = len(labels) > 0 and bool(((labels >= 0) & (labels < len(manifest.classes))).all())
    known = known and {"fp32"} <= set(arrays) <= set(manifest.precisions)
    fitting = all(each.logits.shape == shape for each in arrays.values())
    if not (known and fitting):
        raise CalibrationError(f"{path} does not fit the bundle's exits and classes: give the folder of images instead")
    if not all(np.isfinite(each.logits).all() and np.isfinite(each.gates).all() for each in arrays.values()):
        raise CalibrationError(f"{path} holds logits or gates that are not numbers: give the folder of images instead")
    ordered = {name: arrays[name] for name in sorted(arrays, key=lambda name: name != "fp32")}
    return Outputs(ordered, graphs, data, engine, kind == _LABELLED)
