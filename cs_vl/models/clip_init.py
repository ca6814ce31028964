"""The CLIP of the paper: its architecture at any size, and how its weights start."""

from torch import nn

from cs_vl.models.clip import CLIP
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.text import TextTransformer
from cs_vl.nn.vit import ViT


def make_clip(
    *,
    image_size: int | tuple[int, int],
    patch_size: int,
    vision_dim: int,
    vision_depth: int,
    vision_heads: int,
    vocab_size: int,
    context_length: int,
    end_id: int,
    text_dim: int,
    text_depth: int,
    text_heads: int,
    embed_dim: int,
    logit_bias: float | None = None,
) -> CLIP:
    """A new CLIP with the towers of Radford et al. 2021, sec. 2.4, in any size.

    Images are read by a pre-norm ViT with a norm before its first block and pooled at the class token; texts
    by a causal transformer, pooled at the first `end_id`.  Both have quick_gelu MLPs of four times the width.

    The paper's ViT-B/32: image_size=224, patch_size=32, vision_dim=768, vision_depth=12, vision_heads=12,
    vocab_size=49408, context_length=77, end_id=49407, text_dim=512, text_depth=12, text_heads=8,
    embed_dim=512.

    Args:
        image_size, patch_size: in pixels.
        end_id: id of the end-of-text token, which every text must have.
        logit_bias: see `CLIP`.
    """
    visual = ViT(
        image_size=image_size,
        patch_size=patch_size,
        dim=vision_dim,
        depth=vision_depth,
        heads=vision_heads,
        pre_ln=True,
        activation="quick_gelu",
        eps=1e-5,
        patch_bias=False,
    )
    text = TextTransformer(
        vocab_size=vocab_size,
        context_length=context_length,
        dim=text_dim,
        depth=text_depth,
        heads=text_heads,
        causal=True,
        pool="eot",
        end_id=end_id,
        activation="quick_gelu",
    )
    clip = CLIP(
        visual=visual,
        text=text,
        visual_dim=vision_dim,
        text_dim=text_dim,
        embed_dim=embed_dim,
        logit_bias=logit_bias,
    )
    clip_init(clip)
    return clip


def clip_init(clip: CLIP) -> None:
    """Draw a new CLIP's weights as openai/CLIP does (`clip/model.py`); its biases stay 0, its norms 1 and 0.

    The deeper a tower, the less each layer adds to the residual stream.  All is drawn from normal
    distributions but the patch embedding, which starts as a convolution of torch's does.

    OpenAI's file gives the text tower's blocks these standard deviations and leaves those of the ViT as torch
    starts them; here both towers follow the one rule.

    Raises:
        TypeError: the towers are not a `ViT` and a `TextTransformer`.
    """
    vit, text = clip.visual, clip.text
    if not (isinstance(vit, ViT) and isinstance(text, TextTransformer)):
        kinds = f"{type(vit).__name__} and {type(text).__name__}"
        raise TypeError(f"clip_init knows the weights of a ViT and a TextTransformer; got {kinds}")
    vit.patch_embed.proj.reset_parameters()
    nn.init.normal_(vit.position_embed, std=vit.position_embed.shape[-1] ** -0.5)
    if vit.class_token is not None:
        nn.init.normal_(vit.class_token, std=vit.class_token.shape[-1] ** -0.5)
    nn.init.normal_(text.token_embed.weight, std=0.02)
    nn.init.normal_(text.position_embed, std=0.01)
    for projection in (clip.visual_projection, clip.text_projection):
        nn.init.normal_(projection.weight, std=projection.in_features**-0.5)

    for blocks in (vit.blocks, text.blocks):
        residual_writers = 2 * len(blocks)
        for block in blocks:
            assert isinstance(block, TransformerBlock)
            width = block.attn.q_proj.in_features
            for reader in (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj):
                nn.init.normal_(reader.weight, std=width**-0.5)
            nn.init.normal_(block.mlp.fc1.weight, std=(2 * width) ** -0.5)
            for writer in (block.attn.out_proj, block.mlp.fc2):
                nn.init.normal_(writer.weight, std=(width * residual_writers) ** -0.5)
