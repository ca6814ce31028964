"""SigLIP: ask of every image and every text whether they belong together."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def siglip_loss(
    image_features: Float[Tensor, "batch dim"],
    text_features: Float[Tensor, "batch dim"],
    scale: Float[Tensor, ""] | float,
    bias: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """-(1/B) sum_i sum_j log sigmoid(z_ij l_ij), with logits l_ij = scale * image_i . text_j + bias.

    z_ij is 1 where image i and text j belong together (i = j), and -1 everywhere else: B^2 questions with
    the answer yes or no, each by itself; no softmax looks at a row or a column as a whole
    (Zhai et al. 2023, SigLIP, sec. 3.2 and algorithm 1).

    Args:
        image_features, text_features: L2-normalised by the caller; image i and text i are a pair.
        scale: the multiplier itself (1 / temperature), not its logarithm; a scalar tensor or a number.
        bias: what is added to every scaled similarity; as there are B - 1 wrong texts for each right one,
            it starts near -10.  A scalar tensor or a number.

    Returns:
        The sum over all B^2 pairs, divided by B (not by B^2): a scalar, finite for logits of any size.
    """
    ### BEGIN SOLUTION
    logits = scale * image_features @ text_features.T + bias  # (B, B)
    z = 2 * torch.eye(len(logits)).to(logits) - 1
    return -F.logsigmoid(z * logits).sum() / len(logits)
    ### END SOLUTION
