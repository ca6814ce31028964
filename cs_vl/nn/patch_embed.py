"""Patch embedding: an image is worth 16x16 words."""

from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.exercise import exercise


@exercise
class PatchEmbed(nn.Module):
    """Cut images into square patches and project each to a token (Dosovitskiy et al. 2021, eq. 1).

    Args:
        patch_size: side of a patch, in pixels.
        channels: colours of the images.
        dim: width of a token.
        bias: whether the projection has one (ViT: yes, CLIP: no).
    """

    def __init__(self, patch_size: int, channels: int, dim: int, bias: bool = True):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(channels * patch_size * patch_size, dim, bias=bias)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Tokens in reading order: along the top row of patches first, left to right, then the row below.

        Within a patch the pixels are flattened in the order (channels, rows, columns) before `self.proj`.

        Raises:
            ValueError: height or width is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"height and width must be multiples of patch_size={self.patch_size}; got {height} x {width}"
            )
        ### BEGIN SOLUTION
        p = self.patch_size
        patches = images.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (batch, channels, rows, p, columns, p)
        patches = patches.permute(0, 2, 4, 1, 3, 5)  # (batch, rows, columns, channels, p, p)
        return self.proj(patches.flatten(3).flatten(1, 2))
        ### END SOLUTION
