"""A Hugging Face CLIP, OpenAI's among them, in our `CLIP`."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from cs_vl.convert.loading import activation_name, load, read_config, rename
from cs_vl.models.clip import CLIP
from cs_vl.nn.text import TextTransformer
from cs_vl.nn.vit import ViT

# What a file leaves out has these values.
VISION_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
RENAMES = (
    ("vision_model.", "visual."),
    ("text_model.", "text."),
    ("embeddings.class_embedding", "class_token"),
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("embeddings.token_embedding", "token_embed"),
    ("embeddings.position_embedding.weight", "position_embed"),
    ("pre_layrnorm", "ln_pre"),  # sic
    ("encoder.layers.", "blocks."),
    ("self_attn", "attn"),
    ("layer_norm1", "norm1"),
    ("layer_norm2", "norm2"),
    ("post_layernorm", "norm"),
    ("final_layer_norm", "norm"),
)


RESHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "visual.class_token": lambda t: t[None, None],
    "visual.position_embed": lambda t: t[None],
    "visual.patch_embed.proj.weight": lambda t: t.flatten(1),  # a convolution's kernel -> a matrix
    "logit_scale": torch.squeeze,
    "logit_bias": torch.squeeze,
}


def clip_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a CLIP under our names and in our shapes; it is linear, so gradients map alike."""
    state = {rename(name, RENAMES): tensor for name, tensor in state_dict.items()}
    for tower in ("visual", "text"):
        state.pop(f"{tower}.embeddings.position_ids", None)  # 0, 1, 2, ... in old files
    return state | {name: reshape(state[name]) for name, reshape in RESHAPES.items() if name in state}


def clip_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> CLIP:
    """A CLIP from Hugging Face (model type "clip": OpenAI's, LAION's).

    `config.json` and `model.safetensors` of huggingface.co/openai/clip-vit-base-patch32, say.  Its images are
    RGB in [0, 1], less the mean (0.4815, 0.4578, 0.4082), divided by (0.2686, 0.2613, 0.2758).

    A text is pooled at the first `eos_token_id`.  In old files that id is 2 by mistake, and stands for the
    largest id of the vocabulary, OpenAI's 49407.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of CLIPModel.

    Raises:
        ValueError: the config asks for what `CLIP` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="clip")
    vision = VISION_DEFAULTS | tower_config(c, "vision_config")
    text = TEXT_DEFAULTS | tower_config(c, "text_config")
    end_id = text["eos_token_id"]
    if not isinstance(end_id, int):
        raise ValueError(f"eos_token_id must be one id; got {end_id!r}")
    visual_tower = ViT(**vision_options(vision), pre_ln=True, patch_bias=False)
    text_tower = TextTransformer(
        **text_options(text),
        causal=True,
        pool="eot",
        end_id=text["vocab_size"] - 1 if end_id == 2 else end_id,
    )
    clip = CLIP(
        visual=visual_tower,
        text=text_tower,
        visual_dim=vision["hidden_size"],
        text_dim=text["hidden_size"],
        embed_dim=c.get("projection_dim", 512),
    )
    load(clip, clip_state(state_dict))
    return clip


def tower_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One tower's part of a config; in old files a second one, `..._config_dict`, goes before it."""
    return dict(config.get(f"{name}_dict") or config.get(name) or {})


def vision_options(c: Mapping[str, Any]) -> dict[str, Any]:
    """What `ViT` is called with."""
    return {
        "image_size": c["image_size"],
        "patch_size": c["patch_size"],
        "channels": c["num_channels"],
        "dim": c["hidden_size"],
        "depth": c["num_hidden_layers"],
        "heads": c["num_attention_heads"],
        "mlp_dim": c["intermediate_size"],
        "activation": activation_name(c["hidden_act"]),
        "eps": c["layer_norm_eps"],
    }


def text_options(c: Mapping[str, Any]) -> dict[str, Any]:
    """What `TextTransformer` is called with."""
    return {
        "vocab_size": c["vocab_size"],
        "context_length": c["max_position_embeddings"],
        "dim": c["hidden_size"],
        "depth": c["num_hidden_layers"],
        "heads": c["num_attention_heads"],
        "mlp_dim": c["intermediate_size"],
        "activation": activation_name(c["hidden_act"]),
        "eps": c["layer_norm_eps"],
    }
