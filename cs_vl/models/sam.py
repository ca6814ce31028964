"""SAM: an image is encoded once, and answers any number of prompts."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.models.image_encoder import ImageEncoder
from cs_vl.models.mask_decoder import MaskDecoder
from cs_vl.models.prompt_encoder import MaskEncoder, PointEncoder
from cs_vl.nn.fourier import grid_positions

# ImageNet's colours in [0, 1], by which SAM normalises.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SAMOutput(NamedTuple):
    """masks: logits, 4 x 4 for each of the features, above 0 in the mask; iou: how good each should be."""

    masks: Float[Tensor, "images prompts k height width"]
    iou: Float[Tensor, "images prompts k"]


def most_confident(output: SAMOutput) -> Float[Tensor, "images prompts height width"]:
    """Of each prompt's masks the one that the model thinks is best."""
    best = output.iou.argmax(dim=2)[:, :, None, None, None]
    return output.masks.take_along_dim(best, dim=2)[:, :, 0]


def to_size(
    masks: Float[Tensor, "*batch height width"], size: int | tuple[int, int]
) -> Float[Tensor, "*batch new_height new_width"]:
    """Logits (or a 0/1 mask, as floats) at another size, bilinear."""
    size = (size, size) if isinstance(size, int) else size
    if masks.shape[-2:] == size:
        return masks
    flat = F.interpolate(masks.flatten(0, -3)[:, None], size, mode="bilinear", align_corners=False)
    return flat[:, 0].unflatten(0, masks.shape[:-2])


class SAM(nn.Module):
    """Segment anything that a prompt points at (Kirillov et al. 2023).

    Args:
        encoder: from images to features of width `decoder`'s dim.
        points, masks: the two halves of the prompt encoder.
        decoder: from features and prompts to masks.
    """

    def __init__(self, encoder: ImageEncoder, points: PointEncoder, masks: MaskEncoder, decoder: MaskDecoder):
        super().__init__()
        self.encoder = encoder
        self.points = points
        self.masks = masks
        self.decoder = decoder
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.encoder.image_size

    @property
    def mask_size(self) -> int:
        """Height and width of the masks that come out, and of those that may be given as prompts."""
        return 4 * self.encoder.grid

    def encode(self, images: Float[Tensor, "images 3 size size"]) -> Float[Tensor, "images dim grid grid"]:
        """The features of images in [0, 1].

        Raises:
            ValueError: they have another size.
        """
        return self.encoder((images - self.mean) / self.std)

    def decode(
        self,
        features: Float[Tensor, "images dim grid grid"],
        points: Float[Tensor, "images prompts n 2"] | None = None,
        labels: Int[Tensor, "images prompts n"] | None = None,
        boxes: Float[Tensor, "images prompts 4"] | None = None,
        masks: Float[Tensor, "images prompts mask_size mask_size"] | None = None,
        *,
        multimask: bool = True,
    ) -> SAMOutput:
        """Answer prompts, the same number for each image: points, a box, a mask, or several of them.

        Args:
            points, labels, boxes: as `PointEncoder` takes them, in pixels of the image as it was encoded.
            masks: logits of an earlier answer.
            multimask: as in `MaskDecoder`.

        Raises:
            ValueError: there is no prompt at all, or points without labels.
        """
        if (points is None) != (labels is None):
            raise ValueError("points need labels (1 foreground, 0 background), and labels need points")
        prompts = next((x.shape[:2] for x in (points, boxes, masks) if x is not None), None)
        if prompts is None:
            raise ValueError("there is no prompt: give points with labels, boxes, masks, or several of them")
        if points is None and boxes is None:
            sparse = features.new_zeros(*prompts, 0, features.shape[1])
        else:
            if points is None or labels is None:
                points = features.new_zeros(*prompts, 0, 2)
                labels = torch.zeros(*prompts, 0, dtype=torch.long, device=features.device)
            sparse = self.points(points, labels, boxes)
        height, width = features.shape[-2:]
        positions = grid_positions(height, width, self.points.frequencies)
        return SAMOutput(
            *self.decoder(
                features, positions, sparse, self.masks(masks, (height, width)), multimask=multimask
            )
        )

    def forward(self, images: Float[Tensor, "images 3 size size"], *args, **options) -> SAMOutput:
        """`encode`, then `decode`."""
        return self.decode(self.encode(images), *args, **options)


def make_sam(
    *,
    image_size: int,
    patch_size: int,
    dim: int,
    depth: int,
    heads: int,
    out_dim: int,
    window: int = 0,
    global_blocks: tuple[int, ...] = (),
    relative: bool = False,
    decoder_heads: int = 8,
    decoder_mlp_dim: int = 2048,
    masks: int = 3,
) -> SAM:
    """A SAM in any size; the options are those of `ImageEncoder` and `MaskDecoder`."""
    return SAM(
        ImageEncoder(
            image_size=image_size,
            patch_size=patch_size,
            dim=dim,
            depth=depth,
            heads=heads,
            out_dim=out_dim,
            window=window,
            global_blocks=global_blocks,
            relative=relative,
        ),
        PointEncoder(out_dim, image_size),
        MaskEncoder(out_dim),
        MaskDecoder(out_dim, heads=decoder_heads, mlp_dim=decoder_mlp_dim, masks=masks, iou_hidden=out_dim),
    )
