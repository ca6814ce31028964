"""InfoNCE and SigLIP by hand against central differences and autograd; what InfoNCE must not depend on; open_clip."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_files import load_open_clip_losses
from torch import nn

from cs_vl.losses import (
    clamp_logit_scale,
    info_nce,
    info_nce_numpy,
    info_nce_numpy_backward,
    siglip_loss,
    siglip_numpy,
    siglip_numpy_backward,
)

few = settings(max_examples=25, deadline=None)
batches, dims, seeds = st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1)
scales = st.floats(0.1, 100)


@pytest.fixture(autouse=True)
def no_warnings():
    """NaN and overflow announce themselves in NumPy as warnings: here they are failures."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def features(seed: int, batch: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sides, not quite of length 1."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, batch, dim))
    return tuple(rng.uniform(0.8, 1.2) * z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))


def tensors(*arrays) -> list[torch.Tensor]:
    return [torch.tensor(x, dtype=torch.float64) for x in arrays]


def autograd(loss, *arrays) -> list[np.ndarray]:
    leaves = [x.requires_grad_() for x in tensors(*arrays)]
    return [grad.numpy() for grad in torch.autograd.grad(loss(*leaves), leaves)]


def numerical_gradients(loss, *arrays, step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of loss(*arrays), entry by entry."""
    arrays = [np.array(x, dtype=np.float64) for x in arrays]
    gradients = []
    for x in arrays:
        gradients.append(np.zeros_like(x))
        for i in np.ndindex(x.shape):
            old = x[i]
            x[i] = old + step
            above = loss(*arrays)
            x[i] = old - step
            below = loss(*arrays)
            x[i] = old
            gradients[-1][i] = (above - below) / (2 * step)
    return gradients


def assert_all_close(actual, expected, rtol=1e-9, atol=1e-12):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# --- by hand -------------------------------------------------------------------------------------------


@few
@given(seeds, batches, dims, scales)
def test_info_nce_numpy_is_a_cross_entropy(seed, batch, dim, scale):
    queries, keys = features(seed, batch, dim)
    q, k = tensors(queries, keys)
    loss = info_nce_numpy(queries, keys, scale)
    assert isinstance(loss, float)
    assert math.isclose(loss, F.cross_entropy(scale * q @ k.T, torch.arange(batch)), abs_tol=1e-12)
    assert math.isclose(loss, info_nce(q, k, scale, "image"), abs_tol=1e-12)


@few
@given(seeds, batches, dims, scales)
def test_info_nce_numpy_backward_is_that_of_autograd(seed, batch, dim, scale):
    queries, keys = features(seed, batch, dim)
    expected = autograd(lambda *x: info_nce(*x, "image"), queries, keys, scale)
    assert_all_close(info_nce_numpy_backward(queries, keys, scale), expected)


@settings(max_examples=15, deadline=None)
@given(seeds, batches, dims, st.floats(0.1, 20))
def test_backward_passes_are_central_differences(seed, batch, dim, scale):
    x, y = features(seed, batch, dim)
    numerical = numerical_gradients(info_nce_numpy, x, y, scale)
    assert_all_close(info_nce_numpy_backward(x, y, scale), numerical, rtol=1e-5, atol=1e-7)
    numerical = numerical_gradients(siglip_numpy, x, y, scale, -3.0)
    assert_all_close(siglip_numpy_backward(x, y, scale, -3.0), numerical, rtol=1e-5, atol=1e-7)


@few
@given(seeds, batches, dims, scales, st.floats(-20, 20))
def test_siglip_numpy_is_siglip_in_torch(seed, batch, dim, scale, bias):
    images, texts = features(seed, batch, dim)
    loss = siglip_numpy(images, texts, scale, bias)
    assert isinstance(loss, float)
    assert math.isclose(loss, siglip_loss(*tensors(images, texts), scale, bias), rel_tol=1e-9, abs_tol=1e-12)
    expected = autograd(siglip_loss, images, texts, scale, bias)
    assert_all_close(siglip_numpy_backward(images, texts, scale, bias), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_huge_logits_are_harmless_by_hand(sign):
    x, y = features(0, 5, 3)
    x, y = np.hstack([x, np.full((5, 1), sign * 10.0)]), np.hstack([y, np.full((5, 1), 10.0)])
    apart = x * [[1], [-1], [1], [-1], [1]]
    for queries in (x, apart):
        q, k = tensors(queries, y)
        assert math.isclose(info_nce_numpy(queries, y, 100.0), info_nce(q, k, 100.0, "image"), rel_tol=1e-9)
        expected = autograd(lambda *a: info_nce(*a, "image"), queries, y, 100.0)
        assert_all_close(info_nce_numpy_backward(queries, y, 100.0), expected)
        assert math.isclose(siglip_numpy(queries, y, 100.0, -10.0), siglip_loss(q, k, 100.0, -10.0))
        expected = autograd(siglip_loss, queries, y, 100.0, -10.0)
        assert_all_close(siglip_numpy_backward(queries, y, 100.0, -10.0), expected)


def test_a_step_down_the_gradient_lowers_the_loss():
    x, y = features(0, 6, 4)
    for loss, backward, rest in (
        (info_nce_numpy, info_nce_numpy_backward, (5.0,)),
        (siglip_numpy, siglip_numpy_backward, (5.0, -2.0)),
    ):
        gradients = backward(x, y, *rest)
        stepped = [a - 1e-3 * g for a, g in zip((x, y, *rest), gradients, strict=True)]
        assert loss(*stepped) < loss(x, y, *rest)


# --- InfoNCE in torch ----------------------------------------------------------------------------------


@few
@given(seeds, batches, dims, scales, st.sampled_from(["image", "text", "both"]))
def test_order_of_the_pairs_does_not_matter(seed, batch, dim, scale, direction):
    x, y = tensors(*features(seed, batch, dim))
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed % 2**31))
    a, b = info_nce(x, y, scale, direction), info_nce(x[order], y[order], scale, direction)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@few
@given(seeds, batches, dims, scales)
def test_modalities_are_symmetric(seed, batch, dim, scale):
    images, texts = tensors(*features(seed, batch, dim))
    close = dict(rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(info_nce(images, texts, scale), info_nce(texts, images, scale), **close)
    of_images, of_texts = (info_nce(images, texts, scale, way) for way in ("image", "text"))
    torch.testing.assert_close(of_images, info_nce(texts, images, scale, "text"), **close)
    torch.testing.assert_close((of_images + of_texts) / 2, info_nce(images, texts, scale), **close)


@few
@given(seeds, batches, dims, scales)
def test_it_is_never_negative_and_the_log_of_the_batch_where_nothing_is_known(seed, batch, dim, scale):
    images, texts = tensors(*features(seed, batch, dim))
    for direction in ("image", "text", "both"):
        assert info_nce(images, texts, scale, direction) >= 0
        nothing = info_nce(torch.zeros_like(images), texts, scale, direction)
        assert math.isclose(nothing, math.log(batch), abs_tol=1e-12)
        assert math.isclose(info_nce(images, texts, 0.0, direction), math.log(batch), abs_tol=1e-12)


def test_perfect_pairs_cost_nothing_at_a_large_scale():
    x = torch.eye(6)
    assert info_nce(x, x, 100.0) < 1e-6
    assert info_nce(x, x.roll(1, 0), 100.0) > 99


def test_huge_logits_are_harmless_in_float32():
    x, y = (torch.tensor(z, dtype=torch.float32, requires_grad=True) for z in features(1, 5, 3))
    loss = info_nce(100 * x, y, torch.tensor(100.0))
    loss.backward()
    assert torch.isfinite(loss) and x.grad.isfinite().all() and y.grad.isfinite().all()


def test_what_does_not_fit_gets_a_sentence():
    x = torch.ones(3, 2)
    with pytest.raises(ValueError, match="'image', 'text' or 'both'; got 'texts'"):
        info_nce(x, x, 1.0, "texts")
    with pytest.raises(ValueError, match=r"are a pair.*\(3, 2\) and \(4, 2\)"):
        info_nce(x, torch.ones(4, 2), 1.0)


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_it_is_open_clips(batch):
    theirs = load_open_clip_losses().ClipLoss()
    generator = torch.Generator().manual_seed(batch)
    anywhere = torch.randn(2, batch, 16, generator=generator)
    # Pairs are alike, but by no means the same; scales of the start and of the end of training.
    images, texts = F.normalize(anywhere[0], dim=1), F.normalize(anywhere.mean(0), dim=1)
    for scale in (1 / 0.07, 100.0):
        found = []
        for loss in (info_nce, theirs):
            leaves = [x.clone().requires_grad_() for x in (images, texts, torch.tensor(scale))]
            found.append((loss(*leaves), *torch.autograd.grad(loss(*leaves), leaves)))
        (ours, *our_gradients), (other, *other_gradients) = found
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-5)
        for a, b in zip(our_gradients, other_gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


# --- the temperature -----------------------------------------------------------------------------------


@few
@given(st.floats(-200, 200), st.floats(1, 1000))
def test_clamp_brings_the_multiplier_within_its_bounds(value, max_scale):
    parameter = nn.Parameter(torch.tensor(value, dtype=torch.float64))
    assert clamp_logit_scale(parameter, max_scale) is None
    after = parameter.item()
    assert -1e-12 <= after <= math.log(max_scale) + 1e-12
    if 0 <= value <= math.log(max_scale):
        assert after == value
    else:
        assert after == (0 if value < 0 else math.log(max_scale))


def test_training_goes_on_after_the_clamp():
    parameter = nn.Parameter(torch.tensor(6.0))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    clamp_logit_scale(parameter)
    assert math.isclose(parameter.exp().item(), 100, rel_tol=1e-6)
    parameter.exp().backward()
    optimizer.step()
    assert parameter.item() < 0 and parameter.requires_grad and parameter.is_leaf
    clamp_logit_scale(parameter)
    assert parameter.item() == 0
