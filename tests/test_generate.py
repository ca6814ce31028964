"""Writing: cached equals uncached token for token, padding changes nothing, and draws follow the probabilities."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import perturbed
from torch import Tensor

from cs_vl.models import Decoder, generate, left_pad, next_token_probabilities

VOCAB, PAD = 23, 0
few = settings(max_examples=15, deadline=None)
some_texts = st.lists(st.lists(st.integers(1, VOCAB - 1), min_size=1, max_size=6), min_size=1, max_size=4)


def decoder(style: str, **options) -> Decoder:
    """A small one that does not repeat itself."""
    given = {"vocab_size": VOCAB, "context_length": 24, "dim": 24, "depth": 2, "heads": 6, "style": style}
    torch.manual_seed(0)
    lm = perturbed(Decoder(**given | {"tied": False} | options))
    for p in lm.blocks.parameters():
        p.data *= 2
    return lm


MODELS = {
    "llama": decoder("llama"),
    "llama with shared keys": decoder("llama", kv_heads=2, rotary_base=30.0),
    "gpt2": decoder("gpt2"),
}
each_model = pytest.mark.parametrize("name", MODELS)


def written_without_cache(lm: Decoder, text: list[int], new: int) -> list[int]:
    """Greedy, from the beginning for every token."""
    text, start = list(text), len(text)
    for _ in range(new):
        text.append(int(lm(torch.tensor([text]))[0, -1].argmax()))
    return text[start:]


# ---- padding


@few
@given(some_texts)
def test_left_pad_keeps_each_text_at_the_end(texts):
    ids, real = left_pad(texts, PAD)
    assert ids.shape == real.shape == (len(texts), max(map(len, texts)))
    for row, mask, text in zip(ids, real, texts, strict=True):
        assert row[mask].tolist() == text
        assert mask[-len(text) :].all() and not mask[: -len(text)].any()
        assert (row[~mask] == PAD).all()


def test_left_pad_of_nothing():
    assert left_pad([], PAD)[0].shape == left_pad([], PAD)[1].shape == (0, 0)
    assert left_pad([[], []], PAD)[0].shape == (2, 0)
    ids, real = left_pad([[], [5]], PAD)
    assert ids.tolist() == [[PAD], [5]] and real.tolist() == [[False], [True]]


# ---- greedy


@each_model
@few
@given(texts=some_texts)
def test_a_padded_batch_with_a_cache_writes_what_each_text_alone_does_without(name, texts):
    lm = MODELS[name]
    ids, real = left_pad(texts, PAD)
    expected = [written_without_cache(lm, text, 7) for text in texts]
    assert generate(lm, ids, real=real, max_new_tokens=7).tolist() == expected


@each_model
def test_it_does_not_repeat_itself(name):
    """Else the test above would say little."""
    torch.manual_seed(0)
    texts = generate(MODELS[name], torch.randint(1, VOCAB, (6, 3)), max_new_tokens=20)
    assert sum(len(text.unique()) for text in texts) / len(texts) > 5


@each_model
def test_embeddings_in_place_of_ids(name):
    lm = MODELS[name]
    ids, real = left_pad([[3, 1, 4, 1, 5], [9, 2, 6]], PAD)
    expected = generate(lm, ids, real=real, max_new_tokens=6)
    embeds = lm.token_embed(ids)
    assert torch.equal(generate(lm, embeds=embeds, real=real, max_new_tokens=6), expected)


def test_the_hook_sees_the_prompt_then_one_token_at_a_time():
    lm, seen = MODELS["llama"], []

    def look(i: int, x: Tensor) -> Tensor:
        seen.append((i, tuple(x.shape)))
        return x.flip(-1) if i == 1 else x

    ids = torch.tensor([[3, 1, 4]])
    text = generate(lm, ids, max_new_tokens=3, before_block=look)
    assert seen == [(i, (1, length, 24)) for length in (3, 1, 1) for i in (0, 1)]
    # and what it returns goes on
    whole = torch.cat([ids, text], dim=1)
    expected = lm(whole, before_block=look)[0, 2:-1].argmax(dim=-1)
    assert text[0].tolist() == expected.tolist()
    assert text.tolist() != generate(lm, ids, max_new_tokens=3).tolist()


# ---- the end


@each_model
@few
@given(texts=some_texts, end=st.integers(0, VOCAB - 1))
def test_behind_the_end_all_is_end(name, texts, end):
    lm = MODELS[name]
    ids, real = left_pad(texts, PAD)
    free = generate(lm, ids, real=real, max_new_tokens=8).tolist()
    cut = [text[: text.index(end) + 1] if end in text else text for text in free]
    longest = max(map(len, cut))
    expected = [text + [end] * (longest - len(text)) for text in cut]
    assert generate(lm, ids, real=real, max_new_tokens=8, end_id=end).tolist() == expected


def test_it_stops_when_all_texts_have_ended():
    lm, steps = MODELS["gpt2"], []
    ids = torch.tensor([[3, 1, 4]])
    end = int(generate(lm, ids, max_new_tokens=2)[0, 1])

    def count(i: int, x: Tensor) -> Tensor:
        steps.append(i)
        return x

    text = generate(lm, ids, max_new_tokens=15, end_id=end, before_block=count)
    assert text.shape[1] <= 2 and text[0, -1] == end
    assert len(steps) == 2 * text.shape[1]


# ---- drawing


def test_draws_follow_the_probabilities():
    """4,000 draws of one token: within five standard deviations of what is expected."""
    lm, n = MODELS["llama"], 4000
    ids = torch.tensor([[3, 1, 4]]).expand(n, -1)
    how = {"temperature": 0.7, "top_k": 9, "top_p": 0.9}
    p = next_token_probabilities(lm(ids[:1])[:, -1], **how)[0]
    assert 3 < (p > 0).sum() < VOCAB
    drawn = generate(lm, ids, max_new_tokens=1, generator=torch.Generator().manual_seed(1), **how)
    found = drawn[:, 0].bincount(minlength=VOCAB) / n
    assert (found[p == 0] == 0).all()
    assert ((found - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()


def test_the_generator_decides():
    lm, ids = MODELS["llama"], torch.tensor([[3, 1, 4]]).expand(5, -1)

    def write(seed: int) -> list:
        generator = torch.Generator().manual_seed(seed)
        return generate(lm, ids, max_new_tokens=6, temperature=2.0, generator=generator).tolist()

    before = torch.random.get_rng_state()
    assert write(1) == write(1) != write(2)
    assert torch.equal(torch.random.get_rng_state(), before)


@each_model
def test_one_candidate_is_greedy(name):
    lm, ids = MODELS[name], torch.tensor([[3, 1, 4], [1, 5, 9]])
    greedy = generate(lm, ids, max_new_tokens=8)
    assert torch.equal(generate(lm, ids, max_new_tokens=8, temperature=3.0, top_k=1), greedy)
    assert torch.equal(generate(lm, ids, max_new_tokens=8, temperature=0.8, top_p=1e-6), greedy)


# ---- edges


def test_what_it_wrote_can_be_trained_on():
    lm = decoder("llama")
    text = generate(lm, torch.tensor([[3, 1, 4]]), max_new_tokens=4)
    lm(text).logsumexp(dim=-1).sum().backward()
    assert all(p.grad is not None for p in lm.parameters())
    assert lm(text).requires_grad


def test_no_new_tokens():
    assert generate(MODELS["llama"], torch.tensor([[3], [1]]), max_new_tokens=0).shape == (2, 0)


def test_errors_are_sentences():
    lm = MODELS["llama"]
    with pytest.raises(ValueError, match="of at least one token"):
        generate(lm, max_new_tokens=3)
    with pytest.raises(ValueError, match="of at least one token"):
        generate(lm, torch.empty(2, 0, dtype=torch.long), max_new_tokens=3)
    with pytest.raises(ValueError, match=r"20 tokens of prompt and 5 new ones .* context_length of 24"):
        generate(lm, torch.ones(1, 20, dtype=torch.long), max_new_tokens=5)
    assert generate(lm, torch.ones(1, 20, dtype=torch.long), max_new_tokens=4).shape == (1, 4)
    with pytest.raises(ValueError, match="either ids or embeds"):
        generate(lm, torch.ones(1, 2, dtype=torch.long), embeds=torch.ones(1, 2, 24), max_new_tokens=1)


# ---- next_token_probabilities

many = settings(max_examples=100, deadline=None)
# Multiples of 1/16 that differ: no ties, and no two that differ by rounding alone.
distinct_logits = st.lists(st.integers(-80, 80), min_size=1, max_size=12, unique=True).map(
    lambda row: torch.tensor([row]) / 16
)
temperatures, ks, shares = st.floats(0.3, 3), st.integers(1, 15), st.floats(0.05, 1)


@many
@given(distinct_logits, temperatures, ks, shares)
def test_the_likeliest_stay_and_sum_to_one(logits, temperature, top_k, top_p):
    p = next_token_probabilities(logits, temperature, top_k, top_p)
    assert p.shape == logits.shape and p.dtype == logits.dtype
    assert torch.allclose(p.sum(), torch.ones(()))
    stay = p > 0
    assert 1 <= stay.sum() <= top_k
    if not stay.all():
        assert logits[stay].min() > logits[~stay].max()
    # their shares among themselves are the softmax's
    assert torch.allclose(p[stay], (logits[stay] / temperature).softmax(dim=0), atol=1e-6)


@many
@given(distinct_logits, shares)
def test_as_many_as_top_p_needs(logits, top_p):
    p = logits.softmax(dim=1)
    stay = p[next_token_probabilities(logits, top_p=top_p) > 0]
    assert stay.sum() >= top_p - 1e-5
    assert stay.sum() - stay.min() < top_p + 1e-5


@many
@given(distinct_logits, temperatures, ks, shares, st.randoms(use_true_random=False))
def test_other_orders_of_the_vocabulary(logits, temperature, top_k, top_p, random):
    order = list(range(logits.shape[1]))
    random.shuffle(order)
    p = next_token_probabilities(logits, temperature, top_k, top_p)
    shuffled = next_token_probabilities(logits[:, order], temperature, top_k, top_p)
    near = (p.sort().values.cumsum(dim=1) + top_p - 1).abs().min() < 1e-5  # rounding decides
    assert near or torch.allclose(shuffled, p[:, order], atol=1e-6)


def test_top_p_on_what_top_k_left():
    """0.4 of 0.4 + 0.3 is 0.57 and enough; of all it would not be."""
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert torch.allclose(next_token_probabilities(logits, 1.0, 2, 0.55), torch.tensor([[1.0, 0, 0, 0]]))
    expected = torch.tensor([[4 / 7, 3 / 7, 0, 0]])
    assert torch.allclose(next_token_probabilities(logits, 1.0, None, 0.55), expected)


@pytest.mark.parametrize("top_p", [1e-3, 1e-7, 1e-12])
def test_the_likeliest_stays_however_small_top_p_is(top_p):
    logits = torch.randn(40, 5000, generator=torch.Generator().manual_seed(0)) + 7 * torch.eye(40, 5000)
    p = next_token_probabilities(logits, top_p=top_p)
    assert torch.equal(p, torch.nn.functional.one_hot(logits.argmax(dim=1), 5000).float())


def test_settings_that_change_nothing():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) * 9
    p = logits.softmax(dim=1)
    for top_k, top_p in ((None, None), (50, None), (1000, None), (None, 1), (50, 1.0)):
        found = next_token_probabilities(logits, 1.0, top_k, top_p)
        assert torch.allclose(found, p, atol=1e-7)
        assert (found > 0).all()
