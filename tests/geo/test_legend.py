"""Names and colours of classes, and the files beside a map."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.errors import BundleError
from gfnet_dynn.geo.legend import UNKNOWN, make_legend
from gfnet_dynn.geo.sidecars import sidecars


def distance(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("model", sorted(builtin_models()))
def test_classes_of_the_built_in_models_look_different(model: str) -> None:
    classes = read_bundle(builtin_models()[model]).manifest.classes
    legend = make_legend(classes, unknown=True)
    assert [entry.name for entry in legend] == [*classes, UNKNOWN]
    assert [entry.value for entry in legend] == list(range(len(classes) + 1))
    colours = [entry.colour for entry in legend]
    assert min(distance(a, b) for index, a in enumerate(colours) for b in colours[:index]) >= 24


def test_forests_are_green_and_lakes_blue() -> None:
    forest, lake = (entry.colour for entry in make_legend(("Forest", "SeaLake"), unknown=False))
    assert forest[1] == max(forest)
    assert lake[2] == max(lake)


@given(st.lists(st.text(max_size=8), min_size=2, max_size=254, unique=True))
def test_any_names_get_colours(names: list[str]) -> None:
    assert len(make_legend(names, unknown=True)) == len(names) + 1


def test_more_classes_than_a_byte_holds_are_refused() -> None:
    with pytest.raises(BundleError, match="255 classes"):
        make_legend([str(number) for number in range(255)], unknown=False)


def test_files_beside_a_map_hold_any_name() -> None:
    legend = make_legend(("a & b", "<c>"), unknown=True)
    found = sidecars(Path("folder/map.tif"), legend, (1.5, 0.0, 2.0))
    names = ElementTree.fromstring(found[Path("folder/map.tif.aux.xml")])
    assert [each.text for each in names.iter("Category")] == ["a & b", "<c>", UNKNOWN]
    assert [row[2].text for row in names.iter("Row")] == ["1.500000", "0.000000", "2.000000"]
    style = ElementTree.fromstring(found[Path("folder/map.qml")])
    assert [each.get("label") for each in style.iter("paletteEntry")] == ["a & b", "<c>", UNKNOWN]
