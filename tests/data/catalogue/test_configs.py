from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG, DatasetConfig, find_dataset, known_names
from gfnet_dynn.errors import DataError


def toml(folder: Path, text: str) -> Path:
    path = folder / "sets.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "classes", "size", "random_split"),
    [
        ("UCM", 21, 256, False),
        ("NaSC", 10, 128, True),
        ("NWPU", 45, 256, False),
        ("PatternNet", 38, 256, False),
        ("AID", 30, 600, False),
        ("SyntheticScenes", 10, 64, False),
    ],
)
def test_the_published_values(name: str, classes: int, size: int, random_split: bool) -> None:
    proper, config = find_dataset(name)
    assert proper == name
    assert (config.num_classes, config.default_input_size, config.use_random_split) == (classes, size, random_split)
    folders = (".", ".") if random_split else ("train", "val")
    assert (config.train_folder, config.val_folder) == folders
    assert config.test_folder is None
    assert config.default_data_path is not None
    assert config.default_data_path.endswith(f"data/{name}")


def test_names_of_a_file_stand_beside_the_built_in_ones_and_win(tmp_path: Path) -> None:
    assert known_names() == tuple(DATASET_CONFIG)
    extra = toml(tmp_path, "[ucm]\n[Harbours]\n")
    assert known_names(extra) == ("ucm", *list(DATASET_CONFIG)[1:], "Harbours")


def test_no_set_is_left_untested() -> None:
    assert sorted(DATASET_CONFIG) == ["AID", "NWPU", "NaSC", "PatternNet", "SyntheticScenes", "UCM"]


@pytest.mark.parametrize(("written", "proper"), [("nasc", "NaSC"), ("PATTERNNET", "PatternNet"), ("ucm", "UCM")])
def test_names_match_whatever_their_case(written: str, proper: str) -> None:
    assert find_dataset(written) == find_dataset(proper)
    assert find_dataset(written)[0] == proper


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(DataError, match="no folder and unknown data set 'patternet': did you mean 'PatternNet'"):
        find_dataset("patternet")
    with pytest.raises(
        DataError, match=r"no folder and unknown data set 'Eurosat': known: AID, .*--dataset-config FILE\.toml"
    ):
        find_dataset("Eurosat")


def test_a_file_adds_a_set_with_the_usual_defaults(tmp_path: Path) -> None:
    extra = toml(tmp_path, "[Harbours]\nnum_classes = 3\ndefault_input_size = 96\n")
    assert find_dataset("harbours", extra) == (
        "Harbours",
        DatasetConfig(3, 96, "train", "val", use_random_split=False, default_data_path=None, test_folder=None),
    )


def test_a_file_may_say_everything(tmp_path: Path) -> None:
    extra = toml(
        tmp_path,
        '[S]\nnum_classes = 3\ndefault_input_size = 96\ntrain_folder = "a/b"\nval_folder = "../v"\n'
        'use_random_split = true\ndefault_data_path = "/srv/s"\ntest_folder = "t"\n',
    )
    assert find_dataset("S", extra)[1] == DatasetConfig(3, 96, "a/b", "../v", True, "/srv/s", "t")


@pytest.mark.parametrize("spelling", ["UCM", "ucm"])
def test_a_file_wins_over_the_built_in_set(tmp_path: Path, spelling: str) -> None:
    extra = toml(tmp_path, f"[{spelling}]\nnum_classes = 5\ndefault_input_size = 64\n")
    proper, config = find_dataset("Ucm", extra)
    assert (proper, config.num_classes, config.default_data_path) == (spelling, 5, None)
    assert find_dataset("AID", extra)[1].num_classes == 30
    assert find_dataset("UCM")[1].num_classes == 21


GOOD = "num_classes = 3\ndefault_input_size = 96\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S = 3\n", "sets.toml: S must be in the table"),
        (f"{GOOD}[S]\n{GOOD}", "num_classes, default_input_size must be in the table"),
        (GOOD, "in this form:\n[Name]\nnum_classes = 12\ndefault_input_size = 256"),
        ("[S]\nnum_classes = 3\n", "[S]: Object missing required field `default_input_size`"),
        ("[S]\n", "[S]: Object missing required field `num_classes`"),
        (f"[S]\n{GOOD}num_class = 4\n", "[S]: unknown key 'num_class': did you mean 'num_classes'"),
        ('[S]\nnum_classes = "3"\ndefault_input_size = 96\n', "Expected `int`, got `str` for `num_classes`"),
        ("[S]\nnum_classes = 3\ndefault_input_size = 96.5\n", "Expected `int`, got `float` for `default_input_size`"),
        ("[S]\nnum_classes = true\ndefault_input_size = 96\n", "Expected `int`, got `bool` for `num_classes`"),
        (f"[S]\n{GOOD}use_random_split = 1\n", "Expected `bool`, got `int` for `use_random_split`"),
        (f"[S]\n{GOOD}test_folder = 1\n", "got `int` for `test_folder`"),
        (f'[S]\n{GOOD}train_folder = "/srv/train"\n', "train_folder must be relative"),
        (f'[S]\n{GOOD}test_folder = "/srv/test"\n', "test_folder must be relative"),
        ("[S]\nnum_classes = 1\ndefault_input_size = 96\n", "num_classes of at least 2"),
        ("[S]\nnum_classes = 3\ndefault_input_size = 0\n", "default_input_size of at least 1"),
        ("[S\n", "cannot read the data set file"),
    ],
)
def test_a_faulty_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        find_dataset("S", toml(tmp_path, text))
    assert message in str(error.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sets.toml"
    path.write_bytes("[Höhe]\n".encode("latin-1") + GOOD.encode())
    with pytest.raises(DataError, match=r"cannot read the data set file .*sets\.toml"):
        find_dataset("S", path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.toml"):
        find_dataset("UCM", tmp_path / "absent.toml")
    with pytest.raises(DataError, match="cannot read the data set file"):
        find_dataset("UCM", tmp_path)
