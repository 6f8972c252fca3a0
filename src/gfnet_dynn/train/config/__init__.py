"""Every choice of a training run, with its default and help. No torch."""
