"""Share bundles on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gfnet_dynn.bundle.archive import STAC, Bundle, read_bundle, stored_file
from gfnet_dynn.bundle.builtin import SUFFIX
from gfnet_dynn.bundle.request import PullRequest, PushRequest
from gfnet_dynn.bundle.stac import bundle_asset, stac_item
from gfnet_dynn.errors import BundleError, StorageError
from gfnet_dynn.hub.address import HubAddress
from gfnet_dynn.hub.download import fetch
from gfnet_dynn.hub.upload import Published, publish, require_token
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.system.storage import to_json, write_bytes
from gfnet_dynn.workflows.model_page import model_page, model_title

MODEL = f"model{SUFFIX}"
"""The bundle's name in a repository, the same for all, so that a new version replaces the old one."""

_PAGE = "README.md"


@dataclass(frozen=True)
class PushResult(Tabular):
    """What was sent, in bytes by file, and where it is now."""

    published: Published
    files: Mapping[str, int]

    def tables(self) -> Sequence[Table]:
        """One row for each file."""
        rows = tuple((name, f"{size / 1e6:.3g}") for name, size in self.files.items())
        return [Table(self.published.url, ("file", "MB"), rows)]

    def notes(self) -> Sequence[str]:
        """The commit."""
        return [f"commit: {self.published.commit_url}"]


@dataclass(frozen=True)
class PullResult(Tabular):
    """A bundle from the hub.

    Attributes:
        bundle: at its new place.
        address: where it comes from, with the commit.
        written: False where the same file was there before.
        note: that it is a cached copy; empty: the hub was asked.
    """

    bundle: Bundle
    address: HubAddress
    written: bool
    note: str

    def tables(self) -> Sequence[Table]:
        """Origin and content."""
        manifest, megabytes = self.bundle.manifest, self.bundle.path.stat().st_size / 1e6
        rows = (
            ("from", str(self.address)),
            ("model", manifest.model),
            ("classes", str(len(manifest.classes))),
            ("SHA-256", self.bundle.sha256[:12]),
            ("MB", f"{megabytes:.3g}"),
        )
        return [Table(str(self.bundle.path), ("", "value"), rows)]

    def notes(self) -> Sequence[str]:
        """What was not done."""
        return [*([self.note] if self.note else []), *([] if self.written else ["the same file was there before"])]


def push(request: PushRequest) -> PushResult:
    """Put a bundle into a repository, with a page that shows its card and figures, and with its STAC item.

    Raises:
        BundleError: missing or damaged.
        HubError: no token, or it may not write there; see `hub.upload.publish`.
        MissingExtraError: the hub's client is not installed.
    """
    require_token()
    bundle = read_bundle(request.bundle)
    bundle.verify()
    content = bundle.path.read_bytes()
    item = stac_item(bundle.manifest, bundle.sha256, bundle_asset(f"./{MODEL}", stored_file(content)))
    files = {
        MODEL: content,
        STAC: msgspec.json.format(to_json(item), indent=1),
        _PAGE: model_page(bundle, request.repository).to_markdown().encode(),
    }
    message = request.message or f"{model_title(bundle.manifest)}, {bundle.sha256[:12]}"
    published = publish(request.repository, files, SUFFIX, message=message, private=request.private)
    return PushResult(published, {name: len(each) for name, each in files.items()})


def pull(request: PullRequest) -> PullResult:
    """Copy a bundle from a repository to a file of its own, once it is known to be whole.

    Raises:
        BundleError: the repository's file is no bundle, or damaged.
        HubError: see `hub.download.fetch`.
        StorageError: another file is in its place, or it cannot be written.
    """
    fetched = fetch(request.address, SUFFIX)
    target = request.output or Path(f"{request.address.repository.split('/')[1]}{SUFFIX}")
    try:
        read_bundle(fetched.path).verify()
    except BundleError as error:
        raise BundleError(f"{fetched.address} is of no use: {error}") from error
    content = fetched.path.read_bytes()
    if there := target.exists():
        if target.is_dir():
            raise StorageError(f"{target} is a folder: name the file to write")
        if target.read_bytes() != content:
            raise StorageError(f"{target} is another file, and is kept: name a new one with --output")
    else:
        write_bytes(target, content)
    return PullResult(read_bundle(target), fetched.address, not there, fetched.note)
