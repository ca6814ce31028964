"""Known answers of a4, a file for each file of its checks."""

from autograder.known.a4_vlm import (
    cached_attention,
    few_shot,
    flamingo,
    instructions,
    llava,
    rms_norm,
    rotary,
    sampling,
)

__all__ = [
    "cached_attention",
    "few_shot",
    "flamingo",
    "instructions",
    "llava",
    "rms_norm",
    "rotary",
    "sampling",
]
