"""Predict the caption instead of picking it: what CLIP was compared with.

Word for word, in order (`captioning_loss`), or just which words there are (`bag_of_words_loss`): the two
slower curves in fig. 2 of Radford et al. 2021.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def real_tokens(
    ids: Int[Tensor, "*batch length"], lengths: Int[Tensor, "*batch"]
) -> Bool[Tensor, "*batch length"]:
    """True for each text's first `lengths` tokens, False for the padding behind them."""
    return torch.arange(ids.shape[-1], device=ids.device) < lengths[..., None]


def caption_log_likelihood(
    logits: Float[Tensor, "*batch length vocab"],
    ids: Int[Tensor, "*batch length"],
    lengths: Int[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """log p(text | image): the sum of its tokens' log-probabilities, in nats, 0 or less.

    Args:
        logits: those at i are of token i itself, given the image and the tokens before i.
        ids: the texts.
        lengths: how many tokens of each text are real; the padding behind them does not count, and its
            logits get exactly zero gradient.
    """
    log_p = logits.log_softmax(dim=-1).gather(-1, ids[..., None])[..., 0]
    return log_p.masked_fill(~real_tokens(ids, lengths), 0.0).sum(dim=-1)


def captioning_loss(
    logits: Float[Tensor, "batch length vocab"],
    ids: Int[Tensor, "batch length"],
    lengths: Int[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy of a token given the image and the tokens before it, in nats.

    Arguments as in `caption_log_likelihood`.  The mean is over all real tokens of the batch, so a long
    caption weighs more than a short one.
    """
    return -caption_log_likelihood(logits, ids, lengths).sum() / lengths.sum()


def bag_of_words_loss(
    logits: Float[Tensor, "batch vocab"],
    ids: Int[Tensor, "batch length"],
    lengths: Int[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Which tokens does the caption have, in whatever order?   (After Joulin et al. 2016.)

    One softmax over the vocabulary for each image, and the cross-entropy with the uniform distribution over
    the *different* tokens of its caption: one that occurs twice counts once.

    Args:
        logits: of every token of the vocabulary, for each image.
        ids, lengths: the captions; each has one real token at least, and padding does not count.

    Returns:
        The mean over images, in nats; its least value for a caption of k different tokens is log k.
    """
    counts = torch.zeros_like(logits).scatter_add(1, ids, real_tokens(ids, lengths).to(logits))
    present = counts.clamp(max=1)
    return F.cross_entropy(logits, present / present.sum(dim=1, keepdim=True))
