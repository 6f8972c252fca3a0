"""All segments as one ONNX graph with nested If: any ONNX runtime runs it unaided, one image at a time.

Where an image exits, the branch with the later segments is not entered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import ExportError
from gfnet_dynn.exits.scores import Score
from gfnet_dynn.export.bundle import Exported
from gfnet_dynn.export.parity import TOLERANCE
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.segments import Images, SegmentedNet

_ERRORS_ONLY = 3  # onnxruntime warns of optional inputs
_BATCH = 1  # If takes one condition
_EXPRESSED: frozenset[Score] = frozenset({"gate", "max_softmax"})


def join_segments(segments: Sequence[onnx.ModelProto], policy: Policy, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """One graph: `images` uint8 [1, S, S, 3] → `logits` [1, K] and `exit` int64 [1], 0 to G.

    A second, optional input `thresholds` [G] replaces those of the policy.

    Args:
        segments: of `export_segments`, [G + 1].
        policy: what is compared with which thresholds.
        metadata: kept in the file.

    Raises:
        ExportError: the result is not valid ONNX.
    """
    classes = segments[-1].graph.output[0].type.tensor_type.shape.dim[1].dim_value
    first = _prefixed(segments[0], 0)
    thresholds = numpy_helper.from_array(np.array(policy.thresholds, np.float32), "thresholds")
    gates = len(segments) - 1
    graph = helper.make_graph(
        nodes=[*first.graph.node, *_decide(segments, policy, 0, classes)],
        name="gfnet-dynn",
        inputs=[
            helper.make_tensor_value_info("images", TensorProto.UINT8, [_BATCH, *_sides(segments[0])]),
            *([helper.make_tensor_value_info("thresholds", TensorProto.FLOAT, [gates])] if gates else []),
        ],
        outputs=_outputs("", classes),
        initializer=[*first.graph.initializer, *([thresholds] if gates else [])],
    )
    model = helper.make_model(graph, opset_imports=segments[0].opset_import, ir_version=segments[0].ir_version)
    helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the single graph is not valid ONNX: {error}") from error
    return model


def single_graph_metadata(manifest: Manifest, policy: Policy) -> dict[str, str]:
    """What a user of the file needs to know, as texts."""
    return {
        "classes": json.dumps(list(manifest.classes), ensure_ascii=False),
        "input": f"uint8 RGB [1, {manifest.input.size}, {manifest.input.size}, 3]; normalisation is inside",
        "exits": json.dumps([exit_.name for exit_ in manifest.exits]),
        "exit_macs": json.dumps([exit_.macs for exit_ in manifest.exits]),
        "policy": f"{policy.name}: exit where {policy.score} ≥ threshold; {policy.source}",
    }


def require_same_answers(joined: bytes, exported: Exported, policy: Policy, images: Images) -> None:
    """Run the single graph beside the segments.

    Args:
        joined: as `join_segments` makes it.
        exported: the segments.
        policy: by which both decide.
        images: uint8 [N, S, S, 3].

    Raises:
        ExportError: exits or logits differ.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = ort.InferenceSession(joined, options, providers=["CPUExecutionProvider"])
    graphs = [segment.SerializeToString() for segment in exported.segments]
    segments = SegmentedNet(exported.manifest, graphs, "fp32", make_engine("onnxruntime", EngineOptions(1)))
    for row in range(len(images)):
        image = images[row : row + 1]
        expected, (logits, exits) = segments.decide(image, policy), session.run(["logits", "exit"], {"images": image})
        scale = max(1.0, float(np.abs(expected.logits).max()))
        if exits[0] != expected.exits[0] or not np.abs(logits - expected.logits).max() <= TOLERANCE * scale:
            raise ExportError("the outputs of the single graph differ from those of the segments: nothing was written")


def _decide(segments: Sequence[onnx.ModelProto], policy: Policy, index: int, classes: int) -> list[onnx.NodeProto]:
    """The nodes after segment `index`, whose outputs carry its prefix, up to `logits{index}` and `exit{index}`."""
    out, mine = _suffix(index), f"s{index}."
    if index == len(segments) - 1:
        return [
            helper.make_node("Identity", [f"{mine}logits"], [f"logits{out}"]),
            _constant(f"exit{out}", [index]),
        ]
    stop = helper.make_graph(
        [
            helper.make_node("Identity", [f"{mine}logits"], [f"logits_stop{index}"]),
            _constant(f"exit_stop{index}", [index]),
        ],
        f"stop_at_exit_{index + 1}",
        [],
        _outputs(f"_stop{index}", classes),
    )
    following = _prefixed(segments[index + 1], index + 1, f"{mine}features")
    go_on = helper.make_graph(
        [*following.graph.node, *_decide(segments, policy, index + 1, classes)],
        f"go_on_after_exit_{index + 1}",
        [],
        _outputs(_suffix(index + 1), classes),
        initializer=following.graph.initializer,
    )
    return [
        *_score(policy, mine),
        _constant(f"{mine}position", [index]),
        helper.make_node("Gather", ["thresholds", f"{mine}position"], [f"{mine}threshold"], axis=0),
        helper.make_node("GreaterOrEqual", [f"{mine}score", f"{mine}threshold"], [f"{mine}exits"]),
        helper.make_node("If", [f"{mine}exits"], [f"logits{out}", f"exit{out}"], then_branch=stop, else_branch=go_on),
    ]


def _score(policy: Policy, mine: str) -> list[onnx.NodeProto]:
    if policy.score not in _EXPRESSED or policy.fitted.temperatures:
        raise ExportError(
            f"a single graph supports the scores {' and '.join(sorted(_EXPRESSED))} without temperatures, not those of "
            f"the policy {policy.name}"
        )
    if policy.score == "gate":
        return [helper.make_node("Identity", [f"{mine}gate"], [f"{mine}score"])]
    return [
        helper.make_node("Softmax", [f"{mine}logits"], [f"{mine}probabilities"], axis=1),
        _constant(f"{mine}axis", [1]),
        helper.make_node("ReduceMax", [f"{mine}probabilities", f"{mine}axis"], [f"{mine}score"], keepdims=0),
    ]


def _suffix(index: int) -> str:
    return str(index) if index else ""


def _prefixed(segment: onnx.ModelProto, index: int, entering: str = "images") -> onnx.ModelProto:
    """A copy whose every name is the segment's own, but for what enters it."""
    copied = onnx.ModelProto()
    copied.CopyFrom(segment)
    entrance = copied.graph.input[0].name

    def own(name: str) -> str:
        return entering if name == entrance else name and f"s{index}.{name}"

    for node in copied.graph.node:
        node.name = own(node.name)
        node.input[:] = [own(name) for name in node.input]
        node.output[:] = [own(name) for name in node.output]
    for constant in copied.graph.initializer:
        constant.name = own(constant.name)
    return copied


def _constant(name: str, values: list[int]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, np.int64)))


def _outputs(suffix: str, classes: int) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(f"logits{suffix}", TensorProto.FLOAT, [_BATCH, classes]),
        helper.make_tensor_value_info(f"exit{suffix}", TensorProto.INT64, [_BATCH]),
    ]


def _sides(segment: onnx.ModelProto) -> list[int]:
    return [side.dim_value for side in segment.graph.input[0].type.tensor_type.shape.dim[1:]]
