"""Which images a report is on, when those of training are there, have changed, or are others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.learned_from import TrainedOn, learned_from_split, prepare_report
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.scenes import SceneData, prepare
from gfnet_dynn.data.source import Source
from gfnet_dynn.errors import DataError
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.spec.network import InputSpec
from tests.data.small_sets import write_picture
from tests.fingerprints import store_anew, write_scene

FOLDERS = DatasetConfig(num_classes=2, default_input_size=8)
MIXED = replace(FOLDERS, train_folder=".", use_random_split=True)
SETTINGS = SplitSettings(split_seed=3, split_ratio=0.6, selection_share=0.25)


def make_source(root: Path, config: DatasetConfig = MIXED, name: str = "Own", first: int = 0) -> Source:
    for part in ("",) if config.use_random_split else ("train", "val"):
        for label in ("farm", "river"):
            for number in range(10):
                write_picture(root / part / label / f"{number}.png", first)
                first += 1
    return Source(name, config, root)


def as_trained(data: SceneData, *, kept: bool) -> TrainedOn:
    split = data.split
    kept_split = split if kept else None
    return TrainedOn(data.source.name, split.fingerprint, split.settings, kept_split, learned_from_split(split))


@pytest.mark.parametrize("kept", [True, False])
def test_the_same_images_are_split_as_in_training(tmp_path: Path, kept: bool) -> None:
    trained = prepare(make_source(tmp_path), InputSpec(8), SETTINGS, None, ignore_progress)
    data, note = prepare_report(trained.source, InputSpec(16), as_trained(trained, kept=kept), ignore_progress)
    assert data.split == trained.split
    assert (data.input.size, note) == (16, None)


def test_added_images_stay_out_of_a_random_split(tmp_path: Path) -> None:
    trained = prepare(make_source(tmp_path), InputSpec(8), SETTINGS, None, ignore_progress)
    write_picture(tmp_path / "farm" / "new.png", 99)
    data, note = prepare_report(trained.source, InputSpec(8), as_trained(trained, kept=True), ignore_progress)
    assert data.split.parts == trained.split.parts
    assert note is not None
    assert "changed since the checkpoint was trained" in note
    data, note = prepare_report(trained.source, InputSpec(8), as_trained(trained, kept=False), ignore_progress)
    assert "farm/new.png" in dict(data.split.parts["val"]), "a new draw, which happens to hold out no other image"
    write_picture(tmp_path / "farm" / "-.png", 98)
    with pytest.raises(DataError, match=r"trained or selected on \d+ of the \d+ images to be reported on"):
        prepare_report(trained.source, InputSpec(8), as_trained(trained, kept=False), ignore_progress)


@pytest.mark.parametrize("config", [MIXED, FOLDERS])
def test_images_that_are_gone_are_named(tmp_path: Path, config: DatasetConfig) -> None:
    trained = prepare(make_source(tmp_path, config), InputSpec(8), SETTINGS, None, ignore_progress)
    (tmp_path / trained.split.parts["val"][0][0]).unlink()
    with pytest.raises(DataError, match=r"1 of the images held out .* such as .*\.png"):
        prepare_report(trained.source, InputSpec(8), as_trained(trained, kept=True), ignore_progress)


def test_a_set_with_a_val_folder_is_reported_on_as_it_was_too(tmp_path: Path) -> None:
    trained = prepare(make_source(tmp_path, FOLDERS), InputSpec(8), SETTINGS, None, ignore_progress)
    moved = trained.split.parts["train"][0][0]
    (tmp_path / moved).rename(tmp_path / "val" / "farm" / "moved.png")
    data, note = prepare_report(trained.source, InputSpec(8), as_trained(trained, kept=True), ignore_progress)
    assert data.split.parts["val"] == trained.split.parts["val"]
    assert note is not None
    assert "those held out then are reported on" in note
    with pytest.raises(DataError, match="moved"):
        prepare_report(trained.source, InputSpec(8), as_trained(trained, kept=False), ignore_progress)


def test_other_data_are_drawn_anew(tmp_path: Path) -> None:
    trained = prepare(make_source(tmp_path / "own"), InputSpec(8), SETTINGS, None, ignore_progress)
    other = make_source(tmp_path / "other", name="Other", first=50)
    write_picture(tmp_path / "other" / "farm" / "more.png", 98)
    data, note = prepare_report(other, InputSpec(8), as_trained(trained, kept=True), ignore_progress)
    assert data.split.data_set == "Other"
    assert data.split.settings == SETTINGS
    assert note is None


@pytest.mark.parametrize("changed", [False, True])
def test_a_copy_of_a_training_image_is_not_reported_on(tmp_path: Path, changed: bool) -> None:
    source = make_source(tmp_path / "own", FOLDERS)
    scene = write_scene(tmp_path / "own" / "train" / "farm" / "scene.png", 1)
    trained = prepare(source, InputSpec(8), replace(SETTINGS, selection_share=0.05), None, ignore_progress)
    if changed:  # under the path of an image that was held out
        copy = store_anew(scene, tmp_path / "own" / "val" / "farm" / "0.png")
        scene.unlink()
    else:  # in another data set
        source = make_source(tmp_path / "other", FOLDERS, "Other", first=100)
        copy = store_anew(scene, tmp_path / "other" / "val" / "farm" / "copy.webp")
    with pytest.raises(DataError) as caught:
        prepare_report(source, InputSpec(8), as_trained(trained, kept=True), ignore_progress)
    assert str(copy) in str(caught.value)
