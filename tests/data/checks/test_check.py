from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue import registry
from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset
from gfnet_dynn.data.checks.check import CheckReport, check_dataset
from gfnet_dynn.errors import DataError
from tests.data.small_sets import picture, write_picture
from tests.fingerprints import store_anew, write_scene

CONFIG = DatasetConfig(num_classes=2, default_input_size=8)
SHARED = Path(__file__).parents[3] / "shared" / "data"


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


def check(root: Path, config: DatasetConfig = CONFIG) -> CheckReport:
    return check_dataset("Scenes", config, root)


def test_a_good_set_is_fine_and_counted(root: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = check_dataset("Scenes", CONFIG, root, lambda *step: steps.append(step))
    assert (report.problems, report.notes, report.leaks) == ([], [], ())
    train, val = report.parts
    assert train.images_per_class == {"field": 3, "river": 3}
    assert val.images_per_class == {"field": 2, "river": 2}
    assert (train.formats, train.common_size, train.odd_sizes) == ({"PNG": 6}, "8x8", ())
    assert steps == [(done, 10) for done in range(1, 11)]


def test_the_report_is_json(root: Path) -> None:
    write_picture(root / "train/field/odd.png", 90, size=9)
    value = json.loads(json.dumps(check(root).to_dict()))
    assert value["parts"][0]["odd_sizes"] == [{"size": "9x9", "images": 1, "examples": ["train/field/odd.png"]}]


def test_corrupt_files_are_named_with_the_reason(root: Path) -> None:
    (root / "train/field/01.png").write_bytes(b"no image")
    whole = (root / "val/river/10.png").read_bytes()
    (root / "val/river/10.png").write_bytes(whole[: len(whole) // 2])
    report = check(root)
    assert [file.path for part in report.parts for file in part.corrupt] == ["train/field/01.png", "val/river/10.png"]
    assert "not an image" in report.problems[0]
    assert "val: 1 file cannot be decoded" in report.problems[1]


def test_odd_sizes_and_formats_are_notes(root: Path) -> None:
    write_picture(root / "train/field/wide.png", 90, size=16)
    write_picture(root / "val/field/photo.jpg", 91)
    report = check(root)
    assert report.problems == []
    assert report.notes == [
        "train: 1 image is not of 8x8 px, to be resized: 1 of 16x16 px (train/field/wide.png)",
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
        "val: without the class river, which other parts have",
    ]


def test_an_empty_class_and_a_missing_part(root: Path) -> None:
    (root / "train/river").rename(root / "gone")
    (root / "train/river").mkdir()
    report = check(root, replace(CONFIG, test_folder="test"))
    assert report.problems == [
        "train: no images in the class folder river",
        "test: 0 class folders in test instead of 2",
        "test: without the classes field, river, which other parts have",
    ]


def test_one_image_under_two_classes_is_a_problem(root: Path) -> None:
    picture(1).save(root / "train/river/copy.bmp")  # other name and format, same pixels
    write_picture(root / "val/river/leak.png", 2)
    report = check(root)
    assert report.conflicts == (
        ("train/field/01.png", "train/river/copy.bmp"),
        ("train/field/02.png", "val/river/leak.png"),
    )
    (problem,) = (each for each in report.problems if "more than one class" in each)
    assert "2 images" in problem
    assert "train/field/01.png = train/river/copy.bmp" in problem
    assert not any("more than once" in note for note in report.notes)


def test_names_that_would_steer_a_terminal_are_shown_escaped(root: Path) -> None:
    (root / "train/field/\x1b[31m\nx.png").write_bytes(b"")
    (problem,) = check(root).problems
    assert "\x1b" not in problem
    assert "\\x1b[31m\\nx.png" in problem


def test_duplicates_in_one_class_are_a_note(root: Path) -> None:
    picture(1).save(root / "train/field/copy.bmp")
    report = check(root)
    assert report.parts[0].duplicates == (("train/field/01.png", "train/field/copy.bmp"),)
    assert report.problems == []
    assert "train: 1 image is there more than once" in report.notes[-1]


@pytest.mark.parametrize("place", ["val/field", "train/river", "train/field"])
def test_copies_are_recognised_however_they_are_stored(root: Path, place: str) -> None:
    copy = store_anew(write_scene(root / "train/field/02.png", 1), root / place / "x.webp", turned=True)
    report, group = check(root), ("train/field/02.png", f"{place}/x.webp")
    assert report.leaks == ((group,) if "val" in place else ())
    assert report.conflicts == ((group,) if "river" in place else ())
    assert report.parts[0].duplicates == ((group,) if "train" in place else ())
    assert any(copy.name in each for each in [*report.problems, *report.notes] if " = " in each)


def test_duplicates_across_parts_are_a_problem(root: Path) -> None:
    write_picture(root / "val/field/leak.png", 2)
    report = check(root)
    assert report.leaks == (("train/field/02.png", "val/field/leak.png"),)
    assert report.problems == [
        "1 image is in more than one part, so reports would be too good: train/field/02.png = val/field/leak.png"
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
    report = check(root)
    assert (report.problems, report.parts[0].skipped) == ([], ("train/field/notes.txt",))
    assert "1 .txt" in report.notes[0]


@pytest.mark.parametrize(("published", "whole"), [(5, True), (50, False)])
def test_counts_are_compared_with_the_published_ones(
    root: Path, monkeypatch: pytest.MonkeyPatch, published: int, whole: bool
) -> None:
    known = registry.KnownSet(4 * published, (published, published), "none", "a test")
    monkeypatch.setitem(registry.KNOWN_SETS, "Scenes", known)
    for label, count in (("lake", 5), ("sand", 3)):
        for number in range(count):
            part = "val" if number % 2 else "train"
            write_picture(root / part / label / f"{number}.png", 100 * count + number)
    report = check(root, replace(CONFIG, num_classes=4))
    if whole:
        assert report.problems == ["images per class unlike the published 5: sand (3)"]
    else:
        assert report.problems == []
        assert report.notes == ["18 images of the 200 published (50 per class): not the whole set"]


def test_a_range_of_published_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.KNOWN_SETS, "Scenes", registry.KnownSet(99, (6, 9), "none", "a test"))
    assert check(root).notes == ["10 images of the 99 published (6 to 9 per class): not the whole set"]


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


def test_several_of_a_kind_are_told_in_the_plural(root: Path) -> None:
    for number in (1, 2):
        (root / f"train/field/bad{number}.png").write_bytes(b"x")
        write_picture(root / f"train/river/big{number}.png", 90 + number, size=9)
        write_picture(root / f"val/field/leak{number}.png", number)
        write_picture(root / f"val/river/copy{number}.png", 8 + number)
    report = check(root)
    assert "train: 2 files cannot be decoded" in report.problems[0]
    assert "2 images are in more than one part" in report.problems[1]
    assert "train: 2 images are not of 8x8 px" in report.notes[0]
    assert "val: 2 different images are there more than once" in report.notes[1]


def test_nothing_there_stops_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no images in .*train/CLASS/\* or val/CLASS/\*"):
        check(tmp_path / "nowhere")


@pytest.mark.skipif(not (SHARED / "UCM").is_dir(), reason="needs ../shared/data/UCM, real images beside the repository")
def test_a_part_of_the_real_ucm_is_fine() -> None:
    report = check_dataset("UCM", find_dataset("UCM")[1], SHARED / "UCM")
    assert report.problems == []
    assert report.notes[0] == "1680 images of the 2100 published (100 per class): not the whole set"
    assert report.parts[0].common_size == "256x256"
    assert sum(odd.images for part in report.parts for odd in part.odd_sizes) > 0


@pytest.mark.skipif(not (SHARED / "NWPU12").is_dir(), reason="needs ../shared/data/NWPU12, real images")
def test_a_real_set_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "sets.toml").write_text(
        '[NWPU12]\nnum_classes = 12\ndefault_input_size = 256\ntrain_folder = "val"\nuse_random_split = true\n'
    )
    name, config = find_dataset("nwpu12", tmp_path / "sets.toml")
    report = check_dataset(name, config, SHARED / "NWPU12")
    assert report.problems == []
    assert set(report.parts[0].images_per_class.values()) == {110}
