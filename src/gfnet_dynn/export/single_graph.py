"""All segments as one ONNX graph with nested If: any ONNX runtime runs it unaided, one image at a time.

Where an image exits, the branch with the later segments is not entered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.compose
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import ExportError
from gfnet_dynn.exits import Score
from gfnet_dynn.export.bundle import Exported
from gfnet_dynn.export.parity import TOLERANCE
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.segments import Images, SegmentedNet

_ERRORS_ONLY = 3  # onnxruntime warns of optional inputs
_BATCH = 1  # If takes one condition
_EXPRESSED: frozenset[Score] = frozenset({"gate", "max-softmax"})


def join_segments(segments: Sequence[onnx.ModelProto], policy: Policy, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """One graph: `images` uint8 [1, S, S, 3] → `logits` [1, K] and `exit` int64 [1], 0 to G.

    A second, optional input `thresholds` [G] replaces those of the policy. The metadata are kept in the file. Raises
    ExportError if the result is not valid ONNX.
    """
    classes = segments[-1].graph.output[0].type.tensor_type.shape.dim[1].dim_value
    first, sides = segments[0], segments[0].graph.input[0].type.tensor_type.shape.dim[1:]
    nodes, constants = _run(segments, policy, 0, "images", classes)
    thresholds = numpy_helper.from_array(np.array(policy.thresholds, np.float32), "thresholds")
    gates = len(segments) - 1
    graph = helper.make_graph(
        nodes=nodes,
        name="gfnet-dynn",
        inputs=[
            helper.make_tensor_value_info("images", TensorProto.UINT8, [_BATCH, *(side.dim_value for side in sides)]),
            *([helper.make_tensor_value_info("thresholds", TensorProto.FLOAT, [gates])] if gates else []),
        ],
        outputs=_outputs("", classes),
        initializer=[*constants, *([thresholds] if gates else [])],
    )
    model = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
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
    """Run both on images uint8 [N, S, S, 3]; raises ExportError if exits or logits of the single graph differ."""
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


def _run(
    segments: Sequence[onnx.ModelProto], policy: Policy, index: int, entering: str, classes: int
) -> tuple[list[onnx.NodeProto], Sequence[onnx.TensorProto]]:
    """Nodes and constants of segment `index`, whose names have its prefix, and what follows.

    Its results are `logits` and `exit` for the first segment, otherwise with its index.
    """
    mine, out = f"s{index}.", str(index or "")
    own = onnx.compose.add_prefix(segments[index], mine).graph
    nodes = [helper.make_node("Identity", [entering], [own.input[0].name]), *own.node]
    if index == len(segments) - 1:
        return [*nodes, *_taken(index, out)], own.initializer
    stop = helper.make_graph(
        _taken(index, f"_stop{index}"), f"stop_at_exit_{index + 1}", [], _outputs(f"_stop{index}", classes)
    )
    following, constants = _run(segments, policy, index + 1, f"{mine}features", classes)
    outputs = _outputs(str(index + 1), classes)
    go_on = helper.make_graph(following, f"go_on_after_exit_{index + 1}", [], outputs, initializer=constants)
    nodes += [
        *_score(policy, mine),
        _constant(f"{mine}position", index),
        helper.make_node("Gather", ["thresholds", f"{mine}position"], [f"{mine}threshold"], axis=0),
        helper.make_node("GreaterOrEqual", [f"{mine}score", f"{mine}threshold"], [f"{mine}exits"]),
        helper.make_node("If", [f"{mine}exits"], [f"logits{out}", f"exit{out}"], then_branch=stop, else_branch=go_on),
    ]
    return nodes, own.initializer


def _taken(index: int, suffix: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", [f"s{index}.logits"], [f"logits{suffix}"]), _constant(f"exit{suffix}", index)]


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
        _constant(f"{mine}axis", 1),
        helper.make_node("ReduceMax", [f"{mine}probabilities", f"{mine}axis"], [f"{mine}score"], keepdims=0),
    ]


def _constant(name: str, value: int) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array([value], np.int64)))


def _outputs(suffix: str, classes: int) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(f"logits{suffix}", TensorProto.FLOAT, [_BATCH, classes]),
        helper.make_tensor_value_info(f"exit{suffix}", TensorProto.INT64, [_BATCH]),
    ]
