"""An HTTP service that classifies images and maps scenes; the one room that knows FastAPI."""
