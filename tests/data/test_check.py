from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue import configs
from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset
from gfnet_dynn.data.check import DataCheckResult, check_folder
from gfnet_dynn.errors import DataError
from tests.data.small_sets import picture, write_picture
from tests.fingerprints import store_anew, write_scene

CONFIG = DatasetConfig(num_classes=2, default_input_size=8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, 3 images of 8 px in train and 2 in val."""
    number = 0
    for part, count in (("train", 3), ("val", 2)):
        for label in ("field", "river"):
            for _ in range(count):
                number += 1
                write_picture(tmp_path / part / label / f"{number:02}.png", number)
    return tmp_path


def check(root: Path, config: DatasetConfig = CONFIG) -> DataCheckResult:
    return check_folder("Scenes", config, root)


def test_a_good_set_is_fine_and_counted(root: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    report = check_folder("Scenes", CONFIG, root, lambda *step: steps.append(step))
    assert (report.problems, report.remarks, report.leaks) == ([], [], [])
    train, val = report.parts
    assert train.images_per_class == {"field": 3, "river": 3}
    assert val.images_per_class == {"field": 2, "river": 2}
    assert (train.formats, train.common_size, train.odd_sizes) == ({"PNG": 6}, "8x8", {})
    assert steps == [("Decoding", done, 10) for done in range(1, 11)]


def test_the_report_is_json(root: Path) -> None:
    write_picture(root / "train/field/odd.png", 90, size=9)
    value = json.loads(json.dumps(check(root).to_dict()))
    assert value["parts"][0]["odd_sizes"] == {"9x9": ["train/field/odd.png"]}


def test_corrupt_files_are_named_with_the_reason(root: Path) -> None:
    (root / "train/field/01.png").write_bytes(b"no image")
    whole = (root / "val/river/10.png").read_bytes()
    (root / "val/river/10.png").write_bytes(whole[: len(whole) // 2])
    report = check(root)
    assert [path for part in report.parts for path in part.corrupt] == ["train/field/01.png", "val/river/10.png"]
    assert "not an image" in report.problems[0]
    assert "val: 1 file cannot be decoded" in report.problems[1]


def test_odd_sizes_and_formats_are_notes(root: Path) -> None:
    write_picture(root / "train/field/wide.png", 90, size=16)
    write_picture(root / "val/field/photo.jpg", 91)
    report = check(root)
    assert report.problems == []
    assert report.remarks == [
        "train: 1 image not of 8x8 px, to be resized: 1 of 16x16 px (train/field/wide.png)",
        "several formats: 11 PNG, 1 JPEG",
    ]


def test_the_format_is_that_of_the_content(root: Path) -> None:
    (root / "train/field/01.png").rename(root / "train/field/01.jpg")
    assert check(root).parts[0].formats == {"PNG": 6}


def test_a_class_that_a_part_lacks(root: Path) -> None:
    for path in (root / "val/river").iterdir():
        path.unlink()
    (root / "val/river").rmdir()
    assert check(root).problems == [
        "val: 1 class folder in val instead of 2",
        "val: classes missing that other parts have: river",
    ]


def test_an_empty_class_and_a_missing_part(root: Path) -> None:
    (root / "train/river").rename(root / "gone")
    (root / "train/river").mkdir()
    report = check(root, replace(CONFIG, test_folder="test"))
    assert report.problems == [
        "train: class folders without images: river",
        "test: 0 class folders in test instead of 2",
        "test: classes missing that other parts have:\n  field\n  river",
    ]


def test_duplicates_in_one_part_are_a_note(root: Path) -> None:
    picture(1).save(root / "train/field/copy.bmp")  # other name and format, same pixels
    report = check(root)
    assert report.repeated == [("train/field/01.png", "train/field/copy.bmp")]
    assert report.problems == []
    assert "train/field/01.png = train/field/copy.bmp" in report.remarks[-1]


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_image_in_two_classes_is_a_problem(root: Path, part: str) -> None:
    picture(1).save(root / part / "river/copy.bmp")
    report = check(root)
    assert report.contradictions == [("train/field/01.png", f"{part}/river/copy.bmp")]
    assert report.repeated == []
    assert f"train/field/01.png = {part}/river/copy.bmp" in report.problems[0]


@pytest.mark.parametrize("place", ["val/field", "train/river", "train/field"])
def test_copies_are_recognised_however_they_are_stored(root: Path, place: str) -> None:
    copy = store_anew(write_scene(root / "train/field/02.png", 1), root / place / "x.webp", turned=True)
    report, group = check(root), ("train/field/02.png", f"{place}/x.webp")
    assert report.leaks == ([group] if "val" in place else [])
    assert report.contradictions == ([group] if "river" in place else [])
    assert report.repeated == ([group] if place == "train/field" else [])
    assert any(copy.name in each for each in [*report.problems, *report.remarks] if " = " in each)


def test_duplicates_across_parts_are_a_problem(root: Path) -> None:
    write_picture(root / "val/field/leak.png", 2)
    report = check(root)
    assert report.leaks == [("train/field/02.png", "val/field/leak.png")]
    assert report.problems == [
        "1 image in more than one part, which makes results too good: train/field/02.png = val/field/leak.png"
    ]


def test_one_folder_of_classes(root: Path) -> None:
    config = DatasetConfig(2, 8, train_folder="train", val_folder="train", use_random_split=True)
    report = check(root, config)
    assert [part.part for part in report.parts] == ["all"]
    assert report.problems == []


def test_hidden_and_other_files_are_passed_over(root: Path) -> None:
    (root / "train/field/.hidden.png").write_bytes(b"x")
    (root / "train/field/notes.txt").write_text("x")
    (root / "train/.cache").mkdir()
    assert check(root).problems == []


@pytest.mark.parametrize(("published", "whole"), [(5, True), (50, False)])
def test_counts_are_compared_with_the_published_ones(
    root: Path, monkeypatch: pytest.MonkeyPatch, published: int, whole: bool
) -> None:
    known = configs.KnownSet(4 * published, (published, published), "none", "a test")
    monkeypatch.setitem(configs.known_sets(), "Scenes", known)
    for label, count in (("lake", 5), ("sand", 3)):
        for number in range(count):
            part = "val" if number % 2 else "train"
            write_picture(root / part / label / f"{number}.png", 100 * count + number)
    report = check(root, replace(CONFIG, num_classes=4))
    if whole:
        assert report.problems == ["images per class differ from the published 5: sand (3)"]
    else:
        assert report.problems == []
        assert report.remarks == ["18 images of the 200 published: not the whole set"]


def test_a_range_of_published_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configs.known_sets(), "Scenes", configs.KnownSet(99, (6, 9), "none", "a test"))
    assert check(root).remarks == ["10 images of the 99 published: not the whole set"]


def test_long_lists_are_cut(root: Path) -> None:
    for number in range(7):
        (root / f"train/field/bad{number}.png").write_bytes(b"x")
    lines = check(root).problems[0].splitlines()
    assert lines[0] == "train: 7 files cannot be decoded:"
    assert lines[1].startswith(f"  {root}/train/field/bad0.png is not an image")
    assert lines[5].startswith(f"  {root}/train/field/bad4.png")
    assert lines[6:] == ["  and 2 more"]


def test_a_part_given_as_the_whole_is_noticed(root: Path) -> None:
    with pytest.raises(DataError) as error:
        check(root / "val")
    assert str(error.value).endswith(f"did you mean --data-path {root}? It has a folder train")
    whole = replace(CONFIG, train_folder=".", use_random_split=True)
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"check --data-path$"):
        check(root / "empty", whole)


def test_the_table_has_a_row_for_each_part(root: Path) -> None:
    assert check(root).tables()[0].rows == (
        ("train", "2", "6", "3", "8x8", "PNG", "0"),
        ("val", "2", "4", "2", "8x8", "PNG", "0"),
    )
    assert check(root).notes() == ["Scenes: no problem found"]
    (root / "val/field/bad.png").write_bytes(b"x")
    assert check(root).notes()[-1].startswith("problem: val: 1 file")


def test_nothing_there_stops_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no images in .*train/CLASS/\* or val/CLASS/\*"):
        check(tmp_path / "nowhere")


def test_a_part_of_the_real_ucm_is_fine(shared: Callable[[str], Path]) -> None:
    report = check_folder("UCM", find_dataset("UCM")[1], shared("data/UCM"))
    assert report.problems == []
    assert report.remarks[0] == "1680 images of the 2100 published: not the whole set"
    assert report.parts[0].common_size == "256x256"
    assert sum(len(paths) for part in report.parts for paths in part.odd_sizes.values()) > 0


def test_a_real_set_of_the_users_own(shared: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "sets.toml").write_text(
        '[NWPU12]\nnum_classes = 12\ndefault_input_size = 256\ntrain_folder = "val"\nuse_random_split = true\n'
    )
    name, config = find_dataset("nwpu12", tmp_path / "sets.toml")
    report = check_folder(name, config, shared("data/NWPU12"))
    assert report.problems == []
    assert set(report.parts[0].images_per_class.values()) == {110}
