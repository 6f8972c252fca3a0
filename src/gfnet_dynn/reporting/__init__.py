"""Tables, plots and HTML pages: the one place that knows how figures are shown."""
