"""A repository on the hub for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gfnet_dynn.errors import HubError
from gfnet_dynn.hub.address import HubAddress
from gfnet_dynn.hub.client import LOGIN, hub_errors, make_client

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True)
class Published:
    """Address of a repository's page, and of the commit."""

    url: str
    commit_url: str


def require_token() -> None:
    """Refuse to begin what needs a token.

    Raises:
        HubError: there is none.
        MissingExtraError: the hub's client is not installed.
    """
    endpoint = make_client().endpoint
    from huggingface_hub import get_token  # noqa: PLC0415 # of an extra

    if get_token() is None:
        raise HubError(f"no token for {endpoint}: make one that may write at {endpoint}/settings/tokens, then {LOGIN}")


def publish(repository: str, files: Mapping[str, bytes], suffix: str, *, message: str, private: bool) -> Published:
    """Put files into a repository in one commit; the repository is created where there is none.

    Args:
        repository: OWNER/NAME.
        files: content by name.
        suffix: of the model's file, of which a repository has one.
        message: of the commit.
        private: whether only its owner sees the repository.

    Raises:
        HubError: no token, or it may not write there; a public repository where a private one is asked for; a model of
            another name in it; HubConnectionError: no connection.
        MissingExtraError: the hub's client is not installed.
    """
    require_token()
    client, address = make_client(), HubAddress(repository)
    with hub_errors(address, client):
        page = client.create_repo(repository, private=private or None, exist_ok=True)
        _require_suitable(client, repository, files, suffix, private=private)
        return Published(str(page), _commit(client, repository, files, message))


def _require_suitable(
    client: HfApi, repository: str, files: Mapping[str, bytes], suffix: str, *, private: bool
) -> None:
    """Refuse a repository that was there before and is not what was asked for; nothing was sent to it yet."""
    info = client.model_info(repository)
    settings = f"{client.endpoint}/{repository}/settings"
    if private and not info.private:
        raise HubError(
            f"{repository} is public: make it private at {settings}, or choose another name; nothing was sent"
        )
    names = (each.rfilename for each in info.siblings or ())
    if others := sorted(name for name in names if name.endswith(suffix) and name not in files):
        raise HubError(f"{repository} holds {others[0]} already: remove it, or choose another name; nothing was sent")


def _commit(client: HfApi, repository: str, files: Mapping[str, bytes], message: str) -> str:
    from huggingface_hub import CommitOperationAdd  # noqa: PLC0415 # of an extra
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415 # of an extra

    additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in files.items()]
    with disable_progress_bars():
        return str(client.create_commit(repository, additions, commit_message=message).commit_url)
