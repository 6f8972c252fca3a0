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


class Grid(NamedTuple):
    """Integers of 8 bits mean (integer − zero) · scale."""

    scale: float
    zero: int


def image_grid(image: InputSpec) -> Grid | None:
    """The grid of normalised pixels; None where the channels differ, or black and white are not on one."""
    zero = round(_LARGEST * image.mean[0])
    same = all(abs(_LARGEST * mean - zero) < _ROUNDING for mean in image.mean) and len(set(image.std)) == 1
    return Grid(1 / (_LARGEST * image.std[0]), zero) if same else None


def normalise_by_grid(segment: onnx.ModelProto, grid: Grid) -> None:
    """Let the first segment normalise its image by one node in place of a cast, a product and a sum."""
    graph = segment.graph
    users = _users(graph)
    cast = next((node for node in graph.node if node.op_type == "Cast"), None)
    chain = [cast]
    for kind in ("Mul", "Add"):
        following = users.get(chain[-1].output[0], []) if chain[-1] else []
        chain.append(following[0] if [node.op_type for node in following] == [kind] else None)
    if any(node is None for node in chain):
        return
    first, last = chain[0], chain[-1]
    assert first is not None
    assert last is not None
    at = list(graph.node).index(first)
    constants = [
        numpy_helper.from_array(np.array(grid.scale, np.float32), "image_scale"),
        numpy_helper.from_array(np.array(grid.zero, np.uint8), "image_zero"),
    ]
    node = helper.make_node(
        "DequantizeLinear", [first.input[0], "image_scale", "image_zero"], [last.output[0]], "image"
    )
    kept = [each for each in graph.node if each not in chain]
    del graph.node[:]
    graph.node.extend([*kept[:at], node, *kept[at:]])
    used = _users(graph)
    constants += [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def leaving_grid(segment: onnx.ModelProto) -> Grid | None:
    """The grid of the features that leave a quantised segment; None where they are no integers."""
    node = _dequantised_features(segment.graph)
    if node is None:
        return None
    constants = {each.name: numpy_helper.to_array(each) for each in segment.graph.initializer}
    scale, zero = (constants[name] for name in node.input[1:3])
    return Grid(float(scale), int(zero)) if zero.dtype == np.uint8 else None


def pass_integers(segments: Sequence[onnx.ModelProto]) -> None:
    """Let features pass between quantised segments as integers.

    The later segment was quantised with the `leaving_grid` of the one before it.
    """
    for before, after in pairwise(segments):
        readers = _users(after.graph).get(after.graph.input[0].name, [])
        if leaving_grid(before) is not None and [node.op_type for node in readers] == ["QuantizeLinear"]:
            _take_integers(after.graph, readers[0])
            _give_integers(before.graph)


def _users(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


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
