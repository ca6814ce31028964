"""Known answers of a1, a file for each file of its checks."""

from autograder.known.a1_transformer import attention, bpe, by_hand, masks, text, vision

__all__ = ["attention", "bpe", "by_hand", "masks", "text", "vision"]
