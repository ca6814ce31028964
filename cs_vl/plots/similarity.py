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

    figure, (ax,) = panels(1, 1, width=CELL * (columns + 1) + 2.0, height=CELL * rows + 3.1)
    shown = ax.imshow(values, cmap=WHITE_TO_BLUE, interpolation="nearest")
    middle = (values.min() + values.max()) / 2
    for row, column in np.ndindex(rows, columns):
        value = values[row, column]
        colour = "white" if value > middle else "black"
        number = f"{value:z.2f}" if np.abs(values).max() < 10 else f"{value:z.0f}"
        ax.text(column, row, number, ha="center", va="center", fontsize=SMALL, color=colour)
        if framed[row, column]:
            ax.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, linewidth=2))
    for row, image in enumerate(images):
        pixels = array(image).transpose(1, 2, 0).clip(0, 1)
        ax.imshow(pixels, extent=(-1.5, -0.58, row + 0.46, row - 0.46), interpolation="nearest")
    ax.set(xlim=(-1.55, columns - 0.45), ylim=(rows - 0.45, -0.55))
    ax.xaxis.tick_top()
    names = [shortened(text, 34) for text in texts]
    ax.set_xticks(range(columns), names, rotation=45, ha="left", rotation_mode="anchor", fontsize=LABEL)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=ax, location="bottom", shrink=0.8, aspect=28)
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
