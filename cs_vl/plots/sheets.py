"""Sheets of pictures: the same things in many styles, what is found for a query, what a classifier says."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cs_vl.data.emoji import STYLE_NAMES
from cs_vl.plots.style import (
    BLUE,
    GREY,
    LABEL,
    SMALL,
    TITLE,
    VERMILION,
    array,
    bare,
    panels,
    picture,
    shortened,
)

SIDE, BESIDE = 1.15, 1.5  # a picture with its label, and the text beside a row, in inches


def style_sheet(
    images: Mapping[str, Sequence[Float[Tensor, "3 height width"] | None]],
    concepts: Sequence[str],
    *,
    parts: Mapping[str, str] | None = None,
) -> Figure:
    """The same concepts in several styles: a row a style, a column a concept.

    Args:
        images: {style: [its picture of each concept, in [0, 1]; None where the style has none]}.
        parts: the part that a style plays ("train", "near", ...), below its name.
    """
    for style, pictures in images.items():
        if len(pictures) != len(concepts):
            raise ValueError(
                f"every style needs {len(concepts)} pictures, one a concept (None where there is none); "
                f"{style!r} has {len(pictures)}"
            )
    figure, axes = panels(
        len(images) * len(concepts),
        len(concepts),
        width=0.75 * SIDE + BESIDE / len(concepts),
        height=0.85 * SIDE,
    )
    for row, (style, pictures) in enumerate(images.items()):
        line = axes[row * len(concepts) : (row + 1) * len(concepts)]
        for ax, image in zip(line, pictures, strict=True):
            if image is None:
                bare(ax)
                ax.text(0.5, 0.5, "–", ha="center", va="center", color=GREY, fontsize=TITLE)
            else:
                picture(ax, image)
            ax.set_box_aspect(1)
        part = f"\n{parts[style]}" if parts and style in parts else ""
        _beside(line[0], STYLE_NAMES.get(style, style) + part)
    for ax, concept in zip(axes, concepts, strict=False):
        ax.set_title(textwrap.fill(concept, 10), fontsize=LABEL)
    return figure


def nearest_neighbours(
    query_images: Float[Tensor, "queries 3 height width"],
    query_labels: Sequence[str],
    images: Float[Tensor, "queries k 3 height width"],
    labels: Sequence[Sequence[str]],
    *,
    scores: Float[Tensor, "queries k"] | None = None,
) -> Figure:
    """Queries down the side, and beside each its k nearest neighbours: blue where the label is the query's.

    Args:
        images, labels: of the neighbours of each query, the nearest first.
        scores: their similarities.
    """
    queries, k = images.shape[:2]
    sizes = {len(query_images), len(query_labels), len(labels), queries}
    if len(sizes) > 1 or any(len(row) != k for row in labels):
        raise ValueError(
            f"images is (queries, k, ...) = ({queries}, {k}, ...), so there must be {queries} query_images "
            f"and query_labels, and labels must be {queries} lists of {k}"
        )
    figure, axes = panels(queries * (k + 1), k + 1, width=SIDE, height=SIDE + 0.35)
    for i, name in enumerate(query_labels):
        query, *others = axes[i * (k + 1) : (i + 1) * (k + 1)]
        picture(query, query_images[i])
        query.set_xlabel(textwrap.fill(name, 14), fontsize=LABEL, fontweight="bold")
        for j, ax in enumerate(others):
            _judged(ax, images[i, j], labels[i][j] == name, labels[i][j])
            if scores is not None:
                ax.set_title(f"{float(scores[i, j]):.2f}", fontsize=SMALL, color=GREY, pad=3)
    axes[0].set_title("query", fontsize=LABEL)
    return figure


def retrieval_sheet(
    texts: Sequence[str],
    images: Float[Tensor, "queries k 3 height width"],
    relevant: Bool[Tensor, "queries k"],
    *,
    labels: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """What each text finds: its k most similar images, the best first; blue and ✓ where it is relevant.

    Args:
        labels: what each image shows, below it.
    """
    queries, k = images.shape[:2]
    right = array(relevant)
    if len(texts) != queries or right.shape != (queries, k):
        raise ValueError(
            f"images is (queries, k, ...) = ({queries}, {k}, ...), so there must be {queries} texts, and "
            f"relevant must be ({queries}, {k}); got {len(texts)} and {right.shape}"
        )
    figure, axes = panels(queries * k, k, width=SIDE + BESIDE / k, height=SIDE + 0.3)
    for i, text in enumerate(texts):
        line = axes[i * k : (i + 1) * k]
        for j, ax in enumerate(line):
            _judged(ax, images[i, j], bool(right[i, j]), labels[i][j] if labels else "")
        _beside(line[0], textwrap.fill(f"“{text}”", 22))
    for rank, ax in enumerate(axes[:k], start=1):
        ax.set_title(f"{rank}", fontsize=LABEL)
    return figure


def zero_shot_predictions(
    images: Float[Tensor, "batch 3 height width"],
    names: Sequence[str],
    probabilities: Float[Tensor, "batch classes"],
    truth: Int[Tensor, " batch"],
    *,
    top: int = 5,
    columns: int = 3,
) -> Figure:
    """Pictures with their likeliest names: the truth in blue, others in vermilion.

    As Radford et al. 2021, fig. 21.  Above each stands what it is, and a tick where that comes first.
    """
    p = array(probabilities)
    if p.shape != (len(images), len(names)):
        raise ValueError(
            f"probabilities must be (images, names) = ({len(images)}, {len(names)}); got {p.shape}"
        )
    top = min(top, len(names))
    columns = min(columns, len(images))
    # Each picture has its bars to the right.
    figure, axes = panels(2 * len(images), 2 * columns, width=1.8, height=0.5 + 0.24 * top)
    for i, (ax, bars) in enumerate(zip(axes[::2], axes[1::2], strict=True)):
        picture(ax, images[i])
        right = int(truth[i])
        best = np.argsort(-p[i], kind="stable")
        rank = 1 + int(np.flatnonzero(best == right)[0])
        _title(ax, shortened(names[right], 26), rank)
        for y, c in enumerate(best[:top]):
            colour = BLUE if c == right else VERMILION
            bars.barh(y, p[i, c], 0.86, color=colour, alpha=0.45)
            bars.text(0.02, y, shortened(names[c], 20), va="center", fontsize=SMALL)
            bars.text(1.03, y, f"{p[i, c]:.0%}", va="center", fontsize=SMALL, color=GREY)
        bars.set(xlim=(0, 1), ylim=(top - 0.5, -0.5), xticks=[], yticks=[])
        bars.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def _title(ax: Axes, name: str, rank: int) -> None:
    text, colour = (f"✓ {name}", BLUE) if rank == 1 else (f"✗ {name} (rank {rank})", VERMILION)
    ax.set_title(text, fontsize=LABEL, color=colour, loc="left")


def _judged(ax: Axes, image: Tensor, right: bool, label: str) -> None:
    """A picture in a frame, and its label: blue and a tick, or vermilion and a cross."""
    picture(ax, image)
    mark, colour = ("✓", BLUE) if right else ("✗", VERMILION)
    ax.spines[:].set(visible=True, color=colour, linewidth=2)
    ax.set_xlabel(textwrap.fill(f"{mark} {label}".rstrip(), 14), fontsize=SMALL, color=colour, labelpad=3)


def _beside(ax: Axes, text: str) -> None:
    ax.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=LABEL, labelpad=8)
