"""Known answers: text transformers."""
