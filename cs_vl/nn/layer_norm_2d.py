"""Layer norm of an image's channels: at each pixel by itself."""

from jaxtyping import Float
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """`nn.LayerNorm` over the channels of (batch, channels, height, width) (ConvNeXt; SAM, `common.py`)."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__(channels, eps=eps)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
