"""Accuracy, latency and reports: every number with its unit and how it came about."""
