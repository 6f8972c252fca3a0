"""Classification of archives of any size, in partitions: each is done exactly when its file is there; never torch."""
