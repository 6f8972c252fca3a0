from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn import errors
from gfnet_dynn.errors import GFNetDynnError, ImageError, MissingExtraError, SpecError, ThresholdError, nearest


def test_every_error_is_caught_by_its_base() -> None:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
    assert len(found) >= 10
    assert all(issubclass(kind, GFNetDynnError) for kind in found)


@pytest.mark.parametrize("kind", [SpecError, ThresholdError])
def test_wrong_arguments_are_value_errors_too(kind: type[Exception]) -> None:
    assert issubclass(kind, ValueError)


def test_an_image_that_fails_is_a_data_error() -> None:
    assert issubclass(ImageError, errors.DataError)
    assert not issubclass(ImageError, OSError)


def test_a_missing_extra_says_what_to_install() -> None:
    assert str(MissingExtraError("drawing plots", "train")) == (
        "drawing plots needs packages that are not installed: pip install 'gfnet-dynn[train]'"
    )


@pytest.mark.parametrize("word", ["uc", "ucm", "UCN", "uMC"])
def test_the_closest_choice_is_named_in_its_own_spelling(word: str) -> None:
    assert nearest(word, ["UCM", "PatternNet"]) == "did you mean 'UCM'? (known: PatternNet, UCM)"


def test_without_a_close_choice_all_are_listed_in_order() -> None:
    assert nearest("zebra", ["UCM", "AID"]) == "known: AID, UCM"


@given(st.text(max_size=20))
def test_any_word_gets_a_hint_that_lists_all_choices(word: str) -> None:
    assert "AID, NaSC" in nearest(word, ["NaSC", "AID"])


def test_among_close_names_the_one_that_begins_alike_wins() -> None:
    assert "'gfnet-96x8'" in nearest("gfnet-97", ["gfnet-s", "gfnet-b", "gfnet-96x8", "gfnet-192x12"])
