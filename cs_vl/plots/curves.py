"""How training went, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cs_vl.plots.style import COLOURS, GREY, LABEL, RIM, SMALL, TITLE, panels, plain
from cs_vl.train.history import History

DASHED: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2}


def learning_curves(
    histories: History | Mapping[str, History],
    *,
    smooth: int = 20,
    chance: Mapping[str, float] | None = None,
) -> Figure:
    """Loss and metrics over the steps, a panel each, a colour for each run.

    Lines are the training batches (each point the mean of the last `smooth` steps), dots are `evaluate`'s.

    Args:
        chance: the value of guessing, for any of the panels: {"accuracy": 0.25}.
    """
    histories = {"": histories} if isinstance(histories, History) else dict(histories)
    if len(histories) > len(COLOURS):
        raise ValueError(f"{len(COLOURS)} runs can be told apart in one figure; got {len(histories)}")
    names = ["loss"]
    for history in histories.values():
        names += [name for name in {**history.metrics, **history.evaluations} if name not in names]

    figure, axes = panels(len(names), 3, width=4.2, height=3.2)
    for ax, name in zip(axes, names, strict=True):
        for (run, history), colour in zip(histories.items(), COLOURS, strict=False):
            values = history.losses if name == "loss" else history.metrics.get(name, [])
            if values:
                ax.plot(history.steps, _running_mean(values, smooth), color=colour, linewidth=1.8, label=run)
            if name in history.evaluations:
                label = None if values else run
                ax.plot(
                    history.evaluated_at,
                    history.evaluations[name],
                    "o",
                    color=colour,
                    markersize=4.5,
                    label=label,
                )
        ax.set_title(name, fontsize=TITLE)
        ax.set_xlabel("step", fontsize=LABEL)
        plain(ax)
        if name == "loss":
            ax.set_ylim(bottom=0)
        if chance and name in chance:
            ax.axhline(chance[name], color=GREY, **DASHED)
            place = (1, chance[name]), (-2, 3), ("axes fraction", "data"), "offset points"
            ax.annotate("chance", *place, ha="right", fontsize=SMALL, color=GREY, path_effects=RIM)
    if any(histories):
        axes[0].legend(fontsize=SMALL, frameon=False)
    return figure


def bars(
    values: Mapping[str, Sequence[float] | Mapping[str, Sequence[float]]],
    *,
    ylabel: str = "accuracy",
    chance: float | Mapping[str, float] | None = None,
    percent: bool = True,
) -> Figure:
    """Compare results over seeds: bars are means, error bars standard deviations, dots the single runs.

    Args:
        values: {"with positions": [0.97, 0.98, 0.97], ...}; or groups of bars,
            {"with positions": {"what": [...], "where": [...]}, ...}, with the same inner names everywhere.
        chance: what guessing would give: one number, or one for each inner name.
        percent: whether values are fractions, to be shown in percent.
    """
    groups: dict[str, dict[str, Any]] = {
        name: dict(value) if isinstance(value, Mapping) else {"": value} for name, value in values.items()
    }
    inner = list(next(iter(groups.values())))
    for name, group in groups.items():
        if list(group) != inner:
            raise ValueError(f"every group needs the bars {inner}; {name!r} has {list(group)}")
    if len(inner) > len(COLOURS):
        raise ValueError(f"{len(COLOURS)} bars a group can be told apart; got {len(inner)}")
    scale = 100 if percent else 1
    width = 0.8 / len(inner)

    figure, (ax,) = panels(1, 1, width=max(4.0, 1.2 + 0.7 * len(groups) * (1 + len(inner)) / 1.2), height=3.4)
    for i, (bar, colour) in enumerate(zip(inner, COLOURS, strict=False)):
        x = np.arange(len(groups)) + (i - (len(inner) - 1) / 2) * width
        runs = [scale * np.asarray(group[bar], dtype=float) for group in groups.values()]
        means = [run.mean() for run in runs]
        spread = [run.std(ddof=1) if len(run) > 1 else 0.0 for run in runs]
        ax.bar(x, means, 0.9 * width, color=colour, alpha=0.85, label=bar)
        for place, run, mean, error in zip(x, runs, means, spread, strict=True):
            if len(run) > 1:
                ax.errorbar(place, mean, error, ecolor="black", elinewidth=1.4, capsize=4)
                ax.plot(np.full(len(run), place + 0.25 * width), run, ".k", alpha=0.6, markersize=5)
            text = f"{mean:.0f}" if percent else f"{mean:.3g}"
            above = (place, max(mean + error, run.max())), (0, 3)
            ax.annotate(
                text, *above, textcoords="offset points", ha="center", fontsize=SMALL, path_effects=RIM
            )
        if isinstance(chance, Mapping) and bar in chance:
            ax.axhline(scale * chance[bar], color=colour, **DASHED, label=f"{bar}: chance")
    if isinstance(chance, int | float):
        ax.axhline(scale * chance, color=GREY, **DASHED, label="chance")
    ax.set_xticks(range(len(groups)), list(groups), fontsize=LABEL)
    ax.set_ylabel(f"{ylabel} (%)" if percent else ylabel, fontsize=LABEL)
    plain(ax)
    ax.margins(y=0.12)
    seeds = {len(run) for group in groups.values() for run in group.values()}
    if seeds != {1}:
        of = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        ax.set_title(f"mean ± standard deviation of {of} seeds", fontsize=SMALL, color=GREY, loc="right")
    if any(inner) or chance is not None:
        figure.legend(loc="outside right upper", fontsize=SMALL, frameon=False)
    return figure


def _running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of the last `window` values at each place (of fewer at the beginning)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(0, end - window)
    return (sums[end] - sums[begin]) / (end - begin)
