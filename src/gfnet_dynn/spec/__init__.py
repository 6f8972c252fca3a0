"""Specifications of early-exit networks, as frozen values."""
