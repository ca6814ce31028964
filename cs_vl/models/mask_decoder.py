"""SAM's mask decoder: a prompt and an image in, three masks and how good they are out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.layer_norm_2d import LayerNorm2d
from cs_vl.nn.two_way import TwoWayTransformer


def relu_mlp(dim: int, hidden: int, out: int, layers: int = 3) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    widths = [dim] + [hidden] * (layers - 1) + [out]
    modules: list[nn.Module] = []
    for i in range(layers):
        modules += [nn.ReLU()] * (i > 0) + [nn.Linear(widths[i], widths[i + 1])]
    return nn.Sequential(*modules)


@exercise
class MaskDecoder(nn.Module):
    """The fast half of SAM: milliseconds a prompt (Kirillov et al. 2023, app. A and fig. 14).

    Args:
        dim: width of features and tokens; a multiple of 8.
        heads, mlp_dim, depth, inner_dim, eps: of the `TwoWayTransformer`.
        masks: how many masks a prompt gets when it may mean several things.
        iou_hidden: hidden width of the head that predicts IoU.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        mlp_dim: int,
        depth: int = 2,
        inner_dim: int | None = None,
        masks: int = 3,
        iou_hidden: int = 256,
        eps: float = 1e-5,
    ):
        super().__init__()
        if dim % 8:
            raise ValueError(f"dim must be a multiple of 8; got {dim}")
        self.iou_token = nn.Parameter(torch.randn(1, dim))
        self.mask_tokens = nn.Parameter(torch.randn(1 + masks, dim))
        self.transformer = TwoWayTransformer(dim, heads, mlp_dim, depth=depth, inner_dim=inner_dim, eps=eps)
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.hypernetworks = nn.ModuleList(relu_mlp(dim, dim, dim // 8) for _ in range(1 + masks))
        self.iou_head = relu_mlp(dim, iou_hidden, 1 + masks)

    def forward(
        self,
        image: Float[Tensor, "images dim h w"],
        positions: Float[Tensor, "dim h w"],
        sparse: Float[Tensor, "images prompts n dim"],
        dense: Float[Tensor, "#images #prompts dim h w"],
        multimask: bool = True,
    ) -> tuple[Float[Tensor, "images prompts k 4*h 4*w"], Float[Tensor, "images prompts k"]]:
        """Decode each prompt, for its image.

        The tokens of a prompt are, in this order, the IoU token, the mask tokens and the prompt's own
        (`sparse`); its pixels are the image plus the mask prompt (`dense`), row by row.  Both go through
        `self.transformer(tokens, pixels, pixel_positions)`, which gives both back, in the same order.

        The pixels, as an image again, go through `self.upscale`.  From what has become of mask token i,
        `self.hypernetworks[i]` makes the weights of a linear classifier: mask i at a pixel is the product of
        those weights with the upscaled pixel.  `self.iou_head` reads what has become of the IoU token, and
        predicts the IoU of every mask.

        Args:
            image: the image encoder's features; `positions`: where they are (`grid_positions`).
            sparse: a prompt's tokens, `PointEncoder`'s; n may be 0.
            dense: `MaskEncoder`'s; prompts = 1 where they share it.
            multimask: True: masks 1, 2, ...; for a single click.  False: mask 0 alone, k = 1; for
                prompts that leave no doubt.

        Returns:
            (masks, iou): logits (above 0: in the mask), and the predicted IoU of each mask.
        """
        ### BEGIN SOLUTION
        own = torch.cat([self.iou_token, self.mask_tokens])
        tokens = torch.cat([own.expand(*sparse.shape[:2], -1, -1), sparse], dim=2)
        pixels = (image[:, None] + dense).flatten(3).mT  # (images, prompts or 1, h w, dim)
        tokens, pixels = self.transformer(tokens, pixels, positions.flatten(1).T)

        pixels = pixels.mT.unflatten(-1, image.shape[-2:])  # (images, prompts, dim, h, w)
        fine = self.upscale(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        weights = torch.stack([mlp(tokens[:, :, 1 + i]) for i, mlp in enumerate(self.hypernetworks)], dim=2)
        chosen = slice(1, None) if multimask else slice(0, 1)
        masks = weights[:, :, chosen] @ fine.flatten(3)  # (images, prompts, k, 4 h * 4 w)
        return masks.unflatten(-1, fine.shape[-2:]), self.iou_head(tokens[:, :, 0])[:, :, chosen]
        ### END SOLUTION
