"""A decoder's attention: a text in pieces is the text in one go; shared keys, masks, positions, the cache."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.cached_attention import CachedAttention
from cs_vl.nn.kv_cache import KVCache, LayerCache

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
pieces = st.lists(st.integers(1, 4), min_size=1, max_size=5)
bases = st.sampled_from([None, 10000.0])


def attention(seed: int, **options: Any) -> CachedAttention:
    torch.manual_seed(seed)
    attn = CachedAttention(24, 6, **options).double()
    for p in attn.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return attn


def tokens(length: int) -> Tensor:
    return torch.randn(2, length, 24, dtype=torch.double)


def new_cache(attn: CachedAttention, capacity: int) -> LayerCache:
    return KVCache(1, 2, attn.kv_heads, capacity, attn.head_dim, like=attn.k_proj.weight).layers[0]


@few
@given(seeds, pieces, st.sampled_from([1, 2, 3, 6]), bases, st.booleans())
def test_a_text_in_pieces_is_the_text_in_one_go(seed, sizes, kv_heads, base, padded):
    attn = attention(seed, kv_heads=kv_heads, rotary_base=base, bias=True)
    length = sum(sizes)
    x, positions, mask = tokens(length), torch.arange(length), None
    if padded:
        real = torch.arange(length) >= torch.tensor([[0], [length // 2]])
        mask = (torch.ones(length, length).tril().bool() & real[:, None] | torch.eye(length).bool())[:, None]
        positions = (real.cumsum(1) - 1).clamp(min=0)
    whole = attn(x, positions, mask)
    all_at_once, cache = new_cache(attn, length), new_cache(attn, length + 3)
    torch.testing.assert_close(attn(x, positions, mask, all_at_once), whole)
    read = 0
    for size in sizes:
        new = slice(read, read + size)
        rows = None if mask is None else mask[:, :, new, : read + size]
        torch.testing.assert_close(attn(x[:, new], positions[..., new], rows, cache), whole[:, new])
        read += size
        assert cache.length == read
    torch.testing.assert_close(cache.keys[:, :, :length], all_at_once.keys)
    torch.testing.assert_close(cache.values[:, :, :length], all_at_once.values)


@few
@given(seeds, st.integers(1, 6))
def test_without_rotation_it_is_multi_head_attention_under_a_causal_mask(seed, length):
    attn, plain = attention(seed, rotary_base=None, bias=True), MultiHeadAttention(24, 6).double()
    plain.load_state_dict(attn.state_dict())
    x = tokens(length)
    expected, _ = plain(x, mask=torch.ones(length, length).tril().bool())
    torch.testing.assert_close(attn(x, torch.arange(length)), expected)


@few
@given(seeds, st.sampled_from([1, 2, 3]), bases)
def test_shared_keys_are_equal_keys(seed, kv_heads, base):
    """The same as with a key head for each head, where those of a group have equal weights."""
    shared = attention(seed, kv_heads=kv_heads, rotary_base=base, bias=True)
    full = attention(seed, rotary_base=base, bias=True)
    state = shared.state_dict()
    for name in ("k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias"):
        state[name] = (
            state[name].unflatten(0, (kv_heads, -1)).repeat_interleave(6 // kv_heads, 0).flatten(0, 1)
        )
    full.load_state_dict(state)
    x, positions = tokens(5), torch.arange(5)
    torch.testing.assert_close(shared(x, positions), full(x, positions))


def test_neighbouring_heads_share():
    attn = attention(0, kv_heads=2)
    attn.out_proj.weight.data = torch.eye(24).double()  # now the output is the heads, side by side
    x, positions = tokens(5), torch.arange(5)
    before = attn(x, positions).unflatten(-1, (6, 4))
    for rows in (attn.k_proj.weight.data, attn.v_proj.weight.data):
        rows[4:] += 1  # of the second key head
    after = attn(x, positions).unflatten(-1, (6, 4))
    assert torch.equal(after[:, :, :3], before[:, :, :3])
    assert ((after != before).any(-1).any(1)[:, 3:]).all()


@few
@given(seeds, st.integers(0, 30))
def test_only_distances_count(seed, shift):
    attn, x, positions = attention(seed), tokens(5), torch.tensor([0, 1, 5, 6, 9])
    output = attn(x, positions)
    torch.testing.assert_close(attn(x, positions + shift), output, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        attn(x, torch.stack([positions, positions + shift])), output, rtol=0, atol=1e-4
    )
    assert not torch.allclose(attn(x, 2 * positions), output, atol=1e-2)


def test_a_mask_alone_says_who_sees_whom():
    attn, x = attention(0, kv_heads=3), tokens(4).requires_grad_()
    mask = torch.eye(4).bool()
    mask[1, 3] = True  # ahead
    for shape in ((1, 1, 4, 4), (2, 1, 4, 4), (2, 6, 4, 4)):
        output = attn(x, torch.arange(4), mask.expand(shape))
        for i in range(4):
            (grad,) = torch.autograd.grad(output[:, i].sum(), x, retain_graph=True)
            assert torch.equal((grad != 0).any(-1), mask[i].expand(2, -1))


def test_nobody_looks_ahead_without_a_mask():
    attn, x = attention(0), tokens(5).requires_grad_()
    for i, row in enumerate(attn(x, torch.arange(5)).unbind(1)):
        (grad,) = torch.autograd.grad(row.sum(), x, retain_graph=True)
        assert (grad[:, : i + 1] != 0).all() and (grad[:, i + 1 :] == 0).all()


def test_x_and_positions_are_left_alone():
    attn, x, positions = attention(0), tokens(3), torch.tensor([4, 5, 6])
    mask = torch.ones(1, 1, 3, 3).bool()
    kept = [t.clone() for t in (x, positions, mask)]
    attn(x, positions, mask, new_cache(attn, 3))
    assert all(map(torch.equal, kept, (x, positions, mask)))


def test_heads_that_do_not_divide_are_named():
    with pytest.raises(ValueError, match=r"heads must divide dim.*got dim=24, heads=5 and kv_heads=5"):
        CachedAttention(24, 5)
    with pytest.raises(ValueError, match="kv_heads must divide heads; got dim=24, heads=6 and kv_heads=4"):
        CachedAttention(24, 6, kv_heads=4)


# ---- the cache


def test_a_cache_grows_in_place():
    cache = LayerCache(torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 5, 4))
    keys, values, room = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4), cache.keys.data_ptr()
    for start, end in ((0, 2), (2, 3), (3, 5)):
        got = cache.append(keys[:, :, start:end], values[:, :, start:end])
        assert torch.equal(got[0], keys[:, :, :end]) and torch.equal(got[1], values[:, :, :end])
        assert cache.length == end and got[0].data_ptr() == room
    with pytest.raises(ValueError, match="the cache has room for 5 tokens; token 6 does not fit"):
        cache.append(keys[:, :, :1], values[:, :, :1])
    assert cache.length == 5 and torch.equal(cache.keys, keys)


def test_a_cache_has_the_type_of_what_it_is_like():
    cache = KVCache(3, 2, 1, 7, 4, like=torch.zeros(1, dtype=torch.float64))
    assert len(cache.layers) == 3 and cache.length == 0
    assert {(layer.keys.shape, layer.values.dtype) for layer in cache.layers} == {
        ((2, 1, 7, 4), torch.float64)
    }
    assert len({layer.keys.data_ptr() for layer in cache.layers}) == 3
