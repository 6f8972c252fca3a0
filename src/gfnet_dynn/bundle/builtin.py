"""Bundles by name: the models that are installed with the package, and addresses on the Hugging Face Hub."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import BundleError, OptionError
from gfnet_dynn.hub.address import cached_address, is_address, parse_address
from gfnet_dynn.options import option

SUFFIX = ".gfd"

_FOLDER = Path(__file__).resolve().parents[1] / "models"


@cache
def builtin_models() -> dict[str, Path]:
    """Bundles by name, in the order of their names; none in a checkout where they were not made."""
    return {path.stem: path for path in sorted(_FOLDER.glob(f"*{SUFFIX}"))}


def find_bundle(name: str | Path) -> Path:
    """The bundle of a built-in model's name, or of an address `hf://OWNER/NAME[@REVISION]`; any other text is a path.

    From the hub it is fetched into the cache of the hub's client, or found there. Where the hub cannot be reached, a
    note of that is logged.

    Raises:
        HubError: the address leads to no bundle; HubConnectionError: no connection, and nothing in the cache.
        OptionError: an empty name, as of an unset shell variable, or an address of another form.
    """
    if not str(name):
        raise OptionError("it is empty: name a bundle or a built-in model")
    if is_address(name):
        return _fetched(name)
    return builtin_models().get(str(name), Path(name))


def _fetched(name: str | Path) -> Path:
    from gfnet_dynn.hub.download import fetch  # noqa: PLC0415 # what comes from elsewhere need not wait for it

    found = fetch(parse_address(name), SUFFIX)
    if found.note:
        logging.getLogger(__name__).warning("note: %s", found.note)
    return found.path


HELP = f"Bundle ({SUFFIX}), name of a built-in model, or hf://OWNER/NAME on the Hugging Face Hub."
"""What the option of a bundle takes."""


def bundle_argument(default: Any = ..., otherwise: str = "") -> Any:
    """The positional option of a request for its bundle; `otherwise`: which one is taken where none is named."""
    described = f"{HELP} [default: {otherwise}]" if otherwise else HELP
    return option(default, described, argument=True, parse=find_bundle)


def require_own(path: Path, output: Path | None = None) -> None:
    """Refuse to change a model of the installed package, or of the hub's cache.

    Raises:
        BundleError: `path` is one, and the result goes to no other file.
    """
    if output in (None, path) and (address := cached_address(path)):
        raise BundleError(
            f"{address} lies in the cache of the hub and cannot be changed: `gfnet-dynn pull {address.repository} -o "
            f"scene{SUFFIX}`, and change that"
        )
    for name, model in builtin_models().items():
        if path == model and output in (None, model):
            raise BundleError(
                f"the built-in model {name} cannot be changed: give --output to `gfnet-dynn calibrate`, or copy {model}"
            )
