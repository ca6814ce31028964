"""Known answers: NumPy forward and backward passes."""
