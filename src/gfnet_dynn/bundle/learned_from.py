"""Which images are copies of those that a bundle's network was trained or selected on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.errors import BundleError
from gfnet_dynn.images.copies import find_copies
from gfnet_dynn.images.fingerprint import BYTES


def find_learned(bundle: Bundle, files: Sequence[Path], fingerprints: bytes) -> list[Path]:
    """The files that are such copies; none where the bundle has no record of its training images.

    Args:
        bundle: of the network.
        files: images.
        fingerprints: of each, in order.

    Raises:
        BundleError: the record is damaged.
    """
    if bundle.manifest.learned_from is None:
        return []
    known = bundle.read(bundle.manifest.learned_from)
    if not known or len(known) % BYTES:
        raise BundleError(
            f"{bundle.path}: its {bundle.manifest.learned_from} has {len(known)} bytes, not {BYTES} for each image: "
            "export it anew"
        )
    copies = find_copies(fingerprints, known) >= 0
    return [file for file, copy in zip(files, copies.tolist(), strict=True) if copy]
