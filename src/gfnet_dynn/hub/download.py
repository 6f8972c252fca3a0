"""Files from the hub, by way of the cache of its client."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gfnet_dynn.errors import HubConnectionError, HubError
from gfnet_dynn.hub.address import HubAddress, cached_address
from gfnet_dynn.hub.client import hub_errors, make_client
from gfnet_dynn.wording import some

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_PATIENCE_S = 10


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in the cache, not to be changed there.

    Attributes:
        address: with the commit and the file.
        note: that the hub could not be asked whether this is the newest; empty: it was.
    """

    path: Path
    address: HubAddress
    note: str = ""


def fetch(address: HubAddress, suffix: str) -> Fetched:
    """The file that an address names, or the repository's only one that ends in `suffix`.

    A file that is in the cache is not transferred again. Without a connection, the cached copy is taken.

    Raises:
        HubConnectionError: no connection, and no cached copy.
        HubError: no such repository, revision or file, several files, or access is refused.
        MissingExtraError: the hub's client is not installed.
        StorageError: the cache cannot be written.
    """
    client = make_client()
    try:
        with hub_errors(address, client):
            path = _download(address, suffix, client)
    except HubConnectionError as error:
        copy = _cached(address, suffix, client)
        if copy is None:
            raise HubConnectionError(
                f"{error}, and {address} is not in the cache: connect once, or copy a bundle to this machine"
            ) from error
        found = cached_address(copy) or address
        return Fetched(copy, found, f"{error}: the cached copy {found} is used")
    return Fetched(path, cached_address(path) or address)


def _download(address: HubAddress, suffix: str, client: HfApi) -> Path:
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415 # of an extra

    info = client.model_info(address.repository, revision=address.revision, timeout=_PATIENCE_S)
    name = _choose((each.rfilename for each in info.siblings or ()), address, suffix)
    with disable_progress_bars():
        return Path(client.hf_hub_download(address.repository, name, revision=address.revision))


def _cached(address: HubAddress, suffix: str, client: HfApi) -> Path | None:
    """The copy of an earlier time; None: there is none."""
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415 # of an extra

    try:
        folder = Path(
            client.snapshot_download(
                address.repository,
                revision=address.revision,
                local_files_only=True,
                allow_patterns=address.file or f"*{suffix}",
            )
        )
    except LocalEntryNotFoundError:
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if address.file not in (None, *names) or not any(name.endswith(suffix) for name in names):
        return None
    return folder / _choose(names, address, suffix)


def _choose(names: Iterable[str], address: HubAddress, suffix: str) -> str:
    """The file that is meant, of those in the repository."""
    found = sorted(name for name in names if name.endswith(suffix))
    held = f"it holds {some(found)}" if found else f"it holds no {suffix} file"
    if address.file is not None:
        if address.file not in found:
            raise HubError(f"{address} is not a bundle in its repository: {held}")
        return address.file
    if len(found) > 1:
        first = HubAddress(address.repository, address.revision, found[0])
        raise HubError(f"{address} holds several bundles, {some(found)}: name one, such as {first}")
    if not found:
        raise HubError(f"{address} is no repository of a bundle: {held}")
    return found[0]
