"""VisualBERT and ViLBERT: what must hold whatever their weights are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cs_vl.models import ViLBERT, VisualBERT
from cs_vl.nn import TextTransformer

properties = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)
VOCAB, LENGTH, REGIONS, REGION_DIM = 17, 6, 5, 7


def make_bert(depth: int = 3, **options: object) -> TextTransformer:
    """A small BERT."""
    return TextTransformer(
        vocab_size=VOCAB,
        context_length=9,
        dim=12,
        depth=depth,
        heads=3,
        mlp_dim=20,
        causal=False,
        pool="first",
        pre_norm=False,
        embed_norm=True,
        final_norm=False,
        **{"segments": 2, **options},  # type: ignore[arg-type]
    )


def make_vilbert(co_depth: int = 2) -> ViLBERT:
    return ViLBERT(
        make_bert(),
        region_dim=REGION_DIM,
        visual_dim=10,
        visual_heads=2,
        co_depth=co_depth,
        co_heads=2,
        co_head_dim=8,
    )


class Boxless(nn.Module):
    """A VisualBERT that can be called as a ViLBERT is: it asks for no boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.model = VisualBERT(make_bert(), visual_dim=REGION_DIM)

    def forward(self, ids, regions, boxes, lengths=None, counts=None):
        return self.model(ids, regions, lengths, counts)


MODELS = {"VisualBERT": Boxless, "ViLBERT": make_vilbert}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


def perturbed(model: nn.Module) -> nn.Module:
    """Away from the small initial weights, with which everything is nearly linear."""
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model.double()


def make_batch(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, regions, boxes)"""
    corners = torch.rand(batch, REGIONS, 2, 2, dtype=torch.double).sort(dim=2).values
    regions = torch.randn(batch, REGIONS, REGION_DIM, dtype=torch.double)
    return torch.randint(VOCAB, (batch, LENGTH)), regions, corners.flatten(2)


@each_model
@properties
@given(seeds, st.integers(1, LENGTH), st.integers(1, REGIONS))
def test_padding_changes_nothing_and_gets_no_gradient(make, seed, length, count):
    torch.manual_seed(seed)
    model = perturbed(make())
    ids, regions, boxes = make_batch()
    regions.requires_grad_()
    boxes.requires_grad_()
    lengths, counts = torch.tensor([length, LENGTH]), torch.tensor([count, REGIONS])
    out = model(ids, regions, boxes, lengths, counts)
    alone = model(ids[:1, :length], regions[:1, :count], boxes[:1, :count])
    torch.testing.assert_close(out.text[:1, :length], alone.text)
    torch.testing.assert_close(out.visual[:1, :count], alone.visual)
    used = [regions, boxes] if make is make_vilbert else [regions]
    grads = torch.autograd.grad(out.text[0, :length].sin().sum() + out.visual[0, :count].sin().sum(), used)
    for grad in grads:
        assert (grad[0, count:] == 0).all() and (grad[1] == 0).all()
        assert (grad[0, :count] != 0).any()


@each_model
@properties
@given(seeds)
def test_regions_have_no_order(make, seed):
    """Permuted with their boxes, they are permuted in the output; the text sees no difference."""
    torch.manual_seed(seed)
    model = perturbed(make())
    ids, regions, boxes = make_batch()
    order = torch.randperm(REGIONS)
    out, permuted = model(ids, regions, boxes), model(ids, regions[:, order], boxes[:, order])
    torch.testing.assert_close(permuted.text, out.text)
    torch.testing.assert_close(permuted.visual, out.visual[:, order])


@each_model
def test_each_reads_the_other(make):
    torch.manual_seed(0)
    model = perturbed(make())
    ids, regions, boxes = make_batch()
    out = model(ids, regions, boxes)
    other = model(ids, regions + 1, boxes)
    assert ((other.text - out.text).abs().amax(-1) > 1e-3).all()  # every word
    other = model((ids + 1) % VOCAB, regions, boxes)
    assert ((other.visual - out.visual).abs().amax(-1) > 1e-3).all()  # every region


class TestVisualBERT:
    def test_pooled_is_the_first_token(self):
        model = VisualBERT(make_bert(), visual_dim=REGION_DIM).double()
        ids, regions, _ = make_batch()
        out = model(ids, regions)
        assert out.text.shape == (2, LENGTH, 12) and out.visual.shape == (2, REGIONS, 12)
        assert (out.pooled == out.text[:, 0]).all()

    def test_the_image_starts_as_segment_1_at_position_0(self):
        bert = make_bert()
        model = VisualBERT(bert, visual_dim=REGION_DIM)
        assert (model.visual_segment == bert.segment_embed.weight[1]).all()
        assert (model.visual_position == bert.position_embed[0]).all()
        model.visual_segment.data += 1
        assert (model.visual_segment != bert.segment_embed.weight[1]).all()  # a copy

    @pytest.mark.parametrize("segments", [0, 1])
    def test_it_needs_a_segment_for_the_image(self, segments):
        with pytest.raises(ValueError, match="segments=2"):
            VisualBERT(make_bert(segments=segments), visual_dim=REGION_DIM)


class TestViLBERT:
    def test_without_co_attention_it_is_bert(self):
        model = perturbed(make_vilbert(co_depth=0))
        ids, regions, boxes = make_batch()
        lengths = torch.tensor([3, LENGTH])
        assert (model(ids, regions, boxes, lengths).text == model.bert(ids, lengths).tokens).all()

    def test_the_streams_meet_nowhere_else(self):
        """With the co-attentions' outputs at zero, neither stream gets any gradient from the other."""
        torch.manual_seed(0)
        model = perturbed(make_vilbert())
        for block in [*model.text_looks, *model.visual_looks]:
            nn.init.zeros_(block.attn.out_proj.weight)
        ids, regions, boxes = make_batch()
        regions.requires_grad_()
        out = model(ids, regions, boxes)
        table = model.bert.token_embed.weight
        (from_text,) = torch.autograd.grad(out.text.sin().sum(), regions, retain_graph=True)
        (from_visual,) = torch.autograd.grad(out.visual.sin().sum(), table, retain_graph=True)
        assert (from_text == 0).all() and (from_visual == 0).all()
        (own,) = torch.autograd.grad(out.visual.sin().sum(), regions)
        assert (own != 0).all()

    def test_a_trained_bert_stays_as_it_is(self):
        torch.manual_seed(0)
        bert = perturbed(make_bert())
        before = {name: tensor.clone() for name, tensor in bert.state_dict().items()}
        model = ViLBERT(
            bert, region_dim=7, visual_dim=10, visual_heads=2, co_depth=3, co_heads=2, co_head_dim=8
        )
        assert all((tensor == before[name]).all() for name, tensor in bert.state_dict().items())
        assert (model.visual_blocks[0].mlp.fc1.bias == 0).all()  # the rest starts as BERT did

    def test_it_needs_a_text_block_for_each_co_attention(self):
        with pytest.raises(ValueError, match="co_depth=4 needs as many text blocks; bert has 3"):
            make_vilbert(co_depth=4)


@each_model
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ids": torch.zeros(2, 10, dtype=torch.long)}, "context_length is 9 tokens; got 10"),
        ({"lengths": torch.tensor([0, 2])}, "from 1 to key_len=6"),
        ({"counts": torch.tensor([1, 6])}, "from 1 to key_len=5"),
    ],
)
def test_errors(make, change, sentence):
    model = make().double()
    ids, regions, boxes = make_batch()
    with pytest.raises(ValueError, match=sentence):
        model(**({"ids": ids, "regions": regions, "boxes": boxes} | change))
