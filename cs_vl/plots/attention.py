"""Who looks at whom."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from cs_vl.plots.style import BLUE, GREY, LABEL, SMALL, TITLE, VERMILION, array, panels, picture

RULE = "#B0B0B0"  # the lines between a mask's cells


def attention_maps(
    image: Float[Tensor, "3 height width"],
    weights: Float[Tensor, "heads queries keys"],
    *,
    grid: int | tuple[int, int],
    query: int | tuple[int, int] = 0,
    columns: int = 5,
) -> Figure:
    """Where one token looks, laid over the image, a panel a head; the bluest patch has its largest weight.

    Args:
        image: in [0, 1].
        weights: of one layer for this image, from `attention_weights`.
        grid: patches down and across, or one number for both.  A class token, which comes before them, has
            no place in the picture: its share of the attention stands below.
        query: the token that looks: its index among all tokens, or a patch's (row, column).
    """
    rows, cols = (grid, grid) if isinstance(grid, int) else grid
    maps = array(weights)
    first_patch = maps.shape[-1] - rows * cols
    if maps.ndim != 3 or first_patch < 0:
        raise ValueError(
            f"weights must be (heads, queries, keys) with a key for each of the {rows} x {cols} patches; "
            f"got {maps.shape}: choose one image of the batch, and its patches as `grid`"
        )
    token = query if isinstance(query, int) else first_patch + query[0] * cols + query[1]
    height, width = image.shape[-2:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)

    figure, (first, *others) = panels(1 + len(maps), columns, width=2.0, height=2.3)
    picture(first, image)
    first.set_title(
        "the class token looks" if token < first_patch else "the framed patch looks", fontsize=LABEL
    )
    for head, (ax, row) in enumerate(zip(others, maps[:, token], strict=True), start=1):
        # The picture in pale grey, and blue over it, the stronger the larger the weight.
        grey = image.mean(0, keepdim=True).expand(3, -1, -1)
        picture(ax, 0.75 + 0.25 * (grey - grey.min()) / (grey.max() - grey.min()).clamp(min=1e-6))
        patches = row[first_patch:].reshape(rows, cols)
        strength = 0.9 * patches / max(patches.max(), 1e-12)
        ax.imshow(np.ones((rows, cols)), cmap=ListedColormap([BLUE]), alpha=strength, extent=extent)
        ax.set_title(f"head {head} (max {patches.max():.2f})", fontsize=LABEL)
        if first_patch:
            ax.set_xlabel(f"{row[:first_patch].sum():.0%} on the class token", fontsize=SMALL)
    if token >= first_patch:
        y, x = divmod(token - first_patch, cols)
        h, w = height / rows, width / cols
        for ax in (first, *others):
            frame = Rectangle((x * w - 0.5, y * h - 0.5), w, h, fill=False, edgecolor=VERMILION, linewidth=2)
            ax.add_patch(frame)
    return figure


def position_similarity(
    position_embed: Float[Tensor, "*one tokens dim"], grid: int | tuple[int, int]
) -> Figure:
    """How alike the embeddings of positions are: a small map for each patch, of all patches at their places.

    Cosine similarity, as in Dosovitskiy et al. 2021, fig. 7 (centre).  A class token is left out.
    """
    rows, cols = (grid, grid) if isinstance(grid, int) else grid
    vectors = array(position_embed).reshape(-1, position_embed.shape[-1])
    if len(vectors) < rows * cols:
        raise ValueError(f"a {rows} x {cols} grid needs {rows * cols} positions; got {len(vectors)}")
    vectors = vectors[len(vectors) - rows * cols :]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = (vectors @ vectors.T).reshape(rows, cols, rows, cols)

    gap = max(1, round(min(rows, cols) / 6))  # in patches
    canvas = np.full((rows * (rows + gap) - gap, cols * (cols + gap) - gap), np.nan)
    for r in range(rows):
        for c in range(cols):
            y, x = r * (rows + gap), c * (cols + gap)
            canvas[y : y + rows, x : x + cols] = similarity[r, c]

    figure, (ax,) = panels(1, 1, width=5.2, height=4.6)
    shown = ax.imshow(
        canvas, cmap="viridis", vmin=min(-0.2, np.nanmin(canvas)), vmax=1, interpolation="nearest"
    )
    ax.set_xticks([c * (cols + gap) + (cols - 1) / 2 for c in range(cols)], [str(c) for c in range(cols)])
    ax.set_yticks([r * (rows + gap) + (rows - 1) / 2 for r in range(rows)], [str(r) for r in range(rows)])
    ax.set_xlabel("column of the patch", fontsize=LABEL)
    ax.set_ylabel("row of the patch", fontsize=LABEL)
    ax.tick_params(labelsize=SMALL, length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=ax, shrink=0.8)
    bar.set_label("cosine similarity", fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def mask_grid(
    masks: Mapping[str, Bool[Tensor, "queries keys"]],
    *,
    tokens: Sequence[str] | None = None,
    columns: int = 4,
) -> Figure:
    """Attention masks side by side, titled by their names: blue, may look; white, must not.

    Args:
        masks: boolean, or floating point to be added to scores (-inf, or less than -1e4, must not).
        tokens: names of the tokens, for both axes where their number fits.
    """
    figure, axes = panels(len(masks), columns, width=2.6, height=3.4 if tokens else 2.9)
    for ax, (name, mask) in zip(axes, masks.items(), strict=True):
        allowed = array(mask)
        allowed = allowed if allowed.dtype == bool else allowed > -1e4
        if allowed.ndim != 2:
            raise ValueError(
                f"the mask {name!r} must be (queries, keys); got {allowed.shape}: take one of the batch"
            )
        ax.pcolormesh(
            allowed, cmap=ListedColormap(["white", BLUE]), vmin=0, vmax=1, edgecolors=RULE, linewidth=0.6
        )
        ax.invert_yaxis()
        ax.set_aspect("equal")
        ax.set_title(name, fontsize=TITLE)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color(RULE)
        ax.set_xlabel("key: is looked at", fontsize=SMALL)
        ax.set_ylabel("query: looks", fontsize=SMALL)
        queries, keys = allowed.shape
        if tokens is not None and len(tokens) == keys:
            ax.set_xticks(np.arange(keys) + 0.5, tokens, rotation=90, fontsize=SMALL)
        if tokens is not None and len(tokens) == queries:
            ax.set_yticks(np.arange(queries) + 0.5, tokens, fontsize=SMALL)
        ax.tick_params(length=0)
    figure.supxlabel("blue: may look     white: must not", fontsize=SMALL, color=GREY)
    return figure
