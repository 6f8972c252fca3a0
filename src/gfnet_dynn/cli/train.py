"""`gfnet-dynn train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfnet_dynn.options import option
from gfnet_dynn.train.config.recipes import DEFAULT_RECIPE, Preset, known_recipes, read_recipe
from gfnet_dynn.train.config.request import TrainRequest
from gfnet_dynn.workflows.extras import require_torch


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe."""

    recipe: str | None = option(
        None,
        f"Name of a recipe ({', '.join(known_recipes())}), or a TOML file with options; see --list-recipes. [default: "
        f"{DEFAULT_RECIPE}, unless --model or --checkpoint-path is given]",
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
    return read_recipe(name) if name else {}


def train(options: TrainOptions) -> None:
    """Train an early-exit network on a folder of class folders.

    Stages: teacher (if any), backbone (unless a checkpoint brings it), warm-up of the exits, joint stage.
    """
    if options.recipe.list_recipes:
        print("\n".join(f"{name:<10} {description}" for name, description in known_recipes().items()))  # noqa: T201
        return
    require_torch("training")
    from gfnet_dynn.cli.render.training import show_training  # noqa: PLC0415 # imports torch

    result = show_training(options.request)
    if options.recipe.evaluate:
        from gfnet_dynn.cli.evaluate import evaluate  # noqa: PLC0415
        from gfnet_dynn.evaluation.request import EvaluationRequest  # noqa: PLC0415

        evaluate(EvaluationRequest(subject=result.run, device=options.request.training.device))
