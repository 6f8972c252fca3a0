"""What enters and leaves a segment as 8-bit integers.

An image is one already: its pixels less an integer, times a scale, is what some networks normalise it to. Between two
segments in int8 the features would become float32 and integers of another scale again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gfnet_dynn.spec.network import InputSpec

_LARGEST = 255
_ROUNDING = 1e-6


class Quantisation(NamedTuple):
    """Integers of 8 bits mean (integer − zero) · scale."""

    scale: float
    zero: int


def pixel_quantisation(image: InputSpec) -> Quantisation | None:
    """How pixels are normalised; None where the channels differ, or their mean is no pixel."""
    zero = round(_LARGEST * image.mean[0])
    same = all(abs(_LARGEST * mean - zero) < _ROUNDING for mean in image.mean) and len(set(image.std)) == 1
    return Quantisation(1 / (_LARGEST * image.std[0]), zero) if same else None


def normalise_in_one_node(segment: onnx.ModelProto, pixels: Quantisation) -> None:
    """Let the first segment normalise its image by one node in place of a cast, a product and a sum."""
    graph = segment.graph
    kinds = [node.op_type for node in graph.node[:4]]
    assert kinds == ["Transpose", "Cast", "Mul", "Add"], kinds  # what `FirstPiece` becomes
    constants = [
        numpy_helper.from_array(np.array(pixels.scale, np.float32), "image_scale"),
        numpy_helper.from_array(np.array(pixels.zero, np.uint8), "image_zero"),
    ]
    inputs = [graph.node[0].output[0], *(each.name for each in constants)]
    node = helper.make_node("DequantizeLinear", inputs, [graph.node[3].output[0]], "image")
    kept = [graph.node[0], node, *graph.node[4:]]
    used = {name for each in kept for name in each.input}
    constants += [each for each in graph.initializer if each.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def feature_quantisation(segment: onnx.ModelProto) -> Quantisation | None:
    """How the features that leave a quantised segment are; None where they are no integers."""
    node = _dequantised_features(segment.graph)
    if node is None:
        return None
    constants = {each.name: numpy_helper.to_array(each) for each in segment.graph.initializer}
    scale, zero = (constants[name] for name in node.input[1:3])
    return Quantisation(float(scale), int(zero)) if zero.dtype == np.uint8 else None


def pass_integers(segments: Sequence[onnx.ModelProto]) -> None:
    """Let features pass between quantised segments as integers.

    The later segment was quantised with the `feature_quantisation` of the one before it.
    """
    for before, after in pairwise(segments):
        readers = [node for node in after.graph.node if after.graph.input[0].name in node.input]
        if feature_quantisation(before) is not None and [node.op_type for node in readers] == ["QuantizeLinear"]:
            _take_integers(after.graph, readers[0])
            _give_integers(before.graph)


def _take_integers(graph: onnx.GraphProto, quantiser: onnx.NodeProto) -> None:
    """Let what enters the graph be the integers that its only reader would make of it."""
    entering = graph.input[0]
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == quantiser.output[0]:
                node.input[place] = entering.name
    graph.node.remove(quantiser)
    entering.type.tensor_type.elem_type = TensorProto.UINT8


def _dequantised_features(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    names = {each.name for each in graph.output}
    return next((node for node in graph.node if node.op_type == "DequantizeLinear" and names & set(node.output)), None)


def _give_integers(graph: onnx.GraphProto) -> None:
    """Let the features leave as the integers that they are made of, under their name."""
    node = _dequantised_features(graph)
    assert node is not None
    features, integers = node.output[0], node.input[0]
    renamed = {features: f"{features}_float", integers: features}
    for each in graph.node:
        for names in (each.input, each.output):
            for place, name in enumerate(names):
                names[place] = renamed.get(name, name)
    output = next(each for each in graph.output if each.name == features)
    output.type.tensor_type.elem_type = TensorProto.UINT8
