"""The models that are installed with the package; commands and `load` take them by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import BundleError, OptionError
from gfnet_dynn.options import option

SUFFIX = ".gfd"

_FOLDER = Path(__file__).resolve().parents[1] / "models"


@cache
def builtin_models() -> dict[str, Path]:
    """Bundles by name, in the order of their names; none in a checkout where they were not made."""
    return {path.stem: path for path in sorted(_FOLDER.glob(f"*{SUFFIX}"))}


def find_bundle(name: str | Path) -> Path:
    """The bundle of a built-in model's name; any other text is a path.

    Raises:
        OptionError: an empty name, as of an unset shell variable.
    """
    if not str(name):
        raise OptionError("it is empty: name a bundle or a built-in model")
    return builtin_models().get(str(name), Path(name))


def bundle_argument(default: Any = ...) -> Any:
    """The positional option of a request for its bundle."""
    return option(default, "Bundle (.gfd), or the name of a built-in model.", argument=True, parse=find_bundle)


def require_own(path: Path, output: Path | None = None) -> None:
    """Refuse to change a model of the installed package.

    Raises:
        BundleError: `path` is one, and the result goes to no other file.
    """
    for name, model in builtin_models().items():
        if path == model and output in (None, model):
            raise BundleError(
                f"the built-in model {name} cannot be changed: give --output to `gfnet-dynn calibrate`, or copy {model}"
            )
