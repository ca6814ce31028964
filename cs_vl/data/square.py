"""Any picture as the square that a SAM takes, and the way back: the longer side fits, the rest is padding."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Square:
    """How a picture lies in a square: scaled so that its longer side fits, in the upper left corner.

    As SAM's ResizeLongestSide.

    Attributes:
        height, width: of the picture, in pixels.
        size: of the square.
    """

    height: int
    width: int
    size: int

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of the picture within the square, one pixel at least."""
        scale = self.size / max(self.height, self.width)
        height, width = (max(1, int(side * scale + 0.5)) for side in (self.height, self.width))
        return height, width

    def put(
        self, image: Float[Tensor, "3 height width"], fill: Float[Tensor, "3 1 1"]
    ) -> Float[Tensor, "3 size size"]:
        """The picture in the square; what is right of it and below has the colour `fill`."""
        height, width = self.inner
        small = F.interpolate(
            image[None], (height, width), mode="bilinear", align_corners=False, antialias=True
        )
        square = fill.expand(-1, self.size, self.size).clone()
        square[:, :height, :width] = small[0]
        return square

    def points(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """(x, y) in the picture's pixels -> in the square's.  Corners of boxes are points, too."""
        height, width = self.inner
        return points * torch.tensor([width / self.width, height / self.height]).to(points)

    def back(self, masks: Float[Tensor, "*batch s s"]) -> Float[Tensor, "*batch height width"]:
        """Masks of the square (logits, of any resolution) -> the picture's, without the padding."""
        height, width = self.inner
        flat = masks.reshape(-1, 1, *masks.shape[-2:])
        flat = F.interpolate(flat, (self.size, self.size), mode="bilinear", align_corners=False)
        flat = flat[..., :height, :width]
        flat = F.interpolate(flat, (self.height, self.width), mode="bilinear", align_corners=False)
        return flat.reshape(*masks.shape[:-2], self.height, self.width)
