"""From a georeferenced scene to a map of its classes; the one room that knows rasterio (extra `geo`)."""
