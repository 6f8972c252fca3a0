"""The stages of training: backbone, warm-up, joint."""
