"""Tiny bundles, made without torch: 8 px, three classes, two gates that follow the image's brightness."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from gfnet_dynn.bundle.archive import MANIFEST, stored_file, write_bundle
from gfnet_dynn.bundle.manifest import FULL, LEARNED_FROM, Exit, Manifest
from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule
from gfnet_dynn.exits import NEVER, AccuracyTable, Fitted
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.uncertainty.drift import BINS, Reference

SIDE = 8
CLASSES = ("field", "river", "town")
STAGES = 3
WIDTH = 3  # of the features
OPSET = 20  # that of export
SEED = 3  # of the weights: with them, images leave at each exit by either score

Images = npt.NDArray[np.uint8]


def images(count: int, seed: int = 0) -> Images:
    """[count, S, S, 3], from dark to bright in no order, each with a tint of its own."""
    generator = np.random.default_rng(seed)
    levels = generator.permutation(np.linspace(20, 235, count))[:, None, None, None]
    tints = generator.uniform(-70, 70, (count, 1, 1, 3)) + generator.uniform(-15, 15, (count, SIDE, SIDE, 3))
    return (levels + tints).clip(0, 255).astype(np.uint8)


def segment(
    index: int,
    *,
    lean: float = 0.0,
    side: int = SIDE,
    batch: str | int = "batch",
    kind: int = TensorProto.UINT8,
    classes: int = len(CLASSES),
    takes: int = WIDTH,
    gives: int = WIDTH,
    gate: Literal["column", "nan"] | None = None,
    outputs: Sequence[str] | None = None,
) -> bytes:
    """The graph of one segment.

    Args:
        index: 0 takes images, the last one gives logits only.
        lean: added to all weights, so that answers differ.
        side: of the images, where it is segment 0.
        batch: the number of images, or the name of a number that is left open.
        kind: of the images.
        classes: logits.
        takes: features that come in, where it isn't segment 0.
        gives: features that go out.
        gate: `column` gives [B, 1] instead of [B], `nan` what is no number.
        outputs: other ones than the segment has.
    """
    generator = np.random.default_rng([SEED, index])
    width = 3 if index == 0 else takes
    head = generator.normal(0, 6, (gives, classes)) * (1 + lean)
    constants = {
        "pixels": np.array([1, 2]),
        "one": np.array([1]),
        "white": np.array(1 / 255, np.float32),
        "mixing": np.eye(width, gives) + generator.uniform(0, 0.2, (width, gives)) + lean,
        "head": head,
        "offset": -0.6 * head.sum(axis=0),
        "weight": generator.uniform(0, 16, gives),
        "bias": np.array(np.nan if gate == "nan" else -3.5 - index),
    }
    nodes = [
        helper.make_node("MatMul", ["entering", "mixing"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["products"]),
        helper.make_node("Add", ["products", "offset"], ["logits"]),
        helper.make_node("Mul", ["features", "weight"], ["weighed"]),
        helper.make_node("ReduceMean", ["weighed", "one"], ["score"], keepdims=int(gate == "column")),
        helper.make_node("Add", ["score", "bias"], ["biased"]),
        helper.make_node("Sigmoid", ["biased"], ["gate"]),
    ]
    if index == 0:
        entering = helper.make_tensor_value_info("images", kind, [batch, side, side, 3])
        nodes[:0] = [
            helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats", "pixels"], ["means"], keepdims=0),
            helper.make_node("Mul", ["means", "white"], ["entering"]),
        ]
    else:
        entering = helper.make_tensor_value_info("features_in", TensorProto.FLOAT, [batch, takes])
        nodes.insert(0, helper.make_node("Identity", ["features_in"], ["entering"]))
    shapes: Mapping[str, list[str | int]] = {
        "features": [batch, gives],
        "logits": [batch, classes],
        "gate": [batch, 1] if gate == "column" else [batch],
    }
    if outputs is None:
        outputs = ("logits",) if index == STAGES - 1 else ("features", "logits", "gate")
    graph = helper.make_graph(
        nodes,
        f"segment{index}",
        [entering],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(_stored(value), name) for name, value in constants.items()],
    )
    return finished(graph)


def finished(graph: onnx.GraphProto) -> bytes:
    """A graph as a model of the opset that export writes."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return bytes(model.SerializeToString())


def _stored(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return value.astype(np.int64 if value.dtype.kind == "i" else np.float32)


def segments(precision: str = "fp32", **changes: Any) -> list[bytes]:
    """All graphs; int8 differs a little from fp32, as it does in the world."""
    return [segment(index, lean=0.02 if precision == "int8" else 0.0, **changes) for index in range(STAGES)]


def files(**graphs: Sequence[bytes]) -> dict[str, bytes]:
    """By name in the archive; both precisions unless others are given."""
    graphs = graphs or {"fp32": segments(), "int8": segments("int8")}
    return {f"{name}/segment{index}.onnx": graph for name, each in graphs.items() for index, graph in enumerate(each)}


POLICIES = (
    Policy("gates", "gate", (0.7, 0.6), "made up"),
    Policy("plain", "max-softmax", (0.8, 0.7), "made up"),
    Policy(FULL, "gate", (NEVER, NEVER), "no image leaves early"),
)

CALIBRATED = Policy(
    "calibrated",
    "neighbours",
    (0.7, NEVER),
    "made up",
    Fitted((0.5, 2.0, 1.25), (AccuracyTable((0.4, 0.55), (0.3, 0.62, 0.9)), AccuracyTable((), (0.8,)))),
    guarantee={
        "statement": "harmful exits at most 1%",
        "images": {"tested": 40},
        "confidence": None,
        "conditions": ["a", "b"],
    },
    references={"fp32": Reference(((0,) * (BINS - 1) + (40,), (3,) * BINS, (0,) * BINS), (60, 0, 40))},
    unknown_rule=UnknownRule((-1.5, 0.25, -np.inf), 0.05),
    prediction_sets=PredictionSets((0.4, np.inf, 0.9), 0.9),
)
"""A policy of which every part is there, with infinities wherever there may be some."""


def manifest(content: Mapping[str, bytes] | None = None, **changes: Any) -> Manifest:
    """Of these files, the tiny bundle's own unless others are given."""
    content = files() if content is None else content
    precisions: dict[str, tuple[str, ...]] = {}
    for name in (each for each in content if each != LEARNED_FROM):
        precisions[name.split("/")[0]] = (*precisions.get(name.split("/")[0], ()), name)
    fields: dict[str, Any] = {
        "model": "tiny",
        "classes": CLASSES,
        "input": InputSpec(SIDE),
        "exits": (Exit("exit 1", 0, 100), Exit("exit 2", 1, 250), Exit("final", 2, 400)),
        "policies": POLICIES,
        "precisions": precisions,
        "auto_precisions": tuple(each for each in ("fp32", "int8") if each in precisions),
        "files": {name: stored_file(each) for name, each in content.items()},
        "report": {"measured_on": "nothing"},
        "provenance": {"data_set": "made up", "τ": [0.5, None]},
        "learned_from": LEARNED_FROM if LEARNED_FROM in content else None,
    }
    return Manifest(**{**fields, **changes})


def write_tiny(path: Path, content: Mapping[str, bytes] | None = None, **changes: Any) -> Path:
    """A bundle on disk; `changes` are fields of its manifest."""
    content = files() if content is None else content
    return write_bundle(path, manifest(content, **changes), content)


def members(**changes: Any) -> dict[str, bytes]:
    """What the tiny bundle's archive holds; `changes` are fields of its manifest as JSON."""
    return {MANIFEST: json.dumps({**manifest().to_dict(), **changes}).encode(), **files()}


def packed(path: Path, content: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip archive of anything, as no export writes it."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, each in content.items():
            file.writestr(name, each)
    return path
