"""Accuracy of a trained network and of its exit policies: metrics, reports, plots, comparisons."""
