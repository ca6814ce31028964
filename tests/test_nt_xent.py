"""NT-Xent against a loop, and what must hold of it."""

import math

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.losses.nt_xent import nt_xent

properties = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31)
temperatures = st.floats(0.05, 2)


def make_views(seed: int, batch: int, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    a, b = F.normalize(torch.randn(2, batch, dim, dtype=torch.double), dim=-1)
    return a, b


@properties
@given(seeds, st.integers(1, 6), temperatures)
def test_nt_xent_equals_a_loop(seed, batch, temperature):
    a, b = make_views(seed, batch)
    views, losses = [*a, *b], []
    for i in range(2 * batch):
        powers = [
            math.exp(float(views[i] @ views[k]) / temperature) if k != i else 0 for k in range(2 * batch)
        ]
        losses.append(-math.log(powers[(i + batch) % (2 * batch)] / sum(powers)))
    loss = nt_xent(a, b, temperature).item()
    assert math.isclose(loss, sum(losses) / len(losses), rel_tol=1e-9, abs_tol=1e-12)


@properties
@given(seeds, st.integers(1, 6), temperatures)
def test_nt_xent_does_not_mind_the_order_of_images_nor_which_view_is_which(seed, batch, temperature):
    a, b = make_views(seed, batch)
    loss, order, swap = nt_xent(a, b, temperature), torch.randperm(batch), torch.rand(batch, 1) < 0.5
    torch.testing.assert_close(nt_xent(a[order], b[order], temperature), loss)
    torch.testing.assert_close(nt_xent(b, a, temperature), loss)
    torch.testing.assert_close(nt_xent(a.where(swap, b), b.where(swap, a), temperature), loss)


@properties
@given(seeds, st.integers(1, 6), temperatures)
def test_nt_xent_does_not_mind_a_rotation_of_all_features(seed, batch, temperature):
    a, b = make_views(seed, batch)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.double)).Q
    torch.testing.assert_close(
        nt_xent(a @ rotation, b @ rotation, temperature), nt_xent(a, b, temperature), atol=1e-9, rtol=1e-9
    )


@properties
@given(st.integers(1, 6), temperatures)
def test_nt_xent_where_all_look_alike_is_a_guess_among_all_others(batch, temperature):
    same = torch.ones(batch, 1)
    assert math.isclose(
        nt_xent(same, same, temperature).item(), math.log(2 * batch - 1), rel_tol=1e-5, abs_tol=1e-6
    )


def test_nt_xent_of_one_image_is_zero():
    assert nt_xent(*make_views(0, 1), 0.1) == 0


def test_nt_xent_at_small_temperatures():
    a, b = (x.float().requires_grad_() for x in make_views(0, 6))
    loss = nt_xent(a, b, 1e-3)
    assert loss.isfinite()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, (a, b)))


def test_nt_xent_passes_gradcheck():
    views = [x.requires_grad_() for x in make_views(1, 3)]
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), views)


def test_nt_xent_leaves_its_inputs_alone():
    a, b = make_views(2, 4)
    before = a.clone(), b.clone()
    nt_xent(a, b, 0.5)
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])
