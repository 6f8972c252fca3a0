"""Data sets found in a folder by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.data.source import Source, find_in_folder, locate
from gfnet_dynn.data.split import find_split
from gfnet_dynn.errors import DataError
from gfnet_dynn.progress import ignore_progress
from tests.data.small_sets import write_picture


def scenes(root: Path, *folders: str, size: int = 96) -> Path:
    for number, folder in enumerate(folders):
        write_picture(root / folder / "0.png", number, size)
        write_picture(root / folder / "1.png", 100 + number, size)
    return root


def test_class_folders_are_split_at_random(tmp_path: Path) -> None:
    root = scenes(tmp_path / "mine", "river", "farm", ".cache/thumbnails")
    assert find_in_folder(root) == Source(
        "mine", DatasetConfig(2, 96, train_folder=".", val_folder=".", use_random_split=True), root
    )
    # A class may be called like a part.
    assert find_in_folder(scenes(tmp_path / "rail", "train", "ship")).config.use_random_split


@pytest.mark.parametrize(
    ("names", "val", "test"),
    [
        (("train", "val"), "val", None),
        (("Training", "validation", "test"), "validation", "test"),
        (("train", "valid"), "valid", None),
        (("train", "test"), "test", None),
    ],
)
def test_folders_of_parts_are_known_by_their_usual_names(
    tmp_path: Path, names: tuple[str, ...], val: str, test: str | None
) -> None:
    root = scenes(tmp_path / "set", *(f"{part}/{name}" for part in names for name in ("river", "farm", "port")))
    config = find_in_folder(root).config
    assert (config.num_classes, config.use_random_split) == (3, False)
    assert (config.train_folder, config.val_folder, config.test_folder) == (names[0], val, test)


def test_a_training_folder_alone_is_split_at_random(tmp_path: Path) -> None:
    config = find_in_folder(scenes(tmp_path, "train/river", "train/farm")).config
    assert (config.train_folder, config.use_random_split) == ("train", True)


@pytest.mark.parametrize(("size", "side"), [(32, 64), (64, 64), (250, 256), (600, 256), (100, 128)])
def test_the_size_is_that_of_most_images_within_limits(tmp_path: Path, size: int, side: int) -> None:
    root = scenes(tmp_path, "river", "farm", size=size)
    write_picture(root / "farm" / "odd.png", 9, 700)
    (root / "farm" / "broken.png").write_bytes(b"no image")
    source = find_in_folder(root)
    assert source.config.default_input_size == side
    assert source.input_size(DataOptions(largest_input_size=160)) == min(side, 160)
    assert source.input_size(DataOptions(input_size=224, largest_input_size=160)) == 224


@pytest.mark.parametrize(
    ("folders", "facts"),
    [
        ((), ("no class folders",)),
        (("river",), ("one class folder", "river", "two")),
        (("train/river",), ("one class folder", "river")),
        (("val/river", "test/river"), ("val", "train")),
        (("Images/river", "Images/farm"), ("no class folders", "did you mean", "Images")),
    ],
)
def test_what_is_no_data_set_is_named(tmp_path: Path, folders: tuple[str, ...], facts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        find_in_folder(scenes(tmp_path, *folders))
    for fact in (*facts, str(tmp_path)):
        assert fact in str(error.value)


def test_a_folder_that_is_not_there_and_a_file_are_named(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 0)
    for place in (tmp_path / "away", tmp_path / "a.png"):
        with pytest.raises(DataError, match=place.name):
            find_in_folder(place)
    with pytest.raises(DataError, match="--data-set"):
        locate(DataOptions(), ignore_progress)


def test_a_folder_of_unreadable_images_is_named(tmp_path: Path) -> None:
    for name in ("river", "farm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of 2 images"):
        find_in_folder(tmp_path)


def test_classes_that_differ_between_parts_are_named(tmp_path: Path) -> None:
    root = scenes(tmp_path, "train/river", "train/farm", "val/river", "val/farm", "val/port")
    with pytest.raises(DataError, match=r"train lacks classes that .*val has: port"):
        find_split(None, find_in_folder(root), SplitSettings())
