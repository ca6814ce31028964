"""Balancing: probabilities against simulated coins, matching against a search by hand."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.data.balance import balanced_sample, keep_probability, long_tail_counts, metadata_matches

some_matches = st.lists(st.lists(st.integers(0, 8), max_size=4, unique=True), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(some_matches, st.floats(0.5, 40))
def test_probabilities(matches, limit):
    p = keep_probability(matches, limit)
    assert p.shape == (len(matches),) and (p >= 0).all() and (p <= 1).all()
    count = np.bincount([entry for entries in matches for entry in entries], minlength=9)
    for kept, entries in zip(p, matches, strict=True):
        assert (kept == 0) == (not entries)
        assert not entries or kept >= limit / max(limit, min(count[entries])) - 1e-12
        if any(count[entry] <= limit for entry in entries):
            assert kept == 1
    assert (keep_probability(matches, 2 * limit) >= p - 1e-12).all()
    assert np.allclose(keep_probability(matches[::-1], limit), p[::-1])


def test_probabilities_are_those_of_metaclip_s_coins():
    """The loop of MetaCLIP's balancing: toss a coin an entry, keep the text at the first that says so."""
    rng = np.random.default_rng(0)
    matches = [np.flatnonzero(rng.random(5) < [0.9, 0.6, 0.3, 0.1, 0.05]).tolist() for _ in range(40)]
    count = np.bincount([entry for entries in matches for entry in entries], minlength=5)
    p = 5 / np.maximum(count, 5)
    tosses = rng.random((20_000, 5)) < p
    simulated = [tosses[:, entries].any(axis=1).mean() for entries in matches]
    assert np.allclose(keep_probability(matches, 5), simulated, atol=0.015)


def test_a_balanced_sample_evens_out_and_repeats_with_its_seed():
    generator = torch.Generator().manual_seed(0)
    counts = long_tail_counts(200, 20_000, generator)
    pool = torch.arange(200).repeat_interleave(counts)
    matches = [[concept] for concept in pool.tolist()]
    kept, again = (balanced_sample(matches, 20, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(kept, again) and torch.equal(kept, kept.unique())
    balanced = torch.bincount(pool[kept], minlength=200)
    rare = counts <= 20
    assert torch.equal(balanced[rare], counts[rare]), "what is rare is kept"
    assert balanced[~rare].float().mean() == pytest.approx(20, rel=0.1)
    assert counts.max() > 100 * balanced.min() and balanced.max() < 45


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 3000), st.floats(0, 2.5), st.integers(0, 99))
def test_a_long_tail_is_whole(concepts, more, exponent, seed):
    counts = long_tail_counts(
        concepts, concepts + more, torch.Generator().manual_seed(seed), exponent=exponent
    )
    assert counts.sum() == concepts + more and counts.min() >= 1 and len(counts) == concepts
    expected = np.arange(1, concepts + 1.0) ** -exponent
    expected = 1 + more * expected / expected.sum()
    assert np.abs(counts.sort(descending=True).values.numpy() - expected).max() <= 1


def test_matches_are_whole_words():
    entries = ["cat", "red heart", "heart", "", "t-shirt", "Cat", "heart red", "o’clock", "shirt", "!"]
    texts = [
        "A CAT, and a red heart.",
        "category hearts",
        "a red t-shirt",
        "heart\nred heart!",
        "",
        "one o’clock",
    ]
    assert metadata_matches(texts, entries) == [[0, 1, 2, 5], [], [4], [1, 2, 6, 9], [], [7]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=8), max_size=5),
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=8),
)
def test_matches_against_spaces_around_both(texts, entries):
    texts, entries = ([" ".join(words) for words in group] for group in (texts, entries))
    expected = [
        [i for i, entry in enumerate(entries) if re.search(rf"(?<!\S){entry}(?!\S)", t)] for t in texts
    ]
    assert metadata_matches(texts, entries) == expected


def test_too_small_a_pool_gets_a_sentence():
    with pytest.raises(ValueError, match="each of the 5 concepts occurs once at least; got a total of 4"):
        long_tail_counts(5, 4, torch.Generator())
