"""Which built-in model suits images, by the ground sampling distance that is given or that the files state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.bundle.card import Card
from gfnet_dynn.errors import ModelChoiceError
from gfnet_dynn.images.georeference import ground_sampling_distance


@dataclass(frozen=True)
class ModelChoice:
    """A built-in model, its bundle, and why it was taken."""

    name: str
    bundle: Path
    reason: str


def model_cards() -> dict[str, Card]:
    """The cards of the built-in models by name."""
    found = {name: read_bundle(path).manifest.card for name, path in builtin_models().items()}
    return {name: card for name, card in found.items() if card is not None}


def choose_model(files: Iterable[Path], gsd_m: float | None, stated_by: str = "--gsd") -> ModelChoice:
    """The built-in model that is meant for images of that ground sampling distance, or of the one that GeoTIFFs state.

    `stated_by` names, in messages, where `gsd_m` comes from.

    Raises:
        ModelChoiceError: no file states it, files need different models, or no model is meant for it.
    """
    cards = model_cards()
    if gsd_m is not None:
        return _suited(cards, gsd_m, stated_by)
    chosen: dict[str, ModelChoice] = {}
    for file in files:
        if (stated := ground_sampling_distance(file)) is not None:
            choice = _suited(cards, stated, str(file))
            chosen.setdefault(choice.name, choice)
    if len(chosen) == 1:
        return next(iter(chosen.values()))
    if chosen:
        reasons = "; ".join(f"{name}: {each.reason}" for name, each in chosen.items())
        raise ModelChoiceError(f"the images need different models ({reasons}): classify them apart", tuple(cards))
    raise ModelChoiceError(
        "which model? The images do not state how many metres a pixel covers: name a bundle or a built-in model first "
        f"({_described(cards)}), or give --gsd METRES",
        tuple(cards),
    )


def _suited(cards: Mapping[str, Card], gsd_m: float, stated_by: str) -> ModelChoice:
    for name, card in cards.items():
        low, high = card.gsd_m
        if low <= gsd_m <= high:
            return ModelChoice(name, builtin_models()[name], f"{gsd_m:.3g} m per pixel by {stated_by}")
    raise ModelChoiceError(
        f"no built-in model is meant for {gsd_m:.3g} m per pixel (by {stated_by}): train one, or name one of "
        f"{_described(cards)} to take it all the same",
        tuple(cards),
    )


def _described(cards: Mapping[str, Card]) -> str:
    ranges = (f"{name} for {card.gsd_m[0]:g} to {card.gsd_m[1]:g} m" for name, card in cards.items())
    return ", ".join(ranges) or "none is installed"
