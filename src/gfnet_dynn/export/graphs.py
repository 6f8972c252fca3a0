"""Smaller ONNX graphs."""

from __future__ import annotations

import hashlib

import onnx

_WORTH_SHARING = 64  # bytes; shapes and axes below it stay where they are read


def share_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep one of several equal constants (filters have the same transforms), and drop notes on the Python source."""
    graph = model.graph
    first: dict[bytes, str] = {}
    kept, renamed = [], {}
    for constant in graph.initializer:
        name = constant.name
        constant.name = ""
        content = constant.SerializeToString(deterministic=True)
        constant.name = name
        same = first.setdefault(hashlib.sha256(content).digest(), name)
        if same == name or len(content) < _WORTH_SHARING:
            kept.append(constant)
        else:
            renamed[name] = same
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        del node.metadata_props[:]
        node.doc_string = ""
    remaining = [_copied(constant) for constant in kept]  # clearing the list below empties its own
    del graph.initializer[:]
    graph.initializer.extend(remaining)
    del graph.value_info[:]
    return model


def _copied(constant: onnx.TensorProto) -> onnx.TensorProto:
    same = onnx.TensorProto()
    same.CopyFrom(constant)
    return same
