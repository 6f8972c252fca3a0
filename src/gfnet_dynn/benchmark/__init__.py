"""Latency, memory and energy, measured."""
