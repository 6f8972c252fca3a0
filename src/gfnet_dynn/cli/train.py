"""`gfnet-dynn train`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.options import option
from gfnet_dynn.train.recipes import DEFAULT_RECIPE, Preset, known_recipes, read_recipe
from gfnet_dynn.train.request import TrainRequest
from gfnet_dynn.workflows.extras import require_torch


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe."""

    recipe: str | None = option(
        None,
        f"Name of a recipe ({', '.join(known_recipes())}), or a TOML file with options. [default: {DEFAULT_RECIPE}, "
        "unless --model or --checkpoint-path is given]",
    )
    list_recipes: bool = option(False, "List the recipes and exit.")
    evaluate: bool = option(False, "Evaluate the result.", rare=True)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options."""

    recipe: Recipe
    request: TrainRequest


REQUEST = TrainOptions


def PRESET(given: Mapping[str, Any]) -> Preset:  # noqa: N802 # found by its name, as REQUEST
    """The options of the recipe, which those of the command line replace.

    Args:
        given: options of the command line; those not given are None.
    """
    own_network = given["model"] is not None or given["checkpoint"] is not None
    name = given["recipe"] or (None if own_network else DEFAULT_RECIPE)
    return {**read_recipe(name), Recipe: {"recipe": name}} if name else {}


def train(options: TrainOptions) -> None:
    """Train an early-exit network on a folder of class folders.

    Stages: teacher (if any), backbone (unless a checkpoint brings it), warm-up
    of the exits, joint stage. Defaults below hold where the recipe has none.
    """
    if options.recipe.list_recipes:
        sys.stdout.writelines(f"{name:<10} {description}\n" for name, description in known_recipes().items())
        return
    if name := options.recipe.recipe:
        sys.stdout.write(f"recipe: {name}\n")
    run = show_training(options.request)
    if options.recipe.evaluate:
        from gfnet_dynn.cli.evaluate import evaluate
        from gfnet_dynn.evaluation.request import EvaluationRequest

        evaluate(EvaluationRequest(subject=run, device=options.request.training.device))


def show_training(request: TrainRequest) -> Path:
    """Train, with progress, result and the next commands in the terminal.

    Returns:
        The folder of the run.
    """
    require_torch("training")
    from gfnet_dynn.cli.render.progress import ProgressBars, TrainingProgress
    from gfnet_dynn.cli.render.tables import print_files, print_next, print_tables
    from gfnet_dynn.cli.render.terminal import Terminal
    from gfnet_dynn.workflows.training import train as run_training

    console = Terminal()
    progress = TrainingProgress(console)
    result = run_training(request, on_progress=ProgressBars(console), log=progress.log, reporters=[progress])
    print_tables(result, console)
    print_files([result.model], console)
    run = shlex.quote(str(result.run))
    print_next(console, f"evaluate {run}", f"export {run} -o scene.gfd")
    return result.run
