"""Segments in int8: the large products of a network, and nothing else, between quantise and dequantise nodes.

Linear maps of MLPs, patches of the image and convolutions with their residual sums are nearly all of the work and
tolerate eight bits; filters, norms, the first convolution of a trunk, heads and gates stay in float32. Of three
channels, integers are convolved more slowly than floats: 142 µs instead of 116 at 160 px, conversions included.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from gfnet_dynn.export.integers import Quantisation, feature_quantisation, pass_integers
from gfnet_dynn.export.segments import quiet
from gfnet_dynn.runtime.engine import Array, EngineOptions, make_engine
from gfnet_dynn.runtime.segments import Images

_BATCH = 16
_FEWEST_CHANNELS = 16  # thinner products cost more to convert than they save
_IMAGE_CHANNELS = 3


def quantise_segments(segments: Sequence[onnx.ModelProto], images: Images) -> list[onnx.ModelProto]:
    """Each segment in int8, with ranges from the outputs of the float32 segments before it for images [N, S, S, 3]."""
    engine = make_engine("onnxruntime", EngineOptions(threads=1))
    entering: list[Array] = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    entering_rough, quantised, leaving = entering, [], None
    for segment in segments:
        rough = _quantise(segment, entering, leaving)
        exact, rounded = (
            [list(map(np.array, graph.run(each))) for each in inputs]
            for graph, inputs in (
                (engine.compile(segment.SerializeToString()), entering),
                (engine.compile(rough.SerializeToString()), entering_rough),
            )
        )
        _correct_head(rough, _mean_logits(exact) - _mean_logits(rounded))
        quantised.append(rough)
        entering, entering_rough = ([each[0] for each in outputs] for outputs in (exact, rounded))
        leaving = feature_quantisation(rough)
    pass_integers(quantised)
    return quantised


def _mean_logits(outputs: Sequence[Sequence[Array]]) -> Array:
    """Over all images, [K]; the last segment has no other output than logits."""
    logits = np.concatenate([each[1] if len(each) > 1 else each[0] for each in outputs])
    return np.asarray(logits.mean(axis=0))


def _correct_head(segment: onnx.ModelProto, missing: Array) -> None:
    """Add to the classifier's bias what rounding takes from its mean logits.

    Source: Nagel et al., Data-free quantization through weight equalization and bias correction, arXiv 1906.04721.
    """
    head = next(node for node in segment.graph.node if "logits" in node.output)
    biases = [each for each in segment.graph.initializer if len(head.input) > 2 and each.name == head.input[2]]
    if head.op_type != "Gemm" or not biases:
        return
    corrected = onnx.numpy_helper.to_array(biases[0]) + missing.astype(np.float32)
    biases[0].CopyFrom(onnx.numpy_helper.from_array(corrected, biases[0].name))


def _quantise(segment: onnx.ModelProto, batches: Sequence[Array], entering: Quantisation | None) -> onnx.ModelProto:
    nodes = _heavy_nodes(segment)
    if not nodes:  # to the quantiser an empty list would mean all
        return segment
    convolves = any(node.op_type == "Conv" and node.name in nodes for node in segment.graph.node)
    overrides = {} if entering is None or not convolves else {segment.graph.input[0].name: [_override(entering)]}
    with tempfile.TemporaryDirectory() as folder, quiet():  # it warns of a step that is done already
        source, target = Path(folder, "segment.onnx"), Path(folder, "int8.onnx")
        onnx.save(segment, source)
        quantize_static(
            source,
            target,
            _Batches(segment.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Without VNNI, processors add pairs of products of bytes in 16 bits, which overflows with
            # unsigned bytes and weights of eight bits; with seven bits answers are the same everywhere.
            reduce_range=convolves,
            # onnxruntime convolves unsigned numbers twice as fast as signed ones; products gain nothing by them, and in
            # openvino lose a fifth to their zero point.
            activation_type=QuantType.QUInt8 if convolves else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": not convolves,
                "TensorQuantOverrides": overrides,
                # A product is followed by an activation or a sum in float32: eight bits between them only cost time.
                "OpTypesToExcludeOutputQuantization": ["MatMul"],
            },
        )
        return onnx.load(target)


def _override(entering: Quantisation) -> dict[str, object]:
    """As onnxruntime's quantiser takes it."""
    return {
        "quant_type": QuantType.QUInt8,
        "scale": np.array(entering.scale, np.float32),
        "zero_point": np.array(entering.zero, np.uint8),
    }


def _heavy_nodes(segment: onnx.ModelProto) -> list[str]:
    """Names of the nodes to quantise; nodes without a name get one."""
    for index, node in enumerate(segment.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    shapes = {constant.name: tuple(constant.dims) for constant in segment.graph.initializer}
    convolutions = {node.output[0] for node in segment.graph.node if node.op_type == "Conv"}
    return [node.name for node in segment.graph.node if _is_heavy(node, shapes, convolutions)]


def _is_heavy(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], convolutions: set[str]) -> bool:
    if node.op_type in ("MatMul", "Conv"):
        weight = shapes.get(node.input[1], ())
        if node.op_type == "MatMul":
            return len(weight) == 2 and min(weight) >= _FEWEST_CHANNELS
        return len(weight) == 4 and weight[1] != _IMAGE_CHANNELS
    # The clip of a ReLU6, which then is the range of the integers, and the residual of a convolutional block.
    return node.op_type in ("Clip", "Add") and bool(convolutions & set(node.input))


class _Batches(CalibrationDataReader):  # type: ignore[misc] # untyped
    """What the quantiser reads: one input after the other, then None."""

    def __init__(self, name: str, batches: Sequence[Array]) -> None:
        self._remaining: Iterator[Array] = iter(batches)
        self._name = name

    def get_next(self) -> dict[str, Array] | None:
        """The next batch."""
        batch = next(self._remaining, None)
        return None if batch is None else {self._name: np.ascontiguousarray(batch)}
