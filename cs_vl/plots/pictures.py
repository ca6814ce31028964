"""Scenes, with what is said of them."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cs_vl.data.captions import make_captions
from cs_vl.data.scenes import Scenes
from cs_vl.plots.style import BLUE, LABEL, RIM, VERMILION, array, panels, picture


def show_scenes(
    scenes: Scenes,
    n: int = 8,
    *,
    captions: Sequence[str] | None = None,
    correct: Sequence[bool] | None = None,
    boxes: bool = False,
    masks: bool = False,
    columns: int = 4,
) -> Figure:
    """The first n scenes in a grid.

    Args:
        captions: one a scene, below the picture (default: `make_captions`).
        correct: whether each caption is right: a tick and blue, or a cross and vermilion.
        boxes, masks: whether to draw the objects' boxes, and the outlines of their visible masks.
    """
    scenes = scenes[:n]
    captions = make_captions(scenes) if captions is None else captions
    figure, axes = panels(len(scenes), columns, width=2.4, height=2.9)
    for i, ax in enumerate(axes):
        picture(ax, scenes.images[i])
        text, colour = captions[i], "black"
        if correct is not None:
            text, colour = (f"✓ {text}", BLUE) if correct[i] else (f"✗ {text}", VERMILION)
        ax.set_xlabel(textwrap.fill(text, 30), fontsize=LABEL, color=colour)
        for slot in range(int(scenes.count[i])):
            if boxes:
                _box(ax, scenes.boxes[i, slot].tolist())
            if masks:
                _outline(ax, scenes, i, slot)
    return figure


def _box(ax: Axes, box: list[int]) -> None:
    x0, y0, x1, y1 = box
    # imshow puts a pixel's centre, not its corner, on whole numbers.
    corner = (x0 - 0.5, y0 - 0.5)
    ax.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, linewidth=1.2, path_effects=RIM))


def _outline(ax: Axes, scenes: Scenes, scene: int, slot: int) -> None:
    mask = array(scenes.masks[scene, slot]).astype(float)
    ax.contour(mask, levels=[0.5], colors="black", linewidths=1.0).set_path_effects(RIM)
