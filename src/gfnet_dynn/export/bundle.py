"""From a trained network and images of its data set to a bundle: segments, int8, parity, and a report of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from gfnet_dynn.bundle.archive import stored_file
from gfnet_dynn.bundle.manifest import LEARNED_FROM, Exit, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.sweep import OperatingPoint, operate
from gfnet_dynn.export.parity import compare, network_arrays, require_parity, stage_arrays
from gfnet_dynn.export.policies import policies_of
from gfnet_dynn.export.precision_loss import too_much_lost
from gfnet_dynn.export.quantise import quantise_segments
from gfnet_dynn.export.segments import export_segments
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.runtime.engine import EngineOptions, available_processors, make_engine
from gfnet_dynn.runtime.segments import Images, SegmentedNet
from gfnet_dynn.spec.backbone import backbone_name
from gfnet_dynn.spec.network import NetSpec


@dataclass(frozen=True)
class LabelledImages:
    """Images as the network takes them.

    Attributes:
        pixels: uint8 [N, S, S, 3].
        labels: [N].
        name: of the part of the data set that they are.
    """

    pixels: Images
    labels: npt.NDArray[np.int64]
    name: str


@dataclass(frozen=True)
class Exported:
    """A bundle that is not written yet.

    Attributes:
        manifest: complete but for its files' hashes.
        files: content by name.
        segments: the float32 graphs, [G + 1].
        notes: what a person should know.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    segments: Sequence[onnx.ModelProto]
    notes: tuple[str, ...] = field(default=())


def export_net(
    net: EarlyExitNet,
    spec: NetSpec,
    provenance: Mapping[str, Any],
    held_out: LabelledImages,
    calibration: Images | None,
    say: Callable[[str], None],
    learned_from: bytes | None = None,
) -> Exported:
    """Make a bundle.

    Args:
        net: trained, in evaluation mode, on the CPU.
        spec: its description.
        provenance: of its checkpoint.
        held_out: images that it did not learn from, on which parity and accuracy are shown.
        calibration: training images from which int8 takes its ranges; None leaves int8 out.
        say: told what is being done.
        learned_from: fingerprints of the images that the network was trained and selected on.

    Raises:
        ExportError: torch cannot express the network, or the segments give other answers.
    """
    policies = policies_of(provenance, len(net.gates))
    say(f"exporting {spec.num_exits} segments")
    segments = export_segments(net, spec)
    graphs = {"fp32": [segment.SerializeToString() for segment in segments]}
    draft = Draft(spec, net.exit_macs(), policies, provenance, learned_from)
    engine = make_engine("onnxruntime", EngineOptions(available_processors()))

    network = network_arrays(net, held_out.pixels, held_out.labels, spec.input)
    compiled = SegmentedNet(draft.manifest(graphs, {}), graphs["fp32"], "fp32", engine)
    answers = stage_arrays(compiled, held_out.pixels, held_out.labels)
    parity = compare(network, answers, policies[0], engine.name)
    require_parity(parity)
    say(f"same answers on {parity.images} images of the {held_out.name} split: logits within {parity.logits:.0e}")

    points = {"fp32": _operate(answers, policies, draft.costs)}
    notes = []
    if calibration is not None:
        say(f"quantising on {len(calibration)} training images")
        int8 = [segment.SerializeToString() for segment in quantise_segments(segments, calibration)]
        compiled = SegmentedNet(draft.manifest({**graphs, "int8": int8}, {}), int8, "int8", engine)
        answers = stage_arrays(compiled, held_out.pixels, held_out.labels)
        points["int8"] = _operate(answers, policies, draft.costs)
        if note := too_much_lost(points["fp32"], points["int8"], held_out.labels):
            notes.append(f"{note} of the {held_out.name} split")
        else:
            graphs["int8"] = int8
    report = {
        "measured_on": f"{held_out.name} split, {len(held_out.labels)} images",
        "parity": parity.to_dict(),
        "precisions": {precision: _figures(found) for precision, found in points.items()},
    }
    return Exported(draft.manifest(graphs, report), draft.files(graphs), segments, tuple(notes))


@dataclass(frozen=True)
class Draft:
    """What a manifest says whatever the precisions are.

    Attributes:
        spec: of the network.
        macs: up to each way out, [G + 1].
        policies: of exit.
        provenance: of the network.
        learned_from: fingerprints of the images that it was trained and selected on; None: not known.
    """

    spec: NetSpec
    macs: tuple[int, ...]
    policies: tuple[Policy, ...]
    provenance: Mapping[str, Any]
    learned_from: bytes | None = None

    @property
    def costs(self) -> list[float]:
        """MACs of each way out as a share of the full network's."""
        return [count / self.macs[-1] for count in self.macs]

    def files(self, graphs: Mapping[str, Sequence[bytes]]) -> dict[str, bytes]:
        """All files by their names in the bundle."""
        named = {_file(precision, index): g for precision, all_ in graphs.items() for index, g in enumerate(all_)}
        return named if self.learned_from is None else {**named, LEARNED_FROM: self.learned_from}

    def manifest(self, graphs: Mapping[str, Sequence[bytes]], report: Mapping[str, Any]) -> Manifest:
        """The manifest for graphs of one precision or more."""
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
        )


def _file(precision: str, segment: int) -> str:
    return f"{precision}/segment{segment}.onnx"


def _operate(arrays: ExitArrays, policies: Sequence[Policy], costs: Sequence[float]) -> dict[str, OperatingPoint]:
    """What each policy makes of the outputs of all exits."""
    return {policy.name: operate(policy.scores(arrays), costs, policy.thresholds) for policy in policies}


def _figures(points: Mapping[str, OperatingPoint]) -> dict[str, Any]:
    """Accuracy, exit shares and mean cost by each policy."""
    return {
        name: {
            "accuracy": round(point.accuracy, 5),
            "exit_shares": [round(share, 5) for share in point.shares],
            "mean_cost": round(point.mean_cost, 5),
        }
        for name, point in points.items()
    }
