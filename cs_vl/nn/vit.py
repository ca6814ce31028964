"""ViT: a transformer that reads an image as a sentence of patches."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.init import init_weights
from cs_vl.nn.patch_embed import PatchEmbed
from cs_vl.nn.pool import AttentionPool


class ViTOutput(NamedTuple):
    """What a ViT returns.

    pooled: one vector an image.
    tokens: all tokens after the final norm, the class token (where there is one) first.
    hidden_states: depth + 1 tensors: what enters the first block, then what leaves each block, all before
        the final norm.  LLaVA reads hidden_states[-2].
    """

    pooled: Float[Tensor, "batch dim"]
    tokens: Float[Tensor, "batch tokens dim"]
    hidden_states: tuple[Float[Tensor, "batch tokens dim"], ...]


@exercise
class ViT(nn.Module):
    """Vision transformer with pre-norm blocks (Dosovitskiy et al. 2021, eq. 1-4).

    To see what positions are worth, switch them off: `vit.position_embed.requires_grad_(False).zero_()`.

    Args:
        image_size: height and width of the images in pixels, or one number for both.
        patch_size: side of a patch in pixels; divides both.
        channels: colours of the images.
        dim, depth, heads: width of the tokens, number of blocks, attention heads of each.
        mlp_dim: hidden width of the MLPs (default: 4 * dim).
        pool: how tokens become one vector: "cls": the class token, an extra learned token before the
            patches.  "mean": the average over the patches.  "map": `AttentionPool` over the patches (SigLIP).
            "mean" and "map" have no class token: there `class_token` is None, as `attention_pool` is
            everywhere but with "map".
        pre_ln: whether to normalise the tokens before the first block too, by `self.ln_pre` (CLIP).
        activation: the MLPs', a key of `cs_vl.nn.mlp.ACTIVATIONS`.
        eps: of all layer norms.
        patch_bias: whether the patch embedding has a bias (CLIP: no).
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        patch_size: int,
        channels: int = 3,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int | None = None,
        pool: str = "cls",
        pre_ln: bool = False,
        activation: str = "gelu",
        eps: float = 1e-6,
        patch_bias: bool = True,
    ):
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if height % patch_size or width % patch_size:
            raise ValueError(f"patch_size={patch_size} must divide image_size; got {height} x {width}")
        if pool not in ("cls", "mean", "map"):
            raise ValueError(f"pool must be 'cls', 'mean' or 'map'; got {pool!r}")
        self.image_size = (height, width)
        self.pool = pool
        patches = (height // patch_size) * (width // patch_size)

        self.patch_embed = PatchEmbed(patch_size, channels, dim, bias=patch_bias)
        self.class_token = nn.Parameter(torch.empty(1, 1, dim)) if pool == "cls" else None
        self.position_embed = nn.Parameter(torch.empty(1, patches + (pool == "cls"), dim))
        self.ln_pre = nn.LayerNorm(dim, eps=eps) if pre_ln else nn.Identity()
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, mlp_dim, activation=activation, eps=eps) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.attention_pool = (
            AttentionPool(dim, heads, mlp_dim, activation=activation, eps=eps) if pool == "map" else None
        )

        self.apply(init_weights)
        nn.init.trunc_normal_(self.position_embed, std=0.02)
        if self.class_token is not None:
            nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> ViTOutput:
        """Read images and return all that there is to see (`ViTOutput`).

        Every token gets its own row of `position_embed`, the class token the first.  `ln_pre` (without
        pre_ln it does nothing) comes after the positions.  `norm` is applied to all tokens once, after the
        last block; every kind of pooling starts from its result.

        Raises:
            ValueError: the images are not of size `self.image_size`.
        """
        if images.shape[-2:] != self.image_size:
            expected, got = (f"{height} x {width}" for height, width in (self.image_size, images.shape[-2:]))
            raise ValueError(f"this ViT reads images of {expected} pixels; got {got}: resize them")
        ### BEGIN SOLUTION
        x = self.patch_embed(images)  # (batch, patches, dim)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)
        x = self.ln_pre(x + self.position_embed)

        hidden_states = [x]
        for block in self.blocks:
            x = block(x)
            hidden_states.append(x)

        tokens = self.norm(x)
        if self.class_token is not None:
            pooled = tokens[:, 0]
        elif self.attention_pool is not None:
            pooled = self.attention_pool(tokens)
        else:
            pooled = tokens.mean(dim=1)
        return ViTOutput(pooled, tokens, tuple(hidden_states))
        ### END SOLUTION
