"""Tells a user of the small base install what a verb needs beyond it."""

from __future__ import annotations

from importlib.util import find_spec

from gfnet_dynn.errors import MissingExtraError


def require_torch(feature: str) -> None:
    """Check that training's dependencies are there, before anything imports them.

    Raises:
        MissingExtraError: they aren't.
    """
    if find_spec("torch") is None:
        raise MissingExtraError(feature, "train")


def require_export() -> None:
    """Check that export's dependencies are there, before anything imports them.

    Raises:
        MissingExtraError: they aren't.
    """
    if any(find_spec(name) is None for name in ("torch", "onnx", "onnxscript", "onnxruntime")):
        raise MissingExtraError("export", "train,export")


def require_plots() -> None:
    """Check that plots can be drawn, before anything is measured for them.

    Raises:
        MissingExtraError: they can't.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("an HTML report with plots", "plots")
