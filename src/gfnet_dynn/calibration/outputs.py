"""The calibration images, unknown to the network, and the outputs of every exit for them in the precisions to cover.

Outputs are computed once, then kept: any further policy, with another risk, budget or score, is found from them alone.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.errors import CalibrationError, ImageError, nearest
from gfnet_dynn.evaluation.labelled_folder import collect_exits
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.images.copies import group_copies
from gfnet_dynn.images.files import find_classes, find_images
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.fit import decode_options
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.runtime.engine import Engine
from gfnet_dynn.runtime.precision import compile_net
from gfnet_dynn.system.storage import write_bytes
from gfnet_dynn.wording import some

_FORMAT = "gfnet-dynn exit outputs 2"
_LABELLED, _UNLABELLED = "labelled", "unlabelled"
_LARGEST = 4 * 1024**3  # bytes


@dataclass(frozen=True)
class CalibrationImages:
    """Image files, with their classes where they are known."""

    files: tuple[Path, ...]  # [N], in the order of their names
    labels: npt.NDArray[np.int64] | None  # class indices of the bundle, [N]
    sha256: str  # over the labels and the fingerprints of all images; it identifies the data


def find_calibration_images(
    folder: Path,
    bundle: Bundle,
    *,
    need_labels: bool = True,
    on_step: OnStep = ignore_steps,
    decode: DecodeOptions = DEFAULT,
) -> CalibrationImages:
    """The images below a folder; without labels if none of its folders is named as a class of the bundle.

    Raises CalibrationError: no such folder, a folder that is no class, a class without images, copies of one image, or
    of one that the network was trained or selected on; BundleError: the record of the training images is damaged;
    ImageError: a file cannot be decoded; DataError: a folder cannot be read.
    """
    if not folder.is_dir():
        raise CalibrationError(f"no folder {folder}: give one with a folder of images for each class")
    by_folder = {name: found.images for name, found in find_classes(folder).items() if found.images}
    files, labels = tuple(file for images in by_folder.values() for file in images), None
    if problem := _unlabelled(folder, by_folder, bundle.manifest.classes):
        files = find_images(folder).images
        if need_labels or not files or set(by_folder) & set(bundle.manifest.classes):
            raise CalibrationError(problem)
    else:
        index = {name: position for position, name in enumerate(bundle.manifest.classes)}
        labels = np.array([index[name] for name, images in by_folder.items() for _ in images], np.int64)
    fingerprints, unreadable = fingerprint_files(files, on_step, decode_options(bundle.manifest.input, decode))
    for reason in unreadable.values():
        raise ImageError(reason)
    packed = b"".join(fingerprints.values())
    _require_new(files, packed, bundle)
    identity = hashlib.sha256(packed if labels is None else labels.tobytes() + packed)
    return CalibrationImages(files, labels, identity.hexdigest())


def _unlabelled(folder: Path, by_folder: Mapping[str, Sequence[Path]], classes: Sequence[str]) -> str | None:
    """Why the folders inside are not the classes; None where they are."""
    if unknown := [name for name in by_folder if name not in classes]:
        return (
            f"{folder / unknown[0]} is no class of the network: {nearest(unknown[0], classes)}; name the "
            "folders as the classes"
        )
    if not by_folder and folder.name in classes:
        return f"{folder} holds the images of one class: give {folder.parent}"
    if missing := [name for name in classes if name not in by_folder]:
        return (
            f"{folder} has no images of {some(missing)}: a guarantee holds for images like the calibration images, so "
            "every class must be present, in about its usual share"
        )
    return None


def _require_new(files: Sequence[Path], fingerprints: bytes, bundle: Bundle) -> None:
    """No copies, as one image would count as two, and nothing that the network has seen."""
    if groups := group_copies(fingerprints):
        twins = [str(files[index]) for index in groups[0]]
        raise CalibrationError(
            f"{sum(map(len, groups))} files show the same image as another, such as {some(twins)}: give each once"
        )
    if known := bundle.find_learned(files, fingerprints):
        raise CalibrationError(
            f"the network was trained or selected on {len(known)} of the {len(files)} images, such as {known[0]}: "
            "it is more accurate on them than on others, so nothing can be guaranteed; give images that it has not seen"
        )


@dataclass(frozen=True)
class Outputs:
    """All exits over the calibration images."""

    precisions: Mapping[str, ExitArrays]  # arrays by precision, `fp32` first, over the same images in the same order
    graphs: str  # identifies the graphs that were run
    data: str  # identifies the images, by SHA-256
    engine: str
    labelled: bool = True  # False: the labels in the arrays are the classes that the full network predicts in fp32

    @property
    def images(self) -> int:
        """N."""
        return len(next(iter(self.precisions.values())).labels)

    def only(self, precisions: Sequence[str]) -> Outputs:
        """In some precisions alone; raises CalibrationError: one of them is lacking."""
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
    """Run every segment on every image, in some precisions, `fp32` among them, or in all of the bundle.

    Raises BundleError: the bundle lacks one of the precisions; ImageError: a file cannot be read; CalibrationError:
    outputs that are not numbers.
    """
    names = sorted(precisions or bundle.manifest.precisions, key=lambda name: name != "fp32")
    nets = {name: compile_net(bundle, name, engine) for name in names}
    both, _ = collect_exits(nets, images.files, on_step, decode)
    labels = both["fp32"][0][:, -1].argmax(axis=1).astype(np.int64) if images.labels is None else images.labels
    arrays = {name: ExitArrays(each.logits, each.gates, labels, each.distances) for name, each in both.items()}
    for name, each in arrays.items():
        if len(bad := np.flatnonzero(~each.finite)):
            raise CalibrationError(
                f"in {name} the network's output for {images.files[bad[0]]} is not a number (and for {len(bad) - 1} "
                "others): export it again from a sound checkpoint"
            )
    return Outputs(arrays, graphs_of(bundle), images.sha256, engine.name, images.labels is not None)


def store_outputs(path: Path, outputs: Outputs) -> Path:
    """Write outputs as one `.npz`; raises StorageError: no space or no permission."""
    buffer = io.BytesIO()
    first = next(iter(outputs.precisions.values()))
    kind = _LABELLED if outputs.labelled else _UNLABELLED
    about = np.array([_FORMAT, outputs.graphs, outputs.data, outputs.engine, kind])
    arrays = {f"{name}_logits": each.logits for name, each in outputs.precisions.items()}
    arrays |= {f"{name}_gates": each.gates for name, each in outputs.precisions.items()}
    arrays |= {
        f"{name}_distances": each.distances for name, each in outputs.precisions.items() if each.distances is not None
    }
    np.savez(buffer, about=about, labels=first.labels, **arrays)  # type: ignore[arg-type] # allow_pickle is no name here
    return write_bytes(path, buffer.getvalue())


def load_outputs(path: Path, bundle: Bundle) -> Outputs:
    """Read what `store_outputs` wrote, of a bundle whose graphs must have been run.

    Raises CalibrationError: missing, damaged, or of another bundle.
    """
    try:
        outputs = _read(path)
        _require_fit(outputs, bundle)
    except Exception as error:  # zipfile and NumPy raise nearly anything where a file is damaged
        raise CalibrationError(f"cannot read the outputs {path}: {error}; give the folder of images instead") from error
    return outputs


def _read(path: Path) -> Outputs:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > _LARGEST:
            raise CalibrationError("it holds more than any calibration needs")
        if (damaged := archive.testzip()) is not None:  # NumPy compares no checksum where an array ends early
            raise zipfile.BadZipFile(f"{damaged} is damaged")
    with np.load(path, allow_pickle=False) as stored:
        form, graphs, data, engine, kind = (str(each) for each in stored["about"])
        if form != _FORMAT or kind not in (_LABELLED, _UNLABELLED):
            raise CalibrationError(f"not a '{_FORMAT}' file but {form[:40]!r}, {kind[:40]!r}")
        names = [name.removesuffix("_logits") for name in stored.files if name.endswith("_logits")]
        labels = stored["labels"].astype(np.int64)
        arrays = {}
        for name in names:
            logits, gates = (stored[f"{name}_{part}"].astype(np.float32) for part in ("logits", "gates"))
            distances = f"{name}_distances"
            known = stored[distances].astype(np.float32) if distances in stored.files else None
            arrays[name] = ExitArrays(logits, gates, labels, known)
    return Outputs(arrays, graphs, data, engine, kind == _LABELLED)


def _require_fit(outputs: Outputs, bundle: Bundle) -> None:
    manifest, arrays = bundle.manifest, outputs.precisions
    if outputs.graphs != graphs_of(bundle):
        raise CalibrationError("they are of another network")
    shape, fits = (manifest.num_exits, len(manifest.classes)), {"fp32"} <= set(arrays) <= set(manifest.precisions)
    for each in arrays.values():
        known = (each.labels >= 0) & (each.labels < len(manifest.classes))
        fits = fits and each.logits.shape[1:] == shape and len(known) > 0 and bool(known.all())
    if not fits:
        raise CalibrationError("they do not fit the bundle's exits and classes")
    if not all(each.finite.all() for each in arrays.values()):
        raise CalibrationError("some logits, gates or distances are not numbers")
