"""A service that classifies images over HTTP, and its page."""
