"""Known answers: the best of several masks."""

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.losses.mask_losses import dice_loss, focal_loss

BEST = "best_of_masks_loss"


def parts(masks, targets):
    """Focal and dice of each mask of each prompt."""
    wanted = targets[:, None].to(masks.dtype).expand_as(masks)
    return focal_loss(masks, wanted), dice_loss(masks, wanted)


def each(masks, targets, focal=20.0, dice=1.0):
    of_focal, of_dice = parts(masks, targets)
    return focal * of_focal + dice * of_dice


def true_iou(masks, targets, threshold=0.0):
    found, targets = masks > threshold, targets[:, None]
    common, union = (found & targets).sum((-2, -1)), (found | targets).sum((-2, -1))
    return torch.where(union > 0, common / union.clamp(min=1), 1.0).to(masks.dtype)


def iou_error(masks, iou, targets):
    return F.mse_loss(iou, true_iou(masks, targets))


@alternative(BEST)
def by_argmin(masks, iou, targets):
    losses = each(masks, targets)
    best = losses.detach().argmin(dim=1)
    return losses[torch.arange(len(masks)), best].mean(), (
        iou - true_iou(masks.detach(), targets)
    ).square().mean()


@alternative(BEST)
def prompt_by_prompt(masks, iou, targets):
    mask_loss, iou_loss = 0.0, 0.0
    for some, predicted, target in zip(masks, iou, targets, strict=True):
        losses = [20 * focal_loss(m, target.to(m)) + dice_loss(m, target.to(m)) for m in some]
        mask_loss = mask_loss + min(losses)
        for m, p in zip(some, predicted, strict=True):
            iou_loss = iou_loss + (p - true_iou(m[None, None], target[None])[0, 0]) ** 2
    return mask_loss / len(masks), iou_loss / iou.numel()


@alternative(BEST)
def flat_and_gathered(masks, iou, targets):
    """As re-implementations have it: flatten, repeat, topk, gather."""
    n, k = iou.shape
    x = masks.reshape(n * k, -1)
    t = targets.repeat_interleave(k, dim=0).reshape(n * k, -1).to(x)
    p = torch.sigmoid(x)
    ce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    p_t = p * t + (1 - p) * (1 - t)
    focal = ((0.25 * t + 0.75 * (1 - t)) * ce * (1 - p_t) ** 2).mean(1)
    dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    losses = (20 * focal + dice).view(n, k)
    best = torch.topk(losses, 1, dim=1, largest=False).indices
    with torch.no_grad():
        truly = true_iou(masks, targets)
    return losses.gather(1, best).mean(), F.mse_loss(iou, truly)


@mistake(
    BEST,
    "All masks of a prompt learn here (their mean): only the best one should, or each becomes an average.",
)
def mean_of_all(masks, iou, targets):
    return each(masks, targets).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You took the worst mask: the one with the least loss learns.")
def worst(masks, iou, targets):
    return each(masks, targets).amax(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You chose one mask for the whole batch: each prompt has its own best.")
def one_for_all(masks, iou, targets):
    return each(masks, targets).mean(0).min(), iou_error(masks, iou, targets)


@mistake(BEST, "Only the best prompt of the batch counts here: take each prompt's least loss, then the mean.")
def least_of_the_batch(masks, iou, targets):
    return each(masks, targets).min(), iou_error(masks, iou, targets)


@mistake(BEST, "You took the least loss over the prompts (dim 0) and not over the masks (dim 1).")
def over_the_prompts(masks, iou, targets):
    return each(masks, targets).amin(0).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You chose the mask with the highest true IoU: choose by the loss.")
def chosen_by_iou(masks, iou, targets):
    best = true_iou(masks, targets).argmax(1, keepdim=True)
    return each(masks, targets).gather(1, best).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You chose the mask whose predicted IoU is highest: in training the loss chooses.")
def chosen_by_confidence(masks, iou, targets):
    best = iou.argmax(1, keepdim=True)
    return each(masks, targets).gather(1, best).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You took the first mask of each prompt, without a choice.")
def always_the_first(masks, iou, targets):
    return each(masks, targets)[:, 0].mean(), iou_error(masks, iou, targets)


@mistake(
    BEST, "The best mask by focal and the best by dice may differ in your code: choose by their weighted sum."
)
def chosen_twice(masks, iou, targets):
    focal, dice = parts(masks, targets)
    return (20 * focal.amin(1) + dice.amin(1)).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "Focal and dice are weighted 1:1 here: it is 20:1.")
def unweighted(masks, iou, targets):
    return each(masks, targets, focal=1.0).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "The weights are swapped: 20 times focal, once dice.")
def weights_swapped(masks, iou, targets):
    return each(masks, targets, 1.0, 20.0).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "The dice loss is missing.")
def focal_alone(masks, iou, targets):
    return each(masks, targets, dice=0.0).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "The focal loss is missing.")
def dice_alone(masks, iou, targets):
    return each(masks, targets, focal=0.0).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You used cross-entropy in place of the focal loss.")
def cross_entropy(masks, iou, targets):
    wanted = targets[:, None].to(masks.dtype).expand_as(masks)
    ce = F.binary_cross_entropy_with_logits(masks, wanted, reduction="none").mean((-2, -1))
    return (20 * ce + dice_loss(masks, wanted)).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You took the sum over the prompts: take the mean.")
def summed_over_prompts(masks, iou, targets):
    return each(masks, targets).amin(1).sum(), iou_error(masks, iou, targets)


@mistake(BEST, "The soft minimum lets every mask learn a little: the others get exactly 0.")
def soft_minimum(masks, iou, targets):
    return -torch.logsumexp(-each(masks, targets), 1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "The value is right, but every mask gets a gradient: let it flow to the best alone.")
def gradient_to_all(masks, iou, targets):
    losses = each(masks, targets)
    return losses.amin(1).mean().detach() + losses.mean() - losses.mean().detach(), iou_error(
        masks, iou, targets
    )


@mistake(BEST, "mask_loss has no gradient: do not detach the loss of the best mask.")
def detached(masks, iou, targets):
    return each(masks, targets).amin(1).mean().detach(), iou_error(masks, iou, targets)


@mistake(BEST, "The masks are logits: they are in the mask above 0, not above 0.5.")
def threshold_of_a_half(masks, iou, targets):
    return each(masks, targets).amin(1).mean(), F.mse_loss(iou, true_iou(masks, targets, 0.5))


@mistake(
    BEST, "Only the best mask's IoU is learned here: the predicted IoU of all masks is, to rank them later."
)
def iou_of_the_best_alone(masks, iou, targets):
    losses = each(masks, targets)
    best = losses.argmin(1, keepdim=True)
    error = (iou - true_iou(masks, targets)) ** 2
    return losses.amin(1).mean(), error.gather(1, best).mean()


@mistake(BEST, "The IoU's error is squared, not absolute.")
def absolute_error(masks, iou, targets):
    return each(masks, targets).amin(1).mean(), F.l1_loss(iou, true_iou(masks, targets))


@mistake(BEST, "You took the sum of the IoUs' errors: take the mean over masks and prompts.")
def summed_errors(masks, iou, targets):
    return each(masks, targets).amin(1).mean(), ((iou - true_iou(masks, targets)) ** 2).sum()


@mistake(
    BEST,
    "You made the truth from sigmoids (a soft IoU), so the masks learn from iou_loss: use the thresholded masks.",
)
def soft_truth(masks, iou, targets):
    p, t = masks.sigmoid(), targets[:, None].to(masks.dtype)
    common = (p * t).sum((-2, -1))
    truly = common / (p.sum((-2, -1)) + t.sum((-2, -1)) - common)
    return each(masks, targets).amin(1).mean(), F.mse_loss(iou, truly)


@mistake(BEST, "The predicted IoU is taken as it is: no sigmoid.")
def iou_through_a_sigmoid(masks, iou, targets):
    return each(masks, targets).amin(1).mean(), F.mse_loss(iou.sigmoid(), true_iou(masks, targets))


@mistake(BEST, "The two losses are to be returned apart, (mask_loss, iou_loss): you returned their sum.")
def added_up(masks, iou, targets):
    return each(masks, targets).amin(1).mean() + iou_error(masks, iou, targets)


@mistake(BEST, "The two losses are swapped: mask_loss first.")
def returned_the_other_way_round(masks, iou, targets):
    return iou_error(masks, iou, targets), each(masks, targets).amin(1).mean()
