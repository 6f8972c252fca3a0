"""Recipes: TOML files with the options of a training; some are shipped and known by name.

Each table is one group of `TrainRequest`, each key an option with underscores. `base` names another recipe whose values
hold where the file has none, `description` is one line for people.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_type_hints

from gfnet_dynn.errors import OptionError, RecipeError, nearest
from gfnet_dynn.system.structured import refuse_unknown_keys, structured
from gfnet_dynn.train.request import TrainRequest

DEFAULT_RECIPE = "lite0"

_HEAD = ("base", "description")

Preset = Mapping[type, Mapping[str, Any]]
"""For each group of options the values that replace its defaults, by field name."""


def known_recipes() -> dict[str, str]:
    """The recipes that are shipped: name → description."""
    return {name: str(_load(name)["description"]) for name in _shipped()}


def read_recipe(name: str | Path) -> Preset:
    """The options of a recipe, shipped or in a TOML file, and of its bases.

    Raises:
        RecipeError: missing, no TOML, an unknown table or key (the nearest is named), or a value of the wrong type.
    """
    preset = {}
    for table, values in _merged(str(name), ()).items():
        made = structured(_groups()[table], values, f"recipe {name}: [{table}]", RecipeError)
        preset[type(made)] = {key: getattr(made, key) for key in values}
    return preset


def recipe_request(name: str | Path = DEFAULT_RECIPE, **options: Any) -> TrainRequest:
    """A request from a recipe, with options, by field name of any group, that win over it; `folder` too.

    Raises:
        RecipeError: as `read_recipe`.
        OptionError: there is no such option, or it is out of range.
    """
    preset, groups = read_recipe(name), _groups()
    values: dict[str, dict[str, Any]] = {group: dict(preset.get(kind, {})) for group, kind in groups.items()}
    owners = {each.name: group for group, kind in groups.items() for each in fields(kind)}
    folder = options.pop("folder", None)
    for key, value in options.items():
        if key not in owners:
            raise OptionError(f"no option '{key}': {nearest(key, owners)}")
        values[owners[key]][key] = value
    return TrainRequest(folder=folder, **{group: kind(**values[group]) for group, kind in groups.items()})


def _groups() -> dict[str, Any]:
    hints = get_type_hints(TrainRequest)
    return {each.name: hints[each.name] for each in fields(TrainRequest) if is_dataclass(hints[each.name])}


def _merged(name: str, readers: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if name in readers:
        raise RecipeError(f"recipe {name} is its own base: {' → '.join((*readers, name))}")
    content, kinds = _load(name), _groups()
    for key in _HEAD:
        if not isinstance(content.get(key, ""), str):
            raise RecipeError(f"recipe {name}: '{key}' must be a text, not {content[key]!r}")
    base, _ = (content.pop(key, "") for key in _HEAD)
    if base not in (*_shipped(), ""):
        base = str(Path(name).parent / base)
    merged = _merged(base, (*readers, name)) if base else {}
    for table, values in content.items():
        if table not in kinds:
            raise RecipeError(f"recipe {name}: unknown table [{table}]: {nearest(table, [*kinds, *_HEAD])}")
        if not isinstance(values, Mapping):
            raise RecipeError(f"recipe {name}: {table} must be a table: write [{table}] and its options below")
        refuse_unknown_keys(kinds[table], values, f"recipe {name}: [{table}]", RecipeError)
        merged[table] = {**merged.get(table, {}), **values}
    return merged


def _load(name: str) -> dict[str, Any]:
    file: Traversable | Path = _folder() / f"{name}.toml" if name in _shipped() else Path(name)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe {name}: {nearest(name, _shipped())}; or give the path of a TOML file") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot read the recipe {name}: {error}") from error


def _shipped() -> list[str]:
    return sorted(each.name.removesuffix(".toml") for each in _folder().iterdir() if each.name.endswith(".toml"))


def _folder() -> Traversable:
    return files("gfnet_dynn") / "recipes"
