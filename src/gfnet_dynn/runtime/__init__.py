"""Classify images with a bundle. Needs NumPy and an inference engine, never torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfnet_dynn.runtime.prediction import Prediction
    from gfnet_dynn.runtime.predictor import Classifier, load

__all__ = ["Classifier", "Prediction", "load"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `request` and `engine` need no NumPy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'prediction' if name == 'Prediction' else 'predictor'}"), name)
