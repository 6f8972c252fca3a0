from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gfnet_dynn.errors import SpecError
from gfnet_dynn.spec.backbone import BACKBONES, GFNetSpec, find_backbone, nearest_sizes
from gfnet_dynn.spec.network import InputSpec, NetSpec, make_input

CLASSES = ("farm", "forest", "river")
NET = NetSpec(GFNetSpec(width=32, depth=6, patch_size=8), (1, 3), InputSpec(64), CLASSES)


@pytest.mark.parametrize(
    ("name", "width", "depth", "patch"),
    [
        ("gfnet-ti", 256, 12, 16),
        ("gfnet-xs", 384, 12, 16),
        ("gfnet-s", 384, 19, 16),
        ("gfnet-b", 512, 19, 16),
        ("gfnet-192x12", 192, 12, 16),
        ("gfnet-96x8", 96, 8, 8),
    ],
)
def test_the_named_variants(name: str, width: int, depth: int, patch: int) -> None:
    assert find_backbone(name) == GFNetSpec(width, depth, patch, mlp_ratio=4)
    assert find_backbone(name.upper()) is BACKBONES[name]


def test_an_unknown_variant_gets_the_nearest() -> None:
    with pytest.raises(SpecError, match="unknown model 'gfnet-sx': did you mean 'gfnet-"):
        find_backbone("gfnet-sx")


@pytest.mark.parametrize(
    ("depth", "blocks"), [(12, (3, 5, 7, 9)), (19, (5, 9, 12, 15)), (8, (2, 3, 4, 6)), (2, (0,)), (1, ())]
)
def test_the_default_exits(depth: int, blocks: tuple[int, ...]) -> None:
    assert GFNetSpec(8, depth).default_exits == blocks


@given(st.integers(1, 200))
def test_the_default_exits_fit_every_depth(depth: int) -> None:
    blocks = GFNetSpec(8, depth).default_exits
    assert NetSpec(GFNetSpec(8, depth, 1), blocks, InputSpec(4), CLASSES).num_exits == len(blocks) + 1
    assert len(blocks) == 4 or depth < 8


def test_the_number_of_exits_counts_the_final_classifier() -> None:
    assert NET.num_exits == 3
    assert replace(NET, exit_blocks=()).num_exits == 1


def test_a_size_that_the_patch_does_not_divide_is_refused_with_sizes_to_use() -> None:
    with pytest.raises(SpecError) as error:
        find_backbone("gfnet-ti").grid(600)
    assert str(error.value) == (
        "an input of 600 px is not a multiple of the patch of 16 px: "
        "use --input-size 592 or 608, or --pad to pad each image to 608 px by reflection"
    )


@given(size=st.integers(1, 2000), patch=st.integers(1, 40))
def test_the_nearest_sizes_enclose_the_size_and_are_usable(size: int, patch: int) -> None:
    spec = GFNetSpec(8, 1, patch)
    lower, upper = nearest_sizes(spec, size)
    assert lower % patch == upper % patch == 0
    assert 0 < lower <= upper
    assert size <= upper < size + patch
    assert lower <= size < lower + patch or lower == upper == patch
    assert spec.grid(upper) * patch == upper


def test_padding_makes_aid_fit() -> None:
    padded = make_input(find_backbone("gfnet-ti"), 600, pad=True)
    assert (padded.size, padded.pad) == (608, 8)
    assert find_backbone("gfnet-ti").grid(padded.size) == 38


def test_an_input_that_fits_is_not_padded() -> None:
    assert make_input(GFNetSpec(8, 2, 16), 256, pad=True) == make_input(GFNetSpec(8, 2, 16), 256, pad=False)
    assert make_input(GFNetSpec(8, 2, 16), 256, pad=False) == InputSpec(256, pad=0)


def test_an_input_that_does_not_fit_is_refused_without_padding() -> None:
    with pytest.raises(SpecError, match="592 or 608"):
        make_input(GFNetSpec(8, 2, 16), 600, pad=False)


@given(
    width=st.integers(1, 64),
    exits=st.sets(st.integers(0, 8)),
    pad=st.integers(0, 31),
    classes=st.lists(st.text(), min_size=2, max_size=5, unique=True),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.01, 1)] * 3),
)
def test_a_network_survives_json(
    width: int,
    exits: set[int],
    pad: int,
    classes: list[str],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> None:
    spec = NetSpec(GFNetSpec(width, 10, 4, 2), tuple(sorted(exits)), InputSpec(32, pad, mean, std), tuple(classes))
    again = msgspec.convert(json.loads(json.dumps(spec.to_dict())), NetSpec)
    assert again == spec
    assert isinstance(again.exit_blocks, tuple)
    assert isinstance(again.input.mean, tuple)


@pytest.mark.parametrize("field", ["width", "depth", "patch_size", "mlp_ratio"])
def test_a_backbone_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(SpecError, match="at least 1"):
        replace(GFNetSpec(width=8, depth=2), **{field: 0})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "an input of 0 px"),
        ({"size": -16}, "an input of -16 px"),
        ({"size": 16, "pad": 16}, "16 px of padding"),
        ({"size": 16, "pad": -1}, "-1 px of padding"),
        ({"size": 16, "std": (0.1, 0.0, 0.1)}, "must be positive"),
        ({"size": 16, "std": (0.1, -0.2, 0.1)}, "must be positive"),
        ({"size": 16, "std": (0.1, float("nan"), 0.1)}, "must be positive"),
        ({"size": 4097}, "an input of 4097 px"),
    ],
)
def test_an_impossible_input_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        InputSpec(**fields)


@pytest.mark.parametrize("blocks", [(5,), (-1,), (3, 1), (1, 1), (0, 6)])
def test_impossible_exits_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="ascending block indices from 0 to 4"):
        replace(NET, exit_blocks=blocks)


@pytest.mark.parametrize("classes", [(), ("farm",), ("farm", "farm")])
def test_classes_must_be_two_and_differ(classes: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="at least two classes"):
        replace(NET, classes=classes)


def test_a_network_needs_an_input_of_whole_patches() -> None:
    with pytest.raises(SpecError, match="an input of 60 px is not a multiple of the patch of 8 px"):
        replace(NET, input=InputSpec(60))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The stored network with one value replaced; it is removed for `...`."""
    stored: dict[str, Any] = json.loads(json.dumps(NET.to_dict()))
    inner = deepcopy(stored)
    place = inner
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    assert inner != stored
    return inner


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("backbone", ...),
        ("backbone", None),
        ("backbone", "gfnet-ti"),
        ("backbone.width", 0),
        ("backbone.width", "wide"),
        ("backbone.depth", ...),
        ("backbone.heads", 3),
        ("exit_blocks", ...),
        ("exit_blocks", 3),
        ("exit_blocks", [9]),
        ("exit_blocks", ["a"]),
        ("input", ...),
        ("input", "large"),
        ("input", [64, 0]),
        ("input.size", 63),
        ("input.size", None),
        ("input.pad", 1.5),
        ("input.std", [0.1, 0.2]),
        ("input.size", 10**400),
        ("backbone.depth", 10**9),
        ("backbone.width", 10**9),
        ("backbone.mlp_ratio", 10**9),
        ("backbone.patch_size", 0),
        ("backbone.kind", ...),
        ("backbone.kind", "gfnet-2"),
        ("backbone.stem", "roots"),
        ("input.mean", [0.5]),
        ("input.mean", 0.5),
        ("input.std", [0, 0, 0]),
        ("input.colour", "RGB"),
        ("classes", ...),
        ("classes", ["one"]),
        ("exit_pooling", "max"),
        ("exit_pooling", None),
        ("surplus", 1),
    ],
)
def test_a_damaged_description_is_refused(path: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changed(path, value), NetSpec)


def test_descriptions_older_than_the_choice_of_pooling_mean_the_mean() -> None:
    assert msgspec.convert(changed("exit_pooling", ...), NetSpec) == NET


def test_a_field_of_another_version_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"`colour` - at `\$\.input`"):
        msgspec.convert(changed("input.colour", "RGB"), NetSpec)


@pytest.mark.parametrize("value", [[], 3, "text", None])
def test_something_else_than_a_description_is_refused(value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, NetSpec)
