"""What is wrong with a data set on disk."""
