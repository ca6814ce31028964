"""CLIP's figures: the right numbers are in them, nothing is cut off, and nothing is left behind."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from cs_vl.plots import (
    accuracy_by_style,
    effective_robustness,
    long_tail,
    memory_bars,
    nearest_neighbours,
    retrieval_sheet,
    seed_curves,
    similarity_matrix,
    softmax_temperatures,
    style_sheet,
    zero_shot_predictions,
)
from cs_vl.plots.comparisons import in_words
from cs_vl.plots.style import BLUE, VERMILION

generator = torch.Generator().manual_seed(0)
rng = np.random.default_rng(0)
images = torch.rand(24, 3, 16, 16, generator=generator)
similarity = torch.rand(4, 6, generator=generator) - 0.3
right = torch.rand(3, 5, generator=generator) < 0.5
probabilities = torch.rand(3, 7, generator=generator).softmax(dim=1)
NAMES = [
    "red heart",
    "grinning face with big eyes",
    "pizza",
    "family: man, woman, girl, boy",
    "cat",
    "sun",
    "snail",
]
PARTS = {"seen": ["noto", "twemoji"], "near": ["fluent_3d"], "sketch": ["openmoji_line", "fluent_contrast"]}
STYLES = [style for styles in PARTS.values() for style in styles]
RESULTS = {
    model: {style: rng.uniform(0, 1, 3).tolist() for style in STYLES} for model in ("CLIP", "supervised twin")
}
CURVES = {
    "contrastive": ([10, 100, 1000], rng.uniform(0, 1, (3, 3))),
    "captioning": ([20, 200], [[0.1, 0.2], [0.3, 0.4]]),
}
MEMORY = {"whole": {4096: 2.0e8, 16384: 3.2e9}, "chunks": {4096: 2.1e7, 16384: 1.3e8}}


def neighbours(**options) -> Figure:
    labels = [[NAMES[(i + j) % 7] for j in range(4)] for i in range(2)]
    return nearest_neighbours(images[:2], NAMES[:2], images[:8].unflatten(0, (2, 4)), labels, **options)


def predictions(truth: list[int], **options) -> Figure:
    return zero_shot_predictions(images[:3], NAMES, probabilities, torch.tensor(truth), **options)


FIGURES = {
    "matrix": lambda: similarity_matrix(similarity, images[:4], NAMES[:6]),
    "matrix of logits": lambda: similarity_matrix(100 * similarity, images[:4], NAMES[:6], label="logit"),
    "one pair": lambda: similarity_matrix(similarity[:1, :1], images[:1], NAMES[3:4]),
    "temperatures": lambda: softmax_temperatures(similarity[0], NAMES[:6], truth=1),
    "styles": lambda: style_sheet(
        {style: [None if i == j else images[5 * i + j] for j in range(4)] for i, style in enumerate(STYLES[:4])},
        NAMES[:4],
        parts={"noto": "seen"},
    ),
    "neighbours": neighbours,
    "neighbours with scores": lambda: neighbours(scores=similarity[:2, :4]),
    "retrieval": lambda: retrieval_sheet(NAMES[1:4], images[:15].unflatten(0, (3, 5)), right),
    "retrieval with labels": lambda: retrieval_sheet(
        NAMES[:3], images[:15].unflatten(0, (3, 5)), right, labels=[NAMES[2:]] * 3
    ),
    "predictions": lambda: predictions([0, 1, 2]),
    "predictions, two alone": lambda: predictions([3, 3, 3], top=2, columns=1),
    "by style": lambda: accuracy_by_style(RESULTS, PARTS, chance=0.01),
    "by style, one model": lambda: accuracy_by_style({"CLIP": RESULTS["CLIP"]}, {"seen": ["noto"]}),
    "robustness": lambda: effective_robustness({"CLIP": rng.uniform(0, 1, (2, 3, 6)), "twin": rng.uniform(0, 1, (2, 6))}),
    "curves": lambda: seed_curves(CURVES, chance=1 / 140),
    "a curve": lambda: seed_curves({"loss": ([1, 2], [[3.0, 1.0]])}, percent=False, log_x=False, ylabel="loss"),
    "memory": lambda: memory_bars(MEMORY),
    "long tail": lambda: long_tail({"raw": torch.arange(1, 90) ** 2, "balanced": np.arange(90)}, limit=20),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole_and_leaves_nothing_behind(name):
    before = dict(plt.rcParams), torch.get_rng_state(), np.random.get_state()[1].copy()
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    with io.BytesIO() as file:
        figure.savefig(file, format="rgba", dpi=100)
        width, height = (round(side * 100) for side in figure.get_size_inches())
        image = np.frombuffer(file.getvalue(), np.uint8).reshape(height, width, 4)
    assert image[..., :3].min() < 100, "something is drawn"
    box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())  # in inches
    sides = figure.get_size_inches()
    assert (box.min > -0.03).all() and (box.max < sides + 0.03).all(), "nothing is cut off"
    small = [text.get_fontsize() for text in figure.findobj(plt.Text) if text.get_text()]
    assert min(small) >= 9, "readable in a notebook"
    assert not plt.get_fignums(), "a notebook would show an open figure twice"
    assert dict(plt.rcParams) == before[0] and torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_the_matrix_shows_each_number_in_its_cell_and_frames_the_pairs():
    (ax, _) = FIGURES["matrix"]().axes
    assert np.allclose(ax.images[0].get_array(), similarity)
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_text() == f"{similarity[row, column]:z.2f}"
    assert len(ax.texts) == similarity.numel()
    assert [(p.get_x() + 0.47, p.get_y() + 0.47) for p in ax.patches] == [(i, i) for i in range(4)]
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == NAMES[:3]
    for shown, image in zip(ax.images[1:], images, strict=False):
        assert np.allclose(shown.get_array(), image.permute(1, 2, 0))
    pairs = torch.zeros(4, 6, dtype=torch.bool)
    pairs[1, 5] = pairs[3, 0] = True
    (ax, _) = similarity_matrix(similarity, images[:4], NAMES[:6], relevant=pairs).axes
    assert [(p.get_x() + 0.47, p.get_y() + 0.47) for p in ax.patches] == [(5, 1), (0, 3)]


def test_temperatures_divide_before_the_softmax():
    axes = softmax_temperatures(similarity[0], NAMES[:6], (1.0, 0.1), truth=2).axes
    for ax, temperature in zip(axes, (1.0, 0.1), strict=True):
        expected = (similarity[0].double() / temperature).softmax(0)
        assert np.allclose([bar.get_width() for bar in ax.patches], expected)
        assert [to_hex(bar.get_facecolor()).upper() == BLUE for bar in ax.patches] == [
            i == 2 for i in range(6)
        ]
    assert axes[1].get_xlabel() == "scale 10"


def test_styles_are_rows_and_concepts_are_columns():
    figure = FIGURES["styles"]()
    assert len(figure.axes) == 16
    assert [ax.get_ylabel() for ax in figure.axes[::4]] == [
        "Noto\nseen",
        "Twemoji",
        "Fluent 3D",
        "OpenMoji line",
    ]
    assert [ax.get_title().replace("\n", " ") for ax in figure.axes[:4]] == NAMES[:4]
    for place, ax in enumerate(figure.axes):
        row, column = divmod(place, 4)
        assert len(ax.images) == (row != column)
        if ax.images:
            assert np.allclose(ax.images[0].get_array(), images[5 * row + column].permute(1, 2, 0))


def colour_of_frame(ax) -> str:
    return to_hex(ax.spines["left"].get_edgecolor()).upper()


def test_neighbours_are_blue_where_the_label_is_the_query_s():
    axes = neighbours(scores=similarity[:2, :4]).axes
    assert len(axes) == 2 * 5
    assert [ax.get_xlabel().replace("\n", " ") for ax in axes[::5]] == NAMES[:2]
    for ax, mark, score in zip(axes[1:5], "✓✗✗✗", similarity[0].tolist(), strict=False):
        assert ax.get_xlabel()[0] == mark and ax.get_title() == f"{score:.2f}"
        assert colour_of_frame(ax) == (BLUE if mark == "✓" else VERMILION)


def test_what_a_text_finds_is_in_order_and_marked():
    axes = FIGURES["retrieval"]().axes
    assert [ax.get_title() for ax in axes[:5]] == ["1", "2", "3", "4", "5"]
    assert [ax.get_ylabel().replace("\n", " ") for ax in axes[::5]] == [f"“{name}”" for name in NAMES[1:4]]
    for ax, image, relevant in zip(axes, images, right.flatten(), strict=False):
        assert np.allclose(ax.images[0].get_array(), image.permute(1, 2, 0))
        assert (colour_of_frame(ax) == BLUE) == relevant == (ax.get_xlabel() == "✓")


def test_predictions_show_the_likeliest_names_and_the_truth():
    best = probabilities.argsort(dim=1, descending=True)
    axes = predictions([int(best[0, 0]), int(best[1, 2]), int(best[2, 6])]).axes
    titles = [ax.get_title(loc="left") for ax in axes[::2]]
    assert titles[0].startswith("✓") and "rank" not in titles[0]
    assert titles[1].startswith("✗") and titles[1].endswith("(rank 3)") and titles[2].endswith("(rank 7)")
    for i, ax in enumerate(axes[1::2]):
        assert np.allclose([bar.get_width() for bar in ax.patches], probabilities[i, best[i, :5]])
        blue = [to_hex(bar.get_facecolor()).upper() == BLUE for bar in ax.patches]
        assert blue == [i in (0, 1) and place == 2 * i for place in range(5)]


def test_accuracy_by_style_shows_means_ranges_and_groups():
    (ax,) = accuracy_by_style(RESULTS, PARTS, chance={style: 0.1 for style in STYLES}).axes
    assert [text.get_text() for text in ax.texts] == list(PARTS)
    for line, results in zip(ax.lines, RESULTS.values(), strict=True):
        runs = 100 * np.array([results[style] for style in STYLES])
        assert np.allclose(line.get_ydata(), runs.mean(axis=1))
    segments = np.array([segment[:, 1] for segment in ax.collections[1].get_segments()])
    assert np.allclose(segments, np.stack([runs.min(axis=1), runs.max(axis=1)], axis=1))
    clip, twin = (line.get_xdata() for line in ax.lines)
    assert (clip < twin).all() and (np.diff(clip) > 0).all()


def test_robustness_draws_each_run():
    seen, shifted = rng.uniform(0, 1, (3, 6)), rng.uniform(0, 0.5, (3, 6))
    (ax,) = effective_robustness({"CLIP": (seen, shifted)}).axes
    for line, x, y in zip(ax.lines, 100 * seen, 100 * shifted, strict=False):
        assert np.allclose(line.get_data(), (x, y))
    assert np.allclose(ax.lines[3].get_data(), (100 * seen[:, -1], 100 * shifted[:, -1]))
    assert ax.get_xlim() == ax.get_ylim()


def test_seed_curves_are_means_over_seeds():
    (ax,) = seed_curves(CURVES).axes
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert len(labels) >= 2 and all(float(text.replace(",", "")) > 0 for text in labels)
    (few,) = seed_curves({"a": ([16, 64, 2048], [[1, 2, 3]]), "b": ([16, 64, 2048], [[1, 2, 3]])}).axes
    assert [label.get_text() for label in few.get_xticklabels()] == ["16", "64", "2,048"]
    for line, (x, runs) in zip(ax.lines, CURVES.values(), strict=True):
        assert np.allclose(line.get_data(), (x, 100 * np.mean(runs, axis=0)))
    assert ax.get_xscale() == "log" and ax.get_title(loc="right") == "mean and range of 2 to 3 seeds"


def test_memory_stands_beside_one_matrix():
    (ax,) = memory_bars(MEMORY).axes
    assert [bar.get_height() for bar in ax.patches] == [2.0e8, 3.2e9, 2.1e7, 1.3e8]
    assert [text.get_text() for text in ax.texts] == ["200 MB", "3.2 GB", "21 MB", "130 MB"]
    assert [segment[0, 1] for segment in ax.collections[0].get_segments()] == [4 * 4096**2, 4 * 16384**2]
    assert [in_words(size) for size in (0, 999, 1000, 4 * 4096**2, 2e15)] == [
        "0 B",
        "999 B",
        "1 KB",
        "67.1 MB",
        "2e+03 TB",
    ]


def test_a_long_tail_is_sorted():
    (ax,) = long_tail({"raw": torch.tensor([3, 0, 7, 1])}).axes
    assert np.array_equal(ax.lines[0].get_data(), ([1, 2, 3], [7, 3, 1]))
    assert ax.get_legend_handles_labels()[1] == ["raw (11 texts)"]


def test_mistakes_get_a_sentence():
    pictures = images[:15].unflatten(0, (3, 5))
    with pytest.raises(ValueError, match=r"similarity must be .images, texts. = .4, 6.; got .6, 4."):
        similarity_matrix(similarity.T, images[:4], NAMES[:6])
    with pytest.raises(ValueError, match="relevant must have the shape of similarity"):
        similarity_matrix(similarity, images[:4], NAMES[:6], relevant=torch.eye(4))
    with pytest.raises(ValueError, match=r"one image's, one a text: .6,.; got .4, 6."):
        softmax_temperatures(similarity, NAMES[:6])
    with pytest.raises(ValueError, match=r"every style needs 4 pictures.*'noto' has 3"):
        style_sheet({"noto": images[:3]}, NAMES[:4])
    with pytest.raises(ValueError, match=r"labels must be 3 lists of 5"):
        nearest_neighbours(images[:3], NAMES[:3], pictures, [NAMES[:4]] * 3)
    with pytest.raises(ValueError, match="there must be 3 query_images"):
        nearest_neighbours(images[:2], NAMES[:3], pictures, [NAMES[:5]] * 3)
    with pytest.raises(ValueError, match=r"relevant must be .3, 5.; got 3 and .5, 3."):
        retrieval_sheet(NAMES[:3], pictures, right.T)
    with pytest.raises(ValueError, match=r"probabilities must be .images, names. = .3, 7.; got .7, 3."):
        zero_shot_predictions(images[:3], NAMES, probabilities.T, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="'CLIP' has no results for the style 'moon'"):
        accuracy_by_style(RESULTS, {"seen": ["noto", "moon"]})
    with pytest.raises(ValueError, match="1 to 6 models"):
        accuracy_by_style({str(i): {} for i in range(7)}, {})
    with pytest.raises(ValueError, match="measured at the same times"):
        effective_robustness({"CLIP": (np.ones(3), np.ones(4))})
    with pytest.raises(ValueError, match="'a' needs 3 values of each seed"):
        seed_curves({"a": ([1, 2, 3], [[1, 2]])})
    with pytest.raises(ValueError, match="every method needs the sizes"):
        memory_bars({"a": {1: 2.0}, "b": {2: 2.0}})
    with pytest.raises(ValueError, match="1 to 6 pools"):
        long_tail({})
