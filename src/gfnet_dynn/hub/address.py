"""Addresses of files on the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import OptionError

FORM = "hf://OWNER/NAME[@REVISION][/FILE]"

_PART = r"[A-Za-z0-9_][\w.-]*"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}", re.ASCII)
# One slash is what `pathlib` leaves of two.
_ADDRESS = re.compile(rf"hf://?(?P<name>{_REPOSITORY.pattern})(@(?P<revision>[^/@\s]+))?(/(?P<file>.+))?", re.ASCII)
_CACHED = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
_SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A repository of a model, at a branch, tag or commit, and a file in it; None: the main branch, the only file."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        """As users write it."""
        at, below = (f"@{self.revision}" if self.revision else ""), (f"/{self.file}" if self.file else "")
        return f"hf://{self.repository}{at}{below}"


def is_address(text: str | Path) -> bool:
    """Whether a text names a place on the hub, well-formed or not."""
    return str(text).startswith("hf:/")


def parse_address(text: str | Path) -> HubAddress:
    """Read `hf://OWNER/NAME[@REVISION][/FILE]`.

    Raises:
        OptionError: it has another form.
    """
    found = _ADDRESS.fullmatch(str(text))
    if found is None:
        raise OptionError(f"{text} is no address on the Hugging Face Hub: write {FORM}")
    return HubAddress(found["name"], found["revision"], found["file"])


def parse_repository(text: str) -> str:
    """The name of a repository, `OWNER/NAME`, also written as an address.

    Raises:
        OptionError: it has another form.
    """
    if is_address(text) and (address := parse_address(text)) == HubAddress(address.repository):
        return address.repository
    if not _REPOSITORY.fullmatch(text):
        raise OptionError(f"{text!r} is no repository on the Hugging Face Hub: write OWNER/NAME")
    return text


def cached_address(path: Path) -> HubAddress | None:
    """Where a file in the cache of the hub's client comes from, with its commit; None: it lies elsewhere."""
    parts = path.parts
    for index in range(len(parts) - 3, 0, -1):
        if parts[index] == _SNAPSHOTS and (found := _CACHED.fullmatch(parts[index - 1])):
            return HubAddress(f"{found['owner']}/{found['name']}", parts[index + 1], "/".join(parts[index + 2 :]))
    return None
