"""The requests of `push` and `pull`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.bundle.builtin import SUFFIX, bundle_argument
from gfnet_dynn.errors import OptionError
from gfnet_dynn.hub.address import HubAddress, is_address, parse_address, parse_repository
from gfnet_dynn.options import lenient, option


def _place(text: str) -> str:
    """A place on the hub, with or without `hf://`, as an address."""
    return str(parse_address(text if is_address(text) else f"hf://{text}"))


@dataclass(frozen=True, kw_only=True)
@lenient
class PushRequest:
    """Options."""

    bundle: Path = bundle_argument()
    repository: str = option(
        ...,
        "Repository; it is created where there is none.",
        argument=True,
        parse=parse_repository,
        metavar="OWNER/NAME",
    )
    private: bool = option(False, "Create a private repository; a public one is refused.", flag="--private")
    message: str | None = option(None, "Message of the commit. [default: names the model]", metavar="TEXT")

    def __post_init__(self) -> None:
        if self.message is not None and not self.message.strip():
            raise OptionError("--message is empty: say what changed, or leave it out")


@dataclass(frozen=True, kw_only=True)
@lenient
class PullRequest:
    """Options."""

    repository: str = option(
        ..., "Repository, and a branch, tag or commit.", argument=True, parse=_place, metavar="OWNER/NAME[@REVISION]"
    )
    output: Path | None = option(None, f"File to write. [default: NAME{SUFFIX}]", short="-o")

    @property
    def address(self) -> HubAddress:
        """Where the bundle is."""
        return parse_address(self.repository)
