"""How the next token is chosen from the logits."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from cs_vl.exercise import exercise


@exercise
def next_token_probabilities(
    logits: Float[Tensor, "batch vocab"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "batch vocab"]:
    """The probabilities to draw the next token with.

    In this order, each step on what the one before left, renormalised:

    1. softmax(logits / temperature);
    2. top_k (Fan et al. 2018): only the k likeliest tokens stay;
    3. top_p (Holtzman et al. 2020, nucleus sampling): only the likeliest tokens stay, as many as are needed
       for their probabilities to add up to *at least* top_p; the one that reaches it stays, too.

    The others get exactly 0; those that stay are divided by their sum.

    Args:
        logits: finite, of any size; no two of a row that matter are equal.
        temperature: 0 or more.  0 is greedy: the largest logit has probability 1, whatever top_k and top_p.
        top_k: 1 or more; None, or more than there are tokens: all stay.
        top_p: above 0, at most 1; None or 1: all stay.  The likeliest token always stays.

    Returns:
        (batch, vocab); each row sums to 1.
    """
    ### BEGIN SOLUTION
    if not temperature:  # greedy
        return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)
    p, order = (logits / temperature).softmax(dim=1).sort()  # the likeliest last
    if top_k is not None:
        p[:, :-top_k] = 0
        p = p / p.sum(dim=1, keepdim=True)
    if top_p is not None:
        others = p[:, :-1]  # the likeliest always stays
        others[others.cumsum(dim=1) <= 1 - top_p] = 0  # what is not needed to reach top_p
        p = p / p.sum(dim=1, keepdim=True)
    return torch.zeros_like(p).scatter(1, order, p)
    ### END SOLUTION
