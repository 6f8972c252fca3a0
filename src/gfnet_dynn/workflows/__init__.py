"""The Python API: each use case takes a frozen request and returns a typed result."""
