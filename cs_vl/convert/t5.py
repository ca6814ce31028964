"""A Hugging Face T5 in our `T5`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cs_vl.convert.loading import load, read_config, rename
from cs_vl.nn.t5 import T5

RENAMES = (
    ("shared.", "embed."),
    ("lm_head.", "head."),
    ("final_layer_norm", "norm"),
    ("block.0.layer.0.SelfAttention.relative_attention_bias.weight", "bias.table"),  # shared by all blocks
    ("block.", "blocks."),
    ("layer.0.SelfAttention", "attn"),
    ("layer.0.layer_norm", "attn_norm"),
    ("layer.1.EncDecAttention", "cross_attn"),
    ("layer.1.layer_norm", "cross_norm"),
    ("layer.2.DenseReluDense", "mlp"),
    ("layer.2.layer_norm", "mlp_norm"),
    (".q.", ".q_proj."),
    (".k.", ".k_proj."),
    (".v.", ".v_proj."),
    (".o.", ".out_proj."),
    (".wi_0.", ".gate."),
    (".wi_1.", ".up."),
    (".wi.", ".up."),
    (".wo.", ".down."),
)
# copies of the shared embedding; and a bias that the oldest files have and no T5 uses
UNUSED = ("embed_tokens.weight", "EncDecAttention.relative_attention_bias.weight")


def t5_state(state_dict: Mapping[str, Tensor], head_dim: int) -> dict[str, Tensor]:
    """The tensors of a T5 under our names.

    Our attention divides by sqrt(head_dim), T5's does not: the query projections grow by that factor.
    """
    state = {}
    for name, tensor in state_dict.items():
        if name.endswith(UNUSED):
            continue
        if name.startswith("encoder."):  # without cross-attention, so that all that follows it moves up
            name = name.replace(".layer.1.", ".layer.2.")
        name = rename(name, RENAMES)
        state[name] = tensor.float() * head_dim**0.5 if name.endswith("q_proj.weight") else tensor
    return state


def t5_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> T5:
    """A T5 (v1.0, or v1.1 and its kin: gated feed-forward, a head of its own) from Hugging Face.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of T5ForConditionalGeneration; of T5Model where the head is tied.

    Raises:
        ValueError: the config asks for what `T5` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="t5")
    feed_forward = c.get("feed_forward_proj", "relu")
    if feed_forward not in ("relu", "gated-gelu"):
        raise ValueError(f"feed_forward_proj must be 'relu' or 'gated-gelu'; got {feed_forward!r}")
    state = t5_state(state_dict, c["d_kv"])
    # Hugging Face ties a head that a file lacks, and tells by this whether the logits are scaled as well
    tie = c.get("tie_word_embeddings", True)
    tied = c.get("scale_decoder_outputs", tie)
    if tie and "embed.weight" in state:
        head = state.setdefault("head.weight", state["embed.weight"])
        if tied and not torch.equal(head, state["embed.weight"]):
            raise ValueError("by the config the head is tied, but lm_head.weight differs from shared.weight")
    if tied:
        state.pop("head.weight", None)
    t5 = T5(
        vocab_size=c["vocab_size"],
        dim=c["d_model"],
        head_dim=c["d_kv"],
        heads=c["num_heads"],
        mlp_dim=c["d_ff"],
        encoder_depth=c["num_layers"],
        decoder_depth=c.get("num_decoder_layers") or c["num_layers"],
        buckets=c.get("relative_attention_num_buckets", 32),
        max_distance=c.get("relative_attention_max_distance", 128),
        tied=tied,
        gated=feed_forward == "gated-gelu",
        eps=c.get("layer_norm_epsilon", 1e-6),
    )
    load(t5, state)
    return t5
