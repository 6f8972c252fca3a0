"""Training in stages: backbone, warm-up of the exits, joint stage."""
