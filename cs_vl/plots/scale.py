"""Why attention divides by the square root of its width."""

import numpy as np
import torch
from matplotlib.figure import Figure

from cs_vl.plots.style import LABEL, panels


def attention_sharpness(
    widths: tuple[int, ...] = (4, 64, 1024), *, keys: int = 16, queries: int = 500, seed: int = 0
) -> Figure:
    """The attention of random queries to random keys, sorted by weight: with 1/sqrt(d_k), and without.

    Each curve is the mean over `queries`; all numbers are standard normal (Vaswani et al. 2017, footnote 4).
    """
    rng = np.random.default_rng(seed)
    figure, axes = panels(2, 2, width=4.4, height=2.9)
    for width in widths:
        raw = np.einsum(
            "qd,qkd->qk", rng.normal(size=(queries, width)), rng.normal(size=(queries, keys, width))
        )
        for ax, scale in zip(axes, (width**0.5, 1.0), strict=True):
            weights = torch.from_numpy(raw / scale).softmax(dim=1).sort(dim=1, descending=True).values
            weights = weights.mean(dim=0)
            ax.plot(range(1, keys + 1), weights, marker="o", markersize=3, label=f"$d_k$ = {width}")
    for ax, title in zip(axes, ("divided by $\\sqrt{d_k}$", "not divided"), strict=True):
        ax.set_title(title, fontsize=LABEL)
        ax.set_xlabel("key, from the most to the least looked at", fontsize=LABEL)
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("attention weight", fontsize=LABEL)
    axes[1].legend(fontsize=LABEL, frameon=False)
    return figure
