"""The models that are installed with the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.units import percent


@dataclass(frozen=True)
class ModelsResult(Tabular):
    """The built-in models.

    Attributes:
        bundles: by name.
    """

    bundles: Mapping[str, Bundle]

    def tables(self) -> Sequence[Table]:
        """One row for each model."""
        headings = ("name", "for", "classes", "m per pixel", "input", "accuracy", "MB")
        return [Table("Built-in models", headings, tuple(map(_row, self.bundles, self.bundles.values())))]


def models() -> ModelsResult:
    """The built-in models, each with its card.

    Raises:
        BundleError: the installation is damaged.
    """
    return ModelsResult({name: read_bundle(path) for name, path in builtin_models().items()})


def _row(name: str, bundle: Bundle) -> tuple[str, ...]:
    manifest, megabytes = bundle.manifest, f"{bundle.path.stat().st_size / 1e6:.1f}"
    card, classes, size = manifest.card, str(len(manifest.classes)), f"{manifest.input.size} px"
    if card is None:
        return (name, "", classes, "", size, "", megabytes)
    best = card.policies["full"]
    low, high = card.gsd_m
    return (name, card.title, classes, f"{low:g} to {high:g}", size, percent(best.accuracy, 1), megabytes)
