"""Masks say who may look at whom; here they are compared with that sentence, entry by entry."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.nn import attention_mask, language_model_mask


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_attention_mask_entry_by_entry(data):
    key_len = data.draw(st.integers(1, 6))
    causal = data.draw(st.booleans())
    query_len = data.draw(st.integers(1, key_len if causal else 8))
    lengths = data.draw(st.lists(st.integers(1, key_len), min_size=1, max_size=4))
    mask = attention_mask(query_len, torch.tensor(lengths), key_len, causal=causal)
    assert mask.dtype == torch.bool
    assert mask.shape == (len(lengths), 1, query_len, key_len)
    for b, length in enumerate(lengths):
        for i in range(query_len):
            for j in range(key_len):
                is_future = j > i + key_len - query_len
                assert mask[b, 0, i, j] == (j < length and not (causal and is_future)), (b, i, j)
    assert mask.any(dim=-1).all(), "every query has something to look at"


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.data())
def test_language_model_mask_entry_by_entry(length, data):
    prefix = data.draw(st.integers(0, length))
    masks = {kind: language_model_mask(kind, length, prefix) for kind in ("masked", "causal", "prefix")}
    for mask in masks.values():
        assert mask.dtype == torch.bool and mask.shape == (length, length)
    for i in range(length):
        for j in range(length):
            assert masks["masked"][i, j]
            assert masks["causal"][i, j] == (j <= i)
            assert masks["prefix"][i, j] == (j <= i or (i < prefix and j < prefix))


def test_a_prefix_lm_lies_between_the_other_two():
    assert torch.equal(language_model_mask("prefix", 5, 0), language_model_mask("causal", 5))
    assert torch.equal(language_model_mask("prefix", 5, 1), language_model_mask("causal", 5))
    assert torch.equal(language_model_mask("prefix", 5, 5), language_model_mask("masked", 5))


def test_causal_is_the_same_in_both():
    mask = attention_mask(5, torch.tensor([5]), 5, causal=True)
    assert torch.equal(mask[0, 0], language_model_mask("causal", 5))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: attention_mask(4, torch.tensor([3, 0]), 5), r"from 1 to key_len=5; got \[3, 0\]"),
        (lambda: attention_mask(4, torch.tensor([3, 6]), 5), r"from 1 to key_len=5; got \[3, 6\]"),
        (lambda: attention_mask(6, torch.tensor([5]), 5, causal=True), "causal needs query_len <= key_len"),
        (lambda: language_model_mask("bidirectional", 5), "'masked', 'causal' or 'prefix'; got 'bidirec"),
        (lambda: language_model_mask("prefix", 5, 6), "from 0 to length=5; got 6"),
        (lambda: language_model_mask("prefix", 5, -1), "from 0 to length=5; got -1"),
    ],
)
def test_mistakes_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)
