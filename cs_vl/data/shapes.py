"""Plain coloured shapes, drawn from signed distances.

A signed distance function tells how far a point lies from a shape's outline: negative inside, positive
outside.  Divided by the width of a pixel it gives soft (anti-aliased) edges at any size.
All functions take coordinates in the object's own frame: x to the right, y *down*, the shape within [-1, 1].
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Every colour is clearly apart from every other, and from the pale and dark greys of the backgrounds.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.10, 0.12),
    "green": (0.13, 0.62, 0.22),
    "blue": (0.12, 0.28, 0.88),
    "yellow": (0.98, 0.88, 0.12),
    "purple": (0.52, 0.14, 0.68),
    "orange": (1.00, 0.54, 0.05),
    "cyan": (0.15, 0.80, 0.88),
    "pink": (1.00, 0.56, 0.78),
}


def circle(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 0.95


def ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.72).abs() - 0.26


def square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.84


def diamond(x: Tensor, y: Tensor) -> Tensor:
    return (x.abs() + y.abs() - 1) / math.sqrt(2)


def triangle(x: Tensor, y: Tensor) -> Tensor:
    """Equilateral, one corner up: inside means below the left and right sides, and above the base."""
    return torch.maximum((math.sqrt(3) * x.abs() - y) / 2 - 0.5, y - 0.74)


def cross(x: Tensor, y: Tensor) -> Tensor:
    """A plus sign: the larger of |x|, |y| within the arms' length, the smaller within their width."""
    x, y = x.abs(), y.abs()
    return torch.maximum(torch.maximum(x, y) - 0.96, torch.minimum(x, y) - 0.34)


def star(x: Tensor, y: Tensor) -> Tensor:
    """Five points.  The lines of a pentagon's sides cut out the star: outside one of them at most.

    So the star's distance is the second largest of the five lines' distances.
    """
    largest = second = torch.full((), -torch.inf, device=x.device, dtype=x.dtype)
    for side in range(5):
        angle = -math.pi / 2 + side * 2 * math.pi / 5
        line = x * math.cos(angle) + y * math.sin(angle) - math.cos(2 * math.pi / 5)
        second = torch.maximum(second, torch.minimum(largest, line))
        largest = torch.maximum(largest, line)
    # Beyond a sharp tip two of the lines stay near: end it there, or its soft edge would draw a wisp.
    return torch.maximum(second, torch.hypot(x, y) - 0.98)


def heart(x: Tensor, y: Tensor) -> Tensor:
    """A square that stands on its tip, and a disc on each of its two upper sides."""
    x = x.abs()
    tip = (x + (y - 0.1).abs() - 0.84) / math.sqrt(2)
    disc = torch.hypot(x - 0.42, y + 0.32) - 0.42 * math.sqrt(2)
    return torch.minimum(tip, disc)


SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "cross": cross,
    "diamond": diamond,
    "ring": ring,
    "heart": heart,
}


class Shapes:
    """A bank of things to draw: shapes, each in any of the colours.

    A bank has `kind_names`, `colour_names` and `draw`: see `cs_vl.data.sprites.Sprites` for the other one.
    """

    def __init__(self, kinds: tuple[str, ...] = tuple(SHAPES), colours: tuple[str, ...] = tuple(COLOURS)):
        for what, names, known in (("kinds", kinds, set(SHAPES)), ("colours", colours, set(COLOURS))):
            if not names or not known.issuperset(names):
                raise ValueError(f"{what} must be some of {', '.join(sorted(known))}; got {names!r}")
        self.kind_names = tuple(kinds)
        self.colour_names = tuple(colours)
        self.palette = torch.tensor(
            [COLOURS[colour] for colour in colours], dtype=torch.float32, device="cpu"
        )

    def draw(
        self,
        kind: Int[Tensor, " n"],
        colour: Int[Tensor, " n"],
        x: Float[Tensor, "n 1 width"],
        y: Float[Tensor, "n height 1"],
        pixel: Float[Tensor, " n"],
    ) -> Float[Tensor, "n 4 height width"]:
        """Draw n objects, each on a canvas of its own.

        Args:
            x, y: the canvas's pixel centres in each object's frame, where the object fills [-1, 1].
            pixel: the width of a pixel in that frame.

        Returns:
            Red, green, blue (already multiplied by alpha) and alpha, in [0, 1].
        """
        alpha = x.new_empty(len(kind), y.shape[1], x.shape[2])
        for index in kind.unique().tolist():
            of_kind = (kind == index).nonzero().squeeze(1)
            distance = SHAPES[self.kind_names[index]](x[of_kind], y[of_kind]) / pixel[of_kind, None, None]
            alpha[of_kind] = (0.5 - distance).clamp_(0, 1)
        rgba = torch.nn.functional.pad(self.palette.to(x.device)[colour], (0, 1), value=1.0)
        return rgba[:, :, None, None] * alpha[:, None]
