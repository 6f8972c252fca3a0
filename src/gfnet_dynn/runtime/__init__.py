"""Classifies images on the device with a bundle; needs NumPy and an inference engine, never torch."""

from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.runtime.predictor import Classifier, load

__all__ = ["Classifier", "Prediction", "load"]
