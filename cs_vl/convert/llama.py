"""A Hugging Face Llama in our `Decoder`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cs_vl.convert.loading import load, read_config, rename
from cs_vl.models.decoder import Decoder

RENAMES = (
    ("embed_tokens", "token_embed"),
    ("layers.", "blocks."),
    ("self_attn", "attn"),
    ("o_proj", "out_proj"),
    ("input_layernorm", "norm1"),
    ("post_attention_layernorm", "norm2"),
    ("gate_proj", "gate"),
    ("up_proj", "up"),
    ("down_proj", "down"),
    ("lm_head", "head"),
)
FREQUENCIES = "rotary_emb.inv_freq"  # in old files; they follow from the config


def llama_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Llama under our names; it is linear, so gradients map alike."""
    return {
        rename(name.removeprefix("model."), RENAMES): tensor
        for name, tensor in state_dict.items()
        if not name.endswith(FREQUENCIES)
    }


def llama_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> Decoder:
    """A Llama from Hugging Face.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of LlamaForCausalLM; of LlamaModel, too, where the head is tied.

    Raises:
        ValueError: the config asks for what `Decoder` does not have (biases, stretched positions, ...), or
            does not fit the tensors.
    """
    c = read_config(
        config, model_type="llama", hidden_act="silu", attention_bias=False, mlp_bias=False, rope_scaling=None
    )
    dim, heads = c["hidden_size"], c["num_attention_heads"]
    if c.get("head_dim"):
        read_config(c, head_dim=dim // heads)
    # Since transformers 5 all that concerns positions stands together.
    rope = read_config(c.get("rope_parameters") or {}, rope_type="default", partial_rotary_factor=1.0)
    tied = c.get("tie_word_embeddings", False)
    llama = Decoder(
        vocab_size=c["vocab_size"],
        context_length=c["max_position_embeddings"],
        dim=dim,
        depth=c["num_hidden_layers"],
        heads=heads,
        kv_heads=c.get("num_key_value_heads"),
        mlp_dim=c["intermediate_size"],
        style="llama",
        rotary_base=rope.get("rope_theta") or c.get("rope_theta", 10000.0),
        tied=tied,
        eps=c["rms_norm_eps"],
    )
    state = llama_state(state_dict)
    if tied:
        state.pop("head.weight", None)  # the token embedding once more
    load(llama, state)
    return llama
