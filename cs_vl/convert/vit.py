"""A Hugging Face ViT in our `ViT`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cs_vl.convert.loading import activation_name, body, load, read_config, rename
from cs_vl.nn.vit import ViT

RENAMES = (
    ("embeddings.cls_token", "class_token"),
    ("embeddings.position_embeddings", "position_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    # files on the hub, and transformers < 5
    ("encoder.layer.", "blocks."),
    ("attention.attention.query", "attn.q_proj"),
    ("attention.attention.key", "attn.k_proj"),
    ("attention.attention.value", "attn.v_proj"),
    ("attention.output.dense", "attn.out_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    # a model in memory in transformers >= 5
    ("layers.", "blocks."),
    ("attention.o_proj", "attn.out_proj"),
    ("attention.", "attn."),
    ("layernorm.", "norm."),
)


def vit_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a ViT under our names and in our shapes; it is linear, so gradients map alike."""
    state = {rename(name, RENAMES): tensor for name, tensor in body(state_dict, "vit.").items()}
    state.pop("embeddings.mask_token", None)  # of masked image modelling
    if "patch_embed.proj.weight" in state:  # a convolution's kernel (dim, channels, p, p) -> a matrix
        state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].flatten(1)
    return state


def vit_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> ViT:
    """A ViT (model type "vit": ViT, DINO) from Hugging Face, pooled at the class token.

    `pooled` is the normed class token: the pooler and the classifier are left out.  To classify:
    `F.linear(vit(images).pooled, state_dict["classifier.weight"], state_dict["classifier.bias"])`.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of ViTModel or of any model with a head on it.

    Raises:
        ValueError: the config asks for what `ViT` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="vit", qkv_bias=True)
    image_size = c["image_size"]
    vit = ViT(
        image_size=image_size if isinstance(image_size, int) else tuple(image_size),
        patch_size=c["patch_size"],
        channels=c.get("num_channels", 3),
        dim=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_dim=c["intermediate_size"],
        activation=activation_name(c["hidden_act"]),
        eps=c["layer_norm_eps"],
    )
    load(vit, vit_state(state_dict))
    return vit
