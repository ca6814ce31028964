"""RMSNorm: by hand against torch and transformers, its backward pass against autograd and central differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_by_hand import assert_equal, autograd, no_warnings, numerical_gradient
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from cs_vl.nn.rms_norm import RMSNorm
from cs_vl.nn.rms_norm_by_hand import rms_norm_numpy, rms_norm_numpy_backward

__all__ = ["no_warnings"]  # a fixture: NaN and overflow are failures here, too
few = settings(max_examples=25, deadline=None)
batches = st.lists(st.integers(1, 3), max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)
epsilons = st.sampled_from([1e-6, 1e-2, 0.5])


def draw(seed, batch, dim):
    rng = np.random.default_rng(seed)
    x = 1 + 2 * rng.normal(size=(*batch, dim))
    return rng.normal(size=x.shape), x, rng.normal(size=dim)


@few
@given(batches, st.integers(1, 6), epsilons, seeds)
def test_it_and_its_backward_equal_torchs(batch, dim, eps, seed):
    grad_y, x, weight = draw(seed, batch, dim)

    def by_torch(x, weight):
        return F.rms_norm(x, (dim,), weight, eps)

    assert_equal(rms_norm_numpy(x, weight, eps), by_torch(*map(torch.tensor, (x, weight))).numpy())
    grads = rms_norm_numpy_backward(grad_y, x, weight, eps)
    for grad, by_autograd in zip(grads, autograd(by_torch, grad_y, x, weight), strict=True):
        assert grad.shape == by_autograd.shape
        np.testing.assert_allclose(grad, by_autograd, rtol=1e-6, atol=1e-8)


@few
@given(batches, st.integers(2, 6), seeds)
def test_backward_by_central_differences(batch, dim, seed):
    grad_y, x, weight = draw(seed, batch, dim)
    grads = rms_norm_numpy_backward(grad_y, x, weight, eps=0.5)
    for grad, argument in zip(grads, (x, weight), strict=True):
        numerical = numerical_gradient(lambda: (grad_y * rms_norm_numpy(x, weight, eps=0.5)).sum(), argument)
        assert_equal(grad, numerical, atol=1e-7)


@few
@given(batches, st.integers(2, 6), st.floats(0.1, 10), seeds)
def test_the_length_of_a_token_does_not_count(batch, dim, factor, seed):
    grad_y, x, weight = draw(seed, batch, dim)
    y = rms_norm_numpy(x, weight, eps=0)
    assert_equal(rms_norm_numpy(factor * x, weight, eps=0), y, atol=1e-10)
    # So the gradient has no part along the token, and one that is twice as long has half of it.
    grad_x, grad_weight = rms_norm_numpy_backward(grad_y, x, weight, eps=0)
    assert_equal((grad_x * x).sum(-1), np.zeros(batch), atol=1e-9)
    longer = rms_norm_numpy_backward(grad_y, factor * x, weight, eps=0)
    np.testing.assert_allclose(longer[0] * factor, grad_x, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(longer[1], grad_weight, rtol=1e-7, atol=1e-9)


def test_zeros_give_zeros_and_eps_is_1e_6_by_default():
    one = np.ones(2)
    assert_equal(rms_norm_numpy(np.zeros((3, 2)), one), np.zeros((3, 2)))
    faint = np.array([1e-3, -1e-3])  # mean square 1e-6
    assert_equal(rms_norm_numpy(faint, one), faint / np.sqrt(2e-6))
    grad_y = np.array([1.0, 2.0])
    (expected,) = autograd(lambda x: F.rms_norm(x, (2,), eps=1e-6), grad_y, faint)
    assert_equal(rms_norm_numpy_backward(grad_y, faint, one)[0], expected, atol=1e-9)
    assert_equal(rms_norm_numpy_backward(grad_y, np.zeros(2), one)[0], grad_y * 1e3, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_left_alone(dtype):
    inputs = [a.astype(dtype) for a in draw(0, (2, 3), 4)]
    before = [a.copy() for a in inputs]
    results = [rms_norm_numpy(*inputs[1:]), *rms_norm_numpy_backward(*inputs)]
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)


@few
@given(batches, st.integers(1, 6), epsilons, seeds)
def test_the_module_equals_it_and_llamas(batch, dim, eps, seed):
    grad_y, x, weight = draw(seed, batch, dim)
    ours, llamas = RMSNorm(dim, eps=eps).double(), LlamaRMSNorm(dim, eps=eps).double()
    assert (ours.weight == 1).all()
    ours.weight.data[:] = llamas.weight.data[:] = torch.tensor(weight)
    leaf = torch.tensor(x, requires_grad=True)
    y = ours(leaf)
    assert_equal(y.detach().numpy(), rms_norm_numpy(x, weight, eps))
    torch.testing.assert_close(y, llamas(leaf), rtol=1e-5, atol=1e-5)  # theirs computes in float32
    grads = torch.autograd.grad(y, [leaf, ours.weight], torch.tensor(grad_y))
    for grad, by_hand in zip(grads, rms_norm_numpy_backward(grad_y, x, weight, eps), strict=True):
        np.testing.assert_allclose(grad.numpy(), by_hand, rtol=1e-6, atol=1e-8)
