"""A small convolutional network: the other way to see, beside the ViT."""

from itertools import pairwise
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.nn.conv_stem import conv_stage


class ConvNetOutput(NamedTuple):
    """What a `ConvNet` returns.

    pooled: one vector an image.
    maps: the last stage's feature maps, which `pooled` averages.
    """

    pooled: Float[Tensor, "batch dim"]
    maps: Float[Tensor, "batch dim rows columns"]


class ConvNet(nn.Module):
    """Stages of two convolutions, the first of which halves the image, and an average over what is left.

    Args:
        channels: colours of the images.
        width: of the first stage; each stage is twice as wide as the one before.
        stages: how often the image is halved.
    """

    def __init__(self, *, channels: int = 3, width: int = 32, stages: int = 4):
        super().__init__()
        widths = [channels, *(width * 2**stage for stage in range(stages))]
        self.dim = widths[-1]
        self.stages = nn.Sequential(*(conv_stage(inputs, outputs, 2) for inputs, outputs in pairwise(widths)))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> ConvNetOutput:
        maps = self.stages(images)
        return ConvNetOutput(maps.mean(dim=(2, 3)), maps)
