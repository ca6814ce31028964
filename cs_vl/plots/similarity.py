"""How alike images and texts are, and what a softmax makes of it."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from cs_vl.plots.style import BLUE, GREY, LABEL, SMALL, TITLE, array, panels, plain, shortened

CELL = 0.52  # inches
WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["white", BLUE])


def similarity_matrix(
    similarity: Float[Tensor, "images texts"],
    images: Float[Tensor, "images 3 height width"],
    texts: Sequence[str],
    *,
    relevant: Bool[Tensor, "images texts"] | None = None,
    label: str = "cosine similarity",
) -> Figure:
    """Images down the side, texts along the top, and how alike they are (Radford et al. 2021, fig. 1).

    Args:
        images: in [0, 1].
        relevant: which pairs belong together: they are framed (default: the diagonal).
        label: what the numbers are.
    """
    values = array(similarity)
    if values.shape != (len(images), len(texts)):
        raise ValueError(
            f"similarity must be (images, texts) = ({len(images)}, {len(texts)}); got {values.shape}"
        )
    framed = np.eye(*values.shape, dtype=bool) if relevant is None else array(relevant)
    if framed.shape != values.shape:
        raise ValueError(f"relevant must have the shape of similarity, {values.shape}; got {framed.shape}")
    rows, columns = values.shape

    names = [shortened(text, 34) for text in texts]
    # All in inches: names rise at 45 degrees above the cells, and may reach out to the right.
    rise = [0.25 + 0.06 * len(name) for name in names]
    left, width, height = 0.1, CELL * (columns + 1.1), CELL * (rows + 0.1)
    over = max(0.2, *(rise[column] - CELL * (columns - column - 0.5) for column in range(columns)))
    bottom, figure_width, figure_height = 0.8, left + width + over, 0.8 + height + max(rise)
    figure, (ax,) = panels(1, 1, figure_width, figure_height)
    figure.set_layout_engine("none")
    ax.set_position(
        (left / figure_width, bottom / figure_height, width / figure_width, height / figure_height)
    )
    shown = ax.imshow(values, cmap=WHITE_TO_BLUE, interpolation="nearest")
    dark = 0.35 * values.min() + 0.65 * values.max()
    for row, column in np.ndindex(rows, columns):
        value = values[row, column]
        colour = "white" if value > dark else "black"
        number = f"{value:z.2f}" if np.abs(values).max() < 10 else f"{value:z.0f}"
        ax.text(column, row, number, ha="center", va="center", fontsize=SMALL, color=colour)
        if framed[row, column]:
            ax.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, linewidth=2))
    for row, image in enumerate(images):
        pixels = array(image).transpose(1, 2, 0).clip(0, 1)
        ax.imshow(pixels, extent=(-1.52, -0.6, row + 0.46, row - 0.46), interpolation="nearest")
    ax.set(xlim=(-1.55, columns - 0.45), ylim=(rows - 0.45, -0.55))
    ax.xaxis.tick_top()
    ax.set_xticks(range(columns), names, rotation=45, ha="left", rotation_mode="anchor", fontsize=LABEL)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    colours = figure.add_axes(
        (left / figure_width, 0.55 / figure_height, width / figure_width, 0.1 / figure_height)
    )
    bar = figure.colorbar(shown, cax=colours, orientation="horizontal")
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def softmax_temperatures(
    similarities: Float[Tensor, " texts"],
    texts: Sequence[str],
    temperatures: Sequence[float] = (1.0, 0.2, 0.07, 0.01),
    *,
    truth: int | None = None,
) -> Figure:
    """The softmax of one image's similarities, divided by several temperatures, a panel each.

    Args:
        similarities: cosines.
        truth: index of the right text, drawn in blue.
    """
    cosines = torch.as_tensor(similarities).detach().cpu().double()
    if cosines.shape != (len(texts),):
        raise ValueError(
            f"similarities must be one image's, one a text: ({len(texts)},); got {tuple(cosines.shape)}"
        )
    figure, axes = panels(len(temperatures), len(temperatures), width=2.3, height=1.1 + 0.27 * len(texts))
    place = np.arange(len(texts))
    colours = [BLUE if i == truth else GREY for i in place]
    for ax, temperature in zip(axes, temperatures, strict=True):
        probabilities = (cosines / temperature).softmax(dim=0).numpy()
        ax.barh(place, probabilities, 0.75, color=colours)
        for y, p in zip(place, probabilities, strict=True):
            ax.annotate(f"{p:.2f}", (p, y), (3, 0), textcoords="offset points", va="center", fontsize=SMALL)
        ax.set_title(f"temperature {temperature:g}", fontsize=TITLE)
        ax.set_xlabel(f"scale {1 / temperature:.4g}", fontsize=LABEL)
        ax.set(xlim=(0, 1.25), xticks=(0, 0.5, 1), yticks=[], ylim=(len(texts) - 0.4, -0.6))
        plain(ax)
        ax.grid(False)
    labels = [f"{shortened(text, 34)}  ({c:.2f})" for text, c in zip(texts, cosines, strict=True)]
    axes[0].set_yticks(place, labels, fontsize=LABEL)
    axes[0].tick_params(axis="y", length=0)
    return figure
