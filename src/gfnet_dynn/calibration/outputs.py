"""What every exit says of the calibration images, in every precision of a bundle: computed once, then kept.

Whatever is asked for later, another risk, budget or score, is found from these arrays alone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.calibration.images import LabelledFiles, Told
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.images.decode import DEFAULT, DecodeOptions
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.runtime.engine import Engine
from gfnet_dynn.runtime.precision import compile_net
from gfnet_dynn.system.storage import write_bytes

_FORMAT = "gfnet-dynn exit outputs 1"
_BATCH = 16
_LARGEST = 4 * 1024**3  # bytes


@dataclass(frozen=True)
class Outputs:
    """All exits over the calibration images.

    Attributes:
        precisions: arrays by precision, `fp32` first, over the same images in the same order.
        graphs: identifies the graphs that said it.
        data: identifies the images, by SHA-256.
        engine: with its version.
    """

    precisions: Mapping[str, ExitArrays]
    graphs: str
    data: str
    engine: str

    @property
    def images(self) -> int:
        """N."""
        return len(next(iter(self.precisions.values())).labels)


def graphs_of(bundle: Bundle) -> str:
    """What identifies the graphs of a bundle, whatever policies it has: the hashes of their files."""
    manifest = bundle.manifest
    return " ".join(manifest.files[name].sha256[:16] for stages in manifest.precisions.values() for name in stages)


def collect_outputs(
    bundle: Bundle, labelled: LabelledFiles, engine: Engine, told: Told, decode: DecodeOptions = DEFAULT
) -> Outputs:
    """Run every stage of every precision on every image.

    Args:
        bundle: to calibrate.
        labelled: images that it has not learned from.
        engine: that runs it.
        told: of the number of images done, and of all.
        decode: how the images are decoded.

    Raises:
        ImageError: a file cannot be read.
        CalibrationError: outputs that are no numbers.
    """
    names = sorted(bundle.manifest.precisions, key=lambda name: name != "fp32")
    nets = {name: compile_net(bundle, name, engine) for name in names}
    logits: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {name: [] for name in names}
    gates: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {name: [] for name in names}
    for start in range(0, len(labelled.files), _BATCH):
        files = labelled.files[start : start + _BATCH]
        images = np.stack([load_input(file, bundle.manifest.input, decode) for file in files])
        for name, net in nets.items():
            said = net.all_exits(images)
            logits[name].append(said[0])
            gates[name].append(said[1])
        told(min(start + _BATCH, len(labelled.files)), len(labelled.files))
    arrays = {
        name: ExitArrays(np.concatenate(logits[name]), np.concatenate(gates[name]), labelled.labels) for name in names
    }
    for name, each in arrays.items():
        if not (np.isfinite(each.logits).all() and np.isfinite(each.gates).all()):
            bad = np.flatnonzero(~(np.isfinite(each.logits).all(axis=(1, 2)) & np.isfinite(each.gates).all(axis=1)))
            raise CalibrationError(
                f"in {name} the network's answer to {labelled.files[bad[0]]} is not a number (and to {len(bad) - 1} "
                "others): export it anew from a sound checkpoint"
            )
    return Outputs(arrays, graphs_of(bundle), labelled.sha256, engine.name)


def store_outputs(path: Path, outputs: Outputs) -> Path:
    """Write outputs as one `.npz`.

    Raises:
        StorageError: no space or no permission.
    """
    buffer = io.BytesIO()
    first = next(iter(outputs.precisions.values()))
    about = np.array([_FORMAT, outputs.graphs, outputs.data, outputs.engine])
    arrays = {f"{name}_logits": each.logits for name, each in outputs.precisions.items()}
    arrays |= {f"{name}_gates": each.gates for name, each in outputs.precisions.items()}
    np.savez(buffer, allow_pickle=False, about=about, labels=first.labels, **arrays)
    return write_bytes(path, buffer.getvalue())


def load_outputs(path: Path, bundle: Bundle) -> Outputs:
    """Read what `store_outputs` wrote.

    Args:
        path: `.npz`.
        bundle: that must have said it.

    Raises:
        CalibrationError: missing, damaged, or of another bundle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST:
                raise CalibrationError(f"{path} holds more than any calibration needs")
        with np.load(path, allow_pickle=False) as stored:
            form, graphs, data, engine = (str(each) for each in stored["about"])
            if form != _FORMAT:
                raise CalibrationError(f"{path} is not a '{_FORMAT}' file (it says {form[:40]!r})")
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
        raise CalibrationError(f"{path} is what another network said: give the folder of images instead")
    shape = (len(labels), manifest.num_exits, len(manifest.classes))
    known = len(labels) > 0 and bool(((labels >= 0) & (labels < len(manifest.classes))).all())
    fitting = set(arrays) == set(manifest.precisions) and all(each.logits.shape == shape for each in arrays.values())
    if not (known and fitting):
        raise CalibrationError(f"{path} does not fit the bundle's exits and classes: give the folder of images instead")
    if not all(np.isfinite(each.logits).all() and np.isfinite(each.gates).all() for each in arrays.values()):
        raise CalibrationError(f"{path} holds logits or gates that are not numbers: give the folder of images instead")
    return Outputs(arrays, graphs, data, engine)
