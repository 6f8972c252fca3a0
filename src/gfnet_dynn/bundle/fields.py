"""Reads JSON that cannot be trusted: each value is of the kind that is asked for, or an error names it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from unicodedata import category

from gfnet_dynn.errors import BundleError

_Choice = TypeVar("_Choice", bound=str)


class Fields:
    """A JSON object and where it stands.

    Attributes:
        value: the object.
    """

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, Mapping):
            raise BundleError(f"its {place} is not an object")
        self.value: Mapping[str, Any] = value
        self._place = place

    @property
    def names(self) -> list[str]:
        """Names of all fields."""
        return list(self.value)

    def text(self, name: str) -> str:
        """A string."""
        value = self._find(name)
        return value if isinstance(value, str) and _printable(value) else self._refuse(name, "a text")

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._find(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else self._refuse(name, "a whole number")

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._find(name)
        return float(value) if _finite(value) else self._refuse(name, "a number")

    def share(self, name: str) -> float:
        """A number between 0 and 1, neither of the two."""
        value = self.number(name)
        return value if 0 < value < 1 else self._refuse(name, "a number between 0 and 1")

    def one_of(self, name: str, choices: Sequence[_Choice]) -> _Choice:
        """One of some texts; another one is of a later version."""
        value = self.text(name)
        for choice in choices:
            if value == choice:
                return choice
        raise BundleError(f"its {self._place} has the unknown {name} {value[:40]!r}: update gfnet-dynn")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._list(name)
        return (
            tuple(values)
            if all(isinstance(value, str) and _printable(value) for value in values)
            else self._refuse(name, "texts")
        )

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        values = tuple(value for value in self.numbers_or_none(name) if value is not None)
        return values if len(values) == len(self._list(name)) else self._refuse(name, "numbers")

    def numbers_or_none(self, name: str) -> tuple[float | None, ...]:
        """A list of finite numbers and nulls."""
        values = self._list(name)
        if not all(value is None or _finite(value) for value in values):
            self._refuse(name, "numbers")
        return tuple(values)

    def inner(self, name: str) -> Fields:
        """An object."""
        return Fields(self._find(name), f"{self._place}.{name}")

    def inners(self, name: str) -> tuple[Fields, ...]:
        """A list of objects."""
        return tuple(Fields(value, f"{self._place}.{name}[{index}]") for index, value in enumerate(self._list(name)))

    def _list(self, name: str) -> list[Any]:
        value = self._find(name)
        return value if isinstance(value, list) else self._refuse(name, "a list")

    def _find(self, name: str) -> Any:
        if name not in self.value:
            raise BundleError(f"its {self._place} has no {name!r}")
        return self.value[name]

    def _refuse(self, name: str, kind: str) -> Any:
        raise BundleError(f"its {self._place}.{name} is not {kind}")


def _finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # JSON's whole numbers have no limit
        return False


def _printable(value: str) -> bool:
    """JSON can hold halves of characters, which nothing can print, and characters that steer a terminal."""
    return not any("\ud800" <= character <= "\udfff" or category(character) == "Cc" for character in value)
