"""Same weights, same numbers: VisualBERT against transformers', ViLBERT against one built of transformers' parts."""

import json

import pytest
import torch
from parity import assert_close, assert_parity, perturbed
from safetensors.torch import load_file
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    LxmertConfig,
    VisualBertConfig,
    VisualBertForPreTraining,
    VisualBertModel,
)
from transformers.models.lxmert.modeling_lxmert import (
    LxmertAttention,
    LxmertAttentionOutput,
    LxmertIntermediate,
    LxmertLayer,
    LxmertOutput,
)

from cs_vl.convert import bert_from_hf, bert_state, visual_bert_from_hf, visual_bert_state
from cs_vl.convert.loading import load, rename
from cs_vl.models import ViLBERT

LENGTHS, COUNTS = torch.tensor([7, 3, 5]), torch.tensor([2, 4, 3])  # of padded texts, of padded regions
TEXT = {
    "vocab_size": 31,
    "max_position_embeddings": 11,
    "type_vocab_size": 3,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "pad_token_id": None,  # else transformers gives that id's embedding no gradient
}
REGION_DIM = 10
VISUAL_BERT = VisualBertConfig(**TEXT, visual_embedding_dim=REGION_DIM)


def inputs() -> tuple[torch.Tensor, ...]:
    """(ids, segment ids, regions, the 0-1 masks of the real tokens and of the real regions)."""
    ids, segment_ids = torch.randint(31, (3, 7)), torch.randint(3, (3, 7))
    masks = [(torch.arange(size) < real[:, None]).long() for size, real in ((7, LENGTHS), (4, COUNTS))]
    return ids, segment_ids, torch.randn(3, 4, REGION_DIM), *masks


class TestVisualBERT:
    def test_outputs_and_gradients(self):
        hf = perturbed(VisualBertModel(VISUAL_BERT))
        model = visual_bert_from_hf(VISUAL_BERT, hf.state_dict())
        ids, segment_ids, regions, real_tokens, real_regions = inputs()
        theirs = hf(
            ids,
            attention_mask=real_tokens,
            token_type_ids=segment_ids,
            visual_embeds=regions,
            visual_attention_mask=real_regions,
        )
        ours = model(ids, regions, LENGTHS, COUNTS, segment_ids=segment_ids)
        our_outputs = [ours.text, ours.visual, hf.pooler(ours.pooled[:, None])]
        their_outputs = [*theirs.last_hidden_state.split([7, 4], dim=1), theirs.pooler_output]
        assert_parity(model, our_outputs, hf, their_outputs, visual_bert_state)

    def test_nothing_is_padded_unless_said(self):
        hf = perturbed(VisualBertModel(VISUAL_BERT))
        model = visual_bert_from_hf(VISUAL_BERT, hf.state_dict())
        ids, _, regions, _, _ = inputs()
        ours, theirs = model(ids, regions), hf(ids, visual_embeds=regions)
        assert_close([ours.text, ours.visual], theirs.last_hidden_state.split([7, 4], dim=1))

    def test_files_as_on_the_hub(self, tmp_path):
        hf = perturbed(VisualBertForPreTraining(VISUAL_BERT))
        hf.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        assert "visual_bert.embeddings.visual_projection.weight" in state
        old = state | {"visual_bert.embeddings.position_ids": torch.arange(11)[None]}
        ids, _, regions, _, _ = inputs()
        expected = hf.visual_bert(ids, visual_embeds=regions).last_hidden_state
        for version in (state, old):
            model = visual_bert_from_hf(json.loads((tmp_path / "config.json").read_text()), version)
            ours = model(ids, regions)
            assert_close([torch.cat([ours.text, ours.visual], dim=1)], [expected])

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"model_type": "bert"}, "model_type='bert': only 'visual_bert'"),
            ({"bypass_transformer": True}, "bypass_transformer=True"),
            ({"visual_embedding_dim": 9}, r"visual_projection.weight should be \(24, 9\)"),
            ({"type_vocab_size": 1}, "segments=2"),
        ],
    )
    def test_what_does_not_fit(self, change, sentence):
        state = VisualBertModel(VISUAL_BERT).state_dict()
        with pytest.raises(ValueError, match=sentence):
            visual_bert_from_hf(VISUAL_BERT.to_dict() | change, state)


# --- ViLBERT, which transformers does not have ----------------------------------------------------------

VISUAL_DIM, VISUAL_HEADS, VISUAL_MLP_DIM = 20, 2, 28
CO_HEADS, CO_HEAD_DIM = 4, 6


class CoTRM(nn.Module):
    """Half of a co-attentional layer: LXMERT's cross-attention, in and out of a width of its own; its MLP."""

    def __init__(self, dim: int, other_dim: int, mlp_dim: int):
        super().__init__()
        width = CO_HEADS * CO_HEAD_DIM
        own = LxmertConfig(hidden_size=dim, intermediate_size=mlp_dim)
        self.attn = LxmertAttention(LxmertConfig(hidden_size=width, num_attention_heads=CO_HEADS), other_dim)
        self.attn.query = nn.Linear(dim, width)
        self.out = LxmertAttentionOutput(own)
        self.out.dense = nn.Linear(width, dim)
        self.intermediate = LxmertIntermediate(own)
        self.output = LxmertOutput(own)

    def forward(self, x: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.out(self.attn(x, other, mask)[0], x)
        return self.output(self.intermediate(x), x)


class ViLBERTOfParts(nn.Module):
    """Lu et al. 2019, fig. 1, for a BERT of three blocks and co-attention before the last two of them."""

    def __init__(self, bert: BertConfig):
        super().__init__()
        dim = bert.hidden_size
        visual = LxmertConfig(
            hidden_size=VISUAL_DIM, num_attention_heads=VISUAL_HEADS, intermediate_size=VISUAL_MLP_DIM
        )
        self.bert = BertModel(bert, add_pooling_layer=False)
        self.features = nn.Linear(REGION_DIM, VISUAL_DIM)
        self.location = nn.Linear(5, VISUAL_DIM)
        self.norm = nn.LayerNorm(VISUAL_DIM, eps=1e-12)
        self.text_co = nn.ModuleList(CoTRM(dim, VISUAL_DIM, 4 * dim) for _ in range(2))
        self.visual_co = nn.ModuleList(CoTRM(VISUAL_DIM, dim, VISUAL_MLP_DIM) for _ in range(2))
        self.visual_trm = nn.ModuleList(LxmertLayer(visual) for _ in range(2))

    def forward(self, ids, segment_ids, regions, boxes, real_tokens, real_regions):
        no_tokens, no_regions = (-1e9 * (1 - m[:, None, None].double()) for m in (real_tokens, real_regions))
        area = (boxes[..., 2:] - boxes[..., :2]).prod(-1, keepdim=True)
        v0 = self.norm(self.features(regions) + self.location(torch.cat([boxes, area], -1)))
        layer = self.bert.encoder.layer
        w0 = layer[0](self.bert.embeddings(ids, segment_ids), no_tokens)
        w1 = layer[1](self.text_co[0](w0, v0, no_regions), no_tokens)
        v1 = self.visual_trm[0](self.visual_co[0](v0, w0, no_tokens), no_regions)[0]
        w2 = layer[2](self.text_co[1](w1, v1, no_regions), no_tokens)
        v2 = self.visual_trm[1](self.visual_co[1](v1, w1, no_tokens), no_regions)[0]
        return [w2, v2]


RENAMES = (
    ("features.", "visual_embed."),
    ("location.", "box_embed."),
    ("text_co.", "text_looks."),
    ("visual_co.", "visual_looks."),
    ("visual_trm.", "visual_blocks."),
    ("attention.self.", "attn."),
    ("attention.output.dense", "attn.out_proj"),
    ("attention.output.LayerNorm", "norm1"),
    (".query", ".q_proj"),
    (".key", ".k_proj"),
    (".value", ".v_proj"),
    ("out.dense", "attn.out_proj"),
    ("out.LayerNorm", "norm1"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("output.LayerNorm", "norm2"),
)


def vilbert_state(state: dict) -> dict:
    ours = {f"bert.{name}": tensor for name, tensor in bert_state(state).items()}  # of "bert." alone
    for name, tensor in state.items():
        if name.startswith("norm."):
            ours[f"visual_{name}"] = tensor
        elif not name.startswith("bert."):
            ours[rename(name, RENAMES)] = tensor
    return ours


def test_vilbert_outputs_and_gradients():
    config = BertConfig(**TEXT)
    oracle = perturbed(ViLBERTOfParts(config))
    model = ViLBERT(
        bert_from_hf(config, oracle.bert.state_dict()),
        region_dim=REGION_DIM,
        visual_dim=VISUAL_DIM,
        visual_heads=VISUAL_HEADS,
        visual_mlp_dim=VISUAL_MLP_DIM,
        co_depth=2,
        co_heads=CO_HEADS,
        co_head_dim=CO_HEAD_DIM,
        eps=1e-12,
    )
    load(model, vilbert_state(oracle.state_dict()))
    model, oracle = model.double(), oracle.double()
    ids, segment_ids, regions, real_tokens, real_regions = inputs()
    corners = torch.rand(3, 4, 2, 2).sort(dim=2).values  # left < right, top < bottom
    regions, boxes = regions.double(), corners.flatten(2).double()
    ours = model(ids, regions, boxes, LENGTHS, COUNTS, segment_ids=segment_ids)
    theirs = oracle(ids, segment_ids, regions, boxes, real_tokens, real_regions)
    # enlarged, so that no gradient of a query's is too small to be judged
    assert_parity(model, [10 * x for x in ours], oracle, [10 * x for x in theirs], vilbert_state)
