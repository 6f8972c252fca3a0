"""From a trained network and images of its data set to a bundle: segments, int8, parity, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from gfnet_dynn.bundle.archive import stored_file
from gfnet_dynn.bundle.learned_from import NAME
from gfnet_dynn.bundle.manifest import Exit, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.bundle.precisions import ALLOWED_LOSS, REFERENCE, auto_precisions
from gfnet_dynn.evaluation.policies import trained_policies
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.sweep import OperatingPoint, operate
from gfnet_dynn.export.parity import compare, network_arrays, require_parity, segment_arrays
from gfnet_dynn.export.quantise import quantise_segments
from gfnet_dynn.export.segments import export_segments
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.runtime.engine import EngineOptions, available_processors, make_engine
from gfnet_dynn.runtime.segments import Images, SegmentedNet
from gfnet_dynn.spec.backbone import backbone_name
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.uncertainty.paired import PairedDifference, paired_difference
from gfnet_dynn.uncertainty.proportion import Proportion


@dataclass(frozen=True)
class LabelledImages:
    """Images as the network takes them.

    Attributes:
        pixels: uint8 [N, S, S, 3].
        labels: [N].
        name: of the part of the data set.
    """

    pixels: Images
    labels: npt.NDArray[np.int64]
    name: str


@dataclass(frozen=True)
class Exported:
    """A bundle before it is written.

    Attributes:
        manifest: complete but for its files' hashes.
        files: content by name.
        segments: the float32 graphs, [G + 1].
        differences: accuracy less that of fp32 on the held-out images, by precision and policy; of one that is not in
            the manifest too.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    segments: Sequence[onnx.ModelProto]
    differences: Mapping[str, Mapping[str, PairedDifference]]


def export_net(
    net: EarlyExitNet,
    spec: NetSpec,
    provenance: Mapping[str, Any],
    held_out: LabelledImages,
    calibration: Images | None,
    log: Log = ignore_log,
    learned_from: bytes | None = None,
) -> Exported:
    """Make a bundle.

    Args:
        net: trained, in evaluation mode, on the CPU.
        spec: its description.
        provenance: of its checkpoint.
        held_out: images that it did not learn from, on which parity and accuracy are measured.
        calibration: training images for the ranges of int8; None: no int8.
        log: called with what is being done.
        learned_from: digests of the images that the network was trained and selected on.

    Raises:
        ExportError: torch cannot express the network, or the segments give other answers.
    """
    policies = trained_policies(provenance, len(net.gates))
    log(f"exporting {spec.num_exits} segments")
    segments = export_segments(net, spec)
    graphs = {"fp32": [segment.SerializeToString() for segment in segments]}
    draft = Draft(spec, net.exit_macs(), policies, provenance, learned_from)
    engine = make_engine("onnxruntime", EngineOptions(available_processors()))

    network = network_arrays(net, held_out.pixels, held_out.labels, spec.input)
    compiled = SegmentedNet(draft.manifest(graphs, {}), graphs["fp32"], "fp32", engine)
    arrays = segment_arrays(compiled, held_out.pixels, held_out.labels)
    parity = compare(network, arrays, policies[0], engine.name)
    require_parity(parity)
    log(f"same answers on {parity.images} images of the {held_out.name} split: logits within {parity.logits:.0e}")

    points = {"fp32": _operate(arrays, policies, draft.costs)}
    differences: dict[str, dict[str, PairedDifference]] = {}
    if calibration is not None:
        log(f"quantising on {len(calibration)} training images")
        int8 = [segment.SerializeToString() for segment in quantise_segments(segments, calibration)]
        compiled = SegmentedNet(draft.manifest({**graphs, "int8": int8}, {}), int8, "int8", engine)
        arrays = segment_arrays(compiled, held_out.pixels, held_out.labels)
        points["int8"] = _operate(arrays, policies, draft.costs)
        differences["int8"] = _differences(points["fp32"], points["int8"], held_out.labels)
        if min(each.high for each in differences["int8"].values()) >= -ALLOWED_LOSS:
            graphs["int8"] = int8
    report = {
        "measured_on": f"{held_out.name} split, {len(held_out.labels)} images",
        "parity": parity.to_dict(),
        "precisions": {name: _figures(found, held_out.labels) for name, found in points.items()},
        "against_fp32": {
            name: {policy: asdict(each) for policy, each in found.items()} for name, found in differences.items()
        },
    }
    kept = auto_precisions({name: each for name, each in differences.items() if name in graphs})
    return Exported(draft.manifest(graphs, report, kept), draft.files(graphs), segments, differences)


@dataclass(frozen=True)
class Draft:
    """The parts of a manifest that do not depend on the precisions.

    Attributes:
        spec: of the network.
        macs: up to each exit, [G + 1].
        policies: exit policies.
        provenance: of the network.
        learned_from: digests of the images that it was trained and selected on; None: not known.
    """

    spec: NetSpec
    macs: tuple[int, ...]
    policies: tuple[Policy, ...]
    provenance: Mapping[str, Any]
    learned_from: bytes | None = None

    @property
    def costs(self) -> list[float]:
        """MACs of each exit as a share of the full network's."""
        return [count / self.macs[-1] for count in self.macs]

    def files(self, graphs: Mapping[str, Sequence[bytes]]) -> dict[str, bytes]:
        """All files by their names in the bundle."""
        named = {_file(precision, index): g for precision, all_ in graphs.items() for index, g in enumerate(all_)}
        return named if self.learned_from is None else {**named, NAME: self.learned_from}

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
            learned_from=None if self.learned_from is None else NAME,
            auto_precisions=automatic,
        )


def _file(precision: str, segment: int) -> str:
    return f"{precision}/segment{segment}.onnx"


def _operate(arrays: ExitArrays, policies: Sequence[Policy], costs: Sequence[float]) -> dict[str, OperatingPoint]:
    """Each policy on the outputs of all exits."""
    return {policy.name: operate(policy.scores(arrays), costs, policy.thresholds) for policy in policies}


def _figures(points: Mapping[str, OperatingPoint], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy with its 95% interval, exit shares and mean cost by each policy."""
    accuracies = {name: Proportion.of(point.predictions == labels) for name, point in points.items()}
    return {
        name: {
            "accuracy": accuracies[name].value,
            "accuracy_interval": [accuracies[name].low, accuracies[name].high],
            "exit_shares": list(point.shares),
            "macs_share": point.mean_cost,
        }
        for name, point in points.items()
    }


def _differences(
    exact: Mapping[str, OperatingPoint], rough: Mapping[str, OperatingPoint], labels: npt.NDArray[np.int64]
) -> dict[str, PairedDifference]:
    return {
        name: paired_difference(point.predictions == labels, rough[name].predictions == labels)
        for name, point in exact.items()
    }
