"""Images of any size for a model that reads squares: scaled to the longer side, and padded."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Square:
    """Where an image lies in a square: its longer side fills it, from the upper left corner on.

    As in SAM (`ResizeLongestSide`), but for points: a pixel's centre goes to where that centre is then, while
    SAM scales the whole numbers, and so misses it by half the difference in size of the pixels.

    Args:
        height, width: of the image, in pixels.
        size: height and width of the square.

    Raises:
        ValueError: one of them is not positive.
    """

    height: int
    width: int
    size: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.size) < 1:
            raise ValueError(
                f"an image and its square have one pixel at least; got {self.height} x {self.width} for "
                f"{self.size} x {self.size}"
            )

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the image within the square; a narrow image keeps one pixel."""
        longer = max(self.height, self.width)
        height, width = (max(1, int(side * self.size / longer + 0.5)) for side in (self.height, self.width))
        return height, width

    def image(
        self, image: Float[Tensor, "3 height width"], colour: Float[Tensor, "3 1 1"]
    ) -> Float[Tensor, "3 size size"]:
        """The image in its square.

        Args:
            colour: of the padding.  SAM pads with zeros after it has normalised: that is the mean colour.
        """
        square = colour.to(image).expand(3, self.size, self.size).clone()
        height, width = self.scaled
        square[:, :height, :width] = _resize(image, self.scaled, antialias=True)
        return square

    def points(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """(x, y) in pixels of the image, in pixels of the square; whole numbers are pixels, in both."""
        height, width = self.scaled
        scale = points.new_tensor([width / self.width, height / self.height])
        return (points + 0.5) * scale - 0.5

    def boxes(self, boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """x0, y0, x1, y1: both corners, as points."""
        return self.points(boxes.unflatten(-1, (2, 2))).flatten(-2)

    def outside(self, points: Float[Tensor, "*batch 2"]) -> Bool[Tensor, "*batch"]:
        """Whether points lie beyond the image's edges, half a pixel from its outer pixels' centres."""
        edge = points.new_tensor([self.width, self.height]) - 0.5
        return ~((points >= -0.5) & (points <= edge)).all(dim=-1)

    def masks_back(self, masks: Float[Tensor, "*batch small small"]) -> Float[Tensor, "*batch height width"]:
        """Masks of the square, of any size, as logits: at the image's size, without the padding, bilinear."""
        height, width = self.scaled
        large = _resize(masks, (self.size, self.size))
        return _resize(large[..., :height, :width], (self.height, self.width))


def _resize(
    images: Float[Tensor, "*batch height width"], size: tuple[int, int], *, antialias: bool = False
) -> Float[Tensor, "*batch new_height new_width"]:
    """Bilinear; with `antialias` what becomes smaller is averaged, so that thin lines stay."""
    if images.shape[-2:] == size:
        return images
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = F.interpolate(flat, size, mode="bilinear", align_corners=False, antialias=antialias)
    return flat.view(*images.shape[:-2], *size)
