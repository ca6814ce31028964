"""NT-Xent: contrastive learning with one modality, two views of every image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def nt_xent(
    views_a: Float[Tensor, "batch dim"], views_b: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """Pick the other view of the same image out of all views of all images (Chen et al. 2020, SimCLR, eq. 1).

    Each of the 2B views is an anchor once.  Its candidates are the other 2B - 1 views, of either kind: its
    partner (the other view of the same image, which stays among them) and 2B - 2 wrong ones; only itself
    is none.  The anchor's loss is -log softmax(similarity / temperature)[partner] over its candidates.

    Args:
        views_a, views_b: L2-normalised by the caller, so that a dot product is the cosine of eq. 1; row i of
            either comes from image i.
        temperature: what similarities are divided by (not a multiplier, as CLIP's `scale` is), above 0.

    Returns:
        The mean over the 2B anchors: a scalar, finite for small temperatures, too.
    """
    ### BEGIN SOLUTION
    views = torch.cat([views_a, views_b])
    logits = views @ views.T / temperature  # (2B, 2B)
    logits.fill_diagonal_(-torch.inf)  # nobody is a candidate of their own
    partner = torch.arange(len(views)).roll(len(views_a)).to(logits.device)
    return F.cross_entropy(logits, partner)
    ### END SOLUTION
