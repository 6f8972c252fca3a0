from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.data.catalogue import configs
from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG
from tests.cli.conftest import Outcome, Run
from tests.data.small_sets import archive_of, known_set, scene_zip, write_picture

HARBOURS = "[Harbours]\nnum_classes = 12\ndefault_input_size = 96\n"
MINE = "[Mine]\nnum_classes = 2\ndefault_input_size = 8\n"


class Data:
    """`gfnet-dynn data …` in 80 columns."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        self._run = run

    def __call__(self, *arguments: str) -> Outcome:
        outcome = self._run("gfnet-dynn", "data", *arguments)
        return replace(outcome, out=" ".join(outcome.out.replace("─", "").split()))


@pytest.fixture
def data(run: Run, monkeypatch: pytest.MonkeyPatch) -> Data:
    return Data(run, monkeypatch)


@pytest.fixture
def small_ucm(data: Data, monkeypatch: pytest.MonkeyPatch) -> Path:
    """UCM as a small archive that lies in the usual place for archives already."""
    content = scene_zip(classes=21, per_class=5)
    monkeypatch.setitem(configs.known_sets(), "UCM", known_set(content, images=105))
    path = Path("data/.downloads") / archive_of(content).file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_list_shows_every_set_whole_in_80_columns(data: Data) -> None:
    outcome = data("list")
    assert outcome.status == 0
    for name in DATASET_CONFIG:
        assert name in outcome.out
    for fact in ("public domain", "CC-BY-NC-4.0", "by hand", "drawing", "31500"):
        assert fact in outcome.out
    assert "…" not in outcome.out
    assert "yes" not in outcome.out


def test_list_shows_which_sets_are_here(data: Data) -> None:
    Path("data/UCM/train").mkdir(parents=True)
    assert "yes" in data("list").out


def test_list_shows_the_sets_of_a_file(data: Data) -> None:
    Path("sets.toml").write_text(HARBOURS)
    assert "Harbours" not in data("list").out
    outcome = data("list", "--dataset-config", "sets.toml")
    assert "Harbours" in outcome.out
    assert "UCM" in outcome.out


def test_a_set_of_a_file_cannot_be_fetched(data: Data) -> None:
    Path("sets.toml").write_text(HARBOURS)
    outcome = data("download", "harbours", "--dataset-config", "sets.toml")
    assert outcome.status == 2
    assert "data check Harbours --data-path data/Harbours --dataset-config FILE.toml" in outcome.err


@pytest.mark.parametrize("option", ["--data-path", "--dataset-config", "--json"])
def test_an_empty_path_is_not_the_working_folder(data: Data, option: str) -> None:
    outcome = data("check", "UCM", option, "")
    assert outcome.status == 2
    assert option in outcome.err


def test_download_lays_out_and_then_finds(data: Data, small_ucm: Path) -> None:
    outcome = data("download", "ucm")
    assert outcome.status == 0, outcome.err
    assert "UCM in data/UCM part images train 84 val 21 licence: public domain" in outcome.out
    assert "nothing was changed" in data("download", "UCM").out
    assert small_ucm.is_file()


@pytest.mark.parametrize("option", ["--split-ratio", "--split_ratio"])
def test_download_takes_ratio_seed_and_place(data: Data, small_ucm: Path, option: str) -> None:
    elsewhere = Path("elsewhere/.downloads")
    elsewhere.mkdir(parents=True)
    small_ucm.rename(elsewhere / small_ucm.name)
    outcome = data("download", "UCM", "--to", "elsewhere", option, "40%", "--seed", "7")
    assert "UCM in elsewhere/UCM part images train 42 val 63" in outcome.out
    assert json.loads(Path("elsewhere/UCM/origin.json").read_text())["seed"] == 7


def test_a_set_of_unknown_address_is_an_error(data: Data) -> None:
    outcome = data("download", "nasc")
    assert outcome.status == 2
    assert "data/NaSC/CLASS/*" in outcome.err


def test_check_writes_the_report_and_finds_no_problem(data: Data, small_ucm: Path) -> None:
    data("download", "UCM")
    outcome = data("check", "ucm", "--json", "report.json")
    assert outcome.status == 0, outcome.err
    assert "UCM: no problem found" in outcome.out
    assert json.loads(Path("report.json").read_text())["problems"] == []


def test_check_exits_with_2_for_problems(data: Data) -> None:
    Path("sets.toml").write_text(MINE)
    for number, place in enumerate(("train/a", "train/b", "val/a")):
        write_picture(Path("mine") / place / "[red]x.png", number)
    write_picture(Path("mine/val/b/[red]x.png"), 0)
    outcome = data("check", "mine", "--data-path", "mine", "--dataset-config", "sets.toml")
    assert outcome.status == 2
    assert "problem: 1 image in more than one part" in outcome.out
    assert "train/a/[red]x.png = val/b/[red]x.png" in outcome.out
    assert "no problem" not in outcome.out


@pytest.mark.parametrize("parts", [("train", "val"), ("",)])
def test_check_takes_a_folder_that_no_configuration_describes(data: Data, parts: tuple[str, ...]) -> None:
    for number, (part, label) in enumerate((part, label) for part in parts for label in "abc"):
        write_picture(Path("photos") / part / label / "0.png", number)
    outcome = data("check", "photos")
    assert outcome.status == 0, outcome.err
    assert all(f"{part or 'all'} 3 3 1 8x8 PNG 0" in outcome.out for part in parts)


def test_check_shows_notes_and_parts_without_images(data: Data) -> None:
    write_picture(Path("data/UCM/train/a/0.png"), 0)
    write_picture(Path("data/UCM/train/b/0.png"), 1, size=9)
    write_picture(Path("data/UCM/train/b/1.png"), 2)
    outcome = data("check", "UCM")
    assert outcome.status == 2
    assert "note: 3 images of the 2100 published" in outcome.out
    assert "1 to 2" in outcome.out


def test_check_without_a_place_is_an_error(data: Data) -> None:
    Path("sets.toml").write_text(MINE)
    outcome = data("check", "mine", "--dataset-config", "sets.toml")
    assert outcome.status == 2
    assert "--data-path" in outcome.err


def test_an_unknown_name_ends_with_2_and_the_nearest(data: Data) -> None:
    outcome = data("check", "UCN")
    assert outcome.status == 2
    assert "'UCM'" in outcome.err
