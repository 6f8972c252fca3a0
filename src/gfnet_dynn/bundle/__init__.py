"""The deployable: one file that holds what a device needs to classify scenes."""
