"""`gfnet-dynn train`."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import require_extra
from gfnet_dynn.options import option
from gfnet_dynn.system.torchrun import is_first_process
from gfnet_dynn.train.recipes import DEFAULT_RECIPE, Preset, known_recipes, read_recipe
from gfnet_dynn.train.request import TrainRequest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe."""

    recipe: str | None = option(
        None,
        f"Name of a recipe ({', '.join(known_recipes())}), or a TOML file with options. [default: {DEFAULT_RECIPE}, "
        "unless --model or --checkpoint-path is given]",
    )
    list_recipes: bool = option(False, "List the recipes and exit.", flag="--list-recipes")
    evaluate: bool = option(False, "Evaluate the result.", rare=True)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options."""

    recipe: Recipe
    request: TrainRequest


def PRESET(given: Mapping[str, Any]) -> Preset:  # noqa: N802 # found by its name
    """The options of the recipe, which those of the command line replace; of these, what is not given is None."""
    own_network = given["model"] is not None or given["checkpoint"] is not None
    name = given["recipe"] or (None if own_network else DEFAULT_RECIPE)
    return {**read_recipe(name), Recipe: {"recipe": name}} if name else {}


def train(options: TrainOptions) -> None:
    """Train an early-exit network on a folder of class folders.

    Stages: teacher (if any), backbone (unless a checkpoint brings it), warm-up
    of the exits, joint stage. Defaults below hold where the recipe has none.
    """
    if options.recipe.list_recipes:
        for each, description in known_recipes().items():
            line = f"{each:<10} {description}"
            sys.stdout.write(f"{textwrap.fill(line, 80, subsequent_indent=' ' * 11, break_on_hyphens=False)}\n")
        return
    if (name := options.recipe.recipe) and is_first_process():
        sys.stdout.write(f"recipe: {name}\n")
    run = show_training(options.request)
    if options.recipe.evaluate and is_first_process():
        from gfnet_dynn.cli.verbs import evaluate
        from gfnet_dynn.evaluation.request import EvaluationRequest

        evaluate(EvaluationRequest(subject=run, device=options.request.training.device))


def show_training(request: TrainRequest) -> Path:
    """Train, with progress, result and the next commands in the terminal; the folder of the run.

    Of several processes that train together, the first prints.
    """
    require_extra("training", "train")
    if not is_first_process():
        from gfnet_dynn.workflows.training import train as take_part

        return take_part(request).run
    from gfnet_dynn.cli.progress import TrainingProgress
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.workflows.training import train as run_training

    console = Terminal()
    progress = TrainingProgress(console)
    result = run_training(request, on_progress=ProgressBars(console), log=progress.log, reporters=[progress])
    run = shlex.quote(str(result.run))
    console.show(result, files=[result.model], following=[f"evaluate {run}", f"export {run} -o scene.gfd"])
    return result.run
