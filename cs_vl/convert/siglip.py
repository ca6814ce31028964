"""A Hugging Face SigLIP in our `CLIP`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cs_vl.convert.clip import clip_state, text_options, tower_config, vision_options
from cs_vl.convert.loading import load, read_config, rename
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
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
RENAMES = (
    ("text.head.", "text_projection."),
    ("visual.head.probe", "visual.attention_pool.query"),
    ("visual.head.attention", "visual.attention_pool.attn"),
    ("visual.head.layernorm", "visual.attention_pool.norm"),
    ("visual.head.", "visual.attention_pool."),
)


def siglip_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a SigLIP under our names and in our shapes; it is linear, so gradients map alike."""
    state = {}
    for name, tensor in clip_state(state_dict).items():
        name = rename(name, RENAMES)
        if "in_proj_" in name:  # the pooling head's queries, keys and values in one
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("in_proj_", f"{part}_proj.")] = piece
        else:
            state[name] = tensor
    return state


def siglip_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> CLIP:
    """A SigLIP from Hugging Face (model type "siglip": SigLIP, and SigLIP 2 of a fixed resolution).

    `config.json` and `model.safetensors` of huggingface.co/google/siglip-base-patch16-224, say.  Its images
    are RGB in [-1, 1].  A text is pooled at its last token, padding or not, and padding is read like any
    token: as in training, pad every text to `context_length` and give no lengths.

    Images have no projection here, and that of texts has a bias.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of SiglipModel.

    Raises:
        ValueError: the config asks for what `CLIP` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="siglip")
    vision = VISION_DEFAULTS | read_config(tower_config(c, "vision_config"), vision_use_head=True)
    text = TEXT_DEFAULTS | tower_config(c, "text_config")
    dim = vision["hidden_size"]
    siglip = CLIP(
        visual=ViT(**vision_options(vision), pool="map"),
        text=TextTransformer(**text_options(text), causal=False, pool="last"),
        visual_dim=dim,
        text_dim=text["hidden_size"],
        embed_dim=dim,
        logit_bias=0.0,
    )
    siglip.set_submodule("visual_projection", nn.Identity())
    siglip.text_projection = nn.Linear(text["hidden_size"], dim)
    load(siglip, siglip_state(state_dict))
    return siglip
