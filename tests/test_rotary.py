"""Rotary positions: against transformers and complex numbers, and what must hold of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from cs_vl.nn.rotary import rotary_embed

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
halves = st.integers(1, 6)
bases = st.sampled_from([2.0, 100.0, 10000.0, 500000.0])


def draw(seed: int, half: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """x (2, 3, 5, 2 * half), and positions of each text (2, 5)."""
    torch.manual_seed(seed)
    return torch.randn(2, 3, 5, 2 * half, dtype=dtype), torch.randint(0, 50, (2, 5))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    """Angles are float32, so that an error of 1e-5 is none."""
    torch.testing.assert_close(a, b, rtol=0, atol=5e-5)


@few
@given(seeds, halves, bases)
def test_it_equals_transformers(seed, half, base):
    x, positions = draw(seed, half, torch.float32)
    config = LlamaConfig(
        hidden_size=3 * 2 * half,
        num_attention_heads=3,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    cos, sin = LlamaRotaryEmbedding(config)(x, positions)
    q, k = apply_rotary_pos_emb(x, x.flip(0), cos, sin)
    close(rotary_embed(x, positions, base), q)
    close(rotary_embed(x.flip(0), positions, base), k)
    if base == 10000:
        assert torch.equal(rotary_embed(x, positions), rotary_embed(x, positions, base))


@few
@given(seeds, halves, bases)
def test_it_multiplies_by_a_complex_number(seed, half, base):
    """As in Llama's own code, but for the layout."""
    x, positions = draw(seed, half)
    y = rotary_embed(x, positions, base)
    for j in range(half):
        turn = torch.exp(1j * positions.double() * base ** (-2 * j / (2 * half)))
        expected = torch.complex(x[..., j], x[..., half + j]) * turn[:, None]
        close(torch.complex(y[..., j], y[..., half + j]).real, expected.real)
        close(torch.complex(y[..., j], y[..., half + j]).imag, expected.imag)


def test_the_example_in_its_docstring():
    x = torch.zeros(1, 1, 1, 6)
    x[..., 0] = 1
    expected = torch.zeros(6)
    expected[0], expected[3] = math.cos(1), math.sin(1)
    close(rotary_embed(x, torch.tensor([1]))[0, 0, 0], expected)


@few
@given(seeds, halves, bases, st.integers(0, 40))
def test_products_depend_on_the_distance_alone(seed, half, base, shift):
    (q, m), (k, n) = draw(seed, half), draw(seed + 1, half)

    def scores(shift: int) -> torch.Tensor:
        return rotary_embed(q, m + shift, base) @ rotary_embed(k, n + shift, base).mT

    torch.testing.assert_close(scores(shift), scores(0), rtol=0, atol=1e-3)
    # They do depend on it.
    assert half == 1 or not torch.allclose(
        rotary_embed(q, m + 1, base) @ k.mT, rotary_embed(q, m, base) @ k.mT
    )


@few
@given(seeds, halves, bases)
def test_lengths_stay_and_position_0_changes_nothing(seed, half, base):
    x, positions = draw(seed, half)
    y = rotary_embed(x, positions, base)
    lengths = [torch.stack(t.chunk(2, dim=-1)).norm(dim=0) for t in (x, y)]  # of each pair
    close(*lengths)
    assert torch.equal(rotary_embed(x, torch.zeros(5, dtype=torch.long), base), x)


@few
@given(seeds, halves)
def test_one_rotation_after_another_is_one_by_the_sum(seed, half):
    x, positions = draw(seed, half)
    twice = rotary_embed(rotary_embed(x, positions), positions.flip(1))
    close(twice, rotary_embed(x, positions + positions.flip(1)))
    close(rotary_embed(rotary_embed(x, positions), -positions), x)


@few
@given(seeds, halves)
def test_the_gradient_turns_back(seed, half):
    x, positions = draw(seed, half)
    grad_y = torch.randn_like(x)
    (grad_x,) = torch.autograd.grad(rotary_embed(x.requires_grad_(), positions), x, grad_y)
    close(grad_x, rotary_embed(grad_y, -positions))


@few
@given(seeds, halves)
def test_texts_and_tokens_do_not_mind_one_another(seed, half):
    x, positions = draw(seed, half)
    y = rotary_embed(x, positions)
    for text in range(2):
        assert torch.equal(rotary_embed(x[text : text + 1], positions[text]), y[text : text + 1])
    order = torch.randperm(5)
    assert torch.equal(rotary_embed(x[:, :, order], positions[:, order]), y[:, :, order])
    shared = rotary_embed(x, positions[0])
    assert torch.equal(shared, rotary_embed(x, positions[:1].expand(2, -1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_angles_are_exact_in_any(dtype):
    x, _ = draw(0, 4, dtype)
    before = x.clone()
    positions = torch.tensor([0, 1, 2047, 2049, 3001])  # no float16 is 2049, no bfloat16 is 2047
    y = rotary_embed(x, positions)
    assert y.dtype == dtype and torch.equal(x, before)
    error = {torch.bfloat16: 0.05, torch.float16: 0.01}.get(dtype, 1e-6)
    torch.testing.assert_close(y.double(), rotary_embed(x.double(), positions), rtol=0, atol=error)
