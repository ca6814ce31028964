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


def soft_iou(masks, targets):
    p, t = masks.sigmoid(), targets[:, None].to(masks.dtype)
    common = (p * t).sum((-2, -1))
    return common / (p.sum((-2, -1)) + t.sum((-2, -1)) - common)


def iou_error(masks, iou, targets):
    return F.mse_loss(iou, true_iou(masks, targets))


def mask_loss(masks, targets):
    return each(masks, targets).amin(1).mean()


def of_pixels(masks, targets, alpha=0.25, gamma=2.0):
    """The focal loss before its mean."""
    wanted = targets[:, None].to(masks.dtype).expand_as(masks)
    ce = F.binary_cross_entropy_with_logits(masks, wanted, reduction="none")
    return (alpha * wanted + (1 - alpha) * (1 - wanted)) * (1 - torch.exp(-ce)) ** gamma * ce


@alternative(BEST)
def by_argmin(masks, iou, targets):
    losses = each(masks, targets)
    best = losses.detach().argmin(dim=1)
    return losses[torch.arange(len(masks)), best].mean(), (
        iou - true_iou(masks.detach(), targets)
    ).square().mean()


@alternative(BEST)
def prompt_by_prompt(masks, iou, targets):
    of_masks, of_iou = 0.0, 0.0
    for some, predicted, target in zip(masks, iou, targets, strict=True):
        losses = [20 * focal_loss(m, target.to(m)) + dice_loss(m, target.to(m)) for m in some]
        of_masks = of_masks + min(losses)
        for m, p in zip(some, predicted, strict=True):
            of_iou = of_iou + (p - true_iou(m[None, None], target[None])[0, 0]) ** 2
    return of_masks / len(masks), of_iou / iou.numel()


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


@alternative(BEST)
def chosen_first(masks, iou, targets):
    """Without a gradient, all are compared; with one, the chosen alone is computed."""
    with torch.no_grad():
        best = each(masks, targets).min(dim=1).indices
        truly = true_iou(masks, targets)
    chosen = masks[range(len(masks)), best][:, None]
    return each(chosen, targets).mean(), torch.mean((truly - iou) ** 2)


@alternative(BEST)
def by_a_mask_of_ones_and_zeros(masks, iou, targets):
    losses = each(masks, targets)
    chosen = F.one_hot(losses.argmin(dim=-1), losses.shape[1]).to(losses)
    found = masks.sigmoid() > 0.5
    both, either = (found & targets[:, None]).flatten(2).sum(2), (found | targets[:, None]).flatten(2).sum(2)
    error = iou - both / either
    return (losses * chosen).sum() / len(masks), (error * error).mean(0).mean()


@alternative(BEST)
def by_sorting(masks, iou, targets):
    losses, _ = torch.sort(each(masks, targets), dim=1)
    truly = torch.stack([true_iou(masks[:, i : i + 1], targets)[:, 0] for i in range(masks.shape[1])], dim=1)
    return losses[:, 0].mean(), F.mse_loss(iou.flatten(), truly.flatten().float())


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


@mistake(BEST, "Your weights are swapped: focal has 20, dice 1.")
def weights_swapped(masks, iou, targets):
    return each(masks, targets, 1.0, 20.0).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You weighted both losses with 20: dice has 1.")
def both_weighted(masks, iou, targets):
    return each(masks, targets, 20.0, 20.0).amin(1).mean(), iou_error(masks, iou, targets)


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
    return mask_loss(masks, targets), F.mse_loss(iou, true_iou(masks, targets, 0.5))


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
    return mask_loss(masks, targets), F.l1_loss(iou, true_iou(masks, targets))


@mistake(BEST, "You took the sum of the IoUs' errors: take the mean over masks and prompts.")
def summed_errors(masks, iou, targets):
    return mask_loss(masks, targets), ((iou - true_iou(masks, targets)) ** 2).sum()


@mistake(
    BEST,
    "You made the truth from sigmoids (a soft IoU): use the thresholded masks.",
)
def soft_truth(masks, iou, targets):
    return mask_loss(masks, targets), F.mse_loss(iou, soft_iou(masks, targets))


@mistake(BEST, "The predicted IoU is taken as it is: no sigmoid.")
def iou_through_a_sigmoid(masks, iou, targets):
    return mask_loss(masks, targets), F.mse_loss(iou.sigmoid(), true_iou(masks, targets))


@mistake(BEST, "The two losses are to be returned apart, (mask_loss, iou_loss): you returned their sum.")
def added_up(masks, iou, targets):
    return mask_loss(masks, targets) + iou_error(masks, iou, targets)


@mistake(BEST, "The two losses are swapped: mask_loss first.")
def returned_the_other_way_round(masks, iou, targets):
    return iou_error(masks, iou, targets), mask_loss(masks, targets)


@mistake(BEST, "You chose by the focal loss alone: choose by 20 focal + dice.")
def chosen_by_focal(masks, iou, targets):
    best = parts(masks, targets)[0].argmin(1, keepdim=True)
    return each(masks, targets).gather(1, best).mean(), iou_error(masks, iou, targets)


@mistake(
    BEST,
    "You chose the mask with the least dice loss: the least whole loss, 20 focal + dice, decides.",
)
def chosen_by_dice(masks, iou, targets):
    best = parts(masks, targets)[1].argmin(1, keepdim=True)
    return each(masks, targets).gather(1, best).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You added the IoU's error before choosing: choose by the mask's loss, 20 focal + dice.")
def chosen_with_the_iou_error(masks, iou, targets):
    losses = each(masks, targets)
    best = (losses + (iou - true_iou(masks, targets)) ** 2).argmin(1, keepdim=True)
    error = (iou - true_iou(masks, targets)) ** 2
    return losses.gather(1, best).mean() + error.gather(1, best).mean(), error.mean()


@mistake(
    BEST, "You took a softmax-weighted mean of the losses: the least alone counts, the others get exactly 0."
)
def weighted_by_a_softmax(masks, iou, targets):
    losses = each(masks, targets)
    return (losses * torch.softmax(-losses, 1)).sum(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "A prompt's best mask has its full loss: you divided by the number of masks, too.")
def divided_by_k(masks, iou, targets):
    return mask_loss(masks, targets) / masks.shape[1], iou_error(masks, iou, targets)


@mistake(BEST, "You added up all masks of a prompt: the least loss alone counts.")
def sum_of_all(masks, iou, targets):
    return each(masks, targets).sum(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "Your dice takes its sums over the whole batch: each mask has a dice of its own.")
def dice_of_the_batch(masks, iou, targets):
    focal, _ = parts(masks, targets)
    p, t = masks.sigmoid(), targets[:, None].to(masks.dtype).expand_as(masks)
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    return (20 * focal + dice).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "You summed the focal loss over the pixels: it is their mean, as `focal_loss` gives it.")
def focal_summed(masks, iou, targets):
    focal, dice = of_pixels(masks, targets).sum((-2, -1)), parts(masks, targets)[1]
    return (20 * focal + dice).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(
    BEST, "alpha is swapped in your focal loss: 0.25 inside the mask, 0.75 outside, as `focal_loss` has it."
)
def alpha_swapped(masks, iou, targets):
    focal, dice = of_pixels(masks, targets, alpha=0.75).mean((-2, -1)), parts(masks, targets)[1]
    return (20 * focal + dice).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(BEST, "Your focal loss has no (1 - p_t)^2: that is weighted cross-entropy.")
def gamma_forgotten(masks, iou, targets):
    focal, dice = of_pixels(masks, targets, gamma=0.0).mean((-2, -1)), parts(masks, targets)[1]
    return (20 * focal + dice).amin(1).mean(), iou_error(masks, iou, targets)


@mistake(
    BEST,
    "You gave the losses probabilities: `focal_loss` and `dice_loss` take logits, and apply the sigmoid.",
)
def sigmoid_first(masks, iou, targets):
    return mask_loss(masks.sigmoid(), targets), iou_error(masks, iou, targets)


@mistake(BEST, "You gave the losses thresholded masks: no gradient flows through a threshold.")
def thresholded_first(masks, iou, targets):
    return mask_loss((masks > 0).to(masks.dtype), targets), iou_error(masks, iou, targets)


@mistake(BEST, "A logit of exactly 0 is outside the mask: masks > 0.")
def at_least_zero(masks, iou, targets):
    found, wanted = masks >= 0, targets[:, None]
    truly = (found & wanted).sum((-2, -1)) / (found | wanted).sum((-2, -1))
    return mask_loss(masks, targets), F.mse_loss(iou, truly.to(iou.dtype))


@mistake(BEST, "You compared the predicted IoU with the dice coefficient: the truth is the IoU.")
def dice_for_iou(masks, iou, targets):
    truly = true_iou(masks, targets)
    return mask_loss(masks, targets), F.mse_loss(iou, 2 * truly / (1 + truly))


@mistake(BEST, "You took 1 - dice for the true IoU: count the pixels of the thresholded mask.")
def one_minus_dice(masks, iou, targets):
    return mask_loss(masks, targets), F.mse_loss(iou, 1 - parts(masks, targets)[1])


@mistake(BEST, "You cut the probabilities off at 0, so that every pixel is in the mask: cut the logits off.")
def probabilities_above_zero(masks, iou, targets):
    return mask_loss(masks, targets), F.mse_loss(iou, true_iou(masks.sigmoid(), targets))


@mistake(BEST, "You took the predicted IoU to be an error, 1 - IoU: it is the IoU.")
def one_minus_iou(masks, iou, targets):
    return mask_loss(masks, targets), F.mse_loss(iou, 1 - true_iou(masks, targets))


@mistake(BEST, "You compared every predicted IoU with the best mask's: each mask has a true IoU of its own.")
def truth_of_the_best(masks, iou, targets):
    best = each(masks, targets).argmin(1, keepdim=True)
    return mask_loss(masks, targets), F.mse_loss(iou, true_iou(masks, targets).gather(1, best).expand_as(iou))


@mistake(BEST, "You took the least IoU error of each prompt: its mean is over all masks.")
def least_iou_error(masks, iou, targets):
    return mask_loss(masks, targets), ((iou - true_iou(masks, targets)) ** 2).amin(1).mean()


@mistake(BEST, "You summed the IoUs' errors over a prompt's masks: take the mean over masks and prompts.")
def summed_over_masks(masks, iou, targets):
    return mask_loss(masks, targets), ((iou - true_iou(masks, targets)) ** 2).sum(1).mean()


@mistake(BEST, "You took the root of the mean squared error: the mean itself is asked for.")
def root_mean_square(masks, iou, targets):
    return mask_loss(masks, targets), iou_error(masks, iou, targets).sqrt()


@mistake(BEST, "The weight 20 belongs to focal alone: the IoU's loss has the weight 1.")
def iou_weighted(masks, iou, targets):
    return mask_loss(masks, targets), 20 * iou_error(masks, iou, targets)


@mistake(
    BEST,
    "You averaged the two losses of each mask (divided by 2 or 21): the weights are 20 and 1 as they are.",
)
def weights_normalised(masks, iou, targets):
    return mask_loss(masks, targets) / 21, iou_error(masks, iou, targets)


@mistake(BEST, "iou_loss has no gradient: detach the truth, not the predicted IoU.")
def prediction_detached(masks, iou, targets):
    return mask_loss(masks, targets), iou_error(masks, iou.detach(), targets)


@mistake(BEST, "The masks get a gradient from iou_loss: it is to teach the predicted IoU alone.")
def masks_learn_from_iou(masks, iou, targets):
    soft = soft_iou(masks, targets)
    return mask_loss(masks, targets), F.mse_loss(iou, true_iou(masks, targets) + soft - soft.detach())


@mistake(BEST, "Your losses are float32 whatever comes: keep the type of masks and iou.")
def always_float32(masks, iou, targets):
    return mask_loss(masks, targets).float(), iou_error(masks, iou, targets).float()


@mistake(BEST, "The number of masks is fixed at 3 in yours: a prompt has masks.shape[1] of them.")
def three_masks(masks, iou, targets):
    losses = each(masks, targets)[:, :3]
    error = (iou - true_iou(masks, targets))[:, :3] ** 2
    return losses.amin(1).mean(), error.mean()
