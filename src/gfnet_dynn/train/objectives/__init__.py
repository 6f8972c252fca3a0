"""What training minimises: losses and distillation."""
