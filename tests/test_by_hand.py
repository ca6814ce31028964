"""The hand-derived backward passes against central differences and against autograd; stability; masks."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.nn.by_hand import (
    attention,
    attention_backward,
    layer_norm,
    layer_norm_backward,
    softmax,
    softmax_backward,
)

few = settings(max_examples=25, deadline=None)
batches = st.lists(st.integers(1, 3), max_size=2).map(tuple)
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def no_warnings():
    """NaN and overflow announce themselves in NumPy as warnings: here they are failures."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def numerical_gradient(loss, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of the scalar loss(), entry by entry of `x`, changed in place and restored."""
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + step
        above = loss()
        x[i] = old - step
        below = loss()
        x[i] = old
        grad[i] = (above - below) / (2 * step)
    return grad


def autograd(f, grad_output: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    return [grad.numpy() for grad in torch.autograd.grad(f(*leaves), leaves, torch.tensor(grad_output))]


def random_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """About half True; every row has at least one True."""
    return (rng.random(shape) < 0.5) | (
        np.arange(shape[-1]) == rng.integers(shape[-1], size=(*shape[:-1], 1))
    )


def assert_equal(actual, expected, atol=1e-12):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


# ---- softmax


@few
@given(batches, sizes, seeds, st.data())
def test_softmax_and_its_backward(batch, n, seed, data):
    rng = np.random.default_rng(seed)
    x, grad_y = 3 * rng.normal(size=(2, *batch, n))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    y = softmax(x, axis)
    assert_equal(y, torch.softmax(torch.tensor(x), axis).numpy())
    grad_x = softmax_backward(grad_y, y, axis)
    assert_equal(grad_x, autograd(lambda x: torch.softmax(x, axis), grad_y, x)[0])
    assert_equal(grad_x, numerical_gradient(lambda: (grad_y * softmax(x, axis)).sum(), x), atol=1e-7)
    # Adding a constant to all logits changes nothing, so the gradient has no component in that direction.
    assert_equal(grad_x.sum(axis), np.zeros_like(grad_x.sum(axis)))


@few
@given(st.sampled_from([1e4, -1e4, 300.0]), seeds)
def test_softmax_of_large_numbers(shift, seed):
    x = np.random.default_rng(seed).normal(size=(3, 4))
    assert_equal(softmax(x + shift), softmax(x), atol=1e-10)
    assert np.isfinite(softmax(1e4 * x)).all()
    assert np.isfinite(softmax((x + shift).astype(np.float32))).all()


def test_softmax_of_minus_infinity():
    x = np.array([[0.0, -np.inf, 0.0], [-np.inf, -np.inf, -7.0]])
    np.testing.assert_array_equal(softmax(x), [[0.5, 0, 0.5], [0, 0, 1]])
    grad = softmax_backward(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), softmax(x))
    np.testing.assert_array_equal(grad, [[-0.5, 0, 0.5], [0, 0, 0]])


# ---- layer norm


@few
@given(batches, st.integers(2, 6), st.sampled_from([1e-5, 1e-2, 0.5]), seeds)
def test_layer_norm_and_its_backward(batch, dim, eps, seed):
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=(*batch, dim)) + 3
    grad_y = rng.normal(size=x.shape)
    weight, bias = rng.normal(size=(2, dim))

    def torch_layer_norm(x, weight, bias):
        return torch.nn.functional.layer_norm(x, (dim,), weight, bias, eps)

    expected = torch_layer_norm(*map(torch.tensor, (x, weight, bias)))
    assert_equal(layer_norm(x, weight, bias, eps), expected.numpy(), atol=1e-10)
    grads = layer_norm_backward(grad_y, x, weight, eps)
    for grad, by_autograd in zip(grads, autograd(torch_layer_norm, grad_y, x, weight, bias), strict=True):
        # Where a vector's entries are nearly equal, gradients are large: compare relatively.
        assert grad.shape == by_autograd.shape
        np.testing.assert_allclose(grad, by_autograd, rtol=1e-6, atol=1e-8)


@few
@given(batches, st.integers(3, 6), seeds)
def test_layer_norm_backward_by_central_differences(batch, dim, seed):
    rng = np.random.default_rng(seed)
    # A wide spread, so that the third derivative, and with it the error of the differences, stays small.
    x = np.linspace(-2, 2, dim) + 0.2 * rng.normal(size=(*batch, dim))
    grad_y = rng.normal(size=x.shape)
    weight, bias = rng.normal(size=(2, dim))
    grads = layer_norm_backward(grad_y, x, weight, eps=0.1)
    for grad, parameter in zip(grads, (x, weight, bias), strict=True):
        numerical = numerical_gradient(
            lambda: (grad_y * layer_norm(x, weight, bias, eps=0.1)).sum(), parameter
        )
        assert_equal(grad, numerical, atol=1e-7)
    # Adding a constant to a vector changes nothing.
    assert_equal(grads[0].sum(-1), np.zeros(batch), atol=1e-10)


def test_layer_norm_default_eps_is_1e_5():
    x = np.array([1e-3, -1e-3])  # variance 1e-6, a tenth of eps
    one, zero = np.ones(2), np.zeros(2)
    assert_equal(layer_norm(x, one, zero), x / np.sqrt(1.1e-5))
    torch_grad = autograd(lambda x: torch.nn.functional.layer_norm(x, (2,)), np.array([1.0, 2.0]), x)[0]
    assert_equal(layer_norm_backward(np.array([1.0, 2.0]), x, one)[0], torch_grad, atol=1e-9)


# ---- attention


@few
@given(batches, sizes, sizes, sizes, sizes, st.sampled_from(["none", "full", "shared", "per key"]), seeds)
def test_attention_and_its_backward(batch, queries, keys, d_k, d_v, kind, seed):
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(*batch, queries, d_k)), rng.normal(size=(*batch, keys, d_k))
    v, grad_output = rng.normal(size=(*batch, keys, d_v)), rng.normal(size=(*batch, queries, d_v))
    mask_shapes = {"full": (*batch, queries, keys), "shared": (queries, keys), "per key": (1, keys)}
    mask = None if kind == "none" else random_mask(rng, mask_shapes[kind])

    def torch_attention(q, k, v):
        allowed = None if mask is None else torch.tensor(mask)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, allowed)

    output, weights = attention(q, k, v, mask)
    assert_equal(output, torch_attention(*map(torch.tensor, (q, k, v))).numpy())
    assert_equal(weights.sum(-1), np.ones((*batch, queries)))
    assert_equal(weights @ v, output)
    if mask is not None:
        assert (weights[~np.broadcast_to(mask, weights.shape)] == 0).all()

    grads = attention_backward(grad_output, q, k, v, mask)
    by_autograd = autograd(torch_attention, grad_output, q, k, v)
    for grad, expected, x in zip(grads, by_autograd, (q, k, v), strict=True):
        assert_equal(grad, expected)
        numerical = numerical_gradient(lambda: (grad_output * attention(q, k, v, mask)[0]).sum(), x)
        assert_equal(grad, numerical, atol=1e-7)


@few
@given(seeds)
def test_what_nobody_may_look_at_gets_exactly_zero(seed):
    rng = np.random.default_rng(seed)
    q, k, v = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 6))
    hidden = np.array([True, False, False, True, False])
    _, grad_k, grad_v = attention_backward(rng.normal(size=(2, 3, 6)), q, k, v, ~hidden)
    assert (grad_k[:, hidden] == 0).all() and (grad_v[:, hidden] == 0).all()
    assert (grad_k[:, ~hidden] != 0).all() and (grad_v[:, ~hidden] != 0).all()


@few
@given(seeds)
def test_causal_attention_does_not_look_ahead(seed):
    rng = np.random.default_rng(seed)
    q, k, v = rng.normal(size=(3, 6, 4))
    grad_output = rng.normal(size=(6, 4))
    grad_output[3:] = 0  # the loss depends on the first three outputs only
    for grad in attention_backward(grad_output, q, k, v, np.tril(np.ones((6, 6), dtype=bool))):
        assert (grad[3:] == 0).all() and (grad[:3] != 0).any()


def test_attention_of_large_scores_stays_finite():
    q, k, v = 100 * np.random.default_rng(0).normal(size=(3, 2, 4, 8)).astype(np.float32)
    output, weights = attention(q, k, v)
    assert np.isfinite(output).all() and np.isfinite(weights).all()
    assert all(np.isfinite(grad).all() for grad in attention_backward(v, q, k, v))


# ---- all of them


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_left_alone(dtype):
    q, k, v, x = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(dtype)
    weight, bias = x[0, :2].copy()
    mask = np.tril(np.ones((3, 3), dtype=bool))
    inputs = [q, k, v, x, weight, bias, mask]
    before = [a.copy() for a in inputs]
    results = [
        softmax(x),
        softmax_backward(v, x),
        layer_norm(x, weight, bias),
        *layer_norm_backward(v, x, weight),
        *attention(q, k, v, mask),
        *attention_backward(x, q, k, v, mask),
    ]
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)
