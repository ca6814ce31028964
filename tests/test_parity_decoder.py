"""Our Decoder against transformers' Llama and GPT-2: the same weights, numbers, gradients and texts.

Every parameter is perturbed first, norms too (see parity.py).
"""

import json

import pytest
import torch
from parity import assert_close, assert_parity, perturbed
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, LlamaModel

from cs_vl.convert import gpt2_decoder_from_hf, gpt2_decoder_state, llama_from_hf, llama_state
from cs_vl.models import Decoder, generate

VOCAB, LENGTH, NEW = 31, 7, 9
NO_ENDS = {"bos_token_id": None, "eos_token_id": None}


def llama_config(**options) -> LlamaConfig:
    given = {
        "vocab_size": VOCAB,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 19,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
        "rms_norm_eps": 1e-3,
    }
    return LlamaConfig(**given | NO_ENDS | options)


GPT2 = GPT2Config(
    vocab_size=VOCAB, n_positions=19, n_embd=24, n_layer=3, n_head=3, n_inner=40, layer_norm_epsilon=1e-3, **NO_ENDS
)  # fmt: skip
PAIRS = {
    "llama": (llama_config(), LlamaForCausalLM, llama_from_hf, llama_state),
    "llama, tied": (llama_config(tie_word_embeddings=True), LlamaForCausalLM, llama_from_hf, llama_state),
    "llama, all heads its own": (
        llama_config(num_key_value_heads=6),
        LlamaForCausalLM,
        llama_from_hf,
        llama_state,
    ),
    "gpt2": (GPT2, GPT2LMHeadModel, gpt2_decoder_from_hf, gpt2_decoder_state),
}
each_pair = pytest.mark.parametrize("name", PAIRS)


def pair(name: str, loud: bool = False) -> tuple[nn.Module, Decoder]:
    """The two models; `loud`: their blocks say so much that texts do not repeat one token, as a tied head would."""
    config, cls, convert, _ = PAIRS[name]
    torch.manual_seed(0)
    hf = perturbed(cls(config))
    for part, p in hf.named_parameters() if loud else []:
        if ".layers." in part or ".h." in part:
            p.data *= 3
    return hf, convert(config, hf.state_dict()).eval()


def padded_batch() -> tuple[Tensor, Tensor]:
    """Three texts of 7, 3 and 5 tokens, padded in front; and which tokens are real."""
    return torch.randint(VOCAB, (3, LENGTH)), torch.arange(LENGTH) >= torch.tensor([[0], [4], [2]])


def hidden_states(lm: Decoder, ids: Tensor, real: Tensor | None) -> list[Tensor]:
    """What goes into each block, and what the last norm gives."""
    states: list[Tensor] = []

    def note(i: int, x: Tensor) -> Tensor:
        states.append(x)
        return x

    last = lm.hidden(ids, real=real, before_block=note)
    return [*states, last]


@each_pair
def test_hidden_states_logits_and_gradients(name):
    hf, lm = pair(name)
    ids, real = padded_batch()
    positions = (real.cumsum(dim=1) - 1).clamp(min=0)
    theirs = hf(ids, attention_mask=real.long(), position_ids=positions, output_hidden_states=True)
    # What stands at padding is nobody's business.
    our_outputs = [x[real] for x in (*hidden_states(lm, ids, real), lm(ids, real=real))]
    their_outputs = [x[real] for x in (*theirs.hidden_states, theirs.logits)]
    assert len(our_outputs) == 5
    assert_parity(lm, our_outputs, hf, their_outputs, PAIRS[name][3])


@each_pair
def test_without_padding(name):
    hf, lm = pair(name)
    ids, _ = padded_batch()
    assert_close([lm(ids)], [hf(ids).logits])


@each_pair
def test_embeddings_in_place_of_ids(name):
    hf, lm = pair(name)
    embeds = torch.randn(2, LENGTH, 24)
    assert_close([lm(embeds=embeds)], [hf(inputs_embeds=embeds).logits])


@each_pair
def test_greedy_texts_are_the_same(name):
    """From prompts of different lengths; and one text ends before the others do."""
    hf, lm = pair(name, loud=True)
    ids, real = padded_batch()
    options = {"attention_mask": real.long(), "max_new_tokens": NEW, "do_sample": False}
    theirs = hf.generate(ids, **options)[:, LENGTH:]
    ours = generate(lm, ids, real=real, max_new_tokens=NEW)
    assert ours.shape == (3, NEW)
    assert all(len(text.unique()) > 3 for text in ours)
    assert ours.tolist() == theirs.tolist()

    end = int(ours[0, 3])
    theirs = hf.generate(ids, **options, eos_token_id=end, pad_token_id=end)[:, LENGTH:]
    assert generate(lm, ids, real=real, max_new_tokens=NEW, end_id=end).tolist() == theirs.tolist()


@each_pair
def test_scores_of_each_step_are_the_same(name):
    """Greedy texts could agree by luck: so do the logits that they were chosen from."""
    hf, lm = pair(name)
    ids, real = padded_batch()
    theirs = hf.generate(
        ids,
        attention_mask=real.long(),
        max_new_tokens=NEW,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    text, cache = theirs.sequences, lm.new_cache(3, LENGTH + NEW)
    real = torch.cat([real, torch.ones(3, NEW, dtype=torch.bool)], dim=1)
    with torch.no_grad():
        ours = [lm(ids, real=real[:, :LENGTH], cache=cache)[:, -1]]
        for i in range(LENGTH, LENGTH + NEW - 1):
            ours.append(lm(text[:, i : i + 1], real=real[:, : i + 1], cache=cache)[:, -1])
    assert_close(ours, list(theirs.logits))


class TestFilesAsOnTheHub:
    @pytest.mark.parametrize("tied", [False, True])
    def test_llama(self, tied, tmp_path):
        config = llama_config(tie_word_embeddings=tied)
        hf = perturbed(LlamaForCausalLM(config))
        hf.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        state = load_file(tmp_path / "model.safetensors")
        # Llama 1 and 2 still have the options of their time, and buffers.
        rope = config.pop("rope_parameters")
        old = config | {"rope_theta": rope["rope_theta"], "rope_scaling": None}
        del old["head_dim"]
        buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(2) for i in range(3)}
        ids, _ = padded_batch()
        for c, s in ((config | {"rope_parameters": rope}, state), (old, state | buffers)):
            assert_close([llama_from_hf(c, s)(ids)], [hf(ids).logits])

    def test_a_bare_model_suffices_where_the_head_is_tied(self):
        config = llama_config(tie_word_embeddings=True)
        hf = perturbed(LlamaModel(config))
        ids, _ = padded_batch()
        lm = llama_from_hf(config, hf.state_dict())
        assert_close([lm.hidden(ids)], [hf(ids).last_hidden_state])
        with pytest.raises(ValueError, match=r"lacks 1 tensors of the model, such as head.weight"):
            llama_from_hf(llama_config(), hf.state_dict())


class TestErrors:
    @pytest.mark.parametrize(
        ("option", "sentence"),
        [
            ({"attention_bias": True}, "attention_bias=True: only False"),
            ({"mlp_bias": True}, "mlp_bias=True: only False"),
            ({"hidden_act": "gelu"}, "hidden_act='gelu': only 'silu'"),
            ({"head_dim": 8}, "head_dim=8: only 4"),
            ({"model_type": "mistral"}, "model_type='mistral': only 'llama'"),
            ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling=.*: only None"),
            ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rope_type='llama3': only 'default'"),
            ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5: only 1.0"),
        ],
        ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
    )  # fmt: skip
    def test_a_llama_that_ours_is_not(self, option, sentence):
        with pytest.raises(ValueError, match=sentence):
            llama_from_hf(llama_config().to_dict() | option, {})

    @pytest.mark.parametrize(
        ("option", "sentence"),
        [
            ({"activation_function": "relu"}, "activation_function='relu': only 'gelu_new'"),
            ({"tie_word_embeddings": False}, "tie_word_embeddings=False: only True"),
            ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True: only False"),
        ],
        ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
    )
    def test_a_gpt2_that_ours_is_not(self, option, sentence):
        with pytest.raises(ValueError, match=sentence):
            gpt2_decoder_from_hf(GPT2.to_dict() | option, {})
