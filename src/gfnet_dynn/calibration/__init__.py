"""From a bundle and images that it has not learned from to an exit policy with its guarantee."""
