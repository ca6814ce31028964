"""Known answers of a2, a file for each file of its checks."""

from autograder.known.a2_clip import (
    balance,
    by_hand,
    clip,
    contrastive,
    nt_xent,
    probes,
    retrieval,
    siglip,
    zero_shot,
)

__all__ = [
    "balance",
    "by_hand",
    "clip",
    "contrastive",
    "nt_xent",
    "probes",
    "retrieval",
    "siglip",
    "zero_shot",
]
