"""Options: requests that take what Python callers write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import lenient, option


@dataclass(frozen=True, kw_only=True)
@lenient
class Sample:
    """A request."""

    file: Path | None = option(None, "A path.")
    files: tuple[Path, ...] = option((), "Paths.")
    names: tuple[str, ...] = option((), "Names.")
    name: str = option("x", "A name.")
    rate: float = option(1.0, "A number.")

    def __post_init__(self) -> None:
        if self.files and not isinstance(self.files[0], Path):
            raise OptionError("checked before the conversion")


def test_text_becomes_a_path_and_a_list_a_tuple_before_the_checks() -> None:
    sample = Sample(file="a", files=["b", Path("c")], names=["d"])  # type: ignore[arg-type] # what callers write
    assert sample == Sample(file=Path("a"), files=(Path("b"), Path("c")), names=("d",))
    assert hash(sample)
    assert Sample().file is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float) -> None:
    with pytest.raises(OptionError, match="--rate"):
        Sample(rate=value)
