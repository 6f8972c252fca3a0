"""A training run on disk: its folder, its start, its ancestors, its teacher."""
