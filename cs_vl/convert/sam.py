"""SAM's weights, Meta's or Hugging Face's, in our `SAM`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cs_vl.convert.loading import load, read_config, rename
from cs_vl.models.image_encoder import ImageEncoder
from cs_vl.models.mask_decoder import MaskDecoder
from cs_vl.models.prompt_encoder import MaskEncoder, PointEncoder
from cs_vl.models.sam import SAM

# What a config.json leaves out has these values: SAM with ViT-B.
VISION_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768, "output_channels": 256, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 1024, "patch_size": 16, "layer_norm_eps": 1e-6, "use_rel_pos": True, "window_size": 14,
    "global_attn_indexes": [2, 5, 8, 11], "mlp_dim": None,
}  # fmt: skip
PROMPT_DEFAULTS: dict[str, Any] = {"mask_input_channels": 16}
DECODER_DEFAULTS: dict[str, Any] = {
    "hidden_size": 256, "mlp_dim": 2048, "num_hidden_layers": 2, "num_attention_heads": 8,
    "attention_downsample_rate": 2, "num_multimask_outputs": 3, "iou_head_hidden_dim": 256,
    "layer_norm_eps": 1e-6,
}  # fmt: skip
RENAMES = (  # what both call the same
    ("pos_embed", "position_embed"),
    ("attn.proj", "attn.out_proj"),
    ("rel_pos_h", "relative_rows"),
    ("rel_pos_w", "relative_columns"),
    ("mlp.lin", "mlp.fc"),
    ("prompt_encoder.no_mask_embed.weight", "masks.no_mask"),
    ("prompt_encoder.not_a_point_embed.weight", "points.not_a_point"),
    ("mask_decoder.", "decoder."),
    ("iou_token.weight", "iou_token"),
    ("mask_tokens.weight", "mask_tokens"),
    ("transformer.layers.", "transformer.blocks."),
    ("final_attn_token_to_image", "token_to_image"),
    ("cross_attn_token_to_image", "token_to_image"),
    ("cross_attn_image_to_token", "image_to_token"),
    ("output_hypernetworks_mlps", "hypernetworks"),
    ("iou_prediction_head", "iou_head"),
)
HF_RENAMES = (
    *RENAMES,
    ("vision_encoder.", "encoder."),
    ("patch_embed.projection", "patch_embed.proj"),
    ("encoder.layers.", "encoder.blocks."),
    ("layer_norm_final_attn", "norm"),
    ("layer_norm", "norm"),
    ("neck.conv1", "neck.0"),
    ("neck.norm1", "neck.1"),
    ("neck.conv2", "neck.2"),
    ("neck.norm2", "neck.3"),
    ("prompt_encoder.mask_embed.", "masks."),
    ("prompt_encoder.shared_embedding.positional_embedding", "points.frequencies"),
    ("shared_image_embedding.positional_embedding", "points.frequencies"),  # the same; a file may hold one
    ("upscale_conv1", "upscale.0"),
    ("upscale_norm", "upscale.1"),
    ("upscale_conv2", "upscale.3"),
    (".proj_in.", ".0."),
    (".layers.0.", ".2."),
    (".proj_out.", ".4."),
)
META_RENAMES = (
    *RENAMES,
    ("image_encoder.", "encoder."),
    ("norm_final_attn", "norm"),
    ("prompt_encoder.mask_downscaling.0", "masks.conv1"),
    ("prompt_encoder.mask_downscaling.1", "masks.norm1"),
    ("prompt_encoder.mask_downscaling.3", "masks.conv2"),
    ("prompt_encoder.mask_downscaling.4", "masks.norm2"),
    ("prompt_encoder.mask_downscaling.6", "masks.conv3"),
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "points.frequencies"),
    ("output_upscaling", "upscale"),
    ("layers.0.", "0."),
    ("layers.1.", "2."),
    ("layers.2.", "4."),
)


def sam_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names, of Meta's `sam_vit_*.pth` or of a `SamModel`; gradients map alike."""
    meta = any(name.startswith("image_encoder.") for name in state_dict)
    point = "prompt_encoder.point_embeddings." if meta else "prompt_encoder.point_embed."
    kinds = [state_dict[f"{point}{i}.weight"] for i in range(4)]
    state = {"points.kinds": torch.cat(kinds)}
    for name, tensor in state_dict.items():
        if name.startswith((point, "pixel_")):
            continue  # the kinds are one tensor here; Meta's colours to normalise by are known
        ours = rename(name, META_RENAMES if meta else HF_RENAMES)
        if ours.endswith("patch_embed.proj.weight"):
            tensor = tensor.flatten(1)
        elif ours.endswith(("position_embed", "no_mask", "not_a_point")):
            tensor = tensor.squeeze(0)
        state[ours] = tensor
    return state


def sam_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> SAM:
    """A Hugging Face `SamModel` as our `SAM`.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of the model.

    Raises:
        ValueError: the config asks for what our classes do not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="sam")
    vision = VISION_DEFAULTS | read_config(
        c["vision_config"], hidden_act="gelu", qkv_bias=True, use_abs_pos=True, num_channels=3
    )
    prompt = PROMPT_DEFAULTS | read_config(c["prompt_encoder_config"], hidden_act="gelu", layer_norm_eps=1e-6)
    decoder = DECODER_DEFAULTS | read_config(c["mask_decoder_config"], hidden_act="relu", iou_head_depth=3)
    dim, channels = decoder["hidden_size"], prompt["mask_input_channels"]
    model = SAM(
        ImageEncoder(
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            dim=vision["hidden_size"],
            depth=vision["num_hidden_layers"],
            heads=vision["num_attention_heads"],
            mlp_dim=vision["mlp_dim"] or 4 * vision["hidden_size"],
            out_dim=vision["output_channels"],
            window=vision["window_size"],
            global_blocks=vision["global_attn_indexes"],
            relative=vision["use_rel_pos"],
            eps=vision["layer_norm_eps"],
        ),
        PointEncoder(dim, vision["image_size"]),
        MaskEncoder(dim, (channels // 4, channels)),
        MaskDecoder(
            dim,
            heads=decoder["num_attention_heads"],
            mlp_dim=decoder["mlp_dim"],
            depth=decoder["num_hidden_layers"],
            inner_dim=dim // decoder["attention_downsample_rate"],
            masks=decoder["num_multimask_outputs"],
            iou_hidden=decoder["iou_head_hidden_dim"],
            eps=decoder["layer_norm_eps"],
        ),
    )
    load(model, sam_state(state_dict))
    return model


def sam_from_meta(state_dict: Mapping[str, Tensor]) -> SAM:
    """One of Meta's checkpoints (`sam_vit_b_01ec64.pth`, ..._l_..., ..._h_...) as our `SAM`.

    The sizes are read off the tensors, the encoder's heads and windows off its tables of relative positions.
    The decoder has 8 heads always (`build_sam.py`).

    Raises:
        ValueError: a tensor is missing, left over or of another shape.
    """
    state = sam_state(state_dict)
    grid, _, dim = state["encoder.position_embed"].shape
    patch = round((state["encoder.patch_embed.proj.weight"].shape[1] / 3) ** 0.5)
    tables = [state[f"encoder.blocks.{i}.attn.relative_rows"] for i in range(len(_blocks(state, "encoder")))]
    sides = [(len(table) + 1) // 2 for table in tables]
    out_dim = state["encoder.neck.0.weight"].shape[0]
    model = SAM(
        ImageEncoder(
            image_size=grid * patch,
            patch_size=patch,
            dim=dim,
            depth=len(tables),
            heads=dim // tables[0].shape[1],
            mlp_dim=state["encoder.blocks.0.mlp.fc1.weight"].shape[0],
            out_dim=out_dim,
            window=min(sides),
            global_blocks=[i for i, side in enumerate(sides) if side == grid],
            relative=True,
        ),
        PointEncoder(out_dim, grid * patch),
        MaskEncoder(out_dim, (state["masks.conv1.weight"].shape[0], state["masks.conv2.weight"].shape[0])),
        MaskDecoder(
            out_dim,
            heads=8,
            mlp_dim=state["decoder.transformer.blocks.0.mlp.fc1.weight"].shape[0],
            depth=len(_blocks(state, "decoder.transformer")),
            inner_dim=state["decoder.transformer.token_to_image.q_proj.weight"].shape[0],
            masks=len(state["decoder.mask_tokens"]) - 1,
            iou_hidden=state["decoder.iou_head.0.weight"].shape[0],
        ),
    )
    load(model, state)
    return model


def _blocks(state: Mapping[str, Tensor], of: str) -> set[str]:
    """The numbers of the blocks of a part."""
    start = f"{of}.blocks."
    return {name.removeprefix(start).split(".")[0] for name in state if name.startswith(start)}
