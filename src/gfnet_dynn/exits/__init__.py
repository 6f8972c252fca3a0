"""When an image exits, and what that means for accuracy and cost. NumPy only: the runtime uses it too."""
