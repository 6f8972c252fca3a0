"""The page of a bundle's repository on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.card import Card
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.data.catalogue.configs import known_sets
from gfnet_dynn.hub.card import Figure, ModelPage
from gfnet_dynn.units import percent
from gfnet_dynn.workflows.bundles import BundleInfo

_TAGS = ("remote-sensing", "scene-classification", "early-exit", "onnx", "stac")
_TEXT = """# {title}

{use}

```bash
pip install 'gfnet-dynn[hub]'
gfnet-dynn classify hf://{repository} photo.jpg
```

{tables}"""


def model_page(bundle: Bundle, repository: str) -> ModelPage:
    """The page of a repository, from the card where the bundle has one, otherwise from its manifest."""
    manifest, card = bundle.manifest, bundle.manifest.card
    data_set = _data_set(manifest)
    archive = known.archive if (known := known_sets().get(data_set)) else None
    use = card.intended_use if card else "Nobody wrote a card: what it may be relied on for is not stated."
    tables = BundleInfo(bundle, repository).to_markdown()
    return ModelPage(
        name=repository.split("/")[1],
        licence=card.licence if card else None,
        data_set=data_set or "images",
        repositories=(archive.repository,) if archive else (),
        tags=_TAGS,
        figures=tuple(_card_figures(card) if card else _export_figures(manifest.report)),
        text=_TEXT.format(title=model_title(manifest), use=use, repository=repository, tables=tables),
    )


def model_title(manifest: Manifest) -> str:
    """In a few words what the bundle is."""
    return manifest.card.title if manifest.card else f"{manifest.model}, {len(manifest.classes)} classes"


def _data_set(manifest: Manifest) -> str:
    """The name of the data set that the network learned from; empty: not known."""
    data = manifest.provenance.get("data")
    return str(data.get("data_set", "")) if isinstance(data, Mapping) else ""


def _card_figures(card: Card) -> Iterator[Figure]:
    for name, each in card.policies.items():
        low, high = (percent(end, 1) for end in each.interval)
        chosen = "; thresholds chosen on these images" if each.calibrated_on_these else ""
        shown = f"95% interval {low} to {high}, {percent(each.macs_share, 0)} of the MACs{chosen}"
        yield Figure(each.accuracy, f"Accuracy, policy {name} ({shown})", card.measured_on)


def _export_figures(report: Mapping[str, Any]) -> Iterator[Figure]:
    """Accuracies in fp32 that export measured; the report of a bundle may hold anything."""
    measured_on, by_precision = report.get("measured_on"), report.get("precisions")
    policies = by_precision.get("fp32") if isinstance(by_precision, Mapping) else None
    for name, each in policies.items() if isinstance(policies, Mapping) else ():
        accuracy = each.get("accuracy") if isinstance(each, Mapping) else None
        if isinstance(accuracy, float) and isinstance(measured_on, str):
            yield Figure(accuracy, f"Accuracy, policy {name}", measured_on)
