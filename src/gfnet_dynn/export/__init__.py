"""From a trained network to a bundle with the same outputs."""
