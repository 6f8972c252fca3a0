"""Values of JSON and TOML files as dataclasses: types and ranges checked, unknown keys refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from gfnet_dynn.errors import GFNetDynnError, nearest

T = TypeVar("T")
MakeError = Callable[[str], GFNetDynnError]
"""An error class, or a function that completes its message."""


def structured(kind: type[T], value: Any, where: str, error: MakeError) -> T:
    """A value of a file as a dataclass, whose own checks run too.

    Its fields may be dataclasses, paths and whatever JSON holds. `where` begins the message of an error: the file, and
    the table or key within it; `error` is made with that message.
    """
    refuse_unknown_keys(kind, value, where, error)
    try:
        return msgspec.convert(value, kind, dec_hook=_path)
    except msgspec.ValidationError as fault:
        raise error(f"{where}: {str(fault).replace(' - at `$.', ' for `')}") from fault


def structured_file(kind: type[T], path: Path, error: MakeError) -> T:
    """As `structured`, of a JSON file; `error` also where it is missing, unreadable or no JSON."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise error(f"cannot read {path}: {fault}") from fault
    return structured(kind, value, str(path), error)


def refuse_unknown_keys(kind: Any, value: Any, where: str, error: MakeError) -> None:
    """Name the first key that is no field of a dataclass, or of the dataclasses below it, and the nearest that is."""
    if not is_dataclass(kind) or not isinstance(value, Mapping):
        return
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind)]
    for key, below in value.items():
        if key not in names:
            raise error(f"{where}: unknown key '{key}': {nearest(str(key), names)}")
        hint = hints[key]
        for choice in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
            refuse_unknown_keys(choice, below, f"{where}: {key}", error)


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError(f"Expected a path, not {value!r}")
