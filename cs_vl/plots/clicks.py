"""A figure that is clicked at: its panels, and what they show after each click."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cs_vl.plots.sam import WIDTH, faded_outside, mark_clicks
from cs_vl.plots.style import BLUE, LABEL, SMALL, array, picture


def open_panels(masks: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of one row that stays open, so that it hears clicks: a picture, and beside it some masks."""
    columns = 1 + masks
    with plt.ioff():  # whoever asked for it shows it
        figure, axes = plt.subplots(
            1, columns, figsize=(WIDTH, WIDTH / columns + 0.6), squeeze=False, layout="constrained"
        )
    return figure, list(axes[0])


def draw_clicks(
    axes: Sequence[Axes],
    image: Float[Tensor, "3 height width"],
    points: Float[Tensor, "n 2"],
    labels: Sequence[int],
    mask: Bool[Tensor, "height width"] | None,
    first: Sequence[tuple[Bool[Tensor, "height width"], str]] = (),
    *,
    caption: str = "",
    marked: int | None = None,
) -> None:
    """What `open_panels` opened, drawn anew.

    Args:
        axes: of the picture, then of the masks.
        image: in [0, 1].
        points, labels: the clicks, as in `mask_sheet`.
        mask: what is chosen now, or None: the picture as it is.
        first: masks to choose from, with their captions.
        caption: below the picture.
        marked: which of these has a blue frame.
    """
    for ax in axes:
        ax.clear()
    here, *others = axes
    if mask is None:
        picture(here, image)
    else:
        faded_outside(here, image, array(mask))
    if len(points):
        mark_clicks(here, array(points), np.asarray(labels))
    here.set_xlabel(caption, fontsize=SMALL)
    for i, ax in enumerate(others):
        ax.set_axis_off()
        if i < len(first):
            ax.set_axis_on()
            shown, text = first[i]
            faded_outside(ax, image, array(shown))
            ax.set_title(f"mask {i + 1}", fontsize=LABEL)
            ax.set_xlabel(text, fontsize=SMALL)
            if i == marked:
                ax.spines[:].set(visible=True, color=BLUE, linewidth=2.5)
