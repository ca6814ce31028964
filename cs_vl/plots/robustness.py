"""What is left of a model's accuracy where pictures look unlike those it was trained on."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cs_vl.data.emoji import STYLE_NAMES
from cs_vl.plots.curves import DASHED
from cs_vl.plots.style import COLOURS, GREY, LABEL, RIM, SMALL, TITLE, array, panels, plain

MARKERS = ("o", "s", "D", "^", "v", "P")
GAP = 0.6  # between groups of styles, in styles


def accuracy_by_style(
    results: Mapping[str, Mapping[str, Sequence[float]]],
    parts: Mapping[str, Sequence[str]],
    *,
    chance: float | Mapping[str, float] | None = None,
    ylabel: str = "accuracy",
) -> Figure:
    """Accuracy on each style, the styles in groups: dots are means over seeds, lines their range.

    Args:
        results: {model: {style: [accuracy of each seed, in [0, 1]]}}.
        parts: the groups and their styles, in order: {"seen": [...], "near": [...], ...}.
        chance: what guessing would give: one number, or one a style.
    """
    styles = [style for group in parts.values() for style in group]
    _tell_apart(results)
    for model, values in results.items():
        for style in styles:
            if style not in values:
                raise ValueError(f"{model!r} has no results for the style {style!r}: leave it out of `parts`")

    figure, (ax,) = panels(1, 1, width=1.6 + 0.8 * len(styles), height=3.8)
    places: dict[str, float] = {}
    left = 0.0
    for i, (part, group) in enumerate(parts.items()):
        right = left + len(group) + GAP
        places.update({style: left + (1 + GAP) / 2 + j for j, style in enumerate(group)})
        if i % 2 == 0:
            ax.axvspan(left, right, color="#F2F2F2", linewidth=0, zorder=0)
        above = ((left + right) / 2, 1), (0, 5), ("data", "axes fraction"), "offset points"
        ax.annotate(part, *above, ha="center", fontsize=TITLE)
        left = right
    step = min(0.25, 0.6 / len(results))  # between models
    for i, ((model, values), colour, marker) in enumerate(
        zip(results.items(), COLOURS, MARKERS, strict=False)
    ):
        runs = [100 * np.asarray(values[style], dtype=float) for style in styles]
        x = np.array([places[style] for style in styles]) + (i - (len(results) - 1) / 2) * step
        lowest, highest = [run.min() for run in runs], [run.max() for run in runs]
        ax.vlines(x, lowest, highest, color=colour, linewidth=2.2, alpha=0.6)
        ax.plot(
            x, [run.mean() for run in runs], marker, color=colour, markersize=6.5, label=model, clip_on=False
        )
    if chance is not None:
        level = [100 * (chance[s] if isinstance(chance, Mapping) else chance) for s in styles]
        x = np.array([places[style] for style in styles])
        ax.hlines(level, x - 0.4, x + 0.4, color=GREY, label="chance", **DASHED)
    ax.set_xticks(
        list(places.values()), [textwrap.fill(STYLE_NAMES.get(style, style), 10) for style in places]
    )
    ax.set(xlim=(0, left), ylim=(0, None))
    ax.set_ylabel(f"{ylabel} (%)", fontsize=LABEL)
    plain(ax)
    ax.tick_params(axis="x", length=0, labelsize=LABEL)
    figure.legend(loc="outside lower center", ncols=4, fontsize=LABEL, frameon=False)
    return figure


def effective_robustness(
    results: Mapping[str, tuple[Float[np.ndarray, "*seeds times"], Float[np.ndarray, "*seeds times"]]],
    *,
    xlabel: str = "accuracy on seen styles",
    ylabel: str = "accuracy on other styles",
) -> Figure:
    """Accuracy out of style against accuracy in style, along training (as Radford et al. 2021, fig. 13).

    A model is the more robust the nearer its points come to the dashed line, on which nothing is lost; two
    models are to be compared where they are equally good on what they have seen.

    Args:
        results: {model: (seen, shifted)}: accuracies in [0, 1] along training, of one run, or of a run a row.
    """
    _tell_apart(results)
    figure, (ax,) = panels(1, 1, width=5.0, height=4.2)
    for (model, (seen, shifted)), colour, marker in zip(results.items(), COLOURS, MARKERS, strict=False):
        x, y = (100 * np.atleast_2d(array(values)) for values in (seen, shifted))
        if x.shape != y.shape:
            raise ValueError(
                f"{model!r} has {x.shape} accuracies on what it has seen, and {y.shape} on the other styles: "
                "they must be measured at the same times"
            )
        for run, (a, b) in enumerate(zip(x, y, strict=True)):
            label = model if run == 0 else None
            ax.plot(a, b, color=colour, marker=marker, markersize=4.5, linewidth=1.2, alpha=0.75, label=label)
        ax.plot(x[:, -1], y[:, -1], marker, color=colour, markersize=9, path_effects=RIM)
    top = max(*ax.get_xlim(), *ax.get_ylim())
    ax.plot([0, top], [0, top], color=GREY, label="nothing lost", **DASHED)
    ax.set(xlim=(0, top), ylim=(0, top))
    ax.set_xlabel(f"{xlabel} (%)", fontsize=LABEL)
    ax.set_ylabel(f"{ylabel} (%)", fontsize=LABEL)
    plain(ax)
    ax.grid(axis="x", color="#E5E5E5", linewidth=0.8)
    ax.set_title("large marks: the end of training", fontsize=SMALL, color=GREY, loc="right")
    ax.legend(fontsize=LABEL, frameon=False, loc="upper left")
    return figure


def _tell_apart(results: Mapping) -> None:
    if not 1 <= len(results) <= len(COLOURS):
        raise ValueError(f"1 to {len(COLOURS)} models can be told apart in one figure; got {len(results)}")
