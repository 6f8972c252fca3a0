"""Which data sets there are, and how they come onto the disk."""
