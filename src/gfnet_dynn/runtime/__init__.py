"""Classify images with a bundle. Needs NumPy and an inference engine, never torch."""

from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.runtime.predictor import Classifier, load

__all__ = ["Classifier", "Prediction", "load"]
