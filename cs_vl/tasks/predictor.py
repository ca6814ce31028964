"""A picture of any size, and prompts in its own pixels: what a program asks of a SAM."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cs_vl.data.square import Square
from cs_vl.models.sam import SAM


class Prediction(NamedTuple):
    """k masks of a prompt, three or one.

    masks: in the picture.
    iou: how good the model thinks each of them is.
    logits: as the decoder gave them; one of them may be the `mask` of the next prompt.
    """

    masks: Bool[Tensor, "k height width"]
    iou: Float[Tensor, " k"]
    logits: Float[Tensor, "k mask_size mask_size"]


class Predictor:
    """Encodes a picture once, then answers prompts.

    Args:
        model: any SAM.
    """

    def __init__(self, model: SAM):
        self.model = model.eval()
        self.square: Square | None = None
        self.features: Tensor | None = None

    @torch.no_grad()
    def set_image(self, image: Any) -> None:
        """Encode a picture of any size.

        Args:
            image: a tensor (3, height, width) in [0, 1], or an array (height, width, 3) of uint8.

        Raises:
            ValueError: it is neither.
        """
        pixels = _picture(image)
        square = Square(pixels.shape[1], pixels.shape[2], self.model.image_size)
        # Padded with the mean colour, which is 0 once the model has normalised it.
        self.features = self.model.encode(
            square.put(pixels.to(self.model.mean), self.model.mean)[None],
        )
        self.square = square

    @torch.no_grad()
    def predict(
        self,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask: Any = None,
        *,
        multimask: bool = True,
    ) -> Prediction:
        """Answer one prompt: clicks, a box, a mask, or several of them together.

        Args:
            points: (x, y) of each click, in the picture's pixels: from 0 to width - 1 and to height - 1.
            labels: of each, 1 (this) or 0 (not this); all 1 by default.
            box: x0, y0, x1, y1 in pixels, the last ones included.
            mask: logits of an earlier answer, (mask_size, mask_size).
            multimask: whether to give three masks or one; where the prompt leaves no doubt one is better.

        Raises:
            ValueError: no picture has been set, or the prompt makes no sense.
        """
        if self.square is None or self.features is None:
            raise ValueError("there is no picture yet: call set_image(image) first")
        if points is None and labels is not None:
            raise ValueError("labels are those of points, and there are no points: give both, or neither")
        if points is None and box is None and mask is None:
            raise ValueError("there is no prompt: give points, a box, a mask, or several of them")
        given: dict[str, Tensor | None] = {"points": None, "labels": None, "boxes": None, "masks": None}
        if points is not None:
            clicks = _points(points, self.square)
            given["points"] = self.square.points(clicks)[None, None]
            given["labels"] = _labels(labels, len(clicks))[None, None]
        if box is not None:
            corners = _box(box, self.square).view(2, 2)
            given["boxes"] = self.square.points(corners).view(1, 1, 4)
        if mask is not None:
            given["masks"] = _mask(mask, self.model.mask_size)[None, None]
        device = self.features.device
        there = {name: value if value is None else value.to(device) for name, value in given.items()}
        out = self.model.decode(self.features, **there, multimask=multimask)
        masks = self.square.back(out.masks[0, 0]) > 0
        return Prediction(masks.cpu(), out.iou[0, 0].cpu(), out.masks[0, 0].cpu())


# ---- What is given, checked ----


def _picture(image: Any) -> Float[Tensor, "3 height width"]:
    wanted = "a picture is a tensor (3, height, width) in [0, 1] or an array (height, width, 3) of uint8"
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"{wanted}; got an array of shape {image.shape}")
        return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    if not isinstance(image, Tensor):
        kind = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise ValueError(f"{wanted}; got {kind}")
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape or not image.is_floating_point():
        raise ValueError(f"{wanted}; got a tensor {tuple(image.shape)} of {image.dtype}")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # NaN, too
        raise ValueError(f"{wanted}; its values go from {low:g} to {high:g}")
    return image.float()


def _numbers(given: Any, what: str) -> Tensor:
    try:
        numbers = torch.as_tensor(np.asarray(given, dtype=np.float64)).float()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are numbers; got {given!r}") from error
    if not numbers.isfinite().all():
        raise ValueError(f"{what} are finite numbers; got {given!r}")
    return numbers


def _within(points: Tensor, square: Square, what: str) -> None:
    for x, y in points.tolist():
        if not (0 <= x <= square.width - 1 and 0 <= y <= square.height - 1):
            raise ValueError(
                f"{what} ({x:g}, {y:g}) lies outside of the picture: x goes from 0 to {square.width - 1}, "
                f"y from 0 to {square.height - 1}"
            )


def _points(points: Any, square: Square) -> Float[Tensor, "n 2"]:
    numbers = _numbers(points, "points")
    if numbers.numel() == 0:
        raise ValueError("there is no point: give one (x, y) at least, or leave points out")
    if numbers.ndim != 2 or numbers.shape[1] != 2:
        raise ValueError(f"points are a list of (x, y), of shape (n, 2); got {tuple(numbers.shape)}")
    _within(numbers, square, "the point")
    return numbers


def _labels(labels: Any, n: int) -> Tensor:
    numbers = torch.ones(n) if labels is None else _numbers(labels, "labels")
    if numbers.shape != (n,):
        raise ValueError(f"every point needs a label; got {numbers.numel()} for {n} points")
    if not ((numbers == 0) | (numbers == 1)).all():
        raise ValueError(f"a label is 1 (this) or 0 (not this); got {numbers.tolist()}")
    return numbers.long()


def _box(box: Any, square: Square) -> Float[Tensor, " 4"]:
    numbers = _numbers(box, "the corners of a box")
    if numbers.shape != (4,):
        raise ValueError(f"a box is x0, y0, x1, y1; got the shape {tuple(numbers.shape)}")
    x0, y0, x1, y1 = numbers.tolist()
    for low, high, axis in ((x0, x1, "x"), (y0, y1, "y")):
        if high < low:
            raise ValueError(
                f"a box goes from its upper left to its lower right corner; here {axis}1 = {high:g} is less "
                f"than {axis}0 = {low:g}: swap them"
            )
    _within(numbers.view(2, 2), square, "the box's corner")
    return numbers


def _mask(mask: Any, size: int) -> Tensor:
    if isinstance(mask, Tensor):
        mask = mask.detach().cpu().float().numpy()
    numbers = _numbers(mask, "a mask's logits")
    if numbers.shape != (size, size):
        raise ValueError(
            f"a mask prompt is one of the `logits` of an earlier answer, ({size}, {size}); "
            f"got {tuple(numbers.shape)}"
        )
    return numbers
