"""SigLIP, whole and in chunks, against a loop over pairs, open_clip, and memory."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_files import load_open_clip_losses

from cs_vl.checks.memory import MemoryMeter, OverCap
from cs_vl.losses.siglip import siglip_loss
from cs_vl.losses.siglip_chunked import siglip_chunked, siglip_loss_chunked

properties = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31)


def make_inputs(
    seed: int, batch: int, dim: int = 4, dtype: torch.dtype = torch.double
) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(seed)
    images, texts = F.normalize(torch.randn(2, batch, dim, dtype=dtype), dim=-1)
    scale, bias = 10 * torch.rand((), dtype=dtype), -5 * torch.rand((), dtype=dtype)
    return tuple(x.clone().requires_grad_() for x in (images, texts, scale, bias))


def whole(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    loss = siglip_loss(*inputs)
    return loss.detach(), torch.autograd.grad(loss, inputs)


# --- the whole matrix ----------------------------------------------------------------------------------


@properties
@given(seeds, st.integers(1, 7), st.integers(1, 5))
def test_siglip_is_a_sum_over_pairs(seed, batch, dim):
    images, texts, scale, bias = make_inputs(seed, batch, dim)
    total = 0.0
    for i in range(batch):
        for j in range(batch):
            logit = scale.item() * (images[i] @ texts[j]).item() + bias.item()
            total += math.log1p(math.exp(-logit if i == j else logit))
    assert math.isclose(siglip_loss(images, texts, scale, bias).item(), total / batch, rel_tol=1e-9)
    assert siglip_loss(images, texts, scale.item(), bias.item()) >= 0


@properties
@given(seeds, st.integers(1, 6))
def test_siglip_does_not_mind_the_order_of_pairs_nor_the_modality(seed, batch):
    images, texts, scale, bias = make_inputs(seed, batch)
    order = torch.randperm(batch)
    loss = siglip_loss(images, texts, scale, bias)
    torch.testing.assert_close(siglip_loss(images[order], texts[order], scale, bias), loss)
    torch.testing.assert_close(siglip_loss(texts, images, scale, bias), loss)


def test_siglip_at_zero_logits_asks_b_coins():
    zero = torch.zeros(5, 3)
    assert math.isclose(siglip_loss(zero, zero, 10.0, 0.0).item(), 5 * math.log(2), rel_tol=1e-6)


def test_siglip_at_huge_logits():
    images = torch.eye(2).requires_grad_()
    loss = siglip_loss(images, -images.detach(), 1e4, 0.0)
    assert loss.item() == pytest.approx(1e4, abs=1)
    assert torch.autograd.grad(loss, images)[0].isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_siglip_agrees_with_open_clip(seed):
    theirs = load_open_clip_losses().SigLipLoss()
    inputs = make_inputs(seed, 33, 16, torch.float32)
    their_loss = theirs(*inputs)
    their_gradients = torch.autograd.grad(their_loss, inputs)
    for loss, gradients in (whole(inputs), siglip_chunked(*inputs, 8)):
        torch.testing.assert_close(loss, their_loss.detach(), rtol=1e-5, atol=1e-5)
        for ours, expected in zip(gradients, their_gradients, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


# --- in chunks -----------------------------------------------------------------------------------------


@properties
@given(seeds, st.integers(1, 9), st.integers(1, 12))
def test_chunks_of_any_size_give_the_whole(seed, batch, chunk_size):
    inputs = make_inputs(seed, batch)
    loss, gradients = whole(inputs)
    of_chunks, gradients_of_chunks = siglip_chunked(*inputs, chunk_size)
    torch.testing.assert_close(of_chunks, loss)
    for a, b in zip(gradients_of_chunks, gradients, strict=True):
        torch.testing.assert_close(a, b)
        assert not a.requires_grad
    assert not of_chunks.requires_grad
    assert all(x.grad is None and x.requires_grad for x in inputs)


def test_every_chunk_size_of_one_batch():
    inputs = make_inputs(1, 12)
    _, expected = whole(inputs)
    for chunk_size in range(1, 15):
        for a, b in zip(siglip_chunked(*inputs, chunk_size)[1], expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 8])
def test_the_differentiable_one_passes_gradcheck(chunk_size):
    inputs = make_inputs(2, 5)
    assert torch.autograd.gradcheck(lambda *x: siglip_loss_chunked(*x, chunk_size) * 3, inputs)


def test_the_differentiable_one_trains_what_is_behind_the_features():
    images, texts, scale, bias = make_inputs(3, 6)
    grads = []
    for loss in (siglip_loss, lambda *x: siglip_loss_chunked(*x, 4)):
        weight = torch.eye(4, dtype=torch.double, requires_grad=True)
        out = loss(F.normalize(images.detach() @ weight, dim=1), texts.detach(), scale.exp(), bias)
        grads.append(torch.autograd.grad(out / 2, (weight, scale, bias)))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_the_differentiable_one_takes_plain_numbers_and_no_grad():
    images, texts, _, _ = make_inputs(4, 6)
    loss = siglip_loss_chunked(images, texts, 5.0, -2.0, 4)
    torch.testing.assert_close(loss, siglip_loss(images, texts, 5.0, -2.0))
    with torch.no_grad():
        torch.testing.assert_close(siglip_loss_chunked(images, texts, 5.0, -2.0), loss.detach())


def test_a_chunk_size_of_0_gets_a_sentence():
    with pytest.raises(ValueError, match="chunk_size must be 1 or more; got 0"):
        siglip_loss_chunked(*make_inputs(0, 2), 0)


# --- memory --------------------------------------------------------------------------------------------

BATCH, CHUNK = 256, 16
MATRIX, STRIP = BATCH * BATCH * 4, BATCH * CHUNK * 4  # bytes


def large() -> tuple[torch.Tensor, ...]:
    return make_inputs(0, BATCH, 3, torch.float32)


def test_the_meter_sees_forward_and_backward():
    with MemoryMeter() as meter:
        loss = siglip_loss(*large())
    forward = meter.peak
    assert meter.largest == MATRIX
    with MemoryMeter() as meter:
        loss.backward()
    assert meter.largest == MATRIX, "the backward pass makes matrices, too"
    with MemoryMeter() as meter:
        siglip_loss(*large()).backward()
    assert meter.peak >= forward > 2 * MATRIX


def test_chunks_stay_far_below_the_matrix():
    with MemoryMeter(cap=5 * STRIP) as meter:
        siglip_chunked(*large(), CHUNK)
    assert meter.largest == STRIP
    with MemoryMeter(cap=5 * STRIP):
        siglip_loss_chunked(*large(), CHUNK).backward()


def test_the_meter_stops_what_goes_over_the_cap():
    inputs = large()
    with pytest.raises(OverCap, match="where 262,143 are allowed"), MemoryMeter(cap=MATRIX - 1):
        siglip_loss(*inputs)
    loss = siglip_loss(*inputs)
    with pytest.raises(OverCap), MemoryMeter(cap=MATRIX - 1):
        loss.backward()
    with pytest.raises(MemoryError), MemoryMeter(cap=MATRIX - 1):
        torch.ones(BATCH, BATCH)


def test_the_meter_counts_what_lives_and_no_views():
    x = torch.ones(100)
    with MemoryMeter() as meter:
        for _ in range(5):
            y = x * 2  # 400 bytes, at most two of them at a time
        y.view(10, 10).T[2:].add_(1)
        x.mul_(2).expand(7, 100)
        assert meter.peak == 800
        del y
        x.new_zeros(50), x.new_zeros(50)
        assert meter.peak == 800
        z = [x + 1 for _ in range(4)]
        assert meter.peak == 1600 and meter.largest == 400
        torch.ones(300, out=z[0].new_empty(0))
        assert meter.largest == 1200


def test_the_meter_gives_the_same_count_each_time():
    peaks = set()
    for _ in range(3):
        with MemoryMeter() as meter:
            siglip_chunked(*large(), CHUNK)
        peaks.add(meter.peak)
    assert len(peaks) == 1
