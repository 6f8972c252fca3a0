"""The hub's client, and its errors as ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gfnet_dynn import __version__
from gfnet_dynn.errors import GFNetDynnError, HubConnectionError, HubError, StorageError, require_extra
from gfnet_dynn.hub.address import HubAddress

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

LOGIN = "set HF_TOKEN, or run `hf auth login`"
_UNKNOWN_TOKEN, _FORBIDDEN, _BUSY, _SERVER_FAULT = 401, 403, 429, 500  # states of HTTP


def make_client() -> HfApi:
    """The client; its address and its token are those of the environment.

    Raises:
        MissingExtraError: it is not installed.
    """
    require_extra("the Hugging Face Hub", "hub")
    from huggingface_hub import HfApi  # noqa: PLC0415 # of an extra

    return HfApi(library_name="gfnet-dynn", library_version=__version__)


@contextmanager
def hub_errors(address: HubAddress, client: HfApi) -> Iterator[None]:
    """Raise errors of the client as ours: HubConnectionError (the hub cannot be reached), HubError, StorageError."""
    try:
        yield
    except GFNetDynnError:
        raise
    except Exception as error:
        raise _translated(error, address, client.endpoint) from error


def _translated(error: BaseException, address: HubAddress, endpoint: str) -> GFNetDynnError:
    """The error as ours; whatever the client wraps in an error without a meaning of its own is taken out of it."""
    from huggingface_hub import errors  # noqa: PLC0415 # of an extra

    offline = (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error, address, endpoint)
    if isinstance(error, offline) and not isinstance(error.__cause__, errors.HfHubHTTPError):
        why = "HF_HUB_OFFLINE is set" if isinstance(error, errors.OfflineModeIsEnabled) else ""
        return _unreachable(endpoint, why or _first_line(error))
    if isinstance(error, errors.HTTPError):  # type: ignore[attr-defined] # the base of all errors of its connections
        return _unreachable(endpoint, _first_line(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
        return StorageError(f"cannot write {error.filename or 'the cache of the hub'}: {error.strerror}; free space")
    if error.__cause__ is not None:
        return _translated(error.__cause__, address, endpoint)
    return HubError(f"{address}: {_first_line(error)}")


def _refused(error: HfHubHTTPError, address: HubAddress, endpoint: str) -> HubError:
    """What the hub answered."""
    status, said = error.response.status_code, error.server_message or _first_line(error)
    if reason := _reason(error, address, f"{endpoint}/{address.repository}"):
        return HubError(reason)
    if status == _BUSY or status >= _SERVER_FAULT:
        return _unreachable(endpoint, f"it answers {status}: {said}")
    if status == _UNKNOWN_TOKEN:
        return HubError(f"{endpoint} does not accept the token: {LOGIN}")
    if status == _FORBIDDEN:
        return HubError(f"the token may not write to {address.repository}: {LOGIN} with one that may")
    return HubError(f"{endpoint} refuses {address.repository} ({status}): {said}")


def _reason(error: HfHubHTTPError, address: HubAddress, page: str) -> str | None:
    """Why, where the client has a class of error for it; subclasses stand first."""
    from huggingface_hub import errors  # noqa: PLC0415 # of an extra

    name, revision = address.repository, address.revision or "main"
    reasons = {
        errors.GatedRepoError: f"{name} is gated: accept its terms at {page}, then {LOGIN}",
        errors.RepositoryNotFoundError: f"no repository at {page}: check the name; if it is private, {LOGIN}",
        errors.RevisionNotFoundError: f"{name} has no revision {revision}: see {page}/commits/main",
        errors.EntryNotFoundError: f"{address} is not in its repository: see {page}/tree/{revision}",
    }
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), None)


def _unreachable(endpoint: str, why: str) -> HubConnectionError:
    return HubConnectionError(f"no connection to {endpoint} ({why})")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
