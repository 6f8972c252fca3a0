"""SyntheticScenes: generated scenes for demonstrations and tests."""
