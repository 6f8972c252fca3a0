"""The training loop and what it stands on: device, optimiser, seeds, state, tracking."""
