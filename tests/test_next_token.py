"""The loss of a language model that is told which tokens count."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cs_vl.losses.next_token import IGNORED, next_token_loss

VOCAB = 11


def draw(batch: int, length: int, seed: int, share: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels; a share of the labels is ignored, but never all of them."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, length, VOCAB, generator=generator, dtype=torch.double)
    labels = torch.randint(VOCAB, (batch, length), generator=generator)
    labels[torch.rand(batch, length, generator=generator) < share] = IGNORED
    labels[-1, -1] = 3
    return logits, labels


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(2, 7), st.integers(0, 2**31))
def test_equals_a_loop(batch, length, seed):
    logits, labels = draw(batch, length, seed)
    each = [
        -logits[b, i].log_softmax(0)[labels[b, i + 1]].float()
        for b in range(batch)
        for i in range(length - 1)
        if labels[b, i + 1] != IGNORED
    ]
    torch.testing.assert_close(next_token_loss(logits, labels), torch.stack(each).mean())


def test_the_mean_is_over_tokens_not_over_texts():
    """A long answer weighs more than a short one."""
    logits, labels = draw(2, 6, 0, share=0.0)
    labels[0, :-1] = IGNORED
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels[:, 1:], reduction="none")
    expected = (losses[0, -1] + losses[1].sum()) / 6
    torch.testing.assert_close(next_token_loss(logits, labels), expected)
    per_text = (losses[0, -1] + losses[1].mean()) / 2
    assert (expected - per_text).abs() > 1e-2


def test_where_the_gradient_goes():
    """To the place *before* each token that counts, and exactly nowhere else."""
    logits, labels = draw(3, 6, 1)
    logits.requires_grad_()
    next_token_loss(logits, labels).backward()
    counts = torch.cat([labels[:, 1:] != IGNORED, torch.zeros(3, 1, dtype=torch.bool)], dim=1)
    assert (logits.grad[~counts] == 0).all()
    assert (logits.grad[counts].abs().amax(dim=-1) > 1e-3).all()


def test_the_first_label_and_the_last_logits_count_for_nothing():
    logits, labels = draw(3, 5, 2)
    changed_logits, changed_labels = logits.clone(), labels.clone()
    changed_logits[:, -1] += 10 * torch.randn(VOCAB)
    changed_labels[:, 0] = 7
    assert next_token_loss(changed_logits, changed_labels) == next_token_loss(logits, labels)


def test_a_model_that_is_sure_of_the_next_token():
    ids = torch.randint(VOCAB, (3, 6))
    sure = 100.0 * F.one_hot(ids, VOCAB)
    assert next_token_loss(sure.roll(-1, dims=1), ids) < 1e-4
    assert next_token_loss(sure, ids) > 10  # one that repeats the token it reads


def test_padding_that_is_ignored_changes_nothing():
    logits, labels = draw(2, 5, 3)
    padded_logits = torch.cat([logits, torch.randn(2, 3, VOCAB, dtype=torch.double)], dim=1)
    padded_labels = F.pad(labels, (0, 3), value=IGNORED)
    torch.testing.assert_close(next_token_loss(padded_logits, padded_labels), next_token_loss(logits, labels))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, labels = draw(4, 50, 4)
    logits = logits.to(dtype)
    loss = next_token_loss(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, next_token_loss(logits.double(), labels))


def test_labels_of_which_none_counts_have_no_mean():
    logits, labels = draw(2, 4, 5)
    assert next_token_loss(logits, torch.full_like(labels, IGNORED)).isnan()
