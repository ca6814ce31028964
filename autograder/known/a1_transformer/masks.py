"""Known answers: masks."""
