from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from gfnet_dynn.data import source as source_module
from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG, DatasetConfig
from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.data.scenes import SceneData, keep_split, prepare
from gfnet_dynn.data.source import Source, locate
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.progress import OnProgress, ignore_progress
from gfnet_dynn.spec.network import InputSpec
from tests.conftest import CLASSES, make_scenes
from tests.data.small_sets import write_picture

CPU = torch.device("cpu")
Told = list[tuple[str, int, int]]


def teller(told: Told) -> OnProgress:
    return lambda title, done, total: told.append((title, done, total))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders that the embedded data set is written to; one image, relative to a folder of the test's own."""
    written: list[Path] = []

    def write(root: Path, *, on_step: Callable[[int, int], None]) -> Path:
        written.append(root)
        write_picture(root / "train" / "forest" / "0.png", 0)
        on_step(1, 1)
        return root

    monkeypatch.setattr(source_module, "write_synthetic", write)
    monkeypatch.chdir(tmp_path)
    return written


@pytest.fixture
def data(scenes: Path, scenes_config: Path, tmp_path: Path) -> SceneData:
    source = locate(DataOptions(data_set="stripes", data_path=scenes, dataset_config=scenes_config), teller([]))
    return prepare(source, InputSpec(32), SplitSettings(), tmp_path / "splits", teller([]))


def test_the_embedded_set_is_drawn_at_its_usual_place(drawn: list[Path]) -> None:
    told: Told = []
    source = locate(DataOptions(data_set="syntheticscenes"), teller(told))
    assert source.name == "SyntheticScenes"
    assert source.root == Path(str(DATASET_CONFIG["SyntheticScenes"].default_data_path))
    assert drawn == [source.root]
    assert (source.root / "train" / "forest" / "0.png").is_file()
    assert told == [("Generating SyntheticScenes", 1, 1)]


def test_a_path_that_is_given_is_taken_and_nothing_is_drawn(drawn: list[Path], tmp_path: Path) -> None:
    source = locate(DataOptions(data_set="SyntheticScenes", data_path=tmp_path / "mine"), teller([]))
    assert source.root == tmp_path / "mine"
    assert drawn == []


def test_other_sets_lie_at_their_usual_place(drawn: list[Path]) -> None:
    source = locate(DataOptions(data_set="ucm"), teller([]))
    assert (source.name, source.root, source.config.num_classes) == ("UCM", Path("data/UCM"), 21)
    assert drawn == []


def test_a_set_without_a_usual_place_needs_a_path(scenes: Path, scenes_config: Path) -> None:
    with pytest.raises(DataError, match=r"the data set Stripes has no default path: .*--data-path"):
        locate(DataOptions(data_set="stripes", dataset_config=scenes_config), teller([]))
    assert (
        locate(DataOptions(data_set="stripes", data_path=scenes, dataset_config=scenes_config), teller([])).root
        == scenes
    )


def test_a_path_that_is_not_there_is_refused(scenes_config: Path, tmp_path: Path) -> None:
    source = locate(
        DataOptions(data_set="stripes", data_path=tmp_path / "absent", dataset_config=scenes_config), teller([])
    )
    with pytest.raises(DataError, match=r"no folder .*absent for the data set Stripes"):
        prepare(source, InputSpec(32), SplitSettings(), tmp_path, teller([]))


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(DataError, match="did you mean 'UCM'"):
        locate(DataOptions(data_set="UCN"), teller([]))


def test_the_file_name_says_how_the_split_was_drawn(scenes: Path, scenes_config: Path, tmp_path: Path) -> None:
    source = locate(DataOptions(data_set="stripes", data_path=scenes, dataset_config=scenes_config), teller([]))
    told: Told = []
    for _ in range(2):
        keep_split(prepare(source, InputSpec(32), SplitSettings(split_seed=3), tmp_path, teller(told)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Stripes_seed3_selection0.1.json"]
    assert told[-1] == ("Checking the images of Stripes", 104, 104)
    assert len(told) == 104


def test_a_random_split_is_stored_under_its_ratio(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "s", train=5, val=0)
    extra = tmp_path / "sets.toml"
    extra.write_text(
        '[Mixed]\nnum_classes = 4\ndefault_input_size = 32\ntrain_folder = "train"\nuse_random_split = true\n'
    )
    source = locate(DataOptions(data_set="mixed", data_path=root, dataset_config=extra), teller([]))
    for ratio in (0.6, 0.8):
        made = prepare(source, InputSpec(32), SplitSettings(split_ratio=ratio), tmp_path / "splits", teller([]))
        keep_split(made, tmp_path / "splits")
        assert len(made.split.parts["val"]) == 20 - round(5 * ratio) * 4
    names = sorted(path.name for path in (tmp_path / "splits").iterdir())
    assert names == ["Mixed_seed0_ratio0.6_selection0.1.json", "Mixed_seed0_ratio0.8_selection0.1.json"]


def test_another_stretch_has_a_split_of_its_own_since_fingerprints_differ(scenes: Path, tmp_path: Path) -> None:
    source = Source("Stripes", DatasetConfig(num_classes=4, default_input_size=32), scenes)
    for stretch in (None, (0.0, 2047.0)):
        stretched = replace(source, decode=DecodeOptions(stretch=stretch))
        keep_split(prepare(stretched, InputSpec(32), SplitSettings(), tmp_path, ignore_progress), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["Stripes_seed0_selection0.1.json", "Stripes_seed0_selection0.1_stretch0-2047.json"]


def test_data_and_split_are_described_in_json(data: SceneData) -> None:
    described = json.loads(msgspec.json.encode(data.record()))
    assert described["data_set"] == "Stripes"
    assert described["images"] == {"train": 72, "selection": 8, "val": 24}
    assert described["split"] == {"split_seed": 0, "split_ratio": 0.8, "selection_share": 0.1, "on_bad_image": "refuse"}
    assert described["skipped"] == 0
    assert len(described["fingerprint"]) == 64
    assert data.split.classes == CLASSES


@pytest.mark.parametrize("part", ["train", "selection", "val"])
def test_evaluation_images_are_the_same_whatever_the_seed(data: SceneData, part: str) -> None:
    batches = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        batches.append(next(data.evaluation_loader(part).in_order(8, CPU)))
    assert torch.equal(batches[0].images, batches[1].images)
    assert torch.equal(batches[0].labels, batches[1].labels)


def test_evaluation_images_are_only_normalised(data: SceneData) -> None:
    images = next(data.evaluation_loader("val").in_order(24, CPU)).images
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.input.mean, data.input.std))
    for normalised, (name, _) in zip(images, data.split.parts["val"], strict=True):
        pixels = np.asarray(Image.open(data.source.root / name).convert("RGB"))
        back = (255 * (normalised * std + mean)).round().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(back, pixels)


def test_training_images_differ_between_seeds(data: SceneData) -> None:
    loaded = data.training_loader("overhead")
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(next(loaded.in_order(8, CPU)).images)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


def test_training_without_augmentation_sees_the_images_of_evaluation(data: SceneData) -> None:
    plain = next(data.training_loader("none").in_order(8, CPU))
    assert torch.equal(plain.images, next(data.evaluation_loader("train").in_order(8, CPU)).images)
    assert len(data.training_loader("none")) == 72


def test_each_loader_owns_its_transform(data: SceneData) -> None:
    held_out = data.evaluation_loader("selection")
    before = next(held_out.in_order(8, CPU)).images
    training = data.training_loader("overhead")
    torch.manual_seed(5)
    next(training.in_order(8, CPU))
    assert torch.equal(next(held_out.in_order(8, CPU)).images, before)


def test_a_source_keeps_what_it_was_given(scenes: Path, scenes_config: Path) -> None:
    source = locate(DataOptions(data_set="STRIPES", data_path=scenes, dataset_config=scenes_config), teller([]))
    assert source == Source("Stripes", source.config, scenes)
    assert source.config.default_input_size == 32
