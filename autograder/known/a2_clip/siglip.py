"""Known answers: siglip."""
