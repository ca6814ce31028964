"""SAM's image encoder: a ViT that keeps its grid, and a neck."""

from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.nn.init import init_weights
from cs_vl.nn.layer_norm_2d import LayerNorm2d
from cs_vl.nn.patch_embed import PatchEmbed
from cs_vl.nn.window_attention import GridBlock


class ImageEncoder(nn.Module):
    """An image as a grid of features: the slow half, once an image (Kirillov et al. 2023, sec. 3, app. A).

    A plain ViT without class token or last norm (Li et al. 2022, ViTDet): most blocks look within windows,
    a few at all of the grid.

    Args:
        image_size: height and width of the images in pixels.
        patch_size: side of a patch; divides image_size.
        dim, depth, heads: of the ViT.
        out_dim: width of the features.
        mlp_dim: hidden width of the MLPs (default: 4 * dim).
        window: side of the windows in patches; 0: every block looks at everything.
        global_blocks: the numbers of the blocks that look at everything all the same.
        relative: whether attention has relative positions.
        eps: of the ViT's layer norms.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        dim: int,
        depth: int,
        heads: int,
        out_dim: int,
        mlp_dim: int | None = None,
        window: int = 0,
        global_blocks: Collection[int] = (),
        relative: bool = False,
        eps: float = 1e-6,
    ):
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"patch_size={patch_size} must divide image_size; got {image_size}")
        self.image_size = image_size
        self.grid = image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, 3, dim)
        self.position_embed = nn.Parameter(torch.empty(self.grid, self.grid, dim))
        self.blocks: Any = nn.Sequential(
            *(
                GridBlock(
                    dim,
                    heads,
                    mlp_dim or 4 * dim,
                    grid=self.grid,
                    window=0 if i in global_blocks else window,
                    relative=relative,
                    eps=eps,
                )
                for i in range(depth)
            )
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, out_dim, 1, bias=False),
            LayerNorm2d(out_dim),
            nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False),
            LayerNorm2d(out_dim),
        )
        self.apply(init_weights)
        nn.init.trunc_normal_(self.position_embed, std=0.02)

    def forward(
        self, images: Float[Tensor, "images 3 size size"]
    ) -> Float[Tensor, "images out_dim grid grid"]:
        """Raises ValueError where the images are not `image_size` by `image_size`."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"this encoder reads images of {self.image_size} x {self.image_size} pixels; got "
                f"{images.shape[-2]} x {images.shape[-1]}: scale and pad them (`cs_vl.tasks.predictor`)"
            )
        x = self.patch_embed(images).unflatten(1, (self.grid, self.grid)) + self.position_embed
        return self.neck(self.blocks(x).permute(0, 3, 1, 2))
