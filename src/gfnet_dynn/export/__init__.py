"""From a trained network to a bundle whose answers are shown to be the same."""
