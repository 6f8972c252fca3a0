from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from gfnet_dynn.export.bundle import LabelledImages, TrainingImages, export_net
from gfnet_dynn.export.class_distance import SHRINKAGE, class_distance, fit_distance
from gfnet_dynn.export.segments import export_segments
from gfnet_dynn.runtime.engine import ENGINES, EngineOptions, make_engine
from gfnet_dynn.runtime.segments import SegmentedNet
from tests.export.conftest import Subject

CLASSES, WIDTH = 3, 5

MakeSubject = Callable[[str], Subject]


def features(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes with correlated features of unlike scales, [N, 5], and labels [N]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    mixing = torch.eye(WIDTH) + 0.5
    within = torch.randn(count, WIDTH, generator=generator) @ mixing
    return (4.0 * labels[:, None] + within) * torch.tensor([1.0, 10, 100, 0.1, 1]), labels


def test_the_distance_is_that_of_mahalanobis_to_the_nearest_class() -> None:
    pooled, labels = features(600)
    made = fit_distance(pooled, labels)
    assert made is not None
    wide = ((pooled - pooled.mean(0)) / pooled.std(0, correction=0)).double().numpy()
    centres = np.stack([wide[labels.numpy() == each].mean(0) for each in range(CLASSES)])
    within = wide - centres[labels.numpy()]
    covariance = within.T @ within / (len(wide) - CLASSES)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / WIDTH * np.eye(WIDTH)
    inverse = np.linalg.inv(covariance)
    each = [np.einsum("nd,de,ne->n", wide - centre, inverse, wide - centre) for centre in centres]
    np.testing.assert_allclose(made(pooled).numpy(), np.min(each, axis=0) / WIDTH, rtol=1e-3)


def test_images_like_those_it_was_fitted_to_are_about_one_away_and_others_far() -> None:
    made = fit_distance(*features(600))
    assert made is not None
    assert float(made(features(600, seed=1)[0]).mean()) == pytest.approx(1, abs=0.2)
    assert float(made(features(600, seed=1)[0] + torch.tensor([0.0, 0, 0, 0, 30])).min()) > 5


def test_features_that_never_vary_change_nothing() -> None:
    pooled, labels = features(60)
    plain, wider = (
        fit_distance(each, labels) for each in (pooled, torch.cat([pooled, torch.full((60, 2), 7.0)], dim=1))
    )
    assert plain is not None
    assert wider is not None
    strange = torch.cat([pooled, torch.full((60, 2), 9.0)], dim=1)
    torch.testing.assert_close(wider(strange) * (WIDTH + 2), plain(pooled) * WIDTH, rtol=0.2, atol=0.1)


@pytest.mark.parametrize("count", [1, 3])
def test_one_image_of_each_class_shows_no_variation(count: int) -> None:
    assert fit_distance(*features(count)) is None


def test_a_class_without_images_has_no_centre() -> None:
    pooled, labels = features(90)
    made = fit_distance(pooled[labels != 1], labels[labels != 1])
    assert made is not None
    assert made.centres.shape == (2, WIDTH)


def known(it: Subject) -> LabelledImages:
    return LabelledImages(it.images, np.arange(len(it.images)) % len(it.spec.classes), "train")


@cache
def graphs_with_distance(it: Subject) -> list[bytes]:
    """Made once for both engines, as torch's exporter takes seconds."""
    made = class_distance(it.net, it.spec, it.images, torch.from_numpy(known(it).labels))
    assert made is not None
    return [each.SerializeToString() for each in export_segments(it.net, it.spec, made)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "kind", ["gfnet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("lite", "hybrid"))]
)
def test_the_first_segment_computes_the_distance_as_torch_does(subject: MakeSubject, kind: str, engine: str) -> None:
    pytest.importorskip(engine, reason="an extra")
    it = subject(kind)
    net = SegmentedNet(it.manifest, graphs_with_distance(it), "fp32", make_engine(engine, EngineOptions(1)))
    outputs = net.all_exits(it.images)
    assert outputs.distances is not None
    assert outputs.distances.shape == (len(it.images),)
    # Of so few images each class is hardly wider than one of them.
    assert 0 <= outputs.distances.max() < 5
    answers = net.decide(it.images[2:7], it.manifest.policies[0])
    assert answers.distances is not None
    np.testing.assert_allclose(answers.distances, outputs.distances[2:7], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_in_8_bits_and_in_int8_the_distance_stays(subject: MakeSubject) -> None:
    it = subject("lite")
    exported = export_net(it.net, it.spec, {}, known(it), TrainingImages(it.images, known(it)), compact=True)
    found = []
    for precision in ("fp32", "int8"):
        graphs = [exported.files[name] for name in exported.manifest.precisions.get(precision, ())]
        if graphs:
            net = SegmentedNet(exported.manifest, graphs, precision, make_engine("onnxruntime", EngineOptions(1)))
            found.append(net.all_exits(it.images).distances)
    assert found
    assert all(each is not None and np.isfinite(each).all() for each in found)


def test_a_network_without_early_exits_computes_none(subject: MakeSubject) -> None:
    it = subject("static")
    assert class_distance(it.net, it.spec, it.images, torch.from_numpy(known(it).labels)) is None
    exported = export_net(it.net, it.spec, {}, known(it), TrainingImages(known=known(it)))
    graphs = [exported.files[name] for name in exported.manifest.precisions["fp32"]]
    net = SegmentedNet(exported.manifest, graphs, "fp32", make_engine("onnxruntime", EngineOptions(1)))
    assert net.all_exits(it.images).distances is None
