"""Known answers: byte-pair encoding."""
