"""A Hugging Face Idefics' resampler and gated layers in our `PerceiverResampler` and `GatedCrossAttention`.

Idefics is an open Flamingo (Laurençon et al. 2023, OBELICS): the resampler is Flamingo's with ReLU, a gated
layer has Llama's RMSNorm and SwiGLU.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cs_vl.convert.loading import body, load, read_config, rename
from cs_vl.nn.gated_cross_attention import GatedCrossAttention
from cs_vl.nn.resampler import PerceiverResampler

# What a file leaves out has these values.
DEFAULTS: dict[str, Any] = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "intermediate_size": 11008,
    "rms_norm_eps": 1e-6,
}
VISION_DEFAULTS: dict[str, Any] = {"embed_dim": 768}
PERCEIVER_DEFAULTS: dict[str, Any] = {
    "resampler_n_latents": 64,
    "resampler_depth": 6,
    "resampler_n_heads": 16,
    "resampler_head_dim": 96,
}
RESAMPLER_RENAMES = (  # a block is a list: attention, MLP
    (".0.context_layer_norm", ".norm_media"),
    (".0.latents_layer_norm", ".norm_latents"),
    (".0.output_proj", ".attn.out_proj"),
    (".0.q_proj", ".attn.q_proj"),
    (".0.k_proj", ".attn.k_proj"),
    (".0.v_proj", ".attn.v_proj"),
    (".1.ln", ".mlp.norm"),
    (".1.fc", ".mlp.fc1"),
    (".1.c_proj", ".mlp.fc2"),
    ("layer_norm.", "norm."),
)
GATED_RENAMES = (
    ("input_layernorm", "norm1"),
    ("post_attention_layernorm", "norm2"),
    ("cross_attn.o_proj", "attn.out_proj"),
    ("cross_attn.", "attn."),
    ("mlp.gate_proj", "mlp.gate"),
    ("mlp.up_proj", "mlp.up"),
    ("mlp.down_proj", "mlp.down"),
    ("alpha_cross_attn", "attn_gate"),
    ("alpha_dense", "mlp_gate"),
)


def idefics_resampler_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the resampler under our names; gradients map alike."""
    state = body(body(state_dict, "model."), "perceiver_resampler.")
    return {rename(name, RESAMPLER_RENAMES): tensor for name, tensor in state.items()}


def idefics_resampler_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> PerceiverResampler:
    """The resampler of an Idefics: it takes the vision tower's tokens, after its last norm.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of IdeficsForVisionText2Text, of IdeficsModel, or of its `perceiver_resampler` alone.

    Raises:
        ValueError: the config asks for what `PerceiverResampler` does not have (layer norms of queries and
            keys, which the published Idefics have), or does not fit the tensors.
    """
    c = read_config(config, model_type="idefics", use_resampler=True)
    dim = (VISION_DEFAULTS | c["vision_config"])["embed_dim"]
    perceiver = PERCEIVER_DEFAULTS | read_config(c["perceiver_config"], qk_layer_norms_perceiver=False)
    resampler = PerceiverResampler(
        dim,
        depth=perceiver["resampler_depth"],
        heads=perceiver["resampler_n_heads"],
        head_dim=perceiver["resampler_head_dim"],
        latents=perceiver["resampler_n_latents"],
        activation="relu",
    )
    load(resampler, idefics_resampler_state(state_dict))
    return resampler


def idefics_gated_state(state_dict: Mapping[str, Tensor], layer: int = 0) -> dict[str, Tensor]:
    """The tensors of one gated layer under our names; gradients map alike."""
    state = body(body(state_dict, "model."), f"gated_cross_attn_layers.{layer}.")
    state = {rename(name, GATED_RENAMES): tensor for name, tensor in state.items()}
    # One number for all of the width, or one for each of its parts: (1) or (1, 1, dim).
    return {name: x.flatten() if name.endswith("_gate") else x for name, x in state.items()}


def idefics_gated_from_hf(
    config: Any, state_dict: Mapping[str, Tensor], layer: int = 0
) -> GatedCrossAttention:
    """A gated layer of an Idefics; layer i stands before block i * cross_layer_interval.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of IdeficsForVisionText2Text, of IdeficsModel, or of one of its `gated_cross_attn_layers`.
        layer: which of them.

    Raises:
        ValueError: the config asks for what `GatedCrossAttention` does not have (layer norms of queries and
            keys, which the published Idefics have), or does not fit the tensors.
    """
    c = DEFAULTS | read_config(config, model_type="idefics", hidden_act="silu", qk_layer_norms=False)
    dim = c["hidden_size"]
    gated: Any = GatedCrossAttention(
        dim,
        c["num_attention_heads"],
        media_dim=(VISION_DEFAULTS | c["vision_config"])["embed_dim"],
        mlp_dim=c["intermediate_size"],
        style="idefics",
    )
    gated.norm1.eps = gated.norm2.eps = c["rms_norm_eps"]
    if c.get("alpha_type", "float") == "vector":
        gated.attn_gate, gated.mlp_gate = (nn.Parameter(torch.zeros(dim)) for _ in range(2))
    load(gated, idefics_gated_state(state_dict, layer))
    return gated
