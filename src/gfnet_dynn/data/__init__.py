"""Data sets: what they are, where they lie, how they are split, read and augmented."""
