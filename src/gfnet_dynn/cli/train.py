"""`gfnet-dynn train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfnet_dynn.options import option
from gfnet_dynn.train.config.recipes import DEFAULT_RECIPE, Preset, known_recipes, read_recipe
from gfnet_dynn.train.config.request import TrainRequest
from gfnet_dynn.workflows.extras import require_torch


def _recipes() -> str:
    return "; ".join(f"{name}: {description}" for name, description in known_recipes().items())


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe."""

    recipe: str | None = option(
        None,
        f"A known recipe, or a TOML file with options. {_recipes()}. [default: {DEFAULT_RECIPE}, unless --model or "
        "--checkpoint-path is given]",
    )


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options."""

    recipe: Recipe
    request: TrainRequest


REQUEST = TrainOptions


def PRESET(given: Mapping[str, Any]) -> Preset:  # noqa: N802 # found by its name beside REQUEST
    """The options of the recipe, which those of the command line replace.

    Args:
        given: options of the command line; those not given are None.
    """
    own_network = given["model"] is not None or given["checkpoint"] is not None
    name = given["recipe"] or (None if own_network else DEFAULT_RECIPE)
    return read_recipe(name) if name else {}


def train(options: TrainOptions) -> None:
    """Train an early-exit network: the classes are the names of folders.

    Stages: teacher (if any), backbone (unless a checkpoint brings it), warm-up of the exits, joint stage.
    """
    require_torch("training")
    from gfnet_dynn.cli.render.training import run_training  # noqa: PLC0415 # imports torch

    run_training(options.request)
