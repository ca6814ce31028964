"""Prompts on a picture of any size: look at it once, then ask as often as you like."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from cs_vl.data.square import Square
from cs_vl.models.sam import SAM

Numbers = Tensor | np.ndarray | Sequence[Any]  # whatever becomes a tensor
PICTURE = "a tensor (3, height, width) of floats in [0, 1], or an array (height, width, 3) of uint8"
Image = Float[Tensor, "3 height width"] | UInt8[np.ndarray, "height width 3"]


class Prediction(NamedTuple):
    """The answer to a prompt: k masks.

    masks: at the image's size.
    iou: how good each should be.
    logits: the masks of the square as the decoder gave them; one of them may be the next prompt's `mask`.
    """

    masks: Bool[Tensor, "k height width"]
    iou: Float[Tensor, " k"]
    logits: Float[Tensor, "k mask_size mask_size"]


class Predictor:
    """A SAM that takes pictures as they come (as Meta's `SamPredictor`).

    All coordinates are those of the picture: (x, y) in pixels, whole numbers are the pixels, from 0 on, so
    that the picture reaches from -0.5 to half a pixel beyond the last ones.  Answers are on the CPU.
    """

    def __init__(self, sam: SAM):
        self.sam = sam
        self._square: Square | None = None
        self._features: Tensor | None = None

    @torch.no_grad()
    def set_image(self, image: Image) -> None:
        """Encode a picture; from now on, prompts are about it.

        Args:
            image: as in `as_image`.

        Raises:
            ValueError: it is no such picture.  The one before stays.
        """
        picture = as_image(image).to(self.sam.mean)  # where the model is, and in its type
        square = Square(picture.shape[1], picture.shape[2], self.sam.image_size)
        self._features = self.sam.encode(square.image(picture, self.sam.mean)[None])
        self._square = square

    @property
    def square(self) -> Square:
        """Where the picture lies in the model's square.

        Raises:
            ValueError: there is no picture yet.
        """
        if self._square is None:
            raise ValueError("there is no image to ask about: call `set_image(image)` first")
        return self._square

    @property
    def features(self) -> Float[Tensor, "1 dim grid grid"]:
        """What the encoder made of the picture.

        Raises:
            ValueError: there is no picture yet.
        """
        if self._features is None:
            raise ValueError("there is no image to ask about: call `set_image(image)` first")
        return self._features

    @torch.no_grad()
    def predict(
        self,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        box: Numbers | None = None,
        mask: Float[Tensor, "mask_size mask_size"] | None = None,
        multimask: bool = True,
    ) -> Prediction:
        """Answer one prompt: clicks, a box, a mask, or several of them.

        Args:
            points: (n, 2), x and y of each click.
            labels: n, 1 for "this" and 0 for "not this".
            box: x0, y0, x1, y1, the last pixels included.
            mask: one of the `logits` of an earlier answer.
            multimask: several masks, for a prompt that may mean several things; else one.

        Raises:
            ValueError: there is no image or no prompt, or the prompt does not fit the image.
        """
        square = self.square
        if points is None and labels is None and box is None and mask is None:
            raise ValueError("there is no prompt: give points with labels, a box, a mask, or several of them")
        prompt: dict[str, Tensor] = {}
        if points is not None or labels is not None:
            where, what = _clicks(points, labels, square)
            prompt |= {"points": square.points(where), "labels": what}
        if box is not None:
            prompt["boxes"] = square.boxes(_box(box, square))
        if mask is not None:
            prompt["masks"] = _mask(mask, self.sam.mask_size)
        device = self.features.device
        prompt = {
            name: given.to(device, given.dtype if name == "labels" else self.features.dtype)[None, None]
            for name, given in prompt.items()
        }
        out = self.sam.decode(self.features, **prompt, multimask=multimask)  # type: ignore[arg-type]
        logits = out.masks[0, 0]
        return Prediction((square.masks_back(logits) > 0).cpu(), out.iou[0, 0].cpu(), logits.cpu())


def as_image(image: Image) -> Float[Tensor, "3 height width"]:
    """A picture as a model takes it, in [0, 1].

    Args:
        image: a tensor (3, height, width) of floats in [0, 1], or an array (height, width, 3) of bytes, 0 to
            255, as files are read.

    Raises:
        ValueError: it is neither, or it is empty.
    """
    if isinstance(image, Tensor):
        channels, fits = 0, image.is_floating_point()
    elif isinstance(image, np.ndarray):
        channels, fits = 2, image.dtype == np.uint8
    else:
        raise ValueError(f"an image should be {PICTURE}; got {type(image).__name__}")
    shape = tuple(image.shape)
    if not fits:
        raise ValueError(f"an image should be {PICTURE}; got {type(image).__name__} of {image.dtype}")
    if len(shape) != 3:
        raise ValueError(f"an image should be {PICTURE}; got {len(shape)} dimensions, of the shape {shape}")
    if shape[channels] != 3:
        raise ValueError(
            f"an image should be {PICTURE}; got {shape[channels]} channels, in the shape {shape}: a grey one "
            "is repeated, a transparent one put on a ground"
        )
    if 0 in shape:
        raise ValueError(f"an image should have one pixel at least; got the shape {shape}")
    if isinstance(image, np.ndarray):
        return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1) / 255
    wrong = ~((image >= 0) & (image <= 1))  # NaN is wrong, too
    if wrong.any():
        raise ValueError(
            f"an image's values should lie in [0, 1]; got {int(wrong.sum())} of {image.numel()} that do not, "
            f"for instance {image[wrong][0].item():g}: divide bytes by 255"
        )
    return image


def _numbers(values: Any, name: str) -> Tensor:
    """Any numbers as a tensor on the CPU."""
    try:
        tensor = torch.as_tensor(values).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} should be numbers, all rows of one length; got {values!r}") from error
    if tensor.is_complex():
        raise ValueError(f"{name} should be real numbers; got {tensor.dtype}")
    return tensor if tensor.ndim else tensor[None]


def _finite(values: Tensor, name: str) -> Tensor:
    wrong = ~values.isfinite()
    if wrong.any():
        raise ValueError(f"{name} should be finite; got {values[wrong][0].item()} in {values.tolist()}")
    return values


def _extent(square: Square) -> str:
    return (
        f"the image of {square.width} x {square.height} pixels (x from 0 to {square.width - 1}, "
        f"y from 0 to {square.height - 1})"
    )


def _clicks(points: Any, labels: Any, square: Square) -> tuple[Tensor, Tensor]:
    """Points (n, 2) and labels (n,) that fit each other and the image."""
    if labels is None:
        n = len(_numbers(points, "points"))
        raise ValueError(f"points need labels, 1 (this) or 0 (not this); got {n} points and no labels")
    if points is None:
        n = len(_numbers(labels, "labels"))
        raise ValueError(f"labels need points, (x, y) each; got {n} labels and no points")
    where, what = _numbers(points, "points").float(), _numbers(labels, "labels")
    if where.numel() == 0:
        raise ValueError(
            "points should be one click at least; got 0: leave out points and labels where there is none"
        )
    if where.ndim != 2 or where.shape[1] != 2:
        raise ValueError(
            f"points should have the shape (n, 2), an x and a y each; got {tuple(where.shape)}"
            + (": write [[x, y]] for one click" if where.shape == (2,) else "")
        )
    if what.shape != where.shape[:1]:
        raise ValueError(
            f"each point needs one label; got {len(where)} points and labels of the shape {tuple(what.shape)}"
        )
    wrong = ~((what == 0) | (what == 1))
    if wrong.any():
        raise ValueError(f"labels should be 1 (this) or 0 (not this); got {what[wrong][0].item():g}")
    _finite(where, "points")
    outside = square.outside(where)
    if outside.any():
        i = int(outside.long().argmax())
        x, y = where[i].tolist()
        raise ValueError(f"point {i}, ({x:g}, {y:g}), lies outside of {_extent(square)}")
    return where, what.long()


def _box(box: Any, square: Square) -> Tensor:
    """A box (4,) within the image."""
    corners = _numbers(box, "a box").float()
    if corners.shape != (4,):
        raise ValueError(
            f"a box should be four numbers, x0, y0, x1, y1; got the shape {tuple(corners.shape)}"
        )
    x0, y0, x1, y1 = _finite(corners, "a box").tolist()
    for name, low, high in (("x", x0, x1), ("y", y0, y1)):
        if high < low:
            raise ValueError(
                f"a box should have {name}0 <= {name}1; got {name}0 = {low:g} and {name}1 = {high:g}: it is "
                "x0, y0, x1, y1, not a corner with width and height"
            )
    if square.outside(corners.view(2, 2)).any():
        raise ValueError(f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} reaches outside of {_extent(square)}")
    return corners


def _mask(mask: Any, size: int) -> Tensor:
    """Logits (size, size)."""
    logits = _numbers(mask, "a mask prompt")
    if not logits.is_floating_point():
        raise ValueError(
            f"a mask prompt should be logits, one of the `logits` of an earlier answer; got {logits.dtype}"
        )
    if logits.shape != (size, size):
        raise ValueError(
            f"a mask prompt should have the shape ({size}, {size}), as an earlier answer's `logits`; got "
            f"{tuple(logits.shape)}"
        )
    wrong = int((~logits.isfinite()).sum())
    if wrong:
        raise ValueError(f"a mask prompt should be finite; got {wrong} of {logits.numel()} that are not")
    return logits
