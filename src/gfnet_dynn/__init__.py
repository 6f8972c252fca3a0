"""Early-exit Global Filter Networks for remote-sensing scene classification."""

import os
from typing import Any

# Since 1.29 onnxruntime tells its makers of each session, unless this is set before it is loaded. What runs on a device
# asks the network for nothing and tells it nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """The version, looked up when it is asked for: a device's first answer does not wait for it."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 # slow to import

        return version("gfnet-dynn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
