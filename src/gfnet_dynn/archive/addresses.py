"""Paths and URLs in one form, text: what they hold, and what is relative to them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from gfnet_dynn.archive.places import ForbiddenFileError, MissingFileError, is_url, opened
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError

_LARGEST = 256 * 2**20  # bytes of a document


def shown(address: str) -> str:
    """For messages and rows: without the query of a URL, which may hold a key."""
    return printable(address.partition("?")[0] if is_url(address) else address)


def suffix_of(address: str) -> str:
    """Suffix of the file name, in small letters."""
    return PurePosixPath(address.partition("?")[0] if is_url(address) else address).suffix.lower()


def join(base: str, reference: str) -> str:
    """What a document at `base` refers to.

    Raises:
        DataError: a document from the network refers to a file of this computer.
    """
    if is_url(reference) and not reference.startswith("file://"):
        return reference
    if not is_url(base):
        path = unquote(urlsplit(reference).path) if reference.startswith("file://") else reference
        return os.path.normpath(Path(base).parent / path)
    if reference.startswith("file://"):
        raise DataError(f"{shown(base)} refers to a file of this computer, {printable(reference)}: it is not read")
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{urljoin(f'http://{rest}', reference).partition('://')[2]}"


def read(address: str) -> bytes:
    """A whole document; raises DataError: unreachable or absurdly large, MissingFileError: not there."""
    try:
        with opened(address) as file:
            content = file.read(_LARGEST + 1)
    except DataError as error:
        raise type(error)(str(error).replace(address, shown(address))) from error
    if len(content) > _LARGEST:
        raise DataError(f"{shown(address)} is larger than {_LARGEST >> 20} MiB: no document is")
    return content


def require_reachable(address: str) -> None:
    """Tell a file that is bad, gone or forbidden from one that only now cannot be reached.

    Raises:
        DataError: it cannot be reached, though perhaps later.
    """
    try:
        with opened(address) as file:
            file.read(1)
    except (MissingFileError, ForbiddenFileError):
        return
    except DataError as error:
        raise DataError(str(error).replace(address, shown(address))) from error
