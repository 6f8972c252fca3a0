"""Describe a bundle, and change its exit policies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gfnet_dynn.bundle.archive import Bundle, read_bundle, stored_file, update_bundle
from gfnet_dynn.bundle.builtin import find_bundle, require_own
from gfnet_dynn.bundle.card import Card
from gfnet_dynn.bundle.manifest import FULL, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.bundle.stac import bundle_asset, stac_item
from gfnet_dynn.errors import BundleError
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.uncertainty.intervals import Proportion
from gfnet_dynn.units import percent
from gfnet_dynn.wording import some

_CLASSES_SHOWN = 12


@dataclass(frozen=True)
class BundleInfo(Tabular):
    """A bundle as tables; a built-in model goes by its `name`."""

    bundle: Bundle
    name: str | None = None

    def tables(self) -> Sequence[Table]:
        """Network, exits, precisions, policies."""
        manifest = self.bundle.manifest
        full = manifest.exits[-1].macs
        exits = tuple(
            (each.name, str(each.block), f"{each.macs / 1e6:.4g}", f"{100 * each.macs / full:.0f}%")
            for each in manifest.exits
        )
        precisions = tuple(
            (name, str(len(files)), f"{sum(manifest.files[file].bytes for file in files) / 1e6:.3g}")
            for name, files in manifest.precisions.items()
        )
        policies = []
        for each in manifest.policies:
            default = "default" if each is manifest.policies[0] else ""
            guarantee = str(each.guarantee.get("statement") or each.source)
            policies.append((each.name, default, each.score, ", ".join(each.covered) or "–", guarantee))
        return [
            *([] if manifest.card is None else _card_tables(manifest.card)),
            Table(self.name or str(self.bundle.path), ("", "value"), self._network()),
            Table("Exits", ("exit", "after block", "M MACs", "of full"), exits),
            Table("Precisions", ("precision", "segments", "MB"), precisions),
            Table("Exit policies", ("policy", "", "score", "covers", "guarantee or source"), tuple(policies)),
        ]

    def _network(self) -> tuple[tuple[str, str], ...]:
        manifest = self.bundle.manifest
        size, pad = manifest.input.size, manifest.input.pad
        origin = {name: value for name, value in manifest.provenance.items() if isinstance(value, str | int)}
        return (
            ("model", manifest.model),
            ("classes", f"{len(manifest.classes)}: {some(manifest.classes, _CLASSES_SHOWN)}"),
            ("input", f"{size} × {size} px RGB" + (f", {pad} px of padding included" if pad else "")),
            ("SHA-256", self.bundle.sha256[:12]),
            *((name.replace("_", " "), str(value)) for name, value in origin.items()),
        )


def _card_tables(card: Card) -> list[Table]:
    low, high = card.gsd_m
    facts = (
        ("meant for", f"{low:g} to {high:g} m per pixel"),
        ("intended use", card.intended_use),
        *(("limit", each) for each in card.limits),
        ("data", card.data),
        ("licence", card.licence),
        ("made by", card.recipe),
    )
    policies = []
    for name, each in card.policies.items():
        accuracy = str(Proportion(each.accuracy, *each.interval, card.images))
        remark = "thresholds chosen on these images" if each.calibrated_on_these else ""
        policies.append((name, accuracy, percent(each.macs_share, 0), remark))
    classes = tuple((name, percent(share, 1)) for name, share in card.class_accuracy.items())
    return [
        Table(card.title, ("", "value"), facts),
        Table(f"Measured on {card.measured_on}", ("policy", "accuracy (95%)", "MACs", ""), tuple(policies)),
        Table("Accuracy of the full network by class", ("class", "accuracy"), classes),
    ]


def info(name: str | Path) -> BundleInfo:
    """Describe a bundle, by its path, address or name.

    Raises:
        BundleError: missing or damaged.
    """
    return BundleInfo(read_bundle(find_bundle(name)))


def stac(name: str | Path, folder: Path = Path()) -> dict[str, Any]:
    """A bundle as a STAC item of the machine learning model extension, to lie in `folder`; a value of JSON.

    The bundle itself carries the same item with its graphs as assets, for tools that open archives.

    Raises:
        BundleError: missing or damaged.
    """
    bundle = read_bundle(find_bundle(name))
    href = Path(os.path.relpath(bundle.path.absolute(), folder.absolute())).as_posix()
    return stac_item(bundle.manifest, bundle.sha256, bundle_asset(href, stored_file(bundle.path.read_bytes())))


def set_default(path: Path, name: str) -> Path:
    """Make a policy of a bundle its default.

    Raises:
        BundleError: no policy of that name.
        StorageError: the bundle cannot be written; it is intact.
    """
    require_own(path)

    def change(manifest: Manifest) -> Manifest:
        return replace(manifest, policies=(manifest.policy(name), *_others(manifest, name)))

    return update_bundle(path, change)


def remove_policy(path: Path, name: str) -> Path:
    """Remove a policy from a bundle.

    Raises:
        BundleError: no policy of that name, or `full`, which every bundle has.
        StorageError: the bundle cannot be written; it is intact.
    """
    require_own(path)

    def change(manifest: Manifest) -> Manifest:
        manifest.policy(name)
        if name == FULL:
            raise BundleError(f"{path}: the policy {FULL!r} is part of every bundle and cannot be removed")
        return replace(manifest, policies=_others(manifest, name))

    return update_bundle(path, change)


def _others(manifest: Manifest, name: str) -> tuple[Policy, ...]:
    return tuple(each for each in manifest.policies if each.name != name)
