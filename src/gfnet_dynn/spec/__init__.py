"""What an early-exit network is, as plain frozen values."""
