"""The learning rate over time."""

import math


def warmup_cosine(step: int, *, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """What to multiply the learning rate by: up in a straight line, then down along half a cosine.

    Args:
        step: 0 for the first of `steps` steps.
        warmup: how many steps the way up takes; the first of them has 1/warmup, the last has 1.
        floor: what the cosine would reach at step `steps`, one after the last.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)  # in [0, 1]
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
