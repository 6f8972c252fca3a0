"""Export a run as a bundle, and measure each precision on its selection split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gfnet_dynn.bundle.archive import write_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.precisions import describe
from gfnet_dynn.data.learned_from import RECORD
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import ExportError
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.evaluation.result import difference_text
from gfnet_dynn.export.bundle import Exported, LabelledImages, TrainingImages, export_net
from gfnet_dynn.export.request import ExportRequest
from gfnet_dynn.export.single_graph import join_segments, require_same_answers, single_graph_metadata
from gfnet_dynn.images.fingerprint import BYTES
from gfnet_dynn.progress import Log, OnProgress, ignore_log, ignore_progress
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.system.storage import require_writable, write_bytes
from gfnet_dynn.uncertainty.intervals import PairedDifference, Proportion
from gfnet_dynn.units import percent
from gfnet_dynn.workflows.subject import find_origin, find_source, load_subject

_CALIBRATION_SEED = 0
_KNOWN_IMAGES = 2048  # training images from which the distance of others is measured
_CHECKED = 32  # images on which the single graph is compared with the segments


@dataclass(frozen=True)
class ExportResult(Tabular):
    """A bundle that was written, and the ONNX file beside it, if any.

    Attributes:
        differences: accuracy less that of fp32 on the selection split, by precision and policy; of a precision that
            was left out too.
        remarks: on the data and the lineage of the network.
    """

    bundle: Path
    manifest: Manifest
    differences: Mapping[str, Mapping[str, PairedDifference]]
    single_graph: Path | None
    remarks: tuple[str, ...]

    def tables(self) -> Sequence[Table]:
        """Accuracy and exits by precision and policy; precisions against fp32."""
        images = self.manifest.report["parity"]["images"]
        rows = []
        for precision, policies in self.manifest.report["precisions"].items():
            for name, each in policies.items():
                low, high = each["accuracy_interval"]
                accuracy = str(Proportion(each["accuracy"], low, high, images))
                shares = " ".join(f"{100 * share:.0f}" for share in each["exit_shares"])
                rows.append((precision, name, accuracy, percent(each["macs_share"], 0), shares))
        title = f"{self.manifest.model}: {self.manifest.report['measured_on']}"
        headings = ("precision", "policy", "accuracy (95%)", "MACs", "% of images at each exit")
        return [Table(title, headings, tuple(rows)), *map(self._against_fp32, self.differences)]

    def _against_fp32(self, precision: str) -> Table:
        rows = tuple(
            (name, difference_text(each), str(each.gained), str(each.lost), str(each.n))
            for name, each in self.differences[precision].items()
        )
        headings = ("policy", "difference (95%)", "gained", "lost", "images")
        return Table(f"{precision} against fp32, same images", headings, rows)

    def notes(self) -> Sequence[str]:
        """Which precisions `auto` may take, and remarks."""
        found = []
        for precision, each in self.differences.items():
            if precision in self.manifest.precisions:
                found.append(describe(precision, each))
            else:
                found.append(f"{precision} is left out: it is shown to lose more than half a point against fp32.")
        return [*found, *self.remarks]


def export(request: ExportRequest, *, on_progress: OnProgress = ignore_progress, log: Log = ignore_log) -> ExportResult:
    """Write a trained network as a bundle.

    Raises:
        CheckpointError: the run cannot be read.
        DataError: its images cannot be used.
        ExportError: the network cannot be exported, or the outputs of its export differ.
        StorageError: nothing can be written there.
    """
    for target in filter(None, (request.bundle, request.single_graph)):
        require_writable(target.parent)
    origin = find_origin(request.run)
    if origin.spec is None or origin.trained_on is None:
        raise ExportError(
            f"{origin.file} does not record its training data, so nothing could be checked: train it further with "
            "`gfnet-dynn train --checkpoint-path`, and export that run"
        )
    source = find_source(origin, None, request.data_path, request.dataset_config, on_progress)
    trained = load_subject(origin, source, EvaluationRequest(subject=request.run), on_progress)
    data = trained.data
    held_out = _read(data, "selection", None, on_progress)
    ranges = _read(data, "train", request.calibration_images, on_progress).pixels if request.int8 else None
    training = TrainingImages(ranges, _read(data, "train", _KNOWN_IMAGES, on_progress))
    learned_from = origin.trained_on.learned_from
    described = {"images": len(learned_from.images) // BYTES, "unknown": learned_from.unknown}
    provenance = {**origin.provenance, RECORD: described}
    known = learned_from.images or None
    exported = export_net(
        trained.net, trained.spec, provenance, held_out, training, log, known, compact=request.compact
    )
    joined = _join(exported, held_out) if request.single_graph else b""
    bundle = write_bundle(request.bundle, exported.manifest, exported.files)
    if request.single_graph:
        write_bytes(request.single_graph, joined)
    remarks = [*trained.remarks]
    if learned_from.unknown:
        named = " and ".join(learned_from.unknown)
        remarks.append(f"The training images of {named} are not known: calibrate on no image that may be among them.")
    return ExportResult(bundle, exported.manifest, exported.differences, request.single_graph, tuple(remarks))


def _join(exported: Exported, held_out: LabelledImages) -> bytes:
    policy = exported.manifest.policies[0]
    joined = join_segments(exported.segments, policy, single_graph_metadata(exported.manifest, policy))
    content = bytes(joined.SerializeToString())
    require_same_answers(content, exported, policy, held_out.pixels[:_CHECKED])
    return content


def _read(data: SceneData, part: str, count: int | None, on_progress: OnProgress) -> LabelledImages:
    """The images of a part, or `count` of them drawn with a fixed seed."""
    files = data.split.parts[part]
    if count is not None and count < len(files):
        drawn = np.random.default_rng(_CALIBRATION_SEED).permutation(len(files))[:count]
        files = tuple(files[index] for index in sorted(drawn.tolist()))
    loader = data.raw_loader(files)
    on_step, found = partial(on_progress, f"Reading the {part} images"), []
    for batch in loader.in_order(64, torch.device("cpu")):
        found.append(batch.images.permute(0, 2, 3, 1).contiguous().numpy())
        on_step(sum(len(each) for each in found), len(files))
    return LabelledImages(np.concatenate(found), loader.labels, part)
