"""SAM's prompt encoder: points and boxes as tokens, a mask as something added to the image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.fourier import fourier_positions
from cs_vl.nn.layer_norm_2d import LayerNorm2d

# What a label says a point is.
PAD, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3


@exercise
class PointEncoder(nn.Module):
    """Points and boxes as tokens: where it is, plus what it is (Kirillov et al. 2023, sec. 3 and app. A).

    Args:
        dim: width of a token.
        image_size: height and width of the image in pixels.
        scale: standard deviation of the frequencies.
    """

    def __init__(self, dim: int, image_size: int, scale: float = 1.0):
        super().__init__()
        self.image_size = image_size
        self.frequencies: Tensor
        self.register_buffer("frequencies", scale * torch.randn(2, dim // 2))  # drawn once, never learned
        self.kinds = nn.Parameter(0.02 * torch.randn(4, dim))
        self.not_a_point = nn.Parameter(0.02 * torch.randn(dim))

    def forward(
        self,
        points: Float[Tensor, "*batch n 2"],
        labels: Int[Tensor, "*batch n"],
        boxes: Float[Tensor, "*batch 4"] | None = None,
    ) -> Float[Tensor, "*batch tokens dim"]:
        """A token for each point; after them two for a box, or else one for nothing at all.

        A token is the place's `fourier_positions` plus the row of `self.kinds` that its kind has: 0 for
        a background point, 1 for a foreground point, 2 and 3 for a box's upper left and lower right corner.
        A point with the label -1 is none (it fills up a batch): its token is `self.not_a_point` alone.
        Without boxes one such point comes last.

        Args:
            points: (x, y) in pixels, whole numbers at the pixels' upper left corners: half a pixel is added,
                to both coordinates of points and corners alike, before they are divided by `image_size`.
            labels: 1 foreground, 0 background, -1 no point.
            boxes: x0, y0, x1, y1 in pixels, one for each set of points; n may be 0 then.
        """
        ### BEGIN SOLUTION
        if boxes is None:  # one more point, which is none
            points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)
        else:
            points = torch.cat([points, boxes.unflatten(-1, (2, 2))], dim=-2)
            labels = torch.cat([labels, labels.new_tensor([2, 3]).expand(*boxes.shape[:-1], 2)], dim=-1)
        where = fourier_positions((points + 0.5) / self.image_size, self.frequencies)
        what = torch.cat([self.kinds, self.not_a_point[None]])[labels]  # -1 is the last row
        return what + where.masked_fill((labels == -1)[..., None], 0)
        ### END SOLUTION


@exercise
class MaskEncoder(nn.Module):
    """A mask as something to add to the image's features, at a quarter of its size (app. A).

    Args:
        dim: width of the image's features.
        channels: widths after the first and the second convolution.
    """

    def __init__(self, dim: int, channels: tuple[int, int] = (4, 16)):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels[0], 2, stride=2)
        self.norm1 = LayerNorm2d(channels[0])
        self.conv2 = nn.Conv2d(channels[0], channels[1], 2, stride=2)
        self.norm2 = LayerNorm2d(channels[1])
        self.conv3 = nn.Conv2d(channels[1], dim, 1)
        self.activation = nn.GELU()
        self.no_mask = nn.Parameter(0.02 * torch.randn(dim))

    def forward(
        self, masks: Float[Tensor, "images prompts 4*h 4*w"] | None, grid: tuple[int, int]
    ) -> Float[Tensor, "images prompts dim h w"]:
        """Each mask through conv1, norm1, activation, conv2, norm2, activation, conv3.

        Without masks: `self.no_mask` at every place of the grid, the same for all images and prompts, as
        (1, 1, dim, h, w).

        Args:
            masks: logits, as the decoder gave them, or None.
            grid: h and w, the size of the image's features.
        """
        ### BEGIN SOLUTION
        if masks is None:
            return self.no_mask[None, None, :, None, None].expand(1, 1, -1, *grid)
        x = masks.flatten(0, 1)[:, None]  # (images * prompts, 1, 4 h, 4 w)
        x = self.activation(self.norm1(self.conv1(x)))
        x = self.activation(self.norm2(self.conv2(x)))
        return self.conv3(x).unflatten(0, masks.shape[:2])
        ### END SOLUTION
