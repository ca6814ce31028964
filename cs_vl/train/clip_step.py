"""One step of training CLIP, written out: what `fit` does for every model, and CLIP's clamp."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.exercise import exercise
from cs_vl.losses.info_nce import info_nce
from cs_vl.losses.temperature import clamp_logit_scale
from cs_vl.models.clip import CLIP


@exercise
def clip_train_step(
    model: CLIP,
    optimizer: torch.optim.Optimizer,
    images: Float[Tensor, "pairs channels height width"],
    ids: Int[Tensor, "pairs length"],
    lengths: Int[Tensor, " pairs"] | None = None,
    *,
    max_scale: float = 100.0,
) -> float:
    """Update a CLIP once on a batch of pairs (Radford et al. 2021, fig. 3): image i belongs to text i.

    The loss is the symmetric InfoNCE, the mean of both directions, at the scale exp(logit_scale), which
    learns with all the rest.  What lies in the parameters' `.grad` from before does not count.  After the
    update logit_scale is clamped, so that the scale stays between 1 and `max_scale`.

    Args:
        model: `model(images, ids, lengths)` gives a `CLIPOutput`; its parameters change in place.
        optimizer: of the model's parameters.
        lengths: how many tokens of each text are real; None: all.
        max_scale: the largest scale, not its logarithm.

    Returns:
        The batch's loss before the update, as a plain number.
    """
    ### BEGIN SOLUTION
    output = model(images, ids, lengths)
    loss = info_nce(
        image_features=output.image_features,
        text_features=output.text_features,
        scale=model.logit_scale.exp(),
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    clamp_logit_scale(model.logit_scale, max_scale)
    return loss.item()
    ### END SOLUTION
