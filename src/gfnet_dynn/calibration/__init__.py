"""From a bundle and labelled images that it has not learned from to an exit policy and what is guaranteed of it."""
