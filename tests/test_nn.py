"""What must hold for attention, blocks, ViT and text transformers whatever their weights are."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from cs_vl.nn import (
    ACTIVATIONS,
    MLP,
    LanguageModel,
    MultiHeadAttention,
    PatchEmbed,
    TextTransformer,
    TransformerBlock,
    ViT,
    attention_mask,
    language_model_mask,
    pool_text,
    scaled_dot_product_attention,
)

properties = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 6)

VIT: dict[str, Any] = {
    "image_size": (8, 12),
    "patch_size": 4,
    "channels": 2,
    "dim": 12,
    "depth": 2,
    "heads": 3,
    "mlp_dim": 20,
}
TEXT: dict[str, Any] = {
    "vocab_size": 17,
    "context_length": 9,
    "dim": 12,
    "depth": 2,
    "heads": 3,
    "mlp_dim": 20,
}


def perturbed(model: nn.Module) -> nn.Module:
    """Away from the small initial weights, with which everything is nearly linear."""
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model.double()


def random_mask(*shape: int) -> torch.Tensor:
    """Half True; the first key is visible to all."""
    mask = torch.rand(shape) < 0.5
    mask[..., 0] = True
    return mask


class TestAttention:
    @properties
    @given(seeds, sizes, sizes, sizes, sizes)
    def test_weights_are_an_average_and_masked_keys_get_none(self, seed, queries, keys, d_k, d_v):
        torch.manual_seed(seed)
        q, k, v = torch.randn(2, queries, d_k), 5 * torch.randn(2, keys, d_k), torch.randn(2, keys, d_v)
        mask = random_mask(2, queries, keys)
        output, weights = scaled_dot_product_attention(q, k, v, mask)
        assert output.shape == (2, queries, d_v) and weights.shape == (2, queries, keys)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, queries))
        assert (weights >= 0).all() and (weights[~mask] == 0).all()
        # an average lies between the least and the greatest value
        assert (output <= v.amax(1, keepdim=True) + 1e-5).all()
        assert (output >= v.amin(1, keepdim=True) - 1e-5).all()

    @properties
    @given(seeds, sizes, sizes)
    def test_keys_permuted_with_their_values_change_nothing(self, seed, queries, keys):
        torch.manual_seed(seed)
        q, k, v = (torch.randn(2, n, 5, dtype=torch.double) for n in (queries, keys, keys))
        mask = random_mask(2, queries, keys)
        order, query_order = torch.randperm(keys), torch.randperm(queries)
        output, weights = scaled_dot_product_attention(q, k, v, mask)
        permuted = scaled_dot_product_attention(q, k[:, order], v[:, order], mask[..., order])
        torch.testing.assert_close(permuted[0], output)
        torch.testing.assert_close(permuted[1], weights[..., order])
        permuted = scaled_dot_product_attention(q[:, query_order], k, v, mask[:, query_order])
        torch.testing.assert_close(permuted[0], output[:, query_order])

    @properties
    @given(seeds, sizes, sizes)
    def test_masked_keys_get_exactly_zero_gradient(self, seed, queries, keys):
        torch.manual_seed(seed)
        q, k, v = (torch.randn(2, n, 5, requires_grad=True) for n in (queries, keys, keys))
        hidden = torch.rand(keys) < 0.5
        hidden[0] = False
        output, _ = scaled_dot_product_attention(q, k, v, (~hidden).expand(queries, keys))
        (output * torch.randn_like(output)).sum().backward()
        assert (k.grad[:, hidden] == 0).all() and (v.grad[:, hidden] == 0).all()
        assert (v.grad[:, ~hidden] != 0).all()

    def test_boolean_and_additive_masks_agree(self):
        torch.manual_seed(0)
        q, k, v, mask = torch.randn(2, 3, 5), torch.randn(2, 4, 5), torch.randn(2, 4, 6), random_mask(2, 3, 4)
        additive = torch.zeros(2, 3, 4).masked_fill(~mask, -torch.inf)
        boolean = scaled_dot_product_attention(q, k, v, mask)
        torch.testing.assert_close(scaled_dot_product_attention(q, k, v, additive), boolean)
        # -1 on a score is a factor e^-1 on its weight
        _, less = scaled_dot_product_attention(q, k, v, torch.tensor([[-1.0, 0, 0, 0]]))
        _, equal = scaled_dot_product_attention(q, k, v)
        torch.testing.assert_close(less[..., 0] / less[..., 1], equal[..., 0] / equal[..., 1] * torch.e**-1)

    def test_heads_do_not_mix_before_the_output_projection(self):
        torch.manual_seed(0)
        attn = perturbed(MultiHeadAttention(12, 3, context_dim=7, head_dim=5))
        x, context = torch.randn(2, 3, 12).double(), torch.randn(2, 6, 7).double()
        _, weights = attn(x, context)
        assert weights.shape == (2, 3, 3, 6)
        attn.q_proj.weight.data[5:10] += 1  # head 1's rows
        _, moved = attn(x, context)
        assert torch.equal(moved[:, [0, 2]], weights[:, [0, 2]])
        assert not torch.allclose(moved[:, 1], weights[:, 1])


class TestBlock:
    def test_activations(self):
        x = torch.linspace(-6, 6, 1201)
        y = {name: activation(x) for name, activation in ACTIVATIONS.items()}
        torch.testing.assert_close(y["gelu"], x * (1 + torch.erf(x / 2**0.5)) / 2)
        assert 1e-5 < (y["gelu"] - y["gelu_tanh"]).abs().max() < 1e-3
        assert 1e-2 < (y["gelu"] - y["quick_gelu"]).abs().max() < 0.03
        assert torch.equal(y["relu"], x.clamp(min=0))

    @properties
    @given(seeds, st.booleans())
    def test_permuting_tokens_permutes_the_output(self, seed, pre_norm):
        torch.manual_seed(seed)
        block = perturbed(TransformerBlock(12, 3, 20, pre_norm=pre_norm))
        x, order = torch.randn(2, 5, 12).double(), torch.randperm(5)
        torch.testing.assert_close(block(x[:, order]), block(x)[:, order])

    def test_what_the_norms_normalise(self):
        torch.manual_seed(0)
        x = 3 + 7 * torch.randn(2, 5, 12)
        pre, post = TransformerBlock(12, 3), TransformerBlock(12, 3, pre_norm=False)
        for last in (pre.attn.out_proj, pre.mlp.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        assert torch.equal(pre(x), x), "pre-norm: nothing stands on the residual path"
        torch.testing.assert_close(post(x).mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
        torch.testing.assert_close(post(x).var(-1, correction=0), torch.ones(2, 5), atol=1e-3, rtol=0)


class TestViT:
    @properties
    @given(seeds, st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
    def test_patches_in_reading_order(self, seed, p, rows, columns, channels):
        torch.manual_seed(seed)
        patch_embed = PatchEmbed(p, channels, channels * p * p, bias=False)
        nn.init.eye_(patch_embed.proj.weight)
        images = torch.randn(2, channels, rows * p, columns * p)
        tokens = patch_embed(images)
        assert tokens.shape == (2, rows * columns, channels * p * p)
        for row in range(rows):
            for column in range(columns):
                patch = images[:, :, row * p : (row + 1) * p, column * p : (column + 1) * p]
                torch.testing.assert_close(tokens[:, row * columns + column], patch.flatten(1))

    @pytest.mark.parametrize("pool", ["cls", "mean", "map"])
    @pytest.mark.parametrize("pre_ln", [False, True])
    def test_outputs(self, pool, pre_ln):
        torch.manual_seed(0)
        vit = perturbed(ViT(**VIT, pool=pool, pre_ln=pre_ln))
        out = vit(torch.randn(3, 2, 8, 12).double())
        assert out.pooled.shape == (3, 12)
        assert len(out.hidden_states) == 3
        for hidden_state in (*out.hidden_states, out.tokens):
            assert hidden_state.shape == (3, 6 + (pool == "cls"), 12)
        torch.testing.assert_close(vit.norm(out.hidden_states[-1]), out.tokens)
        torch.testing.assert_close(vit.blocks[1](out.hidden_states[1]), out.hidden_states[2])
        (out.pooled**2).sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in vit.parameters())

    @pytest.mark.parametrize("pool", ["cls", "mean", "map"])
    def test_without_positions_an_image_is_a_bag_of_patches(self, pool):
        torch.manual_seed(0)
        vit = perturbed(ViT(**VIT, pool=pool))
        images = torch.randn(3, 2, 8, 12).double()
        top, bottom = images.split(4, dim=2)
        shuffled = torch.cat([bottom.roll(4, dims=3), top.roll(8, dims=3)], dim=2)
        assert not torch.allclose(vit(images).pooled, vit(shuffled).pooled, atol=1e-3)
        vit.position_embed.requires_grad_(False).zero_()
        torch.testing.assert_close(vit(images).pooled, vit(shuffled).pooled)

    def test_images_of_a_batch_do_not_see_each_other(self):
        torch.manual_seed(0)
        vit = perturbed(ViT(**VIT))
        images = torch.randn(3, 2, 8, 12).double().requires_grad_()
        (vit(images).pooled[1] ** 2).sum().backward()
        assert (images.grad[[0, 2]] == 0).all() and (images.grad[1] != 0).all()

    def test_learns_what_is_where(self):
        """Which of six patches is bright: impossible without positions, easy with them."""
        torch.manual_seed(0)
        vit, head = ViT(**VIT, pool="mean"), nn.Linear(12, 6)
        optimizer = torch.optim.AdamW([*vit.parameters(), *head.parameters()], lr=3e-3)
        for _ in range(200):
            where = torch.randint(6, (32,))
            images = 0.3 * torch.randn(32, 2, 8, 12)
            for i, patch in enumerate(where.tolist()):
                row, column = divmod(patch, 3)
                images[i, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] += 1
            logits = head(vit(images).pooled)
            optimizer.zero_grad()
            F.cross_entropy(logits, where).backward()
            optimizer.step()
        assert (logits.argmax(-1) == where).float().mean() > 0.9


class TestPoolText:
    @properties
    @given(seeds, st.integers(1, 5), st.integers(1, 6))
    def test_row_by_row(self, seed, batch, length):
        torch.manual_seed(seed)
        tokens = torch.randn(batch, length, 3, requires_grad=True)
        lengths = torch.randint(1, length + 1, (batch,))
        ids = torch.randint(5, (batch, length))
        for row, n in zip(ids, lengths, strict=True):
            row[n - 1 :] = 9  # the end, and padding that looks like it
        for how in ("first", "last", "eot", "mean"):
            pooled = pool_text(tokens, ids, how, end_id=9, lengths=lengths)
            for b, n in enumerate(lengths.tolist()):
                expected = {"first": tokens[b, 0], "mean": tokens[b, :n].mean(0)}.get(how, tokens[b, n - 1])
                torch.testing.assert_close(pooled[b], expected)
            (gradient,) = torch.autograd.grad((pooled * torch.randn_like(pooled)).sum(), tokens)
            is_padding = torch.arange(length) >= lengths[:, None]
            assert (gradient[is_padding] == 0).all()
            assert (gradient != 0).any(dim=(1, 2)).all()

    def test_without_lengths_every_token_is_real(self):
        tokens, ids = torch.randn(2, 4, 3), torch.zeros(2, 4, dtype=torch.long)
        assert torch.equal(pool_text(tokens, ids, "last"), tokens[:, -1])
        torch.testing.assert_close(pool_text(tokens, ids, "mean"), tokens.mean(1))


def reach(text: TextTransformer, ids: torch.Tensor, **kwargs) -> torch.Tensor:
    """(batch, i, j): whether output i of a text has *any* gradient with respect to its input embedding j."""
    out = text(ids, **kwargs)
    batch, length = ids.shape
    reached = torch.empty(batch, length, length, dtype=torch.bool)
    for i in range(length):
        loss = (out.tokens[:, i] * torch.randn(batch, 12)).sum()
        (gradient,) = torch.autograd.grad(loss, out.hidden_states[0], retain_graph=True)
        reached[:, i] = (gradient != 0).any(-1)
    return reached


class TestTextTransformer:
    @properties
    @given(seeds, st.booleans(), st.booleans())
    def test_masks_never_leak(self, seed, causal, pre_norm):
        """Future and padded positions get exactly zero gradient, all others some."""
        torch.manual_seed(seed)
        text = perturbed(TextTransformer(**TEXT, causal=causal, pre_norm=pre_norm))
        lengths = torch.randint(1, 6, (3,))
        ids = torch.randint(17, (3, 5))
        expected = attention_mask(5, lengths, 5, causal=causal)[:, 0] | torch.eye(5, dtype=torch.bool)
        assert torch.equal(reach(text, ids, lengths=lengths), expected)  # the diagonal: the residual path

    @properties
    @given(seeds, st.booleans(), st.integers(0, 5))
    def test_a_given_mask_replaces_the_pattern_and_keeps_the_padding(self, seed, causal, prefix_length):
        torch.manual_seed(seed)
        text = perturbed(TextTransformer(**TEXT, causal=causal))
        lengths = torch.randint(1, 6, (3,))
        ids = torch.randint(17, (3, 5))
        mask = language_model_mask("prefix", 5, prefix_length)
        expected = attention_mask(5, lengths, 5)[:, 0] & mask
        expected |= torch.eye(5, dtype=torch.bool)
        assert torch.equal(reach(text, ids, lengths=lengths, mask=mask), expected)

    @properties
    @given(seeds, st.booleans(), st.sampled_from(["first", "last", "mean", "eot"]))
    def test_padding_changes_nothing(self, seed, causal, pool):
        torch.manual_seed(seed)
        text = perturbed(TextTransformer(**TEXT, causal=causal, pool=pool, end_id=3))
        ids = torch.randint(17, (2, 8))
        ids[:, 4] = 3
        out = text(ids, torch.tensor([5, 5]))
        alone = text(ids[:, :5])
        torch.testing.assert_close(out.pooled, alone.pooled)
        torch.testing.assert_close(out.tokens[:, :5], alone.tokens)
        ids[:, 5:] = 0
        assert torch.equal(text(ids, torch.tensor([5, 5])).pooled, out.pooled)

    def test_order_and_segments_matter(self):
        torch.manual_seed(0)
        text = perturbed(TextTransformer(**TEXT, causal=False, pool="mean", segments=2))
        ids = torch.tensor([[1, 2, 3, 4]])
        pooled = text(ids).pooled
        assert not torch.allclose(text(ids.flip(1)).pooled, pooled, atol=1e-3)
        assert not torch.allclose(
            text(ids, segment_ids=torch.tensor([[0, 0, 1, 1]])).pooled, pooled, atol=1e-3
        )
        torch.testing.assert_close(text(ids, segment_ids=torch.zeros_like(ids)).pooled, pooled)
        text.position_embed.requires_grad_(False).zero_()
        torch.testing.assert_close(text(ids.flip(1)).pooled, text(ids).pooled)

    def test_language_model_is_tied_and_learns_a_sentence(self):
        torch.manual_seed(0)
        transformer = TextTransformer(**TEXT, causal=True)
        lm = LanguageModel(transformer)
        assert sum(p.numel() for p in lm.parameters()) == sum(p.numel() for p in transformer.parameters())
        ids = torch.tensor([[1, 5, 5, 2, 5, 7, 1, 0, 16]])  # 5 and 1 go on differently: context decides
        optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-2)
        for _ in range(150):
            loss = F.cross_entropy(lm(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert lm(ids).shape == (1, 9, 17)
        assert torch.equal(lm(ids).argmax(-1)[:, :-1], ids[:, 1:])
        torch.testing.assert_close(lm(ids[:, :4]), lm(ids)[:, :4])


IDS = torch.zeros(2, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: MLP(4, 8, "swish"), "gelu_tanh.*got 'swish'"),
        (lambda: MultiHeadAttention(10, 3), "dim=10 and heads=3"),
        (lambda: PatchEmbed(4, 3, 8)(torch.zeros(1, 3, 8, 10)), "multiples of patch_size=4; got 8 x 10"),
        (lambda: ViT(**VIT | {"image_size": 10}), "patch_size=4 must divide image_size; got 10 x 10"),
        (lambda: ViT(**VIT, pool="max"), "'cls', 'mean' or 'map'; got 'max'"),
        (lambda: ViT(**VIT)(torch.zeros(1, 2, 12, 8)), "images of 8 x 12 pixels; got 12 x 8"),
        (lambda: pool_text(torch.zeros(2, 4, 3), IDS, "end"), "'eot' or 'mean'; got 'end'"),
        (lambda: pool_text(torch.zeros(2, 4, 3), IDS, "eot"), "occurs in every text; end_id=-1"),
        (lambda: pool_text(torch.zeros(2, 4, 3), IDS, "eot", end_id=5), "occurs in every text; end_id=5"),
        (lambda: TextTransformer(**TEXT, causal=True, pool="eot"), "needs end_id"),
        (
            lambda: TextTransformer(**TEXT, causal=True)(IDS.repeat(1, 3)),
            "context_length is 9 tokens; got 12",
        ),
        (lambda: TextTransformer(**TEXT, causal=True)(IDS, torch.tensor([4, 0])), r"got \[4, 0\]"),
    ],
)
def test_mistakes_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)
