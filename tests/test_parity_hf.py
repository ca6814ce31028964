"""Same weights, same numbers: our models against transformers', our parts against torch's own.

Every parameter is perturbed first: at their initial values biases are 0 and norms 1, and a converter that
mixes them up would pass.
"""

import json

import pytest
import torch
from parity import assert_close, assert_parity, perturbed, split_in_proj
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from cs_vl.convert import bert_from_hf, bert_state, gpt2_from_hf, gpt2_state, vit_from_hf, vit_state
from cs_vl.convert.loading import load, rename
from cs_vl.nn import AttentionPool, MultiHeadAttention, PatchEmbed, TransformerBlock, ViT

LENGTHS = torch.tensor([7, 3, 5])  # of padded texts
VIT = ViTConfig(
    image_size=[12, 20],
    patch_size=4,
    num_channels=2,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
)
BERT = BertConfig(
    vocab_size=31,
    max_position_embeddings=11,
    type_vocab_size=3,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    pad_token_id=None,  # else transformers gives that id's embedding no gradient
)
GPT2 = GPT2Config(
    vocab_size=31, n_positions=11, n_embd=24, n_layer=3, n_head=3, n_inner=40, bos_token_id=0, eos_token_id=0
)


def texts(vocab: int, length: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (3, length), and the 0-1 mask of `LENGTHS` as transformers takes it."""
    return torch.randint(vocab, (3, length)), (torch.arange(length) < LENGTHS[:, None]).long()


class TestViT:
    def test_hidden_states_outputs_and_gradients(self):
        hf = perturbed(ViTModel(VIT))
        vit = vit_from_hf(VIT, hf.state_dict())
        images = torch.randn(3, 2, 12, 20)
        ours = vit(images)
        theirs = hf(images, output_hidden_states=True)
        # the pooler, a layer on top of the class token, is not part of our ViT
        our_outputs = [*ours.hidden_states, ours.tokens, hf.pooler(ours.pooled[:, None])]
        their_outputs = [*theirs.hidden_states, theirs.last_hidden_state, theirs.pooler_output]
        assert len(ours.hidden_states) == 4
        assert_parity(vit, our_outputs, hf, their_outputs, vit_state)

    def test_files_as_on_the_hub(self, tmp_path):
        """The names in files are not those in memory."""
        hf = perturbed(ViTForImageClassification(VIT))
        hf.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        assert "vit.encoder.layer.0.attention.attention.query.weight" in state
        vit = vit_from_hf(json.loads((tmp_path / "config.json").read_text()), state)
        images = torch.randn(2, 2, 12, 20)
        logits = F.linear(vit(images).pooled, state["classifier.weight"], state["classifier.bias"])
        assert_close([logits], [hf(images).logits])

    def test_pre_ln_against_clip(self):
        config = CLIPVisionConfig(
            image_size=12,
            patch_size=4,
            num_channels=2,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=40,
        )
        hf = perturbed(CLIPVisionModel(config))
        vit = ViT(
            image_size=12,
            patch_size=4,
            channels=2,
            dim=24,
            depth=2,
            heads=3,
            mlp_dim=40,
            pre_ln=True,
            activation="quick_gelu",
            eps=1e-5,
            patch_bias=False,
        )

        def convert(state: dict) -> dict:
            renames = (
                ("vision_model.", ""),
                ("embeddings.class_embedding", "class_token"),
                ("embeddings.position_embedding.weight", "position_embed"),
                ("embeddings.patch_embedding", "patch_embed.proj"),
                ("pre_layrnorm", "ln_pre"),
                ("encoder.layers", "blocks"),
                ("self_attn", "attn"),
                ("layer_norm", "norm"),
                ("post_layernorm", "norm"),
            )
            state = {rename(name, renames): tensor for name, tensor in state.items()}
            state["class_token"] = state["class_token"][None, None]
            state["position_embed"] = state["position_embed"][None]
            state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].flatten(1)
            return state

        load(vit, convert(hf.state_dict()))
        images = torch.randn(3, 2, 12, 12)
        ours, theirs = vit(images), hf(images, output_hidden_states=True)
        our_outputs = [*ours.hidden_states, ours.pooled]
        their_outputs = [*theirs.hidden_states, theirs.pooler_output]
        assert_parity(vit, our_outputs, hf, their_outputs, convert)

    def test_map_pooling_against_siglip(self):
        config = SiglipVisionConfig(
            image_size=12,
            patch_size=4,
            num_channels=2,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=40,
        )
        hf = perturbed(SiglipVisionModel(config))
        vit = ViT(
            image_size=12,
            patch_size=4,
            channels=2,
            dim=24,
            depth=2,
            heads=3,
            mlp_dim=40,
            pool="map",
            activation="gelu_tanh",
        )

        def convert(state: dict) -> dict:
            renames = (
                ("vision_model.", ""),
                ("embeddings.position_embedding.weight", "position_embed"),
                ("embeddings.patch_embedding", "patch_embed.proj"),
                ("encoder.layers", "blocks"),
                ("self_attn", "attn"),
                ("layer_norm", "norm"),
                ("post_layernorm", "norm"),
                ("head.probe", "attention_pool.query"),
                ("head.attention", "attention_pool.attn"),
                ("head.layernorm", "attention_pool.norm"),
                ("head.", "attention_pool."),
            )
            state = split_in_proj({rename(name, renames): tensor for name, tensor in state.items()})
            state["position_embed"] = state["position_embed"][None]
            state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].flatten(1)
            return state

        load(vit, convert(hf.state_dict()))
        images = torch.randn(3, 2, 12, 12)
        ours, theirs = vit(images), hf(images, output_hidden_states=True)
        # transformers calls the normed tokens the last hidden state
        our_outputs = [*ours.hidden_states[:-1], ours.tokens, ours.pooled]
        their_outputs = [*theirs.hidden_states[:-1], theirs.last_hidden_state, theirs.pooler_output]
        assert_parity(vit, our_outputs, hf, their_outputs, convert)


class TestBert:
    def test_hidden_states_outputs_and_gradients(self):
        hf = perturbed(BertModel(BERT))
        bert = bert_from_hf(BERT, hf.state_dict())
        ids, attention_mask = texts(31)
        segment_ids = torch.randint(3, ids.shape)
        ours = bert(ids, LENGTHS, segment_ids=segment_ids)
        theirs = hf(ids, attention_mask, segment_ids, output_hidden_states=True)
        our_outputs = [*ours.hidden_states, ours.tokens, hf.pooler(ours.pooled[:, None])]
        their_outputs = [*theirs.hidden_states, theirs.last_hidden_state, theirs.pooler_output]
        assert len(ours.hidden_states) == 4
        assert_parity(bert, our_outputs, hf, their_outputs, bert_state)

    def test_files_as_on_the_hub(self, tmp_path):
        hf = perturbed(BertForMaskedLM(BERT))
        hf.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        state = load_file(tmp_path / "model.safetensors")
        # bert-base-uncased still has the names of 2018, and a buffer
        old = {
            name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
            for name, tensor in state.items()
        } | {"bert.embeddings.position_ids": torch.arange(11)[None]}
        ids, attention_mask = texts(31)
        expected = hf.bert(ids, attention_mask).last_hidden_state
        for version in (state, old):
            bert = bert_from_hf(config, version)
            assert_close([bert(ids, LENGTHS).tokens], [expected])


class TestGPT2:
    def test_hidden_states_outputs_and_gradients(self):
        hf = perturbed(GPT2LMHeadModel(GPT2))
        gpt = gpt2_from_hf(GPT2, hf.state_dict())
        ids, attention_mask = texts(31)
        # transformers never shows the last block's output before the final norm: take each block's own
        their_hidden = []
        for module in (hf.transformer.drop, *hf.transformer.h):
            module.register_forward_hook(lambda module, inputs, output: their_hidden.append(output))
        theirs = hf(ids, attention_mask=attention_mask, output_hidden_states=True)
        ours = gpt.transformer(ids, LENGTHS)
        our_outputs = [*ours.hidden_states, ours.tokens, gpt(ids, LENGTHS)]
        their_outputs = [*their_hidden, theirs.hidden_states[-1], theirs.logits]
        assert len(their_hidden) == 4
        assert_parity(gpt, our_outputs, hf, their_outputs, gpt2_state)

    def test_files_as_on_the_hub(self, tmp_path):
        hf = perturbed(GPT2Model(GPT2))
        hf.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        # openai-community/gpt2 has no prefix, and the causal masks as buffers
        state |= {f"h.{i}.attn.bias": torch.ones(1, 1, 11, 11).tril() for i in range(3)}
        gpt = gpt2_from_hf(json.loads((tmp_path / "config.json").read_text()), state)
        ids, _ = texts(31)
        assert_close([gpt.transformer(ids).tokens], [hf(ids).last_hidden_state])


class TestErrors:
    """One sentence that says what does not fit."""

    def test_config_of_another_model(self):
        state = ViTModel(VIT).state_dict()
        with pytest.raises(ValueError, match="model_type='bert': only 'vit'"):
            vit_from_hf(BERT, state)

    @pytest.mark.parametrize(
        ("convert", "config", "option"),
        [
            (vit_from_hf, VIT, {"qkv_bias": False}),
            (vit_from_hf, VIT, {"hidden_act": "silu"}),
            (bert_from_hf, BERT, {"is_decoder": True}),
            (bert_from_hf, BERT, {"position_embedding_type": "relative_key"}),
            (gpt2_from_hf, GPT2, {"scale_attn_by_inverse_layer_idx": True}),
            (gpt2_from_hf, GPT2, {"tie_word_embeddings": False}),
        ],
    )
    def test_options_that_would_change_the_numbers(self, convert, config, option):
        with pytest.raises(ValueError, match=str(next(iter(option.values())))):
            convert(config.to_dict() | option, {})

    def test_tensors_that_do_not_fit(self):
        state = ViTModel(VIT).state_dict()
        with pytest.raises(
            ValueError, match=r"lacks 1 tensors of the model, such as blocks.1.attn.q_proj.bias"
        ):
            vit_from_hf(VIT, {n: t for n, t in state.items() if n != "layers.1.attention.q_proj.bias"})
        with pytest.raises(
            ValueError, match=r"no place for 1 tensors, such as embeddings.distillation_token"
        ):
            vit_from_hf(VIT, state | {"embeddings.distillation_token": torch.zeros(1)})
        with pytest.raises(ValueError, match=r"position_embed should be \(1, 26, 24\).* has \(1, 16, 24\)"):
            vit_from_hf(VIT.to_dict() | {"image_size": (20, 20)}, state)


class TestParts:
    """Against torch's own modules."""

    @pytest.mark.parametrize("cross", [False, True])
    def test_multi_head_attention(self, cross):
        oracle = perturbed(
            nn.MultiheadAttention(
                24, 3, kdim=20 if cross else None, vdim=20 if cross else None, batch_first=True
            )
        )
        ours = MultiHeadAttention(24, 3, context_dim=20 if cross else None)

        def convert(state: dict) -> dict:
            state = {name.replace("_proj_weight", "_proj.weight"): tensor for name, tensor in state.items()}
            return split_in_proj({name.replace("in_proj.", "in_proj_"): t for name, t in state.items()})

        load(ours, convert(oracle.state_dict()))
        x = torch.randn(2, 5, 24)
        context = torch.randn(2, 7, 20) if cross else x
        mask = torch.rand(2, 1, 5, context.shape[1]) < 0.6
        mask[..., 0] = True
        our_outputs = ours(x, context if cross else None, mask=mask)
        their_outputs = oracle(
            x, context, context, attn_mask=~mask.repeat_interleave(3, 0)[:, 0], average_attn_weights=False
        )
        assert_parity(ours, our_outputs, oracle, their_outputs, convert)

    @pytest.mark.parametrize("pre_norm", [False, True])
    def test_block(self, pre_norm):
        oracle = perturbed(
            nn.TransformerEncoderLayer(24, 3, 40, activation="gelu", batch_first=True, norm_first=pre_norm)
        )
        ours = TransformerBlock(24, 3, 40, pre_norm=pre_norm)

        def convert(state: dict) -> dict:
            renames = (("self_attn", "attn"), ("linear1", "mlp.fc1"), ("linear2", "mlp.fc2"))
            return split_in_proj({rename(name, renames): tensor for name, tensor in state.items()})

        load(ours, convert(oracle.state_dict()))
        x = torch.randn(2, 5, 24)
        mask = torch.ones(5, 5).tril().bool()
        our_outputs, their_outputs = [ours(x), ours(x, mask)], [oracle(x), oracle(x, src_mask=~mask)]
        assert_parity(ours, our_outputs, oracle, their_outputs, convert)

    @pytest.mark.parametrize("bias", [False, True])
    def test_patch_embed_is_a_convolution(self, bias):
        oracle = perturbed(nn.Conv2d(3, 10, kernel_size=4, stride=4, bias=bias))
        ours = PatchEmbed(4, 3, 10, bias=bias)

        def convert(state: dict) -> dict:
            return {f"proj.{name}": t.flatten(1) if t.ndim == 4 else t for name, t in state.items()}

        load(ours, convert(oracle.state_dict()))
        images = torch.randn(2, 3, 8, 20)
        our_outputs, their_outputs = [ours(images)], [oracle(images).flatten(2).transpose(1, 2)]
        assert_parity(ours, our_outputs, oracle, their_outputs, convert)

    def test_attention_pool_ignores_what_is_masked(self):
        pool = perturbed(AttentionPool(24, 3))
        tokens = torch.randn(2, 7, 24)
        mask = (torch.arange(7) < 4).expand(2, 1, 1, 7)
        assert_close([pool(tokens, mask)], [pool(tokens[:, :4])])
