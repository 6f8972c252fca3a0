from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gfnet_dynn.cli.app import main
from gfnet_dynn.cli.verbs import build_app
from gfnet_dynn.data.catalogue import registry
from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG
from gfnet_dynn.errors import DataError, DownloadError
from tests.data.small_sets import archive_of, known_set, scene_zip, write_picture


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def small_ucm(monkeypatch: pytest.MonkeyPatch) -> Path:
    """UCM as a small archive that lies in the usual place for archives already."""
    content = scene_zip(classes=21, per_class=5)
    monkeypatch.setitem(registry.KNOWN_SETS, "UCM", known_set(content, images=105))
    path = Path("data/.downloads") / archive_of(content).file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(["data"]), ["data", *arguments])


def test_list_shows_every_set_whole_in_80_columns() -> None:
    result = run("list")
    assert result.exit_code == 0
    for name in DATASET_CONFIG:
        assert name in result.stdout
    for fact in ("public domain", "CC-BY-NC-4.0", "by hand", "drawing", "31500"):
        assert fact in result.stdout
    assert "…" not in result.stdout
    assert "yes" not in result.stdout


def test_list_shows_which_sets_are_here() -> None:
    Path("data/UCM/train").mkdir(parents=True)
    assert "yes" in run("list").stdout


def test_list_shows_the_sets_of_a_file() -> None:
    Path("sets.toml").write_text("[Harbours]\nnum_classes = 12\ndefault_input_size = 96\n")
    assert "Harbours" not in run("list").stdout
    result = run("list", "--dataset-config", "sets.toml")
    assert "Harbours" in result.stdout
    assert "UCM" in result.stdout


def test_a_set_of_a_file_is_to_be_had_by_hand() -> None:
    Path("sets.toml").write_text("[Harbours]\nnum_classes = 12\ndefault_input_size = 96\n")
    result = run("download", "harbours", "--dataset-config", "sets.toml")
    assert isinstance(result.exception, DownloadError)
    assert "data check Harbours --data-path data/Harbours --dataset-config FILE.toml" in str(result.exception)


@pytest.mark.parametrize("option", ["--data-path", "--dataset-config", "--json"])
def test_an_empty_path_is_not_the_working_folder(option: str) -> None:
    result = run("check", "UCM", option, "")
    assert result.exit_code == 2
    assert f"'{option}': it is empty" in result.output


def test_download_lays_out_and_then_finds(small_ucm: Path) -> None:
    result = run("download", "ucm")
    assert result.exit_code == 0, result.output
    assert "UCM is ready: data/UCM (84 train, 21 val images; licence: public domain)" in result.stdout
    assert "is there already, left as it is" in run("download", "UCM").stdout
    assert small_ucm.is_file()


@pytest.mark.parametrize("option", ["--split-ratio", "--split_ratio"])
def test_download_takes_ratio_seed_and_place(small_ucm: Path, option: str) -> None:
    elsewhere = Path("elsewhere/.downloads")
    elsewhere.mkdir(parents=True)
    small_ucm.rename(elsewhere / small_ucm.name)
    result = run("download", "UCM", "--to", "elsewhere", option, "0.4", "--seed", "7")
    assert "elsewhere/UCM (42 train, 63 val images" in result.stdout
    assert json.loads(Path("elsewhere/UCM/origin.json").read_text())["seed"] == 7


def test_a_set_to_be_had_by_hand_is_an_error() -> None:
    result = run("download", "nasc")
    assert isinstance(result.exception, DownloadError)
    assert "data/NaSC/CLASS/*" in str(result.exception)


def test_check_writes_the_report_and_is_fine(small_ucm: Path) -> None:
    run("download", "UCM")
    result = run("check", "ucm", "--json", "report.json")
    assert result.exit_code == 0, result.output
    assert "UCM is fine" in result.stdout
    assert json.loads(Path("report.json").read_text())["problems"] == []


def test_check_exits_with_2_for_problems() -> None:
    Path("sets.toml").write_text("[Mine]\nnum_classes = 2\ndefault_input_size = 8\n")
    for number, place in enumerate(("train/a", "train/b", "val/a")):
        write_picture(Path("mine") / place / "[red]x.png", number)
    write_picture(Path("mine/val/b/[red]x.png"), 0)
    result = run("check", "mine", "--data-path", "mine", "--dataset-config", "sets.toml")
    assert result.exit_code == 2
    assert "problem: 1 image is in more than one part" in result.stdout
    assert "train/a/[red]x.png = val/b/[red]x.png" in result.stdout
    assert "is fine" not in result.stdout


def test_check_shows_notes_and_parts_without_images() -> None:
    write_picture(Path("data/UCM/train/a/0.png"), 0)
    write_picture(Path("data/UCM/train/b/0.png"), 1, size=9)
    write_picture(Path("data/UCM/train/b/1.png"), 2)
    result = run("check", "UCM")
    assert result.exit_code == 2
    assert "note: 3 images of the 2100 published" in result.stdout
    assert "1 to 2" in result.stdout


def test_check_without_a_place_is_an_error() -> None:
    Path("sets.toml").write_text("[Mine]\nnum_classes = 2\ndefault_input_size = 8\n")
    result = run("check", "mine", "--dataset-config", "sets.toml")
    assert isinstance(result.exception, DataError)
    assert "--data-path" in str(result.exception)


def test_an_error_ends_the_command_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["gfnet-dynn", "data", "check", "UCN"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "did you mean 'UCM'?" in capsys.readouterr().err
