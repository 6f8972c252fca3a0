"""Which image serves which purpose."""
