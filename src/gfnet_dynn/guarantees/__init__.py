"""Statistical guarantees for exit policies: risks, bounds, and the search for thresholds that keep them."""
