"""Captioning: one sequence of image and text, and what may look at what."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cs_vl.losses.captioning import bag_of_words_loss, caption_log_likelihood, captioning_loss
from cs_vl.models.captioner import Captioner, prefix_mask
from cs_vl.nn import LanguageModel, TextTransformer, ViT, language_model_mask

VOCAB, CONTEXT = 13, 6


def make_captioner(pooled: bool = False, **text: object) -> Captioner:
    torch.manual_seed(0)
    options = {"dim": 10, "depth": 2, "heads": 2, "causal": True, **text}
    visual = ViT(image_size=(8, 12), patch_size=4, dim=12, depth=1, heads=3, mlp_dim=16)
    lm = LanguageModel(TextTransformer(vocab_size=VOCAB, context_length=CONTEXT, **options))  # type: ignore[arg-type]
    model = Captioner(visual, lm, visual_dim=12, pooled=pooled)
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model.double()


def make_batch(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    images = torch.rand(batch, 3, 8, 12, dtype=torch.double)
    return images, torch.randint(VOCAB, (batch, 5)), torch.randint(1, 6, (batch,))


# --- losses --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31))
def test_captioning_losses_equal_loops(batch, length, seed):
    torch.manual_seed(seed)
    logits, ids = torch.randn(batch, length, VOCAB), torch.randint(VOCAB, (batch, length))
    lengths = torch.randint(1, length + 1, (batch,))
    each = [[-logits[b, i].log_softmax(0)[ids[b, i]] for i in range(n)] for b, n in enumerate(lengths)]
    torch.testing.assert_close(
        captioning_loss(logits, ids, lengths), torch.stack([x for row in each for x in row]).mean()
    )
    torch.testing.assert_close(
        caption_log_likelihood(logits, ids, lengths), -torch.stack([torch.stack(x).sum() for x in each])
    )

    log_p = logits[:, 0].log_softmax(1)
    bags = [sorted(set(row[:n].tolist())) for row, n in zip(ids, lengths.tolist(), strict=True)]
    expected = torch.stack([-row[bag].mean() for row, bag in zip(log_p, bags, strict=True)]).mean()
    torch.testing.assert_close(bag_of_words_loss(logits[:, 0], ids, lengths), expected)


def test_the_captioning_loss_is_cross_entropy_with_ignored_padding():
    _, ids, lengths = make_batch()
    logits = torch.randn(3, 5, VOCAB)
    targets = ids.masked_fill(torch.arange(5) >= lengths[:, None], -100)
    torch.testing.assert_close(
        captioning_loss(logits, ids, lengths), F.cross_entropy(logits.mT, targets, ignore_index=-100)
    )


def test_padding_gets_exactly_zero_gradient():
    _, ids, lengths = make_batch()
    logits = torch.randn(3, 5, VOCAB, requires_grad=True)
    captioning_loss(logits, ids, lengths).backward()
    padding = torch.arange(5) >= lengths[:, None]
    assert logits.grad is not None
    assert padding.any() and (logits.grad[padding] == 0).all()
    assert (logits.grad[~padding] != 0).any(dim=1).all()


def test_a_bag_has_no_order_no_repetition_and_no_padding():
    logits, lengths = torch.randn(1, VOCAB), torch.tensor([4])
    losses = {
        bag_of_words_loss(logits, torch.tensor([ids]), lengths).item()
        for ids in ([3, 7, 3, 5, 9], [7, 5, 3, 3, 3], [5, 5, 3, 7, 0])
    }
    assert max(losses) - min(losses) < 1e-6


def test_the_least_loss_of_a_bag_is_log_k():
    logits = torch.full((1, VOCAB), -torch.inf).index_fill(1, torch.tensor([2, 4, 8]), 0.0)
    logits = logits.clamp(min=-1e4)
    loss = bag_of_words_loss(logits, torch.tensor([[4, 2, 8, 2]]), torch.tensor([4]))
    assert math.isclose(loss.item(), math.log(3), rel_tol=1e-5)


# --- the model -----------------------------------------------------------------------------------------


def by_hand(model: Captioner, image: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Logits of the token that follows, from the image and some ids, with no padding and no other text."""
    text = model.lm.transformer
    x = model.prefix(image[None])
    image_tokens = x.shape[1]
    if ids:
        x = torch.cat([x, (text.token_embed.weight[ids] + text.position_embed[: len(ids)])[None]], dim=1)
    mask = language_model_mask("prefix", x.shape[1], image_tokens)
    for block in text.blocks:
        x = block(x, mask)
    return text.norm(x)[0, -1] @ text.token_embed.weight.T


@pytest.mark.parametrize("pooled", [False, True])
@torch.no_grad()
def test_each_tokens_logits_are_those_of_the_image_and_the_tokens_before(pooled):
    model = make_captioner(pooled)
    images, ids, _ = make_batch()
    logits = model(images, ids)
    assert logits.shape == (3, 5, VOCAB)
    assert model.prefix(images).shape[1] == (1 if pooled else 7)  # a class token and six patches
    for b in range(3):
        for i in range(5):
            torch.testing.assert_close(logits[b, i], by_hand(model, images[b], ids[b, :i].tolist()))


def test_no_token_is_guessed_from_itself_or_what_follows():
    model = make_captioner()
    images, ids, _ = make_batch()
    embedded = []
    model.lm.transformer.token_embed.register_forward_hook(
        lambda module, args, out: embedded.append(out) or out.retain_grad()
    )
    logits = model(images, ids)
    for i in range(5):
        embedded[0].grad = None
        logits[:, i].square().sum().backward(retain_graph=True)
        grad = embedded[0].grad[:, 0]
        assert (grad[:, i:] == 0).all()
        assert i == 0 or (grad[:, :i] != 0).any(dim=-1).all()


def test_the_image_is_seen_and_learns():
    model = make_captioner()
    images, ids, lengths = make_batch()
    captioning_loss(model(images, ids), ids, lengths).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@torch.no_grad()
def test_it_does_not_matter_whether_the_lm_itself_is_causal():
    images, ids, _ = make_batch()
    a, b = make_captioner(), make_captioner(causal=False)
    torch.testing.assert_close(a(images, ids), b(images, ids))


@pytest.mark.parametrize("text", [{}, {"pre_norm": False, "final_norm": False, "embed_norm": True}])
@torch.no_grad()
def test_log_likelihoods_are_those_of_each_text_alone(text):
    model = make_captioner(**text)
    images, _, _ = make_batch()
    ids, lengths = torch.randint(VOCAB, (7, 4)), torch.tensor([4, 1, 2, 3, 4, 2, 1])
    expected = torch.stack(
        [
            torch.stack(
                [
                    sum(
                        F.log_softmax(model(image[None], text[None, :n])[0], -1)[i, text[i]] for i in range(n)
                    )
                    for text, n in zip(ids, lengths.tolist(), strict=True)
                ]
            )
            for image in images
        ]
    )
    for at_a_time in (1, 3, 7, 64):
        found = model.log_likelihoods(images, ids, lengths, texts_at_a_time=at_a_time)
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_likelihoods_of_all_texts_sum_to_one():
    """All texts of two tokens, of which the first one is not the end, and the end alone."""
    model, end = make_captioner(), 0
    texts = [[end, end]] + [[a, b] for a in range(1, VOCAB) for b in range(VOCAB)]
    ids, lengths = torch.tensor(texts), torch.tensor([1] + [2] * (len(texts) - 1))
    log_p = model.log_likelihoods(make_batch()[0], ids, lengths)
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(3, dtype=torch.double))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))
def test_prefix_mask_entry_by_entry(prefix, texts, length):
    mask = prefix_mask(prefix, texts, length)
    for q in range(prefix + texts * length):
        for k in range(prefix + texts * length):
            same_text = q >= prefix and (q - prefix) // length == (k - prefix) // length
            assert mask[q, k] == (k < prefix or (same_text and k <= q)), (q, k)
    if texts == 1:
        assert torch.equal(mask, language_model_mask("prefix", prefix + length, prefix))


def test_a_text_that_is_too_long_gets_a_sentence():
    with pytest.raises(ValueError, match="context_length is 6 tokens; got 7"):
        make_captioner()(make_batch(1)[0], torch.zeros(1, 7, dtype=torch.long))


def test_it_learns_to_tell_two_images_apart():
    torch.manual_seed(0)
    model = make_captioner().float()
    nn.init.zeros_(model.projection.bias)
    images = torch.stack([torch.zeros(3, 8, 12), torch.ones(3, 8, 12)])
    ids, lengths = torch.tensor([[1, 2, 0], [3, 0, 5]]), torch.tensor([3, 2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        captioning_loss(model(images, ids), ids, lengths).backward()
        optimizer.step()
    assert model.log_likelihoods(images, ids, lengths).argmax(dim=1).tolist() == [0, 1]
