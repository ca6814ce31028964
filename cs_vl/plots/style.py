"""What the figures have in common."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import AbstractPathEffect, withStroke

# Okabe & Ito's colours, which colour-blind readers can tell apart; black is kept for text.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
GREY = "#767676"
TITLE, LABEL, SMALL = 11, 10, 9  # font sizes
# A white rim lets a black line, or a text, be seen on every colour.
RIM: list[AbstractPathEffect] = [withStroke(linewidth=2.6, foreground="white")]


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """`count` axes of so many inches each, row by row, and nothing where the last row isn't full."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * width, rows * height),
        squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.08),  # inches around each panel
    )
    # A notebook shows what a cell returns: closed, or it would show the open figure once more.
    plt.close(figure)
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, list(axes.flat[:count])


def array(values: torch.Tensor | np.ndarray | Sequence[Any]) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def shortened(text: str, width: int) -> str:
    """The text, or as many of its characters as fit, and an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def picture(ax: Axes, image: torch.Tensor) -> None:
    """Show an image (3, height, width), in [0, 1], without axes."""
    ax.imshow(array(image).transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
    bare(ax)


def bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def plain(ax: Axes) -> None:
    """No frame at the top and the right; faint horizontal lines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=SMALL)
