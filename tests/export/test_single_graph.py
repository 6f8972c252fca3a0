from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits import NEVER
from gfnet_dynn.export.single_graph import join_segments, single_graph_metadata
from tests.export.conftest import Subject

MakeSubject = Callable[[str], Subject]


def session(it: Subject, policy: Policy, profile: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # that thresholds may be given is no fault
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # keeps the nodes' names
    model = join_segments(it.segments, policy, single_graph_metadata(it.manifest, policy))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def middle(values: npt.NDArray[np.float32]) -> float:
    return float(np.sort(values)[3:5].mean())


@pytest.mark.parametrize("kind", ["gfnet", "lite", "hybrid"])
@pytest.mark.parametrize("name", ["gates", "max-softmax"])
def test_one_graph_answers_as_the_stages(subject: MakeSubject, kind: str, name: str) -> None:
    it = subject(kind)
    segments, policy = it.compiled(), it.manifest.policy(name)
    logits, gates, _ = segments.all_exits(it.images)
    scores = gates if name == "gates" else np.exp(logits - logits.max(2, keepdims=True))[:, :-1]
    if name == "max-softmax":
        scores = 1 / np.exp(logits - logits.max(2, keepdims=True)).sum(2)[:, :-1]
    policy = Policy(name, policy.score, tuple(middle(column) for column in scores.T), "test")
    joined, taken = session(it, policy), []
    for row in range(len(it.images)):
        image = it.images[row : row + 1]
        expected = segments.decide(image, policy)
        logits_here, exit_here = joined.run(["logits", "exit"], {"images": image})
        assert exit_here.tolist() == expected.exits.tolist()
        assert np.allclose(logits_here, expected.logits, atol=1e-6)
        taken.append(int(exit_here[0]))
    assert len(set(taken)) > 1


def test_thresholds_may_be_given_at_each_call(subject: MakeSubject) -> None:
    it = subject("gfnet")
    joined = session(it, it.manifest.policy("full"))
    image = it.images[:1]
    assert joined.run(["exit"], {"images": image})[0].tolist() == [2]
    for thresholds, expected in (([0, 0], 0), ([NEVER, 0], 1), ([NEVER, NEVER], 2), ([np.nan, 0], 1)):
        fed = {"images": image, "thresholds": np.array(thresholds, np.float32)}
        assert joined.run(["exit"], fed)[0].tolist() == [expected]


@pytest.mark.parametrize("leaves_at", [0, 1, 2])
def test_later_stages_are_not_run(subject: MakeSubject, tmp_path: Path, leaves_at: int) -> None:
    it = subject("gfnet")
    thresholds = tuple(0.0 if index == leaves_at else NEVER for index in range(2))
    joined = session(it, Policy("own", "gate", thresholds, "test"), tmp_path / "profile")
    joined.run(None, {"images": it.images[:1]})
    events = json.loads(Path(joined.end_profiling()).read_text(encoding="utf-8"))
    ran = {event["name"][:3] for event in events if event["name"][:1] == "s" and event["name"][2:3] == "."}
    assert ran == {f"s{index}." for index in range(leaves_at + 1)}


def test_a_network_without_exits_is_one_plain_graph(subject: MakeSubject) -> None:
    it = subject("static")
    joined = session(it, it.manifest.policy("full"))
    assert [each.name for each in joined.get_inputs()] == ["images"]
    logits, exits = joined.run(["logits", "exit"], {"images": it.images[:1]})
    assert np.allclose(logits, it.compiled().all_exits(it.images[:1])[0][:, 0], atol=1e-6)
    assert exits.tolist() == [0]


def test_the_file_says_what_it_is(subject: MakeSubject) -> None:
    it = subject("gfnet")
    metadata = session(it, it.manifest.policy("gates")).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(it.spec.classes)
    assert json.loads(metadata["exits"]) == ["exit 1", "exit 2", "final"]
    assert metadata["policy"].startswith("gates: exit where gate ≥ threshold; a rule; chosen on the selection split")
