"""When a sample leaves, and what that means for accuracy and cost. NumPy only: the device uses it too."""
