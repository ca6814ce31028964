"""Labels compared after examples: likelihoods, as the chain rule has them, of a text as it is written out."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cs_vl.checks.a4_vlm.few_shot import reader_of
from cs_vl.models import Decoder
from cs_vl.tasks.in_context import few_shot_scores

IMAGE, EOC, VOCAB = 0, 1, 9
IDS = {"image_id": IMAGE, "eoc_id": EOC}
few = settings(max_examples=25, deadline=None)
words = st.lists(st.integers(2, VOCAB - 1), min_size=1, max_size=3)
several = st.lists(words, max_size=3)


def reader(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return reader_of(
        {
            "embed": torch.randn(VOCAB, 7, generator=generator, dtype=torch.double),
            "frequency": torch.rand(7, generator=generator, dtype=torch.double) * 2,
            "head": torch.randn(7, VOCAB, generator=generator, dtype=torch.double),
        }
    )


def chain(read, before: list[int], then: list[int]) -> float:
    """log p(then | before), one token after the other."""
    total = 0.0
    for i, token in enumerate(then):
        p = read(torch.tensor([[*before, *then[:i]]]))[0, -1].softmax(dim=0)
        total += math.log(p[token])
    return total


@few
@given(several, st.lists(words, min_size=1, max_size=4), st.lists(st.integers(2, VOCAB - 1), max_size=2))
def test_the_chain_rule_on_the_text_written_out(shots, labels, prefix):
    read = reader()
    before: list[int] = []
    for shot in shots:
        before += [IMAGE, *prefix, *shot, EOC]
    before += [IMAGE, *prefix]
    expected = [chain(read, before, [*label, EOC]) for label in labels]
    scores = few_shot_scores(read, shots, labels, **IDS, prefix=prefix)
    assert scores.shape == (len(labels),)
    assert scores.tolist() == pytest.approx(expected)


def test_with_eoc_likelihoods_are_those_of_whole_labels():
    """All labels of one or two tokens, no label at all, and all longer ones share a probability of 1."""
    others = [i for i in range(VOCAB) if i != EOC]
    labels = [list(label) for n in (1, 2) for label in itertools.product(others, repeat=n)]
    read = reader()
    total = few_shot_scores(read, [[5]], labels, **IDS).exp().sum()
    before = [IMAGE, 5, EOC, IMAGE]
    empty = math.exp(chain(read, before, [EOC]))
    longer = sum(
        math.exp(chain(read, before, list(label))) - math.exp(chain(read, before, [*label, EOC]))
        for label in itertools.product(others, repeat=2)
    )
    assert total + empty + longer == pytest.approx(1.0)


def test_a_decoder_reads_too():
    """The text, written out by hand."""
    torch.manual_seed(0)
    lm = Decoder(vocab_size=VOCAB, context_length=32, dim=16, depth=1, heads=2, tied=False)

    def read(ids: Tensor) -> Tensor:
        return lm(ids)

    labels = [[4], [4, 6], [7, 3, 2]]
    scores = few_shot_scores(read, [[4, 6], [7]], labels, **IDS, prefix=[8])
    text = torch.tensor([[IMAGE, 8, 4, 6, EOC, IMAGE, 8, 7, EOC, IMAGE, 8, 7, 3, 2, EOC]])
    log_p = lm(text)[0].log_softmax(dim=-1)
    expected = log_p[10, 7] + log_p[11, 3] + log_p[12, 2] + log_p[13, EOC]
    assert scores[2].item() == pytest.approx(expected.item(), abs=1e-5)
    assert scores.requires_grad  # it may be trained on, and no_grad is the caller's


def test_the_reader_depends_on_all_that_comes_before_and_on_nothing_behind():
    """What the check's own reader promises; else mistakes would not show."""
    read = reader()
    ids = torch.tensor([[2, 3, 4, 5, 6, 7]])
    for i in range(6):
        changed = ids.clone()
        changed[0, i] = 8
        difference = (read(changed) - read(ids))[0].abs().amax(dim=-1)
        assert (difference[:i] == 0).all() and (difference[i:] > 1e-3).all()
    swapped = ids[:, [1, 0, 2, 3, 4, 5]]
    assert ((read(swapped) - read(ids))[0].abs().amax(dim=-1) > 1e-3).all()
    batch = torch.tensor([[2, 3, 4], [5, 6, 7]])
    assert torch.allclose(read(batch)[1:], read(batch[1:]))
    with pytest.raises(TypeError, match=r"shape \(batch, length\)"):
        read(ids[0])
