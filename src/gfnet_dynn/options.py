"""Options: fields of frozen dataclasses that the Python API, the command line and the recipes all read.

A request is declared once, with name, type, default and help of each option; nothing repeats them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from gfnet_dynn.errors import OptionError

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Option:
    """What the command line and the documentation say about a field.

    Attributes:
        help: one or two sentences.
        panel: heading under which `--help` lists it; empty: the first line of the dataclass's docstring.
        argument: a positional argument instead of an option.
        rare: listed by `--help-all` only.
        parse: from the text of the command line to the value; None: by the field's type.
        metavar: placeholder of the value in `--help`; None: by the field's type.
        flag: the option's name; None: the field's, with hyphens. A named switch has no opposite.
        short: one-letter flag such as `-o`.
    """

    help: str
    panel: str = ""
    argument: bool = False
    rare: bool = False
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None
    flag: str | None = None
    short: str | None = None


def option(default: Any, help: str, **more: Any) -> Any:  # noqa: A002 # as typer and argparse name it
    """A dataclass field with an `Option` of that help and further attributes; the default `...` makes it required."""
    metadata = {"option": Option(help, **more)}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def lenient(kind: type[_Kind]) -> type[_Kind]:
    """Let callers of a request give paths and percentages as text, and one item or any sequence for a tuple.

    Choices that are none of a `Literal` are refused, and numbers that are not finite, unless the option has a parser.
    The class becomes a dataclass next; its own `__post_init__` runs after the conversion.
    """
    check = kind.__dict__.get("__post_init__")

    def convert(self: Any) -> None:
        hints = get_type_hints(type(self))
        for each in fields(self):
            value, hint = getattr(self, each.name), hints[each.name]
            if (converted := _convert(value, hint, each)) is not value:
                object.__setattr__(self, each.name, converted)
        if check:
            check(self)

    kind.__post_init__ = convert  # type: ignore[attr-defined] # which dataclasses call
    return kind


def _convert(value: Any, hint: Any, each: Any) -> Any:
    choices = next((get_args(one) for one in (hint, *get_args(hint)) if get_origin(one) is Literal), None)
    if choices and value is not None and value not in choices:
        raise OptionError(f"{flag(each.name)} must be one of {', '.join(map(str, choices))}, not {value!r}")
    info: Option | None = each.metadata.get("option")
    if isinstance(value, float) and not math.isfinite(value) and not (info and info.parse):
        raise OptionError(f"{flag(each.name)} must be a finite number, not {value}")
    if info and info.parse and isinstance(value, str):
        return info.parse(value)
    if get_origin(hint) is tuple:
        items = (value,) if isinstance(value, str | Path) else value
        converted = tuple(_as_path(item, get_args(hint)[0]) for item in items)
        return value if converted == value else converted
    return _as_path(value, hint)


def _as_path(value: Any, hint: Any) -> Any:
    accepted = (hint, *get_args(hint))
    return Path(value) if isinstance(value, str) and Path in accepted and str not in accepted else value


def option_of(each: Any) -> Option:
    """The `Option` of a dataclass field."""
    found: Option = each.metadata["option"]
    return found


def flag(name: str) -> str:
    """`num_epoch` → `--num-epoch`."""
    return f"--{name.replace('_', '-')}"


def require(values: Any, names: Iterable[str], holds: Callable[[Any], bool], rule: str) -> None:
    """Refuse values out of range.

    Args:
        values: a dataclass.
        names: of the fields to check; those that are None are not.
        holds: whether a value is in range.
        rule: what a value must be or do, for the message, such as `be above 0`.

    Raises:
        OptionError: names the option, the rule and the value.
    """
    for name in names:
        value = getattr(values, name)
        if value is not None and not holds(value):
            raise OptionError(f"{flag(name)} must {rule}, not {value!r}")
