"""The loss of a language model that is told which tokens count."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # the label of what is not to be learned: prompts, images, padding


def next_token_loss(
    logits: Float[Tensor, "batch length vocab"], labels: Int[Tensor, "batch length"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the tokens whose label is not `IGNORED`.

    Args:
        logits: those at i are of token i + 1.
        labels: the label at i is token i *itself*; the shift by one happens here.
    """
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
    )
