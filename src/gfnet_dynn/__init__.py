"""Early-exit Global Filter Networks for remote-sensing scene classification."""

from typing import Any


def __getattr__(name: str) -> Any:
    """The version, looked up when it is asked for: a device's first answer does not wait for it."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 # slow to import

        return version("gfnet-dynn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
