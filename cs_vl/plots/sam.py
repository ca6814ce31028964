"""Segment anything: where a point is, what a click means, everything in a picture, and how sure it is."""

import colorsys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from cs_vl.plots.curves import DASHED
from cs_vl.plots.style import (
    BLUE,
    COLOURS,
    GREY,
    LABEL,
    RIM,
    SMALL,
    VERMILION,
    array,
    bare,
    panels,
    picture,
    plain,
)

WIDTH = 7.2  # of a figure, in inches: as wide as a notebook's page
LETTER, LINE = 0.078, 0.18  # a letter and a line of a caption, in inches
MOST_OUTLINES = 60  # of masks in one picture; more would cover it

Mask = Bool[Tensor, "height width"] | Float[Tensor, "height width"]


def place_similarity(
    maps: Mapping[str, Sequence[Float[Tensor, "height width"]]], points: Float[Tensor, "n 2"]
) -> Figure:
    """How like a point's encoding that of every place is: a row for each way to encode, a column a point.

    Args:
        maps: {way: [the similarities of each point with the cells of a grid, ...]}.
        points: (x, y) of each, from 0 to 1.
    """
    for name, given in maps.items():
        if len(given) != len(points):
            raise ValueError(f"every point needs a map; {name!r} has {len(given)} for {len(points)} points")
    columns = len(points)
    side = min(1.6, (WIDTH - 1.4) / columns)  # beside it there is room for the names and the colours
    figure, axes = panels(len(maps) * columns, columns, width=side + 1.4 / columns, height=side + 0.08)
    values = [array(one) for given in maps.values() for one in given]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    for i, (ax, value) in enumerate(zip(axes, values, strict=True)):
        shown = ax.imshow(
            value, cmap="viridis", vmin=low, vmax=high, extent=(0, 1, 1, 0), interpolation="nearest"
        )
        x, y = array(points[i % columns])
        ax.plot(x, y, "o", fillstyle="none", color="white", markersize=17, markeredgewidth=1.5)
        bare(ax)
    for ax, name in zip(axes[::columns], maps, strict=True):
        ax.set_ylabel(textwrap.fill(name, 16), fontsize=LABEL)
    bar = figure.colorbar(shown, ax=axes, shrink=0.6)
    bar.set_label("similarity", fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def mask_sheet(
    images: Sequence[Float[Tensor, "3 height width"]],
    masks: Sequence[Mask | None],
    *,
    points: Sequence[Float[Tensor, "n 2"]] | None = None,
    labels: Sequence[Int[Tensor, " n"]] | None = None,
    boxes: Sequence[Float[Tensor, " 4"] | None] | None = None,
    captions: Sequence[str] | None = None,
    headings: Sequence[str] = (),
    marked: Collection[int] = (),
    columns: int = 4,
) -> Figure:
    """Pictures with a mask each, in reading order, as in Kirillov et al. 2023, fig. 3.

    What lies outside of a mask is faded.  A click on what is meant is a blue dot, one beside it a vermilion
    cross.

    Args:
        images: in [0, 1].
        masks: one an image: boolean, or floats from 0 to 1 (how sure the model is of each pixel, shown as
            colours), or None: the picture as it is.
        points, labels: the clicks of each, (x, y) in pixels, whole numbers at the pixels' corners as in
            `PointEncoder`; 1 foreground, 0 background, all 1 by default.
        boxes: x0, y0, x1, y1 of each in pixels, or None.
        captions: one a panel, below it.
        headings: of the columns.
        marked: panels with a blue frame.
    """
    count = len(images)
    for given, what in ((masks, "mask"), (points, "set of points"), (boxes, "box"), (captions, "caption")):
        if given is not None and len(given) != count:
            raise ValueError(f"every image needs a {what}; got {len(given)} for {count} images")
    if labels is not None and (points is None or len(labels) != count):
        raise ValueError(f"labels are those of the points; got {len(labels)} for {count} images")
    columns = min(columns, count)
    soft = [m is not None and array(m).dtype != bool for m in masks]
    side = WIDTH / max(columns, 3)
    written = [textwrap.fill(text, max(8, int((side - 0.1) / LETTER))) for text in captions or [""] * count]
    below = LINE * max(text.count("\n") + 1 for text in written) if any(written) else 0
    rows = -(-count // columns)
    height = side + below + 0.6 * any(soft) / rows + 0.2 * bool(headings) / rows
    figure, axes = panels(count, columns, width=side, height=height)
    shown = None
    for i, ax in enumerate(axes):
        mask = masks[i]
        if mask is None:
            picture(ax, images[i])
        elif soft[i]:
            shown = ax.imshow(array(mask), cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
            bare(ax)
        else:
            faded_outside(ax, images[i], array(mask))
        if boxes is not None and (box := boxes[i]) is not None:
            x0, y0, x1, y1 = array(box).tolist()
            ax.add_patch(
                Rectangle(
                    (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=BLUE, linewidth=2, path_effects=RIM
                )
            )
        if points is not None and len(points[i]):
            kinds = np.ones(len(points[i])) if labels is None else array(labels[i])
            mark_clicks(ax, array(points[i]), kinds)
        ax.set_xlabel(written[i], fontsize=SMALL)
        if i in marked:
            ax.spines[:].set(visible=True, color=BLUE, linewidth=2.5)
    for ax, heading in zip(axes, headings, strict=False):
        ax.set_title(heading, fontsize=LABEL)
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.4, aspect=25, ticks=[0, 0.5, 1])
        bar.set_label("belief that it is in the mask", fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)
    return figure


def everything_sheet(
    images: Sequence[Float[Tensor, "3 height width"]],
    found: Mapping[str, Sequence[Bool[Tensor, "masks height width"]]],
    *,
    points: Float[Tensor, "n 2"] | None = None,
    titles: Sequence[str] = (),
) -> Figure:
    """Pictures, a column each, and below each all masks of it at once, one colour a mask, small ones on top.

    Args:
        images: in [0, 1].
        found: {"one way": [the masks of each image, ...], "another": ...}: a row each.
        points: of the grid that was asked at, from 0 to 1: shown on the pictures.
        titles: of the columns.
    """
    for name, given in found.items():
        if len(given) != len(images):
            raise ValueError(
                f"every image needs its masks; {name!r} has {len(given)} for {len(images)} images"
            )
    columns = len(images)
    side = min((WIDTH - 0.3) / columns, 2.4 if len(found) < 3 else 1.5)
    figure, axes = panels((1 + len(found)) * columns, columns, width=side, height=side + 0.2)
    for ax, image in zip(axes, images, strict=False):
        picture(ax, image)
        if points is not None:
            height, width = image.shape[-2:]
            x, y = array(points).T
            dots: dict[str, Any] = {
                "color": BLUE,
                "markersize": 3.2,
                "markeredgecolor": "white",
                "markeredgewidth": 0.5,
            }
            ax.plot(x * width - 0.5, y * height - 0.5, "o", **dots)
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=LABEL)
    below = iter(axes[columns:])
    for name, given in found.items():
        for i, (image, masks) in enumerate(zip(images, given, strict=True)):
            ax = next(below)
            _all_masks(ax, array(image).transpose(1, 2, 0).clip(0, 1), array(masks).astype(bool))
            ax.set_xlabel("1 mask" if len(masks) == 1 else f"{len(masks)} masks", fontsize=SMALL, color=GREY)
            if i == 0:
                ax.set_ylabel(textwrap.fill(name, max(10, int(side / LETTER))), fontsize=LABEL)
    return figure


def confidence_against_truth(
    scores: Mapping[str, tuple[Float[Tensor, " n"], Float[Tensor, " n"]]], *, bins: int = 8
) -> Figure:
    """The IoU that a model predicts for its masks and the one that they have; a panel for each of the names.

    The line is the mean over masks of like confidence (so many bins of equal size).  Who knows exactly how
    good each mask is has it on the dashed diagonal.

    Args:
        scores: {name: (predicted, true)}.
    """
    figure, axes = panels(len(scores), len(scores), width=min(3.6, WIDTH / len(scores)), height=3.5)
    for ax, (name, given) in zip(axes, scores.items(), strict=True):
        predicted, true = map(array, given)
        if predicted.shape != true.shape or predicted.ndim != 1:
            raise ValueError(
                f"{name!r} needs as many predicted as true IoUs; got {predicted.shape}, {true.shape}"
            )
        ax.plot([0, 1], [0, 1], color="black", **DASHED)
        ax.plot(predicted, true, ".", color=BLUE, markersize=5, alpha=0.25, markeredgewidth=0)
        order = np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(predicted)))
        x, y = ([values[some].mean() for some in order] for values in (predicted, true))
        ax.plot(x, y, "o-", color=VERMILION, markersize=5, linewidth=1.8, path_effects=RIM)
        ax.set_title(textwrap.fill(name, 30), fontsize=LABEL)
        ax.set(xlim=(min(0.0, predicted.min()) - 0.02, max(1.0, predicted.max()) + 0.02), ylim=(-0.02, 1.02))
        ax.set_xlabel("IoU that it predicts", fontsize=LABEL)
        ax.set_ylabel("IoU that it has", fontsize=LABEL)
        plain(ax)
    legend = "a dot: a mask; line: means; dashed: what would be exact"
    across = int(figure.get_size_inches()[0] / LETTER) - 2
    figure.supxlabel(textwrap.fill(legend, across), fontsize=SMALL, color=GREY)
    return figure


def picture_rows(
    rows: Mapping[str, Sequence[Float[Tensor, "*channels height width"]]], *, titles: Sequence[str] = ()
) -> Figure:
    """Pictures below one another, for instance with their edges: a row for each of the names.

    Args:
        rows: {name: pictures in [0, 1]}, as (3, height, width); or maps (height, width) from 0 on, shown in
            grey, the darker the more, each from 0 to its largest value.
        titles: of the columns.
    """
    columns = len(next(iter(rows.values())))
    for name, given in rows.items():
        if len(given) != columns:
            raise ValueError(
                f"every row needs {columns} pictures, as the first has; {name!r} has {len(given)}"
            )
    side = min((WIDTH - 0.3) / columns, 2.4)
    figure, axes = panels(len(rows) * columns, columns, width=side, height=side)
    for ax, value in zip(axes, (one for given in rows.values() for one in given), strict=True):
        if value.ndim == 3:
            picture(ax, value)
        else:
            grey = array(value)
            ax.imshow(grey, cmap="Greys", vmin=0, vmax=max(grey.max(), 1e-9), interpolation="nearest")
            bare(ax)
            ax.spines[:].set(visible=True, color="#B0B0B0")
    for ax, name in zip(axes[::columns], rows, strict=True):
        ax.set_ylabel(textwrap.fill(name, max(10, int(side / LETTER))), fontsize=LABEL)
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=LABEL)
    return figure


def engine_stages(
    numbers: Mapping[str, Mapping[str, Sequence[float]]], *, percent: Collection[str] = ()
) -> Figure:
    """What the stages of a data engine came to: a panel for each quantity, a bar for each stage.

    Bars are means over seeds, dots the single runs.

    Args:
        numbers: {quantity: {stage: [a value a seed]}}.
        percent: those quantities that are shares in [0, 1], to be shown in percent.
    """
    columns = min(3, len(numbers))
    figure, axes = panels(len(numbers), columns, width=WIDTH / columns, height=2.9)
    for ax, (quantity, by_stage) in zip(axes, numbers.items(), strict=True):
        share = quantity in percent
        runs = [(100 if share else 1) * np.asarray(values, dtype=float) for values in by_stage.values()]
        for place, (run, stage) in enumerate(zip(runs, by_stage, strict=True)):
            label = stage if ax is axes[0] else None
            ax.bar(place, run.mean(), 0.72, color=COLOURS[place % len(COLOURS)], alpha=0.85, label=label)
            if len(run) > 1:
                ax.plot(np.full(len(run), place), run, ".", color="black", markersize=4, path_effects=RIM)
            text = f"{run.mean():.0f}" if share or run.mean() >= 100 else f"{run.mean():.3g}"
            above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center"}
            ax.annotate(text, (place, run.max()), fontsize=SMALL, path_effects=RIM, **above)
        ax.set_title(textwrap.fill(quantity + (" (%)" if share else ""), 26), fontsize=LABEL)
        ax.set_xticks([])
        plain(ax)
        ax.set_ylim(0, 109 if share else 1.15 * max(run.max() for run in runs) or 1)
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    if any(len(v) > 1 for by_stage in numbers.values() for v in by_stage.values()):
        figure.suptitle("mean over seeds; dots: each seed", fontsize=SMALL, color=GREY)
    return figure


def faded_outside(ax: Axes, image: Tensor, mask: np.ndarray) -> None:
    """The picture, faded where the mask is not, with the mask's outline."""
    pixels = array(image).transpose(1, 2, 0).clip(0, 1)
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"a mask must be as large as its picture, {pixels.shape[:2]}; got {mask.shape}")
    faded = 0.25 * pixels + 0.75
    ax.imshow(np.where(mask[..., None], pixels, faded), interpolation="nearest")
    _outline(ax, mask, colour="black", width=1.3)
    bare(ax)


def _outline(ax: Axes, mask: np.ndarray, *, colour: Any, width: float) -> None:
    if not mask.any():  # there is no line to draw
        return
    height, across = mask.shape
    # Beyond the picture there is no mask: so the outline is closed at the picture's edge, too.
    grid = np.arange(-1, across + 1), np.arange(-1, height + 1)
    ax.contour(*grid, np.pad(mask, 1).astype(float), levels=[0.5], colors=[colour], linewidths=width)
    ax.set(xlim=(-0.5, across - 0.5), ylim=(height - 0.5, -0.5))


def mark_clicks(ax: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    rim: dict[str, Any] = {
        "markeredgecolor": "white",
        "markeredgewidth": 1.2,
        "linestyle": "none",
        "zorder": 5,
    }
    for label, marker, colour in ((1, "o", BLUE), (0, "X", VERMILION)):
        x, y = points[labels == label].T
        ax.plot(x, y, marker, color=colour, markersize=7, **rim)


def _all_masks(ax: Axes, pixels: np.ndarray, masks: np.ndarray) -> None:
    """Masks over a paler picture, the largest first, so that what lies within another one is to be seen."""
    canvas = 0.35 * pixels.mean(axis=2, keepdims=True).repeat(3, axis=2) + 0.65
    order = np.argsort(-masks.sum(axis=(1, 2)), kind="stable")
    colours = [colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, 0.9) for i in range(len(order))]
    for i, colour in zip(order, colours, strict=True):
        canvas = np.where(masks[i][..., None], 0.35 * canvas + 0.65 * np.array(colour), canvas)
    ax.imshow(canvas, interpolation="nearest")
    for i in order if len(masks) <= MOST_OUTLINES else ():
        _outline(ax, masks[i], colour="white", width=0.9)
    bare(ax)
