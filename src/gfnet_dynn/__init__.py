"""Early-exit Global Filter Networks for remote-sensing scene classification."""

from importlib.metadata import version

__version__ = version("gfnet-dynn")
