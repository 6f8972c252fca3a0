from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.split import Split, find_split, read_split
from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.fingerprint import fingerprint
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.system.storage import write_json
from tests.conftest import CLASSES
from tests.data.small_sets import write_picture

FOLDERS = DatasetConfig(num_classes=4, default_input_size=32)
RANDOM = DatasetConfig(num_classes=2, default_input_size=8, train_folder=".", val_folder=".", use_random_split=True)
QUARTER = SplitSettings(selection_share=0.25)


def split(root: Path, file: Path, config: DatasetConfig = FOLDERS, settings: SplitSettings = QUARTER) -> Split:
    """As a run that gets so far that it keeps the split."""
    made = find_split(file, Source("Stripes", config, root), settings)
    write_json(file, made)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "splits" / "split.json"


@pytest.fixture
def one_folder(tmp_path: Path) -> Path:
    """Two classes of 10 and 20 images, to be split at random."""
    for label, count in (("farm", 10), ("river", 20)):
        for number in range(count):
            write_picture(tmp_path / "all" / label / f"{number:02}.png", number)
    return tmp_path / "all"


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def per_class(made: Split, part: str) -> dict[int, int]:
    return dict(Counter(label for _, label in made.parts[part]))


def test_selection_is_held_out_of_each_training_class(scenes: Path, file: Path) -> None:
    made = split(scenes, file)
    assert made.classes == CLASSES
    assert list(made.parts) == ["train", "selection", "val"]
    assert per_class(made, "train") == dict.fromkeys(range(4), 15)
    assert per_class(made, "selection") == dict.fromkeys(range(4), 5)
    assert per_class(made, "val") == dict.fromkeys(range(4), 6)
    assert made.report_part == "val"
    assert made.skipped == {}


def test_no_image_is_in_two_parts_and_none_is_lost(scenes: Path, file: Path) -> None:
    made = split(scenes, file)
    names = [name for files in made.parts.values() for name, _ in files]
    on_disk = {path.relative_to(scenes).as_posix() for path in scenes.rglob("*.png")}
    assert len(names) == len(set(names))
    assert set(names) == on_disk
    assert all(name.startswith("val/") for name, _ in made.parts["val"])
    assert all(CLASSES[label] == Path(name).parent.name for files in made.parts.values() for name, label in files)


def test_a_later_run_reads_the_same_split(scenes: Path, file: Path) -> None:
    made = split(scenes, file)
    written = file.read_bytes()
    assert split(scenes, file) == made
    assert read_split(file) == made
    assert file.read_bytes() == written


def test_the_seed_decides(scenes: Path, tmp_path: Path) -> None:
    first = split(scenes, tmp_path / "1.json")
    assert split(scenes, tmp_path / "2.json") == first
    other = split(scenes, tmp_path / "3.json", settings=replace(QUARTER, split_seed=1))
    assert other.parts["selection"] != first.parts["selection"]
    assert other.parts["val"] == first.parts["val"]


def test_images_are_decoded_once_only_and_progress_is_told(scenes: Path, file: Path) -> None:
    told: list[tuple[int, int]] = []
    for _ in range(2):
        write_json(file, find_split(file, Source("Stripes", FOLDERS, scenes), QUARTER, lambda *step: told.append(step)))
    assert told == [(done, 104) for done in range(1, 105)]


def test_one_folder_is_split_at_random(one_folder: Path, file: Path) -> None:
    made = split(one_folder, file, RANDOM, SplitSettings(split_ratio=0.7, selection_share=0.2))
    assert per_class(made, "val") == {0: 3, 1: 6}
    assert per_class(made, "selection") == {0: 1, 1: 3}
    assert per_class(made, "train") == {0: 6, 1: 11}
    names = {name for files in made.parts.values() for name, _ in files}
    assert names == {path.relative_to(one_folder).as_posix() for path in one_folder.rglob("*.png")}


def test_a_test_folder_is_what_is_reported_on(own_scenes: Path, file: Path) -> None:
    for label in CLASSES:
        write_picture(own_scenes / "test" / label / "1.png", 1)
    made = split(own_scenes, file, replace(FOLDERS, test_folder="test"))
    assert made.report_part == "test"
    assert per_class(made, "test") == dict.fromkeys(range(4), 1)
    assert all(name.startswith("test/") for name, _ in made.parts["test"])
    assert read_split(file) == made


@pytest.mark.parametrize("change", ["added", "removed", "resized", "renamed"])
def test_changed_data_are_refused(own_scenes: Path, file: Path, change: str) -> None:
    split(own_scenes, file)
    image = own_scenes / "val" / "river" / "000.png"
    if change == "added":
        write_picture(image.with_name("new.png"), 3)
    elif change == "removed":
        image.unlink()
    elif change == "resized":
        write_picture(image, 3, size=9)
    else:
        image.rename(image.with_name("other.png"))
    with pytest.raises(DataError, match=r"the images of Stripes changed since the split .*split\.json was written"):
        split(own_scenes, file)


@pytest.mark.parametrize("settings", [replace(QUARTER, split_seed=3), replace(QUARTER, selection_share=0.3)])
def test_a_split_that_was_drawn_otherwise_is_refused(scenes: Path, file: Path, settings: SplitSettings) -> None:
    split(scenes, file)
    with pytest.raises(DataError, match="not the one asked for: move it away"):
        split(scenes, file, settings=settings)


def test_the_ratio_counts_for_random_splits_only(scenes: Path, one_folder: Path, file: Path) -> None:
    made = split(scenes, file)
    assert split(scenes, file, settings=replace(QUARTER, split_ratio=0.5)) == made
    other = file.with_name("random.json")
    split(one_folder, other, RANDOM)
    with pytest.raises(DataError, match="not the one asked for"):
        split(one_folder, other, RANDOM, replace(QUARTER, split_ratio=0.5))


def test_a_split_of_another_data_set_is_refused(scenes: Path, file: Path) -> None:
    split(scenes, file)
    with pytest.raises(DataError, match="is a split of Stripes with"):
        find_split(file, Source("Other", FOLDERS, scenes), QUARTER)


def test_images_that_cannot_be_decoded_are_refused_by_name(own_scenes: Path, file: Path) -> None:
    bad = [own_scenes / "train" / "desert" / "003.png", own_scenes / "val" / "river" / "001.png"]
    for path in bad:
        truncate(path)
    with pytest.raises(DataError) as error:
        split(own_scenes, file)
    said = str(error.value)
    assert said.startswith("2 of the images cannot be decoded:")
    assert all(str(path) in said for path in bad)
    assert "--on-bad-image skip" in said
    assert not file.exists()


def test_a_truncated_jpeg_is_left_out_where_that_is_asked_for(one_folder: Path, file: Path) -> None:
    jpeg = one_folder / "farm" / "bad.jpg"
    write_picture(jpeg, 1, size=64)
    truncate(jpeg)
    skip = replace(QUARTER, on_bad_image="skip")
    made = split(one_folder, file, RANDOM, skip)
    assert list(made.skipped) == ["farm/bad.jpg"]
    assert "truncated" in made.skipped["farm/bad.jpg"]
    assert sum(len(files) for files in made.parts.values()) == 30
    assert split(one_folder, file, RANDOM, skip) == made
    with pytest.raises(DataError, match="1 of the images cannot be decoded"):
        split(one_folder, file, RANDOM)


def test_many_bad_images_are_counted_and_not_all_listed(own_scenes: Path, file: Path) -> None:
    for path in (own_scenes / "train" / "forest").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)20 of the images.*and 10 more") as error:
        split(own_scenes, file)
    assert str(error.value).count(".png") == 10 + 10  # each reason: the name, and the format's suffix


@pytest.mark.parametrize(("part", "left", "needed"), [("train", 0, 2), ("train", 1, 2), ("val", 0, 1)])
def test_a_class_of_which_too_little_is_left_is_refused(
    own_scenes: Path, file: Path, part: str, left: int, needed: int
) -> None:
    for path in sorted((own_scenes / part / "river").iterdir())[left:]:
        path.write_bytes(b"")
    message = f"the class 'river' has {left} usable images for {part} and needs at least {needed}"
    with pytest.raises(DataError, match=message):
        split(own_scenes, file, settings=replace(QUARTER, on_bad_image="skip"))


def test_a_random_split_needs_an_image_for_each_part(one_folder: Path, file: Path) -> None:
    for path in sorted((one_folder / "farm").iterdir())[2:]:
        path.unlink()
    with pytest.raises(DataError, match="the class 'farm' has 2 usable images for train and needs at least 3"):
        split(one_folder, file, RANDOM)
    write_picture(one_folder / "farm" / "third.png", 3)
    made = split(one_folder, file, RANDOM)
    assert [per_class(made, part)[0] for part in ("train", "selection", "val")] == [1, 1, 1]


def test_the_fingerprints_of_a_split_are_those_of_its_images(scenes: Path, file: Path) -> None:
    made = split(scenes, file)
    assert {part: len(content) for part, content in made.fingerprints.items()} == {
        part: 32 * len(files) for part, files in made.parts.items()
    }
    first = made.parts["selection"][0][0]
    assert made.fingerprints["selection"][:32] == fingerprint(read_image(scenes / first))


@pytest.mark.parametrize("lost", [32, 1])
def test_a_stored_split_without_all_its_fingerprints_is_named(scenes: Path, file: Path, lost: int) -> None:
    made = split(scenes, file)
    write_json(file, replace(made, fingerprints={**made.fingerprints, "val": made.fingerprints["val"][lost:]}))
    with pytest.raises(DataError, match="one fingerprint for each image; remove it to draw a new split"):
        read_split(file)


def test_train_and_val_must_have_the_same_classes(own_scenes: Path, file: Path) -> None:
    (own_scenes / "val" / "river").rename(own_scenes / "val" / "rivers")
    with pytest.raises(DataError, match=r"train lacks classes that .*val has: rivers"):
        split(own_scenes, file)


def test_the_number_of_classes_must_be_the_configured_one(scenes: Path, file: Path) -> None:
    with pytest.raises(DataError, match=r"has 4 class folders .* Stripes is configured with 5 classes"):
        split(scenes, file, replace(FOLDERS, num_classes=5))


def test_a_missing_data_set_says_how_to_get_it(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*absent for the data set Stripes: give --data-path"):
        split(tmp_path / "absent", file)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_shares_must_lie_between_0_and_1(ratio: float) -> None:
    with pytest.raises(OptionError, match="--split-ratio must lie between 0 and 1"):
        SplitSettings(split_ratio=ratio)
    with pytest.raises(OptionError, match="--selection-share must lie between 0 and 1"):
        SplitSettings(selection_share=ratio)


def test_what_to_do_with_bad_images_is_one_of_two() -> None:
    with pytest.raises(OptionError, match="--on-bad-image must be one of refuse, skip, not 'ignore'"):
        SplitSettings(on_bad_image="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "damage",
    ["cut", "empty", "list", "no parts", "parts a list", "no selection", "files a number", "bad ratio", "surplus"],
)
def test_a_damaged_split_is_refused(scenes: Path, file: Path, damage: str) -> None:
    split(scenes, file)
    whole = file.read_text(encoding="utf-8")
    value = json.loads(whole)
    if damage == "no parts":
        del value["parts"]
    elif damage == "parts a list":
        value["parts"] = []
    elif damage == "no selection":
        del value["parts"]["selection"]
    elif damage == "files a number":
        value["parts"]["train"] = 7
    elif damage == "bad ratio":
        value["settings"]["split_ratio"] = 3
    elif damage == "surplus":
        value["settings"]["shuffle"] = True
    texts = {"cut": whole[:-40], "empty": "", "list": "[]"}
    file.write_text(texts.get(damage, json.dumps(value)), encoding="utf-8")
    with pytest.raises(DataError, match=r"split\.json: .*; remove it to draw a new split"):
        split(scenes, file)


def test_a_missing_split_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json"):
        read_split(tmp_path / "absent.json")


def test_images_are_decoded_within_the_limit(own_scenes: Path, file: Path) -> None:
    source = Source("Stripes", FOLDERS, own_scenes, DecodeOptions(max_pixels=1000))
    with pytest.raises(DataError, match=r"--max-pixels"):
        find_split(file, source, QUARTER)
