"""Classification of any number of images: their names, lines of output, interrupted runs, copies by class."""
