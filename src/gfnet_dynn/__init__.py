"""Early-exit Global Filter Networks for remote-sensing scene classification."""

import os

__version__ = "0.1.0"

# From 1.29 on onnxruntime reports each session to its vendor unless this is set before it is loaded. Nothing that runs
# on a device uses the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
