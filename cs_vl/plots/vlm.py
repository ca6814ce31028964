"""Language models that see: what they read, how they choose a word, what they answer."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from torch import Tensor

from cs_vl.losses.next_token import IGNORED
from cs_vl.plots.curves import DASHED
from cs_vl.plots.style import (
    BLUE,
    COLOURS,
    GREY,
    LABEL,
    RIM,
    SMALL,
    TITLE,
    VERMILION,
    array,
    bare,
    panels,
    picture,
    plain,
    shortened,
)

WIDTH = 7.2  # of a figure, in inches: as wide as a notebook's page
RULE = "#B0B0B0"  # the lines between cells
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL}  # of a short text
ACROSS = 96  # letters on a line of this width
LETTER, PATCH, LINE = 0.081, 0.25, 0.4  # a letter, a patch and a line of a text, in inches


def spliced_sequence(
    tokens: Sequence[str],
    labels: Int[Tensor, " spliced"],
    images: Sequence[Float[Tensor, "3 height width"]],
    *,
    grid: int | tuple[int, int],
    image_token: str = "<image>",
) -> Figure:
    """What LLaVA's language model reads, as it reads it: words, and patches where `<image>` stood.

    What is to be learned (its label is not -100) is blue; nobody has to guess the rest.

    Args:
        tokens: the text's tokens before splicing, as strings; one `image_token` an image.
        labels: of the spliced sequence, from `splice_images`.
        images: in [0, 1], in the order of reading.
        grid: patches down and across, or one number for both.
    """
    rows, columns = (grid, grid) if isinstance(grid, int) else grid
    patches = [patch for image in images for patch in _patches(image, rows, columns)]
    items: list[str | np.ndarray] = []
    for token in tokens:
        if token == image_token and patches:
            items += patches[: rows * columns]
            del patches[: rows * columns]
        else:
            items.append(token)
    if len(items) != len(labels) or patches:
        raise ValueError(
            f"{len(tokens)} tokens with {len(images)} images of {rows} x {columns} patches are "
            f"{len(items) + len(patches)} in a row; got {len(labels)} labels"
        )
    places, lines = _flow([PATCH if isinstance(item, np.ndarray) else _width(item) for item in items])
    figure, (ax,) = panels(1, 1, width=WIDTH, height=LINE * lines + 0.35)
    for item, label, (x, line) in zip(items, labels.tolist(), places, strict=True):
        learned = label != IGNORED
        y = LINE * line
        if isinstance(item, np.ndarray):
            ax.imshow(
                item, extent=(x + 0.015, x + PATCH - 0.015, y + 0.125, y - 0.125), interpolation="nearest"
            )
            if learned:  # it should not be: so be it seen
                ax.add_patch(Rectangle((x, y - 0.14), PATCH, 0.28, fill=False, edgecolor=BLUE, linewidth=2))
        else:
            width = _width(item)
            box = Rectangle((x + 0.015, y - 0.13), width - 0.03, 0.26, edgecolor="none")
            box.set_facecolor(BLUE if learned else "#EDEDED")
            ax.add_patch(box)
            colour = "white" if learned else "black"
            ax.text(x + width / 2, y, _visible(item), family="monospace", color=colour, **MIDDLE)
    ax.set(xlim=(0, WIDTH - 0.2), ylim=(LINE * (lines - 1) + 0.2, -0.2))
    ax.set_aspect("equal")
    bare(ax)
    count = int((array(labels) != IGNORED).sum())
    figure.supxlabel(
        f"blue: to be learned ({count} of {len(items)})     grey, and all patches: label −100",
        fontsize=SMALL,
        color=GREY,
    )
    return figure


def scores_by_distance(scores: Mapping[str, Float[Tensor, "length length"]]) -> Figure:
    """The scores of one query at every position with one key at every position; below, by their distance.

    The line is the mean over all pairs of a distance.  Rotations put all points on it.

    Args:
        scores: {how positions enter: scores}; row m, column n: the query stands at m, the key at n.
    """
    figure, axes = panels(2 * len(scores), len(scores), width=WIDTH / max(2, len(scores)), height=2.6)
    for ax, below, (name, given) in zip(axes, axes[len(scores) :], scores.items(), strict=False):
        values = array(given)
        if values.ndim != 2 or len(values) != values.shape[1]:
            raise ValueError(f"the scores {name!r} must be (length, length); got {values.shape}")
        length = len(values)
        shown = ax.imshow(values, cmap="viridis", interpolation="nearest")
        ax.set_title(name, fontsize=TITLE)
        ax.set_xlabel("position of the key", fontsize=LABEL)
        ax.set_ylabel("position of the query", fontsize=LABEL)
        ax.tick_params(labelsize=SMALL)
        bar = figure.colorbar(shown, ax=ax, shrink=0.85)
        bar.ax.tick_params(labelsize=SMALL)
        place = np.arange(length)
        distance = place[:, None] - place
        below.plot(distance.ravel(), values.ravel(), ".", color=BLUE, markersize=3, alpha=0.35)
        means = [values.diagonal(-d).mean() for d in range(1 - length, length)]
        below.plot(range(1 - length, length), means, color=VERMILION, linewidth=1)
        below.set_xlabel("query's position − key's", fontsize=LABEL)
        below.set_ylabel("score", fontsize=LABEL)
        plain(below)
    return figure


def next_token_bars(
    words: Sequence[str], choices: Mapping[str, Float[Tensor, " vocab"]], *, top: int = 10, columns: int = 3
) -> Figure:
    """The likeliest next tokens, a panel for each way to choose; all panels have the same tokens.

    Args:
        words: every token's text.
        choices: {"temperature 1": probabilities, ...}; the first decides which tokens are shown, and their
            order.
        top: how many.
    """
    ways = {name: array(p) for name, p in choices.items()}
    for name, p in ways.items():
        if p.shape != (len(words),):
            raise ValueError(
                f"{name!r} must have a probability for each of {len(words)} words; got {p.shape}"
            )
    best = np.argsort(-next(iter(ways.values())), kind="stable")[:top]
    columns = min(columns, len(ways))
    figure, axes = panels(len(ways), columns, width=WIDTH / columns, height=0.75 + 0.21 * len(best))
    for i, (ax, (name, p)) in enumerate(zip(axes, ways.items(), strict=True)):
        y = np.arange(len(best))
        ax.barh(y, p[best], 0.8, color=BLUE, alpha=0.85)
        for place, value in zip(y, p[best], strict=True):
            text, colour = (
                ("0", GREY) if value == 0 else (f"{value:.0%}" if value >= 0.01 else "<1%", "black")
            )
            ax.text(float(value) + 0.02, float(place), text, va="center", fontsize=SMALL, color=colour)
        ax.set(xlim=(0, 1.22), ylim=(len(best) - 0.4, -0.6), xticks=[])
        ax.set_yticks(y, [shortened(_visible(words[j]), 12) for j in best] if i % columns == 0 else [])
        ax.tick_params(labelsize=SMALL, length=0)
        ax.spines[["top", "right", "bottom"]].set_visible(False)
        kept = int((p > 0).sum())
        ax.set_title(name, fontsize=LABEL)
        ax.set_xlabel(f"{kept:,} tokens left" if kept > 1 else "1 token left", fontsize=SMALL, color=GREY)
    return figure


def same_words(said: str, right: str) -> bool:
    """Whether two answers are the same but for case and blanks around."""
    return said.strip().lower() == right.strip().lower()


def answer_sheet(
    images: Sequence[Float[Tensor, "3 height width"]],
    questions: Sequence[str],
    truth: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    *,
    right: Callable[[str, str], bool] = same_words,
    columns: int = 2,
) -> Figure:
    """Pictures with a question each, and what several models answer: blue and ✓, or vermilion and ✗.

    Args:
        images: one a question, in [0, 1].
        truth: the right answers.
        answers: {model: its answers}, one a question.
        right: (an answer, the right answer) -> whether it counts as right.
    """
    wrong = {name: len(said) for name, said in answers.items() if len(said) != len(questions)}
    if wrong or not len(images) == len(questions) == len(truth):
        raise ValueError(
            f"every question needs an image, a right answer and an answer of each model; got "
            f"{len(questions)} questions, {len(images)} images, {len(truth)} right answers"
            + "".join(f" and {n} answers of {name!r}" for name, n in wrong.items())
        )
    columns = min(columns, len(questions))
    across = int((WIDTH / columns - 1.3) / 0.085)  # letters that fit beside a picture
    blocks = []
    for i, question in enumerate(questions):
        block = [(line, "black", "bold") for line in textwrap.wrap(question, across)]
        for name, said in answers.items():
            ok = right(said[i], truth[i])
            text = f"{'✓' if ok else '✗'} {name}: {said[i].strip() or '(nothing)'}"
            lines = textwrap.wrap(shortened(text, 3 * across), across, subsequent_indent="   ")
            block += [(line, BLUE if ok else VERMILION, "normal") for line in lines]
        lines = textwrap.wrap(f"(right: {truth[i]})", across)
        block += [(line, GREY, "normal") for line in lines]
        blocks.append(block)
    line = 0.172  # inches
    needed = [max(1.15, line * len(block) + 0.12) for block in blocks]
    heights = [max(needed[i : i + columns]) for i in range(0, len(needed), columns)]
    # Beside each picture its text, which is wider.
    figure, axes = panels(
        2 * len(questions), 2 * columns, width=WIDTH / columns / 2, height=sum(heights) / len(heights)
    )
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_width_ratios([1, WIDTH / columns / 1.15 - 1] * columns)
    grid.set_height_ratios(heights)
    for i, (ax, beside) in enumerate(zip(axes[::2], axes[1::2], strict=True)):
        picture(ax, images[i])
        ax.set_anchor("N")
        bare(beside)
        beside.set(xlim=(0, 1), ylim=(heights[i // columns], 0))
        for j, (text, colour, weight) in enumerate(blocks[i]):
            y = line * (j + 0.1)
            beside.text(0, y, text, va="top", fontsize=SMALL, color=colour, fontweight=weight)
    return figure


def scores_with_controls(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    ylabel: str = "exact match",
    colours: Sequence[str] = (BLUE, "#8C8C8C", "#BFBFBF", "#595959", "#D9D9D9", "#404040"),
) -> Figure:
    """Grouped bars: a group for each kind of question, a bar for the model and for each of its controls.

    Bars are means over seeds, dots the single runs.  The first bar is blue; its controls are grey.

    Args:
        scores: {"with its picture": {"count": [a value a seed], ...}, "shuffled pictures": ...}, in [0, 1].
            Kinds of questions are those of the first; another may lack some.
        colours: of the bars; `style.COLOURS` where all are models of equal standing.
    """
    if not 1 <= len(scores) <= len(colours):
        raise ValueError(f"1 to {len(colours)} bars can be told apart in a group; got {len(scores)}")
    kinds = list(next(iter(scores.values())))
    for name, values in scores.items():
        if strange := [kind for kind in values if kind not in kinds]:
            raise ValueError(f"the first bars are of {kinds}; {name!r} has {strange[0]!r}")
    figure, (ax,) = panels(1, 1, width=min(WIDTH, 2.2 + 0.42 * len(kinds) * (len(scores) + 0.6)), height=3.5)
    width = 0.84 / len(scores)
    for i, ((name, values), colour) in enumerate(zip(scores.items(), colours, strict=False)):
        there = [j for j, kind in enumerate(kinds) if kind in values]
        runs = [100 * np.asarray(values[kinds[j]], dtype=float) for j in there]
        x = np.array(there) + (i - (len(scores) - 1) / 2) * width
        _bars(ax, x, runs, 0.92 * width, colour, name)
    ax.set_xticks(range(len(kinds)), [textwrap.fill(kind, 12) for kind in kinds], fontsize=LABEL)
    ax.set_ylabel(f"{ylabel} (%)", fontsize=LABEL)
    ax.set_ylim(0, 109)
    ax.set_yticks(range(0, 101, 20))
    plain(ax)
    ax.tick_params(axis="x", length=0, labelsize=LABEL)
    seeds = {len(run) for values in scores.values() for run in values.values()}
    if seeds != {1}:
        ax.set_title(f"mean of {max(seeds)} seeds; dots: each seed", fontsize=SMALL, color=GREY, loc="right")
    figure.legend(
        loc="outside lower center", ncols=2 if len(scores) == 4 else 3, fontsize=SMALL, frameon=False
    )
    return figure


def hallucination_bars(
    scores: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]],
) -> Figure:
    """POPE: how often yes-or-no questions are answered rightly, and how often the answer is yes.

    Half of the things asked for are there, so both guessing and always-yes are right in 50 %, and whoever
    sees well says yes in 50 %.

    Args:
        scores: {model: {"random": [the scores of each seed], "popular": ..., "adversarial": ...}}; scores
            have "accuracy" and "yes_ratio" (`cs_vl.tasks.hallucination.yes_no_scores`).
    """
    if not 1 <= len(scores) <= len(COLOURS):
        raise ValueError(f"1 to {len(COLOURS)} models can be told apart in one figure; got {len(scores)}")
    kinds = list(next(iter(scores.values())))
    figure, axes = panels(2, 2, width=WIDTH / 2, height=3.2)
    width = 0.8 / len(scores)
    for ax, key, title in zip(axes, ("accuracy", "yes_ratio"), ("right", "says yes"), strict=True):
        for i, ((name, by_kind), colour) in enumerate(zip(scores.items(), COLOURS, strict=False)):
            x = np.arange(len(kinds)) + (i - (len(scores) - 1) / 2) * width
            runs = [100 * np.array([one[key] for one in by_kind[kind]]) for kind in kinds]
            _bars(ax, x, runs, 0.92 * width, colour, name if key == "accuracy" else None)
        ax.axhline(50, color="black", **DASHED)
        line = "guessing" if key == "accuracy" else "what would be right"
        ax.set_xlabel(f"dashed: {line}", fontsize=SMALL, color=GREY)
        ax.set_title(f"{title} (%)", fontsize=TITLE)
        ax.set_xticks(range(len(kinds)), kinds, fontsize=LABEL)
        ax.set_ylim(0, 109)
        plain(ax)
        ax.tick_params(axis="x", length=0)
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def _bars(
    ax: Axes, x: np.ndarray, runs: Sequence[np.ndarray], width: float, colour: str, label: str | None
) -> None:
    """A bar for the mean of each of the runs, its number above; dots for the single values."""
    ax.bar(x, [run.mean() for run in runs], width, color=colour, label=label)
    for place, run in zip(x, runs, strict=True):
        if len(run) > 1:
            ax.plot(np.full(len(run), place), run, ".", color="black", markersize=4, path_effects=RIM)
        above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{run.mean():.0f}", (place, run.max()), fontsize=SMALL, path_effects=RIM, **above)


def interleaved_mask(
    tokens: Sequence[str],
    mask: Bool[Tensor, "length images"],
    images: Sequence[Float[Tensor, "3 height width"]],
) -> Figure:
    """Which image each token of an interleaved text may look at: a row an image, a column a token.

    Blue: may look; white: must not.

    Args:
        tokens: of one text, as strings.
        mask: of that text, from `media_mask`.
        images: in order.
    """
    allowed = array(mask).astype(bool)
    if allowed.shape != (len(tokens), len(images)):
        raise ValueError(
            f"mask must be (tokens, images) = ({len(tokens)}, {len(images)}); got {allowed.shape}: take "
            f"one of the batch"
        )
    figure, (ax,) = panels(1, 1, width=WIDTH, height=0.9 + 0.5 * len(images) + 0.3)
    ax.pcolormesh(
        allowed.T, cmap=ListedColormap(["white", BLUE]), vmin=0, vmax=1, edgecolors=RULE, linewidth=0.6
    )
    ax.invert_yaxis()
    ax.set_xticks(np.arange(len(tokens)) + 0.5, map(_visible, tokens), rotation=90, fontsize=SMALL)
    ax.xaxis.tick_top()
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_color(RULE)
    for i, image in enumerate(images):
        thumbnail = OffsetImage(array(image).transpose(1, 2, 0).clip(0, 1), zoom=28 / image.shape[-1])
        place = (0, i + 0.5), (-22, 0), ("axes fraction", "data"), "offset points"
        ax.add_artist(AnnotationBbox(thumbnail, *place, frameon=False, pad=0, annotation_clip=False))
    ax.set_ylabel(" ", fontsize=26)  # room for the pictures
    ax.set_xlabel("blue: the token above may look at the picture on the left", fontsize=SMALL, color=GREY)
    return figure


def few_shot_sheet(
    images: Float[Tensor, "pictures 3 height width"],
    shots: Sequence[str],
    labels: Sequence[str],
    scores: Float[Tensor, " labels"],
    *,
    right: int,
) -> Figure:
    """The examples that a model was shown, what it was asked, and how likely it found each label.

    As Alayrac et al. 2022, fig. 1.  The right label is blue.

    Args:
        images: those of the examples, then the one asked about, in [0, 1].
        shots: the examples' labels.
        labels: the labels to choose from.
        scores: their log-likelihoods, from `few_shot_scores`; shown as shares of the labels' sum.
        right: which label is right.
    """
    if len(images) != len(shots) + 1 or len(labels) != len(scores):
        raise ValueError(
            f"images must be those of the examples and one more, and every label needs a score; got "
            f"{len(images)} images for {len(shots)} examples, and {len(scores)} scores of {len(labels)}"
        )
    columns = len(images) + 1
    figure, axes = panels(columns, columns, width=WIDTH / (columns + 1), height=WIDTH / (columns + 1) + 0.5)
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_width_ratios([1.0] * len(images) + [1.7])
    for ax, image, label in zip(axes, images, [*shots, "?"], strict=False):
        picture(ax, image)
        ax.set_xlabel(label, fontsize=LABEL)
    asked, chosen = axes[-2:]
    asked.spines[:].set(visible=True, color="black", linewidth=2)
    asked.set_title("asked", fontsize=LABEL)
    axes[0].set_title("shown" if shots else "asked", fontsize=LABEL)
    p = array(scores.softmax(dim=0))
    for y, (label, share) in enumerate(zip(labels, p, strict=True)):
        chosen.barh(y, share, 0.8, color=BLUE if y == right else VERMILION, alpha=0.45)
        chosen.text(0.03, y, f"{shortened(label, 12)} {share:.0%}", va="center", fontsize=SMALL)
    chosen.set(xlim=(0, 1), ylim=(len(labels) - 0.4, -0.6), xticks=[], yticks=[])
    chosen.set_box_aspect(0.5)
    chosen.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def scene_sheet(
    image: Float[Tensor, "3 height width"],
    boxes: Int[Tensor, "objects 4"],
    names: Sequence[str],
    relations: Sequence[tuple[int, str, int]],
    texts: Mapping[str, Sequence[tuple[str, str]]],
) -> Figure:
    """A scene, its graph, and what a teacher who sees only the graph makes of it.

    Args:
        image: in [0, 1].
        boxes: x0, y0, x1, y1 of each thing, in pixels.
        names: of the things.
        relations: (i, "left of", j): thing i is left of thing j.
        texts: {kind: [(question, answer), ...]}.
    """
    if len(boxes) != len(names):
        raise ValueError(f"every thing needs a box and a name; got {len(boxes)} boxes and {len(names)} names")
    lines: list[tuple[str, str]] = []  # (a heading or question, an answer)
    headings = set()
    for kind, turns in texts.items():
        headings.add(len(lines))
        lines.append((kind, ""))
        for question, answer in turns:
            first, *others = textwrap.wrap(f"→ {answer}", ACROSS, subsequent_indent="   ") or ["→"]
            if not others and len(question) + len(first) < ACROSS:
                lines.append((question, first))
            else:
                lines += [(part, "") for part in textwrap.wrap(question, ACROSS)]
                lines += [("", part) for part in (first, *others)]
    line = 0.175  # inches
    figure, axes = panels(4, 2, width=WIDTH / 2, height=(2.7 + line * len(lines)) / 2)
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios([2.7, line * len(lines) + 0.1])
    (shown, graph, below, last) = axes
    last.remove()
    below.set_subplotspec(grid[1, :])
    picture(shown, image)
    shown.set_title("the picture", fontsize=TITLE)
    corners = array(boxes).astype(float)
    for (x0, y0, x1, y1), colour in zip(corners, COLOURS * len(corners), strict=False):
        frame = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=2)
        shown.add_patch(frame)
    _graph(graph, (corners[:, :2] + corners[:, 2:]) / 2, names, relations, image.shape[-1])
    bare(below)
    below.set(xlim=(0, 1), ylim=(line * len(lines), 0))
    for j, (asked, said) in enumerate(lines):
        colour, weight = ("black", "bold") if j in headings else (GREY, "normal")
        text = below.text(
            0, line * (j + 1), asked, va="bottom", fontsize=SMALL, color=colour, fontweight=weight
        )
        # Behind the question, if there is one on this line.
        place = {"xycoords": text, "xytext": (5, 0)} if asked else {"xytext": (0, 0)}
        at = (1, 0) if asked else (0, line * (j + 1))
        below.annotate(said, at, textcoords="offset points", va="bottom", fontsize=SMALL, color=BLUE, **place)
    return figure


def _graph(
    ax: Axes, centres: np.ndarray, names: Sequence[str], relations: Sequence[tuple[int, str, int]], size: int
) -> None:
    """Nodes where the things are; an arrow for each relation, with its name on it."""
    for i, relation, j in relations:
        ax.annotate(
            "",
            centres[j],
            centres[i],
            arrowprops={"arrowstyle": "->", "color": GREY, "shrinkA": 16, "shrinkB": 16, "linewidth": 1.2},
        )
        x, y = (centres[i] + centres[j]) / 2
        ax.text(x, y, relation, color=GREY, path_effects=RIM, zorder=4, **MIDDLE)
    for (x, y), name, colour in zip(centres, names, COLOURS * len(names), strict=False):
        frame = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour, "linewidth": 2}
        ax.text(x, y, textwrap.fill(name, 12), bbox=frame, zorder=3, **MIDDLE)
    ax.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    ax.set_aspect("equal")
    bare(ax)
    ax.set_title("its graph", fontsize=TITLE)


def _patches(image: Tensor, rows: int, columns: int) -> list[np.ndarray]:
    """The patches of an image, row by row, each (height, width, 3)."""
    pixels = array(image).transpose(1, 2, 0).clip(0, 1)
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    return [
        pixels[r * height : (r + 1) * height, c * width : (c + 1) * width]
        for r in range(rows)
        for c in range(columns)
    ]


def _width(word: str) -> float:
    return LETTER * len(_visible(word)) + 0.13


def _visible(word: str) -> str:
    """A token's text with its blanks and line breaks to be seen."""
    return word.replace(" ", "·").replace("\n", "↵") or "∅"


def _flow(widths: Sequence[float]) -> tuple[list[tuple[float, int]], int]:
    """Where each item begins, line by line, as in a text: [(x, line)], and the number of lines."""
    places, x, line = [], 0.0, 0
    for width in widths:
        if x and x + width > WIDTH - 0.2:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += width
    return places, line + 1
