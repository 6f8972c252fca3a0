"""From a trained network and images of its data set to a bundle: segments, int8, parity, and a report.

Static networks by name become bundles for timing: their classifier has random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from gfnet_dynn.bundle.archive import stored_file, write_bundle
from gfnet_dynn.bundle.manifest import LEARNED_FROM, Exit, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.bundle.precisions import ALLOWED_LOSS, REFERENCE, auto_precisions
from gfnet_dynn.errors import ExportError, SpecError
from gfnet_dynn.evaluation.evaluation import Evaluator, PolicyResult, Subject
from gfnet_dynn.evaluation.policies import trained_policies
from gfnet_dynn.evaluation.result import describe_policy
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.export.class_distance import class_distance
from gfnet_dynn.export.compact import compact_weights
from gfnet_dynn.export.parity import compare, network_arrays, require_parity, segment_arrays
from gfnet_dynn.export.quantise import quantise_segments
from gfnet_dynn.export.segments import export_segments
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import load_imagenet
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.runtime.engine import EngineOptions, available_processors, make_engine
from gfnet_dynn.runtime.segments import Images, SegmentedNet
from gfnet_dynn.spec.backbone import EfficientNetLiteSpec, backbone_name, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.uncertainty.intervals import PairedDifference

_IMAGES_IN_RANGES = 32


@dataclass(frozen=True)
class LabelledImages:
    """Images as the network takes them, uint8 [N, S, S, 3], their labels [N], and the part of the data set."""

    pixels: Images
    labels: npt.NDArray[np.int64]
    name: str


@dataclass(frozen=True)
class TrainingImages:
    """Images that the network learned from, of which export measures more than their labels.

    Attributes:
        ranges: uint8 [N, S, S, 3], for the ranges of int8; None: no int8.
        known: from which the first segment computes how far others are; None: it does not.
    """

    ranges: Images | None = None
    known: LabelledImages | None = None


@dataclass(frozen=True)
class Exported:
    """A bundle before it is written: its complete manifest, and its files' content by name.

    Differences are accuracy less that of fp32 on the held-out images, also of a precision that is not in the manifest.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    segments: Sequence[onnx.ModelProto]  # the fp32 graphs, [G + 1]
    differences: Mapping[str, Mapping[str, PairedDifference]]  # by precision and policy


def export_net(
    net: EarlyExitNet,
    spec: NetSpec,
    provenance: Mapping[str, Any],
    held_out: LabelledImages,
    training: TrainingImages,
    log: Log = ignore_log,
    learned_from: bytes | None = None,
    *,
    compact: bool = False,
) -> Exported:
    """Make a bundle.

    Args:
        net: trained, in evaluation mode, on the CPU.
        spec: its description.
        provenance: of its checkpoint.
        held_out: images that it did not learn from, on which parity and accuracy are measured.
        training: images for int8, and for distances.
        log: called with what is being done.
        learned_from: fingerprints of the images that the network was trained and selected on.
        compact: store the weights of fp32 in 8 bits.

    Raises:
        ExportError: torch cannot express the network, the outputs of the segments differ, or weights of 8 bits are
            shown to lose more than half a point.
    """
    policies = trained_policies(provenance, len(net.gates))
    log(f"exporting {spec.num_exits} segments")
    known = training.known
    distance = class_distance(net, spec, known.pixels, torch.from_numpy(known.labels)) if known else None
    segments = export_segments(net, spec, distance)
    trial = _Trial(Draft(spec, net.exit_macs(), policies, provenance, learned_from), held_out)
    trial.judge(REFERENCE, segments)
    network = network_arrays(net, held_out.pixels, held_out.labels, spec.input)
    parity = compare(network, trial.arrays[REFERENCE], policies[0], trial.engine.name)
    require_parity(parity)
    log(f"same outputs on {parity.images} images of the {held_out.name} split: logits within {parity.logits:.0e}")
    measured_on = f"{held_out.name} split, {len(held_out.labels)} images"
    report: dict[str, Any] = {"measured_on": measured_on, "parity": asdict(parity)}

    kept = segments
    if compact:
        kept = [compact_weights(segment) for segment in segments]
        against_exact = trial.judge(REFERENCE, kept)
        report["weights"] = {"bits": 8, "against_32_bits": _as_dicts(against_exact)}
        if _is_shown_to_lose(against_exact):
            raise ExportError("weights of 8 bits are shown to lose more than half a point: export without --compact")
    differences = {}
    if training.ranges is not None:
        log(f"quantising on {len(training.ranges)} training images")
        differences["int8"] = trial.judge("int8", quantise_segments(segments, training.ranges))
        if _is_shown_to_lose(differences["int8"]):
            del trial.graphs["int8"]
    report["precisions"] = {
        precision: {name: describe_policy(each) for name, each in found.items()}
        for precision, found in trial.results.items()
    }
    report["against_fp32"] = {precision: _as_dicts(found) for precision, found in differences.items()}
    automatic = auto_precisions({name: each for name, each in differences.items() if name in trial.graphs})
    manifest, files = trial.draft.manifest(trial.graphs, report, automatic), trial.draft.files(trial.graphs)
    return Exported(manifest, files, kept, differences)


class _Trial:
    """Graphs of each precision, [G + 1] each, and their outputs and results on the held-out images."""

    def __init__(self, draft: Draft, held_out: LabelledImages) -> None:
        self.draft, self._held_out = draft, held_out
        self.engine = make_engine("onnxruntime", EngineOptions(available_processors()))
        self.graphs: dict[str, Sequence[bytes]] = {}
        self.arrays: dict[str, ExitArrays] = {}
        self.results: dict[str, dict[str, PolicyResult]] = {}

    def judge(self, precision: str, segments: Sequence[onnx.ModelProto]) -> dict[str, PairedDifference]:
        """Take the graphs of a precision; accuracy less that of the fp32 graphs before, by policy."""
        before = self.results.get(REFERENCE, {})
        self.graphs[precision] = [segment.SerializeToString() for segment in segments]
        manifest = self.draft.manifest(self.graphs, {})
        net = SegmentedNet(manifest, self.graphs[precision], precision, self.engine)
        self.arrays[precision] = segment_arrays(net, self._held_out.pixels, self._held_out.labels)
        evaluator = Evaluator(self.arrays[precision], Subject.of_bundle(manifest, precision, self._held_out.name))
        self.results[precision] = {policy.name: evaluator.judge(policy) for policy in self.draft.policies}
        return {name: evaluator.compare(self.results[precision][name], each) for name, each in before.items()}


def _is_shown_to_lose(differences: Mapping[str, PairedDifference]) -> bool:
    return min(each.high for each in differences.values()) < -ALLOWED_LOSS


def _as_dicts(differences: Mapping[str, PairedDifference]) -> dict[str, Any]:
    return {name: asdict(each) for name, each in differences.items()}


@dataclass(frozen=True)
class Draft:
    """The parts of a manifest that do not depend on the precisions; MACs up to each exit, [G + 1]."""

    spec: NetSpec
    macs: tuple[int, ...]
    policies: tuple[Policy, ...]
    provenance: Mapping[str, Any]
    learned_from: bytes | None = None

    def files(self, graphs: Mapping[str, Sequence[bytes]]) -> dict[str, bytes]:
        """All files by their names in the bundle."""
        named = {_file(precision, index): g for precision, all_ in graphs.items() for index, g in enumerate(all_)}
        return named if self.learned_from is None else {**named, LEARNED_FROM: self.learned_from}

    def manifest(
        self,
        graphs: Mapping[str, Sequence[bytes]],
        report: Mapping[str, Any],
        automatic: tuple[str, ...] = (REFERENCE,),
    ) -> Manifest:
        """The manifest for graphs of one precision or more, of which `auto` may take some."""
        spec = self.spec
        blocks = (*spec.exit_blocks, spec.backbone.depth - 1)
        names = [*(f"exit {index + 1}" for index in range(len(spec.exit_blocks))), "final"]
        return Manifest(
            model=backbone_name(spec.backbone),
            classes=spec.classes,
            input=spec.input,
            exits=tuple(Exit(*each) for each in zip(names, blocks, self.macs, strict=True)),
            policies=self.policies,
            precisions={name: tuple(_file(name, index) for index in range(len(each))) for name, each in graphs.items()},
            files={name: stored_file(content) for name, content in self.files(graphs).items()},
            report=report,
            provenance=self.provenance,
            learned_from=None if self.learned_from is None else LEARNED_FROM,
            auto_precisions=automatic,
        )


def write_baseline(
    name: str, classes: tuple[str, ...], files: Sequence[Path], folder: Path, decode: DecodeOptions = DEFAULT
) -> Path:
    """Write `NAME.gfd` of an EfficientNet-Lite with ImageNet weights, at their size, in fp32 and int8.

    Of the classes only their number matters; the images give the ranges of int8.

    Raises:
        SpecError: no EfficientNet-Lite.
        MissingExtraError: its weights are not installed.
    """
    backbone = find_backbone(name)
    if not isinstance(backbone, EfficientNetLiteSpec):
        raise SpecError(f"no published weights of {name} to compare with: give a bundle, or an EfficientNet-Lite")
    spec = NetSpec(backbone, (), make_input(backbone, backbone.resolution, pad=False), classes)
    torch.manual_seed(0)
    net = build_net(spec).eval()
    load_imagenet(net.backbone, backbone)
    segments = export_segments(net, spec)
    images = np.stack([load_input(file, spec.input, decode) for file in files[:_IMAGES_IN_RANGES]])
    both = {"fp32": segments, "int8": quantise_segments(segments, images)}
    graphs = {precision: [segment.SerializeToString() for segment in each] for precision, each in both.items()}
    draft = Draft(spec, net.exit_macs(), trained_policies({}, 0), {"untrained": "the classifier has random weights"})
    return write_bundle(folder / f"{name}.gfd", draft.manifest(graphs, {}, tuple(graphs)), draft.files(graphs))


def _file(precision: str, segment: int) -> str:
    return f"{precision}/segment{segment}.onnx"
