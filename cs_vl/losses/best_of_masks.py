"""SAM's loss: of several masks the best alone learns, so that each may mean something else."""

from jaxtyping import Bool, Float
from torch import Tensor

from cs_vl.exercise import exercise
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.losses.mask_losses import dice_loss, focal_loss

FOCAL_WEIGHT = 20.0  # against 1 for dice and 1 for the IoU (Kirillov et al. 2023, app. A)


@exercise
def best_of_masks_loss(
    masks: Float[Tensor, "prompts k height width"],
    iou: Float[Tensor, "prompts k"],
    targets: Bool[Tensor, "prompts height width"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The loss of the best mask of each prompt, and that of the predicted IoU (app. A, "Losses").

    A click may mean the shirt or the person.  Were all masks to learn the one that the annotator meant,
    each would become the average of the two; so only the mask with the least loss learns.

    A mask's loss is 20 times its `focal_loss` plus its `dice_loss`.

    Args:
        masks: logits of k masks for each prompt.
        iou: the IoU that the model predicts for each of them.
        targets: the mask that each prompt means.

    Returns:
        (mask_loss, iou_loss), two scalars, float64 where masks and iou are:
        mask_loss: the least loss among each prompt's k masks, averaged over the prompts.  The other masks
            get a gradient of exactly 0.
        iou_loss: the mean over *all* k masks and all prompts of (iou - the mask's true IoU)^2, where the
            mask is `masks > 0`.  It teaches the predicted IoU alone: the masks get no gradient from it.
    """
    ### BEGIN SOLUTION
    wanted = targets[:, None].to(masks.dtype).expand_as(masks)
    losses = FOCAL_WEIGHT * focal_loss(masks, wanted) + dice_loss(masks, wanted)  # (prompts, k)
    truly = mask_iou(masks > 0, targets[:, None]).to(iou.dtype)  # a comparison has no gradient
    return losses.min(dim=1).values.mean(), ((iou - truly) ** 2).mean()
    ### END SOLUTION
