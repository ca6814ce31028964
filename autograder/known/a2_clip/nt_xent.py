"""Known answers: nt_xent."""
