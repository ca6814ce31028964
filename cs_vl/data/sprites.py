"""Sprites: little pictures with transparency and names (emoji, say) as a bank for `make_scenes`."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Sprites:
    """Pictures in colours of their own: `colour_names` is one empty name, and every object's colour is 0.

    Args:
        rgba: square pictures, red, green, blue (not multiplied by alpha) and alpha, in [0, 1].
        names: one for each picture.
    """

    def __init__(self, rgba: Float[Tensor, "kinds 4 side side"], names: tuple[str, ...] | list[str]):
        if rgba.ndim != 4 or rgba.shape[1] != 4 or rgba.shape[2] != rgba.shape[3] or len(rgba) != len(names):
            raise ValueError(
                f"sprites must be (kinds, 4, side, side) with a name each; "
                f"got {tuple(rgba.shape)} and {len(names)} names"
            )
        self.kind_names = tuple(names)
        self.colour_names = ("",)
        alpha = rgba[:, 3:]
        # Colours are averaged weighted by alpha: else what is hidden under transparency would bleed out.
        levels = [torch.cat([rgba[:, :3] * alpha, alpha], dim=1).float()]
        while levels[-1].shape[-1] % 2 == 0 and levels[-1].shape[-1] > 8:
            levels.append(F.avg_pool2d(levels[-1], 2))
        self.levels = levels  # each half as wide as the one before

    def draw(
        self,
        kind: Int[Tensor, " n"],
        colour: Int[Tensor, " n"],
        x: Float[Tensor, "n 1 width"],
        y: Float[Tensor, "n height 1"],
        pixel: Float[Tensor, " n"],
    ) -> Float[Tensor, "n 4 height width"]:
        """As `cs_vl.data.shapes.Shapes.draw`; `colour` changes nothing."""
        n, height, width = len(kind), y.shape[1], x.shape[2]
        points = torch.stack([x.expand(n, height, width), y.expand(n, height, width)], dim=-1)
        # Bilinear sampling looks at two texels across: take the smallest level that has one for each pixel.
        finest = self.levels[0].shape[-1]
        level = (finest * pixel / 2).log2().floor().clamp(0, len(self.levels) - 1).long()
        rgba = x.new_empty(n, 4, height, width)
        for index in level.unique().tolist():
            at = (level == index).nonzero().squeeze(1)
            sprites = self.levels[index].to(x.device)[kind[at]]
            rgba[at] = F.grid_sample(sprites, points[at], padding_mode="zeros", align_corners=False)
        return rgba
