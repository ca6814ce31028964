"""A convolutional stem: a ViT's patches, looked at several times instead of once."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution, batch norm (Ioffe & Szegedy 2015) and ReLU; stride 2 halves height and width."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),  # the norm has the bias
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def conv_stage(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    """A block that halves the image, and others that look again."""
    again = (conv_block(outputs, outputs) for _ in range(convolutions - 1))
    return nn.Sequential(conv_block(inputs, outputs, 2), *again)


class ConvStem(nn.Module):
    """Takes the place of `ViT.patch_embed`: convolutions that halve the image until a pixel is a patch.

    A small ViT learns faster and with less fuss so (Xiao et al. 2021, "Early convolutions help transformers
    see better"): it need not find out from few images that neighbouring pixels belong together.

        vit.patch_embed = ConvStem(8, 3, 128)

    Args:
        patch_size: side of a patch in pixels; a power of 2, from 2 on.
        channels: colours of the images.
        dim: width of a token; the last stage has this width, each stage before it half of the next.
        convolutions: of each stage; the first of them halves the image.
    """

    def __init__(self, patch_size: int, channels: int, dim: int, *, convolutions: int = 1):
        super().__init__()
        stages = patch_size.bit_length() - 1
        if patch_size < 2 or patch_size != 2**stages:
            raise ValueError(f"patch_size must be a power of 2, from 2 on; got {patch_size}")
        widths = [channels, *(dim // 2**stage for stage in reversed(range(stages)))]
        self.stages = nn.Sequential(
            *(conv_stage(inputs, outputs, convolutions) for inputs, outputs in pairwise(widths))
        )
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Tokens in reading order, as from `PatchEmbed`."""
        return self.proj(self.stages(images)).flatten(2).mT
