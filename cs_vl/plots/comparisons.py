"""Methods side by side: along their training, in memory; and captions before and after balancing."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from cs_vl.plots.curves import DASHED
from cs_vl.plots.style import COLOURS, GREY, LABEL, RIM, SMALL, array, panels, plain

MOST_TICKS = 8
UNITS = ("B", "KB", "MB", "GB", "TB")


def seed_curves(
    curves: Mapping[str, tuple[Sequence[float], Float[np.ndarray, "seeds times"]]],
    *,
    xlabel: str = "images seen",
    ylabel: str = "accuracy",
    log_x: bool = True,
    percent: bool = True,
    chance: float | None = None,
) -> Figure:
    """Methods against what they cost: lines are means over seeds, bands reach from the lowest to the highest.

    Args:
        curves: {method: (x, [the values of each seed, one for each x])}.
        log_x: the horizontal axis is logarithmic, so that equal factors of cost are equally wide.  Where all
            curves have the same few x, these are its ticks.
        percent: whether values are fractions, to be shown in percent.
        chance: what guessing would give.
    """
    if not 1 <= len(curves) <= len(COLOURS):
        raise ValueError(f"1 to {len(COLOURS)} methods can be told apart in one figure; got {len(curves)}")
    scale = 100 if percent else 1
    figure, (ax,) = panels(1, 1, width=5.4, height=3.6)
    for (name, (x, runs)), colour in zip(curves.items(), COLOURS, strict=False):
        y = scale * np.atleast_2d(array(runs))
        if y.shape[1] != len(x):
            raise ValueError(
                f"{name!r} needs {len(x)} values of each seed, one for each x; got the shape {y.shape}"
            )
        ax.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, y.mean(axis=0), color=colour, marker="o", markersize=4, linewidth=1.8, label=name)
    if chance is not None:
        ax.axhline(scale * chance, color=GREY, label="chance", **DASHED)
    if log_x:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:,g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    shared = {tuple(x) for x, _ in curves.values()}
    if len(shared) == 1 and len(ticks := shared.pop()) <= MOST_TICKS:
        ax.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        ax.minorticks_off()
    ax.set_xlabel(xlabel, fontsize=LABEL)
    ax.set_ylabel(f"{ylabel} (%)" if percent else ylabel, fontsize=LABEL)
    plain(ax)
    ax.tick_params(which="both", labelsize=SMALL)
    seeds = {len(np.atleast_2d(array(runs))) for _, runs in curves.values()}
    if seeds != {1}:
        of = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        ax.set_title(f"mean and range of {of} seeds", fontsize=SMALL, color=GREY, loc="right")
    ax.legend(fontsize=LABEL, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def memory_bars(memory: Mapping[str, Mapping[int, float]]) -> Figure:
    """The memory that methods take for n pairs, beside that of one n x n matrix of float32; logarithmic.

    Args:
        memory: {method: {n: bytes}}, with the same n everywhere.
    """
    sizes = list(next(iter(memory.values())))
    for name, values in memory.items():
        if list(values) != sizes:
            raise ValueError(f"every method needs the sizes {sizes}; {name!r} has {list(values)}")
    if len(memory) > len(COLOURS):
        raise ValueError(f"{len(COLOURS)} methods can be told apart in one figure; got {len(memory)}")
    width = 0.8 / len(memory)
    figure, (ax,) = panels(1, 1, width=1.6 + 0.85 * len(sizes) * max(2, len(memory)), height=3.6)
    for i, ((name, values), colour) in enumerate(zip(memory.items(), COLOURS, strict=False)):
        x = np.arange(len(sizes)) + (i - (len(memory) - 1) / 2) * width
        ax.bar(x, list(values.values()), 0.9 * width, color=colour, alpha=0.85, label=name)
        for place, size in zip(x, values.values(), strict=True):
            at = (place, size), (0, 3)
            ax.annotate(
                in_words(size), *at, textcoords="offset points", ha="center", fontsize=SMALL, path_effects=RIM
            )
    groups = np.arange(len(sizes))
    ax.hlines(
        [4 * n**2 for n in sizes],
        groups - 0.46,
        groups + 0.46,
        color="black",
        label="one n × n matrix",
        **DASHED,
    )
    ax.set_yscale("log")
    smallest = min(size for values in memory.values() for size in values.values())
    ax.set_ylim(smallest / 4, 2 * ax.get_ylim()[1])  # room for the numbers
    ax.set_xticks(groups, [f"n = {n:,}" for n in sizes], fontsize=LABEL)
    ax.set_ylabel("memory (bytes)", fontsize=LABEL)
    plain(ax)
    ax.tick_params(axis="x", length=0, labelsize=LABEL)
    figure.legend(loc="outside lower center", ncols=2, fontsize=LABEL, frameon=False)
    return figure


def long_tail(counts: Mapping[str, Int[Tensor, " entries"]], *, limit: float | None = None) -> Figure:
    """How many texts each entry has, from the most frequent to the rarest; both axes are logarithmic.

    Args:
        counts: {"raw": counts, "balanced": counts}, in any order; entries without a text are left out.
        limit: the count above which balancing thins an entry out.
    """
    if not 1 <= len(counts) <= len(COLOURS):
        raise ValueError(f"1 to {len(COLOURS)} pools can be told apart in one figure; got {len(counts)}")
    figure, (ax,) = panels(1, 1, width=5.0, height=3.4)
    for (name, values), colour in zip(counts.items(), COLOURS, strict=False):
        ordered = np.sort(array(values))[::-1]
        ordered = ordered[ordered > 0]
        label = f"{name} ({int(ordered.sum()):,} texts)"
        ax.plot(np.arange(1, len(ordered) + 1), ordered, color=colour, linewidth=2, label=label)
    if limit is not None:
        ax.axhline(limit, color=GREY, label=f"limit {limit:g}", **DASHED)
    ax.set(xscale="log", yscale="log")
    ax.set_xlabel("entry, from the most frequent to the rarest", fontsize=LABEL)
    ax.set_ylabel("texts that it matches", fontsize=LABEL)
    plain(ax)
    ax.legend(fontsize=LABEL, frameon=False)
    return figure


def in_words(size: float) -> str:
    """Bytes for people: 268435456 is "268 MB"."""
    power = min(len(UNITS) - 1, max(0, int(np.log10(max(size, 1)) // 3)))
    return f"{size / 1000**power:.3g} {UNITS[power]}"
