"""Results as tables and progress in the terminal."""
