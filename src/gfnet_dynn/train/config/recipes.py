"""Recipes: TOML files that hold the options of a training, so that it can be repeated, shared, changed in one line.

Each table is one group of options, each key an option with underscores; `base` names another recipe, relative to the
file, whose values hold where the file says nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gfnet_dynn.cli.options import DataOptions, EvaluationOptions, NetOptions, Preset, RunOptions
from gfnet_dynn.errors import RecipeError, nearest
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.training import TrainSettings

TABLES: Mapping[str, type] = {
    "data": DataOptions,
    "network": NetOptions,
    "training": TrainSettings,
    "distillation": DistillationSettings,
    "run": RunOptions,
    "evaluation": EvaluationOptions,
}

_BASE = "base"


def read_recipe(path: Path) -> Preset:
    """The options that a recipe and its bases give.

    Raises:
        RecipeError: missing, no TOML, an unknown table or key (the nearest is named), or a value of the wrong type.
    """
    return _read(path, ())


def _read(path: Path, readers: tuple[Path, ...]) -> dict[type, dict[str, Any]]:
    if path.resolve() in readers:
        raise RecipeError(f"{path} is its own {_BASE}: {' → '.join(str(each.name) for each in readers)} → {path.name}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe {path}") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    base = content.pop(_BASE, None)
    if base is not None and not isinstance(base, str):
        raise RecipeError(f"{path}: '{_BASE}' must be the path of another recipe, not {base!r}")
    preset = _read(path.parent / base, (*readers, path.resolve())) if base else {}
    for table, values in content.items():
        if table not in TABLES:
            raise RecipeError(f"{path}: unknown table [{table}]: {nearest(table, [*TABLES, _BASE])}")
        if not isinstance(values, Mapping):
            raise RecipeError(f"{path}: {table} must be a table: write [{table}] and its options below")
        kind = TABLES[table]
        own = {key: _value(path, table, key, value) for key, value in values.items()}
        preset[kind] = {**preset.get(kind, {}), **own}
    return preset


def _value(path: Path, table: str, key: str, value: Any) -> Any:
    kind = TABLES[table]
    names = [field.name for field in fields(kind)]
    if key not in names:
        elsewhere = [other for other, owner in TABLES.items() if key in {field.name for field in fields(owner)}]
        hint = f"it belongs to [{elsewhere[0]}]" if elsewhere else nearest(key, names)
        raise RecipeError(f"{path}: unknown key '{key}' in [{table}]: {hint}")
    hint = get_type_hints(kind)[key]
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for choice in choices:
        if choice is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if get_origin(choice) is tuple and isinstance(value, list) and len(value) == len(get_args(choice)):
            return tuple(value)  # of what, its owner checks
        if choice is Path and isinstance(value, str) and value:
            return Path(value)
        if get_origin(choice) is Literal and value in get_args(choice):
            return value
        if isinstance(choice, type) and choice is not Path and type(value) is choice:
            return value
    wanted = " or ".join(_name(choice) for choice in choices if choice is not NoneType)
    raise RecipeError(f"{path}: '{key}' in [{table}] must be {wanted}, not {value!r}")


def _name(choice: Any) -> str:
    if get_origin(choice) is Literal:
        return " or ".join(map(repr, get_args(choice)))
    if get_origin(choice) is tuple:
        return f"a list of {len(get_args(choice))} numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}[choice]
