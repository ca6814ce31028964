"""The decoder and writing with it: what the cache, padding, embeddings and a Flamingo's hook may not change."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cs_vl.models.decoder import Decoder, padded_causal_mask
from cs_vl.models.generate import generate, left_pad

few = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**31)
styles = st.sampled_from(["llama", "gpt2"])
kv_heads = st.sampled_from([1, 2, 4])
pieces = st.lists(st.integers(1, 4), min_size=1, max_size=4)
both = pytest.mark.parametrize("style", ["llama", "gpt2"])

SIZE: dict[str, Any] = {
    "vocab_size": 23,
    "context_length": 20,
    "dim": 16,
    "depth": 3,
    "heads": 4,
    "mlp_dim": 24,
}


def decoder(seed: int = 0, **options: Any) -> Decoder:
    """Away from its start, where nearly nothing depends on what was read."""
    torch.manual_seed(seed)
    lm = Decoder(**{**SIZE, **options}).double()
    for p in lm.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return lm


def words(*shape: int) -> Tensor:
    return torch.randint(SIZE["vocab_size"], shape)


def written_without_cache(lm: Decoder, text: list[int], new: int) -> list[int]:
    """Greedy, each token from the whole text so far."""
    text = list(text)
    for _ in range(new):
        text.append(int(lm(torch.tensor([text]))[0, -1].argmax()))
    return text[-new:] if new else []


# ---- the cache


@few
@given(seeds, styles, kv_heads, pieces, st.booleans())
def test_logits_in_pieces_are_those_in_one_go(seed, style, kv_heads, sizes, padded):
    lm = decoder(seed, style=style, kv_heads=kv_heads)
    length = sum(sizes)
    ids, real = words(2, length), None
    if padded:
        real = torch.arange(length) >= torch.tensor([[0], [length - 1]])
    whole, cache, read = lm(ids, real=real), lm.new_cache(2, length), 0
    for size in sizes:
        end = read + size
        logits = lm(ids[:, read:end], real=None if real is None else real[:, :end], cache=cache)
        torch.testing.assert_close(logits, whole[:, read:end])
        read = end
        assert cache.length == end


@few
@given(seeds, styles, kv_heads, st.integers(1, 6), st.integers(0, 14))
def test_written_with_a_cache_is_what_is_written_without_token_for_token(seed, style, kv_heads, length, new):
    lm = decoder(seed, style=style, kv_heads=kv_heads)
    ids = words(2, length)
    expected = [written_without_cache(lm, text, new) for text in ids.tolist()]
    assert generate(lm, ids, max_new_tokens=new).tolist() == expected


@few
@given(seeds, styles, kv_heads, st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 8))
def test_texts_of_different_lengths_go_on_together_as_each_alone(seed, style, kv_heads, lengths, new):
    lm = decoder(seed, style=style, kv_heads=kv_heads)
    texts = [words(length).tolist() for length in lengths]
    ids, real = left_pad(texts, pad_id=0)
    together = generate(lm, ids, real=real, max_new_tokens=new)
    assert together.tolist() == [written_without_cache(lm, text, new) for text in texts]


@both
def test_a_cache_that_is_full_says_so(style):
    lm = decoder(style=style)
    cache = lm.new_cache(2, 4)
    lm(words(2, 3), cache=cache)
    with pytest.raises(ValueError, match="the cache has room for 4 tokens; token 5 does not fit"):
        lm(words(2, 2), cache=cache)
    assert cache.length == 3
    lm(words(2, 1), cache=cache)  # it is as it was


# ---- padding


@few
@given(seeds, styles, st.integers(1, 5), st.integers(0, 4), st.integers(0, 4))
def test_padding_changes_nothing_wherever_it_stands_and_whatever_it_is(seed, style, length, before, after):
    lm = decoder(seed, style=style, kv_heads=2)
    ids = words(2, length)
    padded = torch.cat([words(2, before), ids, words(2, after)], dim=1)
    real = torch.zeros(padded.shape, dtype=torch.bool)
    real[:, before : before + length] = True
    logits = lm(padded, real=real)
    torch.testing.assert_close(logits[:, before : before + length], lm(ids))
    assert logits.isfinite().all()


@few
@given(seeds, st.integers(1, 5), st.data())
def test_the_mask_of_padded_texts(seed, length, data):
    real = torch.tensor(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    new = data.draw(st.integers(1, length))
    mask = padded_causal_mask(real[None], new)
    assert mask.shape == (1, 1, new, length)
    for row, i in enumerate(range(length - new, length)):
        assert mask[0, 0, row].tolist() == [j == i or (j < i and bool(real[j])) for j in range(length)]


def test_left_pad():
    ids, real = left_pad([[5, 6, 7], [], [8]], pad_id=1)
    assert ids.tolist() == [[5, 6, 7], [1, 1, 1], [1, 1, 8]] and ids.dtype == torch.long
    assert real.tolist() == [[True] * 3, [False] * 3, [False, False, True]]
    assert left_pad([], pad_id=1)[0].shape == (0, 0)


# ---- embeddings, and what comes before a block


@few
@given(seeds, styles)
def test_embeddings_of_words_are_read_as_the_words(seed, style):
    lm = decoder(seed, style=style)
    ids = words(2, 5)
    embeds = lm.token_embed(ids)
    assert torch.equal(lm(embeds=embeds), lm(ids))
    assert torch.equal(lm.logits(lm.hidden(ids)), lm(ids))
    written = generate(lm, ids, max_new_tokens=6)
    assert torch.equal(generate(lm, embeds=embeds, max_new_tokens=6), written)
    (grad,) = torch.autograd.grad(lm(embeds=embeds)[:, -1].sum(), embeds)
    assert (grad != 0).all()


@few
@given(seeds, styles)
def test_a_hook_that_changes_nothing_changes_nothing_bit_for_bit(seed, style):
    lm, called = decoder(seed, style=style), []

    def look(i: int, x: Tensor) -> Tensor:
        called.append((i, tuple(x.shape)))
        return x

    ids = words(2, 5)
    assert torch.equal(lm(ids, before_block=look), lm(ids))
    assert called == [(i, (2, 5, 16)) for i in range(3)]
    called.clear()
    assert torch.equal(
        generate(lm, ids, max_new_tokens=3, before_block=look), generate(lm, ids, max_new_tokens=3)
    )
    assert called == [(i, (2, length, 16)) for length in (5, 1, 1) for i in range(3)]


def test_what_a_hook_returns_goes_on():
    lm, ids = decoder(), words(2, 5)
    embeds = torch.randn(2, 5, 16).double()
    replaced = lm(ids, before_block=lambda i, x: embeds if i == 0 else x)
    assert torch.equal(replaced, lm(embeds=embeds))
    last = lm(ids, before_block=lambda i, x: embeds if i == 2 else x)
    expected = lm.logits(lm.norm(lm.blocks[2](embeds, torch.arange(5), None, None)))
    assert torch.equal(last, expected)


# ---- the model itself


@both
def test_nobody_looks_ahead(style):
    lm, embeds = decoder(style=style), torch.randn(2, 5, 16).double().requires_grad_()
    for i, row in enumerate(lm(embeds=embeds).unbind(1)):
        (grad,) = torch.autograd.grad(row.sum(), embeds, retain_graph=True)
        assert (grad[:, : i + 1] != 0).any(-1).all() and (grad[:, i + 1 :] == 0).all()


@both
def test_the_head_is_the_embedding_or_a_matrix_of_its_own(style):
    tied, own = decoder(style=style), decoder(style=style, tied=False)
    assert tied.head is None and own.head.weight.shape == (23, 16)
    assert own.state_dict().keys() - tied.state_dict().keys() == {"head.weight"}
    x = torch.randn(2, 16).double()
    torch.testing.assert_close(tied.logits(x), x @ tied.token_embed.weight.T)
    torch.testing.assert_close(own.logits(x), x @ own.head.weight.T)
    # Untied, with the embedding's numbers, it is the same model.
    own.load_state_dict({**tied.state_dict(), "head.weight": tied.token_embed.weight})
    ids = words(2, 5)
    assert torch.equal(own(ids), tied(ids))


@both
def test_order_counts(style):
    lm, ids = decoder(style=style), torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]])
    a, b = lm(ids)[:, -1]
    assert not torch.allclose(a, b, atol=1e-3)


def test_what_each_style_is_made_of():
    llama, gpt2 = Decoder(**SIZE, kv_heads=2), Decoder(**SIZE, style="gpt2")
    assert llama.position_embed is None and gpt2.position_embed.shape == (20, 16)
    assert not [name for name, _ in llama.named_parameters() if "bias" in name]
    assert {block.attn.rotary_base for block in llama.blocks} == {10000.0}
    assert {block.attn.rotary_base for block in gpt2.blocks} == {None}
    assert llama.blocks[0].attn.k_proj.weight.shape == (8, 16)
    assert (llama.norm.eps, gpt2.norm.eps) == (1e-6, 1e-5)
    sizes = [sum(p.numel() for p in Decoder(**{**SIZE, "mlp_dim": None}, style=s).blocks[0].mlp.parameters()) for s in ("llama", "gpt2")]  # fmt: skip
    assert 0.9 < sizes[0] / sizes[1] < 1.05


@both
def test_at_the_start_all_words_are_equally_likely(style):
    torch.manual_seed(0)
    lm = Decoder(**SIZE, style=style)
    log_p = lm(words(8, 20)).log_softmax(-1)
    assert abs(-log_p.mean().item() - math.log(23)) < 0.05


# ---- sentences


@both
def test_a_text_that_is_too_long_is_told(style):
    lm = decoder(style=style)
    with pytest.raises(ValueError, match="context_length is 20 tokens; got 21: shorten the text"):
        lm(words(1, 21))
    cache = lm.new_cache(1, 30)
    lm(words(1, 20), cache=cache)
    with pytest.raises(ValueError, match="got 21"):
        lm(words(1, 1), cache=cache)
    with pytest.raises(ValueError, match=r"15 tokens of prompt and 6 new ones are more than .* 20"):
        generate(lm, words(1, 15), max_new_tokens=6)
    assert generate(lm, words(1, 15), max_new_tokens=5).shape == (1, 5)


def test_what_else_is_told():
    lm, ids = decoder(), words(2, 3)
    for given_ids, embeds in ((None, None), (ids, lm.token_embed(ids))):
        with pytest.raises(ValueError, match="either ids or embeds"):
            lm(given_ids, embeds=embeds)
    with pytest.raises(ValueError, match=r"each of the 2 x 3 tokens .* got shape \(2, 4\)"):
        lm(ids, real=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="style must be 'llama' or 'gpt2'; got 'bert'"):
        Decoder(**SIZE, style="bert")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="generate needs ids or embeds"):
        generate(lm, max_new_tokens=3)


# ---- writing


def test_a_text_ends_at_its_first_end():
    lm, ids = decoder(), words(4, 3)
    free = generate(lm, ids, max_new_tokens=12)
    end = int(free[1, 2])
    lengths = [row.index(end) + 1 if end in row else 12 for row in free.tolist()]
    written = generate(lm, ids, max_new_tokens=12, end_id=end)
    assert written.shape == (4, max(lengths)) and lengths[1] <= 3
    for row, before, length in zip(written.tolist(), free.tolist(), lengths, strict=True):
        assert row == before[:length] + [end] * (max(lengths) - length)


def test_no_tokens_are_no_tokens():
    written = generate(decoder(), words(3, 4), max_new_tokens=0)
    assert written.shape == (3, 0) and written.dtype == torch.long


def test_drawing():
    lm, ids = decoder(), words(2, 3)

    def draw(seed: int, **options: Any) -> list:
        return generate(
            lm, ids, max_new_tokens=9, generator=torch.Generator().manual_seed(seed), **options
        ).tolist()

    greedy = generate(lm, ids, max_new_tokens=9).tolist()
    assert draw(0, temperature=1.0) == draw(0, temperature=1.0)
    assert draw(0, temperature=3.0) != draw(1, temperature=3.0)
    assert draw(0, temperature=5.0, top_k=1) == draw(0, temperature=5.0, top_p=1e-9) == greedy
    state = torch.get_rng_state()
    draw(0, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_drawing_follows_the_probabilities():
    lm, ids = decoder(), words(1, 3)
    p = lm(ids)[0, -1].softmax(-1)
    drawn = generate(
        lm,
        ids.expand(4000, -1),
        max_new_tokens=1,
        temperature=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(drawn[:, 0].bincount(minlength=23) / 4000, p.float(), rtol=0, atol=0.04)
