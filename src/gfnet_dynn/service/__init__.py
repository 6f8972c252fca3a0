"""The service: HTTP in front of a compiled bundle, with answers in time. The one room that knows FastAPI."""
