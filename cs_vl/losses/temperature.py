"""CLIP's temperature is learned; this keeps it where training stays stable."""

import math

import torch
from torch import nn

from cs_vl.exercise import exercise


@exercise
def clamp_logit_scale(logit_scale: nn.Parameter, max_scale: float = 100.0) -> None:
    """Bring the logits' multiplier, exp(logit_scale), back into [1, max_scale]; called after each step.

    The parameter is the multiplier's logarithm, so the multiplier is never negative.  It is "clipped to
    prevent scaling the logits by more than 100 which we found necessary to prevent training instability"
    (Radford et al. 2021, sec. 2.5); the lower bound is what implementations add.

    Args:
        logit_scale: changed in place: the optimiser and the model go on with the same parameter.  Where the
            multiplier lies within the bounds it keeps its value; beyond them it gets the nearer bound.
            It is and stays a leaf that requires a gradient; its `.grad` is left alone.
        max_scale: the largest multiplier (not its logarithm), 1 or more.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():  # not a part of the graph: autograd must not see the parameter change
        logit_scale.clamp_(0, math.log(max_scale))
    ### END SOLUTION
