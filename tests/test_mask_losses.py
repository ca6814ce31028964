"""Losses of masks: by hand against torch, central differences and transformers; IoU against sets; the best of several."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_by_hand import assert_equal, no_warnings, numerical_gradient
from transformers.loss import loss_for_object_detection as detr
from transformers.models.mask2former import modeling_mask2former as mask2former
from transformers.models.maskformer import modeling_maskformer as maskformer

from cs_vl.losses.best_of_masks import best_of_masks_loss
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.losses.mask_losses import dice_loss, focal_loss
from cs_vl.losses.mask_losses_by_hand import (
    dice_loss_numpy,
    dice_loss_numpy_backward,
    focal_loss_numpy,
    focal_loss_numpy_backward,
)

__all__ = ["no_warnings"]  # a fixture: NaN and overflow are failures here, too
few = settings(max_examples=25, deadline=None)
sizes, seeds = st.integers(1, 5), st.integers(0, 2**32 - 1)
alphas, gammas, smooths = st.floats(0, 1), st.floats(0, 5), st.floats(0.1, 5)


def draw(seed, masks, height, width):
    """Logits and targets of (masks, height * width), in float64."""
    rng = np.random.default_rng(seed)
    shape = (masks, height * width)
    return 3 * rng.normal(size=shape), (rng.random(shape) < rng.random()).astype(np.float64)


def with_autograd(loss, logits, targets, height, width, **options):
    """A torch loss of masks (masks, height, width), and its gradient, both as arrays."""
    leaf = torch.tensor(logits, requires_grad=True)
    wanted = torch.tensor(targets)
    losses = loss(*(x.reshape(-1, height, width) for x in (leaf, wanted)), **options)
    (grad,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach().numpy(), grad.numpy()


# ---- focal and dice


@few
@given(sizes, sizes, sizes, alphas, gammas, seeds)
def test_focal_by_hand_equals_torchs_and_central_differences(masks, height, width, alpha, gamma, seed):
    logits, targets = draw(seed, masks, height, width)
    options = {"alpha": alpha, "gamma": gamma}
    loss, grad = with_autograd(focal_loss, logits, targets, height, width, **options)
    assert_equal(focal_loss_numpy(logits, targets, **options), loss)
    by_hand = focal_loss_numpy_backward(logits, targets, **options)
    assert_equal(by_hand, grad, atol=1e-10)
    numerical = numerical_gradient(lambda: focal_loss_numpy(logits, targets, **options).sum(), logits)
    assert_equal(by_hand, numerical, atol=1e-7)


@few
@given(sizes, sizes, sizes, smooths, seeds)
def test_dice_by_hand_equals_torchs_and_central_differences(masks, height, width, smooth, seed):
    logits, targets = draw(seed, masks, height, width)
    loss, grad = with_autograd(dice_loss, logits, targets, height, width, smooth=smooth)
    assert_equal(dice_loss_numpy(logits, targets, smooth), loss)
    by_hand = dice_loss_numpy_backward(logits, targets, smooth)
    assert_equal(by_hand, grad)
    numerical = numerical_gradient(lambda: dice_loss_numpy(logits, targets, smooth).sum(), logits)
    assert_equal(by_hand, numerical, atol=1e-7)


@few
@given(sizes, sizes, sizes, seeds)
def test_with_the_defaults_they_are_transformers(masks, height, width, seed):
    """Those are means over the pixels, summed over the masks and divided by their number (any number)."""
    logits, targets = draw(seed, masks, height, width)
    x, t = torch.tensor(logits), torch.tensor(targets)
    for theirs in (detr.sigmoid_focal_loss, maskformer.sigmoid_focal_loss):
        assert math.isclose(focal_loss_numpy(logits, targets).sum() / 7, theirs(x, t, 7), abs_tol=1e-10)
    for theirs in (detr.dice_loss, maskformer.dice_loss, mask2former.dice_loss):
        assert math.isclose(dice_loss_numpy(logits, targets).sum() / 7, theirs(x, t, 7), abs_tol=1e-10)


@few
@given(st.floats(0.05, 0.95), gammas, seeds)
def test_alpha_and_gamma_are_transformers(alpha, gamma, seed):
    logits, targets = draw(seed, 3, 2, 4)
    theirs = detr.sigmoid_focal_loss(torch.tensor(logits), torch.tensor(targets), 1, alpha, gamma)
    assert math.isclose(focal_loss_numpy(logits, targets, alpha, gamma).sum(), theirs, abs_tol=1e-10)


def test_the_defaults_are_the_papers_and_maskformers():
    logits, targets = draw(0, 3, 2, 4)
    assert_equal(focal_loss_numpy(logits, targets), focal_loss_numpy(logits, targets, 0.25, 2.0))
    assert_equal(dice_loss_numpy(logits, targets), dice_loss_numpy(logits, targets, 1.0))
    for backward, options in ((focal_loss_numpy_backward, (0.25, 2.0)), (dice_loss_numpy_backward, (1.0,))):
        assert_equal(backward(logits, targets), backward(logits, targets, *options))


@few
@given(sizes, sizes, seeds)
def test_without_focus_focal_is_half_of_cross_entropy(masks, width, seed):
    logits, targets = draw(seed, masks, 2, width)
    entropy = F.binary_cross_entropy_with_logits(*map(torch.tensor, (logits, targets)), reduction="none")
    assert_equal(focal_loss_numpy(logits, targets, 0.5, 0), 0.5 * entropy.mean(1).numpy())
    p = torch.tensor(logits).sigmoid().numpy()
    grad = focal_loss_numpy_backward(logits, targets, 0.5, 0)
    assert_equal(grad, 0.5 * (p - targets) / logits.shape[1])


@few
@given(sizes, sizes, alphas, gammas, seeds)
def test_inside_and_outside_may_be_exchanged(masks, width, alpha, gamma, seed):
    logits, targets = draw(seed, masks, 3, width)
    turned = focal_loss_numpy(-logits, 1 - targets, 1 - alpha, gamma)
    assert_equal(focal_loss_numpy(logits, targets, alpha, gamma), turned, atol=1e-10)
    grad = focal_loss_numpy_backward(logits, targets, alpha, gamma)
    assert_equal(-grad, focal_loss_numpy_backward(-logits, 1 - targets, 1 - alpha, gamma), atol=1e-10)


@few
@given(sizes, sizes, gammas, smooths, seeds)
def test_losses_are_bounded_and_every_pixel_wants_the_truth(masks, width, gamma, smooth, seed):
    logits, targets = draw(seed, masks, 3, width)
    focal, dice = focal_loss_numpy(logits, targets, gamma=gamma), dice_loss_numpy(logits, targets, smooth)
    assert (focal >= 0).all() and (dice >= -1e-12).all() and (dice < 1).all()
    towards = 1 - 2 * targets  # against the gradient: up inside, down outside
    assert (focal_loss_numpy_backward(logits, targets, gamma=gamma) * towards >= 0).all()
    assert (dice_loss_numpy_backward(logits, targets, smooth) * towards >= 0).all()


@few
@given(sizes, sizes, seeds)
def test_each_mask_has_its_own_loss_and_the_order_of_pixels_does_not_count(masks, width, seed):
    logits, targets = draw(seed, masks, 3, width)
    order = np.random.default_rng(seed).permutation(logits.shape[1])
    for loss, backward in (
        (focal_loss_numpy, focal_loss_numpy_backward),
        (dice_loss_numpy, dice_loss_numpy_backward),
    ):
        alone = [loss(logits[i : i + 1], targets[i : i + 1]) for i in range(masks)]
        assert_equal(loss(logits, targets), np.concatenate(alone))
        assert_equal(loss(logits[:, order], targets[:, order]), loss(logits, targets))
        grad = backward(logits, targets)
        assert_equal(backward(logits[:, order], targets[:, order]), grad[:, order])


def test_they_have_the_values_one_finds_on_paper():
    unsure = np.zeros((1, 4))
    target = np.array([[1.0, 1, 0, 0]])
    # -alpha_t (1/2)^2 log(1/2), where alpha_t is 1/2 on the average; and (2 * 1 + 1) / (2 + 2 + 1) in common.
    assert_equal(focal_loss_numpy(unsure, target), np.array([0.5 * 0.25 * math.log(2)]))
    assert_equal(dice_loss_numpy(unsure, target), np.array([1 - 3 / 5]))
    nothing = np.zeros((1, 4))
    sure = np.full((1, 4), -1e3)
    assert_equal(dice_loss_numpy(sure, nothing), np.array([0.0]))  # smooth / smooth
    assert_equal(dice_loss_numpy(-sure, nothing), np.array([0.8]))  # 1 - 1 / (4 + 1)


@pytest.mark.parametrize("size", [40.0, 300.0, 1e3, 1e6])
def test_large_logits(size):
    """No warning either: those are failures here."""
    targets = np.array([[1.0, 1, 0, 0]])
    logits = size * np.array([[1.0, -1, 1, -1]])  # right, wrong, wrong, right
    assert_equal(focal_loss_numpy(logits, targets), np.array([(0.25 + 0.75) * size / 4]), atol=1e-9)
    wrong = np.array([[0, -0.25, 0.75, 0]]) / 4
    assert_equal(focal_loss_numpy_backward(logits, targets), wrong)
    assert_equal(focal_loss_numpy_backward(logits, targets, gamma=0.0), wrong)
    assert_equal(focal_loss_numpy_backward(logits, targets, gamma=0.5), wrong, atol=1e-7)
    assert_equal(dice_loss_numpy(logits, targets), np.array([1 - 3 / 5]))
    assert_equal(dice_loss_numpy_backward(logits, targets), np.zeros((1, 4)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_is_as_good_and_arrays_are_left_alone(dtype):
    inputs = [x.astype(dtype) for x in draw(0, 3, 2, 4)]
    before = [x.copy() for x in inputs]
    for function in (focal_loss_numpy, focal_loss_numpy_backward, dice_loss_numpy, dice_loss_numpy_backward):
        expected = function(*(x.astype(np.float64) for x in inputs))
        np.testing.assert_allclose(function(*inputs), expected, rtol=1e-4, atol=1e-7)
    for x, y in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, y)


# ---- IoU


def places(mask):
    return {tuple(place) for place in mask.nonzero().tolist()}


def some_masks(seed, *shape):
    generator = torch.Generator().manual_seed(seed % 2**31)
    share = torch.rand(*shape[:-2], 1, 1, generator=generator)
    return torch.rand(*shape, generator=generator) < share * 1.2 - 0.1  # some are empty, some full


@few
@given(sizes, sizes, sizes, seeds)
def test_iou_is_that_of_sets(masks, height, width, seed):
    a, b = some_masks(seed, 2, masks, height, width)
    for x, y, iou in zip(a, b, mask_iou(a, b).tolist(), strict=True):
        here, there = places(x), places(y)
        expected = len(here & there) / len(here | there) if here | there else 1.0
        assert math.isclose(iou, expected, rel_tol=1e-6)


@few
@given(sizes, sizes, sizes, seeds)
def test_iou_is_symmetric_bounded_and_1_for_the_same_alone(masks, height, width, seed):
    a, b = some_masks(seed, 2, masks, height, width)
    iou = mask_iou(a, b)
    assert iou.dtype == torch.float32
    assert torch.equal(iou, mask_iou(b, a))
    assert torch.equal(iou == 1, (a == b).flatten(1).all(1))
    assert torch.equal(iou == 0, ~(a & b).flatten(1).any(1) & (a | b).flatten(1).any(1))
    assert ((iou >= 0) & (iou <= 1)).all()
    assert torch.equal(mask_iou(a, a), torch.ones(masks))
    flipped = mask_iou(a.flip(-1).transpose(-2, -1), b.flip(-1).transpose(-2, -1))
    assert torch.equal(iou, flipped)


@few
@given(sizes, sizes, seeds)
def test_one_minus_iou_is_a_distance(height, width, seed):
    """The triangle inequality holds for it (Jaccard's distance), with empty masks, too."""
    far = 1 - mask_iou(*(some_masks(seed, 5, height, width)[i] for i in (np.s_[:, None], np.s_[None])))
    through = far[:, :, None] + far[None, :, :]  # from i to k by way of j
    assert (far[:, None, :] <= through + 1e-6).all()


def test_iou_broadcasts():
    a, b = some_masks(0, 3, 1, 4, 5), some_masks(1, 2, 4, 5)
    table = mask_iou(a, b)
    assert table.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            one = mask_iou(a[i, 0], b[j])
            assert one.shape == () and one == table[i, j]
    nothing = torch.zeros(4, 5, dtype=torch.bool)
    assert mask_iou(nothing, nothing) == 1 and mask_iou(nothing, ~nothing) == 0


# ---- the best of several


def prompts(seed, n=4, k=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed % 2**31)
    masks = 2 * torch.randn(n, k, 3, 5, generator=generator, dtype=torch.float64)
    iou = torch.rand(n, k, generator=generator, dtype=torch.float64)
    return masks.to(dtype), iou.to(dtype), torch.rand(n, 3, 5, generator=generator) < 0.4


@few
@given(sizes, st.integers(1, 4), seeds)
def test_best_of_masks_by_its_definition(n, k, seed):
    masks, iou, targets = prompts(seed, n, k)
    of_masks, of_iou = [], []
    for i in range(n):
        losses = []
        for j in range(k):
            logits, wanted = (x.reshape(1, -1).double().numpy() for x in (masks[i, j], targets[i]))
            losses.append((20 * focal_loss_numpy(logits, wanted) + dice_loss_numpy(logits, wanted)).item())
            here, there = places(masks[i, j] > 0), places(targets[i])
            true = len(here & there) / len(here | there) if here | there else 1.0
            of_iou.append((iou[i, j].item() - true) ** 2)
        of_masks.append(min(losses))
    mask_loss, iou_loss = best_of_masks_loss(masks, iou, targets)
    assert mask_loss.shape == iou_loss.shape == ()
    assert math.isclose(mask_loss, np.mean(of_masks), rel_tol=1e-9)
    assert math.isclose(iou_loss, np.mean(of_iou), rel_tol=1e-5, abs_tol=1e-6)  # IoU is float32


@few
@given(sizes, st.integers(1, 4), seeds)
def test_the_best_mask_alone_learns_and_it_learns_as_if_it_were_alone(n, k, seed):
    masks, iou, targets = prompts(seed, n, k)
    masks.requires_grad_(), iou.requires_grad_()
    mask_loss, iou_loss = best_of_masks_loss(masks, iou, targets)
    (grad,) = torch.autograd.grad(mask_loss, masks)
    wanted = targets[:, None].double().expand_as(masks)
    best = (20 * focal_loss(masks, wanted) + dice_loss(masks, wanted)).argmin(1)
    learns = (grad != 0).flatten(2).any(2)  # exactly
    assert torch.equal(learns, F.one_hot(best, k).bool())
    alone = masks.detach()[range(n), best][:, None].requires_grad_()
    (expected,) = torch.autograd.grad(best_of_masks_loss(alone, iou[:, :1], targets)[0], alone)
    torch.testing.assert_close(grad[range(n), best], expected[:, 0])
    # The IoU's loss teaches the predicted IoU, of all masks, and nothing else.
    of_iou, of_masks = torch.autograd.grad(iou_loss, (iou, masks), allow_unused=True)
    assert of_masks is None
    assert torch.autograd.grad(mask_loss, iou, allow_unused=True) == (None,)
    truly = mask_iou(masks > 0, targets[:, None]).double()
    torch.testing.assert_close(of_iou, 2 * (iou.detach() - truly) / (n * k))


@few
@given(st.integers(1, 4), seeds)
def test_the_order_of_masks_and_prompts_does_not_count_and_more_masks_do_no_harm(k, seed):
    masks, iou, targets = prompts(seed, 4, k)
    loss = best_of_masks_loss(masks, iou, targets)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(best_of_masks_loss(masks[:, order], iou[:, order], targets), loss)
    torch.testing.assert_close(best_of_masks_loss(masks.flip(0), iou.flip(0), targets.flip(0)), loss)
    others, other_iou, _ = prompts(seed + 1, 4, 2)
    more = best_of_masks_loss(torch.cat([masks, others], 1), torch.cat([iou, other_iou], 1), targets)
    assert more[0] <= loss[0]
    twice = best_of_masks_loss(masks.repeat(1, 2, 1, 1), iou.repeat(1, 2), targets)
    torch.testing.assert_close(twice, loss)


def test_of_one_calm_and_one_sure_mask_the_loss_chooses_and_not_the_overlap():
    targets = torch.zeros(1, 1, 8, dtype=torch.bool)
    targets[..., :4] = True
    sign = 2.0 * targets - 1
    calm, sure = sign * 0.5, sign * 4
    calm[..., 3] *= -0.1  # a little wrong in two pixels
    calm[..., 4] *= -0.1
    sure[..., 4] *= -5  # very wrong in one
    masks = torch.stack([calm, sure], 1).requires_grad_()
    assert (mask_iou(masks > 0, targets[:, None])[0].diff() > 0).all()  # the sure one overlaps more
    loss, _ = best_of_masks_loss(masks, torch.tensor([[0.0, 1.0]]), targets)
    loss.backward()
    assert (masks.grad[0, 0] != 0).all() and (masks.grad[0, 1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_losses_keep_the_type(dtype):
    assert {loss.dtype for loss in best_of_masks_loss(*prompts(0, dtype=dtype))} == {dtype}


def test_a_perfect_mask_and_a_perfect_forecast_cost_nothing():
    _, _, targets = prompts(0)
    masks = (1e3 * (2.0 * targets - 1))[:, None].repeat(1, 3, 1, 1)
    masks[:, 1:] *= -1  # the other two are as wrong as can be
    iou = torch.tensor([1.0, 0, 0]).repeat(len(masks), 1)
    mask_loss, iou_loss = best_of_masks_loss(masks, iou, targets)
    torch.testing.assert_close((mask_loss, iou_loss), (torch.tensor(0.0), torch.tensor(0.0)))
