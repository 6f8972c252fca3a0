"""Frames as they come, from a folder or a camera: complete files, the log, the command; never torch."""
