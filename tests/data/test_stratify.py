from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.data.folders import stratified
from gfnet_dynn.errors import DataError

CLASSES = ("desert", "forest", "harbour", "meadow", "river")


def listing(*counts: int) -> list[tuple[str, int]]:
    return [(f"class{index}/{number:03}.png", index) for index, count in enumerate(counts) for number in range(count)]


@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=5),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_parts_are_disjoint_whole_and_keep_the_share(counts: list[int], share: float, seed: int) -> None:
    files = listing(*counts)
    first, second = stratified(files, CLASSES, share, seed)
    assert sorted(first + second) == sorted(files)
    for index, count in enumerate(counts):
        taken = sum(1 for _, label in first if label == index)
        assert taken == min(max(round(share * count), 1), count - 1)


@given(files=st.permutations(listing(5, 9, 2)))
def test_the_input_order_does_not_matter(files: list[tuple[str, int]]) -> None:
    assert stratified(files, CLASSES, 0.6, 3) == stratified(listing(5, 9, 2), CLASSES, 0.6, 3)


def test_a_seed_gives_one_cut_and_another_seed_another() -> None:
    files = listing(50, 50)
    assert stratified(files, CLASSES, 0.8, 0) == stratified(files, CLASSES, 0.8, 0)
    assert stratified(files, CLASSES, 0.8, 0) != stratified(files, CLASSES, 0.8, 1)


def test_the_cut_is_pinned() -> None:
    first, second = stratified(listing(4), CLASSES, 0.5, 0)
    assert [path for path, _ in first] == ["class0/000.png", "class0/002.png"]
    assert [path for path, _ in second] == ["class0/001.png", "class0/003.png"]


def test_a_class_is_cut_the_same_whatever_the_other_classes() -> None:
    alone, _ = stratified(listing(30), CLASSES, 0.5, 7)
    among, _ = stratified(listing(30, 8), CLASSES, 0.5, 7)
    assert alone == [entry for entry in among if entry[1] == 0]


def test_classes_are_not_cut_alike() -> None:
    first, _ = stratified(listing(40, 40), CLASSES, 0.5, 0)
    numbers = [{path.split("/")[1] for path, index in first if index == label} for label in (0, 1)]
    assert numbers[0] != numbers[1]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="share"):
        stratified(listing(4), CLASSES, share, 0)


def test_a_single_image_cannot_be_cut() -> None:
    with pytest.raises(DataError, match=r"class 'forest' has only one image, class1/000\.png"):
        stratified(listing(4, 1), CLASSES, 0.5, 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(DataError, match="seed -1"):
        stratified(listing(4), CLASSES, 0.5, -1)


def test_nothing_gives_nothing() -> None:
    assert stratified([], CLASSES, 0.5, 0) == ([], [])
