from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.learned_from import find_unlabelled, require_unseen
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.scenes import ImageLoader, Normalise
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.split import UNLABELLED, find_split
from gfnet_dynn.errors import DataError
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.train.engine.loop import epoch_order
from tests.data.small_sets import write_picture
from tests.fingerprints import store_anew

CONFIG = DatasetConfig(num_classes=4, default_input_size=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write_picture(tmp_path / "some" / f"{number}.png", number)
    write_picture(tmp_path / "other" / "below" / "3.png", 3)
    return tmp_path


def test_images_are_found_wherever_they_lie(folder: Path) -> None:
    found = find_unlabelled(folder, "refuse")
    assert [Path(path).stem for path, _ in found.files] == ["3", "0", "1", "2"]
    assert {label for _, label in found.files} == {UNLABELLED}
    before = found.sha256
    write_picture(folder / "some" / "9.png", 9)
    assert find_unlabelled(folder, "refuse").sha256 != before


def test_an_absent_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*away of unlabelled images: check --unlabelled"):
        find_unlabelled(tmp_path / "away", "refuse")
    with pytest.raises(DataError, match=r"no usable images: .*\.png.*; check --unlabelled"):
        find_unlabelled(tmp_path, "refuse")


def test_broken_files_are_refused_or_left_out(folder: Path) -> None:
    (folder / "some" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of the images cannot be decoded:\s+.*bad\.png"):
        find_unlabelled(folder, "refuse")
    found = find_unlabelled(folder, "skip")
    assert (len(found.files), list(found.skipped)) == (4, ["some/bad.png"])


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("part", ["train", "selection", "val"])
def test_held_out_images_are_refused_however_they_are_stored(
    scenes: Path, tmp_path: Path, part: str, anew: bool
) -> None:
    split = find_split(None, Source("Stripes", CONFIG, scenes), SplitSettings())
    original = scenes / split.parts[part][0][0]
    (tmp_path / "pool").mkdir()
    if anew:
        store_anew(original, tmp_path / "pool" / "copy.jpg")
    else:
        (tmp_path / "pool" / "copy.png").write_bytes(original.read_bytes())
    found = find_unlabelled(tmp_path / "pool", "refuse")
    if part == "train":
        require_unseen(found, scenes, split)
    else:
        with pytest.raises(DataError) as caught:
            require_unseen(found, scenes, split)
        assert str(original) in str(caught.value)


def test_a_leak_within_the_data_set_is_not_charged_to_unlabelled_images(own_scenes: Path, tmp_path: Path) -> None:
    original = find_split(None, Source("Stripes", CONFIG, own_scenes), SplitSettings()).parts["train"][0][0]
    copy = store_anew(own_scenes / original, own_scenes / "val/river/copy.png")
    split = find_split(None, Source("Stripes", CONFIG, own_scenes), SplitSettings())
    assert original in dict(split.parts["train"])
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "copy.png").write_bytes(copy.read_bytes())
    require_unseen(find_unlabelled(tmp_path / "pool", "refuse"), own_scenes, split)


def test_an_epoch_shows_as_many_without_labels_as_with(folder: Path, tmp_path: Path) -> None:
    labelled = (("some/0.png", 1), ("some/1.png", 0))
    spec = InputSpec(8)
    loader = ImageLoader(tmp_path, (*labelled, *find_unlabelled(folder, "refuse").files), spec, Normalise(spec))
    assert (loader.num_labelled, loader.num_unlabelled, loader.epoch_images) == (2, 4, 4)
    drawn = set()
    for epoch in range(8):
        order = epoch_order(0, "backbone", epoch, loader.num_labelled, loader.num_unlabelled)
        assert (len(order), len(set(order))) == (4, 4)
        assert {0, 1} <= set(order)
        drawn |= set(order)
        (batch,) = loader.batches(order, 8, torch.device("cpu"))
        assert sorted(batch.labels.tolist()) == [UNLABELLED, UNLABELLED, 0, 1]
    assert drawn == set(range(6))
