"""The models that are shipped: whole, small, as good as their cards, and made as recorded."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import evaluate

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "results" / "models.json"
DATA = {"aerial": "data/UCM/val", "sentinel2": "data/EuroSAT/val"}
LARGEST = 8_000_000  # bytes, both together, as a wheel compresses them


def test_both_are_there_and_small() -> None:
    assert set(builtin_models()) == set(DATA)
    assert sum(len(zlib.compress(path.read_bytes())) for path in builtin_models().values()) <= LARGEST


@pytest.mark.parametrize("name", DATA)
def test_a_model_is_the_recorded_one(name: str) -> None:
    if not FIGURES.exists():
        pytest.skip("the figures are not part of a distribution without docs")
    bundle = read_bundle(builtin_models()[name])
    bundle.verify()
    recorded = msgspec.json.decode(FIGURES.read_bytes())["models"][name]
    assert hashlib.sha256(bundle.path.read_bytes()).hexdigest() == recorded["file_sha256"]
    assert bundle.sha256 == recorded["bundle_sha256"]
    assert msgspec.json.decode(msgspec.json.encode(bundle.manifest.card)) == recorded["card"]


@pytest.mark.parametrize("name", DATA)
def test_a_model_has_its_policies_and_no_path_of_a_machine(name: str) -> None:
    manifest = read_bundle(builtin_models()[name]).manifest
    assert [policy.name for policy in manifest.policies] == ["1-point", "fast", FULL]
    careful = manifest.policies[0]
    assert careful.guarantee["confidence"] == pytest.approx(0.95)
    rules = [policy.unknown_rule for policy in manifest.policies if policy.name != FULL]
    assert all(rule is not None and rule.distance is not None for rule in rules)
    assert list(manifest.precisions) == ["fp32"]
    assert manifest.card is not None
    assert set(manifest.card.class_accuracy) == set(manifest.classes)
    text = msgspec.json.encode(manifest.to_dict()).decode()
    assert not any(place in text for place in ('"/', "/home/", "/root/", "/tmp/", "/work"))


@pytest.mark.parametrize("policy", ["1-point", "fast"])
@pytest.mark.parametrize("name", DATA)
def test_noise_and_empty_images_are_unknown(name: str, policy: str) -> None:
    classifier, generator = load(name, threads=1), np.random.default_rng(0)
    side = classifier.manifest.input.size
    noise = generator.integers(0, 256, (40, side, side, 3), dtype=np.uint8)
    empty = np.broadcast_to(generator.integers(0, 256, (20, 1, 1, 3), dtype=np.uint8), (20, side, side, 3))
    answers = classifier.classify([*noise, *empty], policy=policy)
    assert np.mean([answer.unknown for answer in answers]) >= 0.95


@pytest.mark.parametrize("name", ["aerial", pytest.param("sentinel2", marks=pytest.mark.slow)])
def test_a_model_is_as_accurate_as_its_card(name: str, shared: Callable[[str], Path]) -> None:
    path = builtin_models()[name]
    card = read_bundle(path).manifest.card
    assert card is not None
    result = evaluate(EvaluationRequest(subject=path, images=shared(DATA[name]), precision="fp32"))
    assert result.images == card.images
    for policy, figures in card.policies.items():
        assert result.policies[policy].accuracy.value == pytest.approx(figures.accuracy, abs=1.01 / card.images)
