"""The figures of segment anything: the right things are in them, nothing is cut off, nothing is left behind."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from cs_vl.nn.fourier import fourier_positions, grid_positions
from cs_vl.plots.sam import (
    MOST_OUTLINES,
    confidence_against_truth,
    engine_stages,
    everything_sheet,
    mask_sheet,
    picture_rows,
    place_similarity,
)
from cs_vl.plots.style import BLUE, COLOURS, VERMILION
from cs_vl.tasks.data_engine import STAGES
from cs_vl.tasks.point_grid import point_grid

generator = torch.Generator().manual_seed(0)
rng = np.random.default_rng(0)
images = torch.rand(4, 3, 16, 20, generator=generator)  # higher than wide they are not
OUTER, INNER, NOTHING = torch.zeros(3, 16, 20, dtype=torch.bool)
OUTER[2:12, 3:15] = True
INNER[4:8, 5:9] = True
BELIEF = torch.rand(16, 20, generator=generator)
POINTS = torch.tensor([[5.0, 4.0], [14.0, 11.0], [0.0, 15.0]])
LABELS = torch.tensor([1, 0, 1])
PLACES = torch.tensor([[0.25, 0.5], [0.875, 0.125]])
ENCODED = grid_positions(8, 8, torch.randn(2, 32, generator=generator))
PREDICTED, TRUE = torch.rand(2, 50, generator=generator)
ENGINE = {
    "masks a picture": {stage: rng.uniform(1, 9, 3).tolist() for stage in STAGES},
    "clicks": {stage: [4.0, 5.0, 4.5] if i == 0 else [0.0] * 3 for i, stage in enumerate(STAGES)},
    "IoU of the labels that were there": {stage: rng.uniform(0.5, 1, 3).tolist() for stage in STAGES},
}
EMPTY = torch.zeros(0, 16, 20, dtype=torch.bool)


def similarity() -> list[torch.Tensor]:
    frequencies = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    grid = grid_positions(8, 8, frequencies).flatten(1)
    return list((fourier_positions(PLACES, frequencies) @ grid / 32).view(-1, 8, 8))


def a_sheet(**options) -> Figure:
    return mask_sheet(images, [None, OUTER, INNER, NOTHING], **options)


FIGURES = {
    "places": lambda: place_similarity(
        {"waves, scale 1 (SAM)": similarity(), "others": similarity()}, PLACES
    ),
    "one place": lambda: place_similarity({"waves": similarity()[:1]}, PLACES[:1]),
    "masks": lambda: a_sheet(
        points=[POINTS] * 4,
        labels=[LABELS] * 4,
        captions=["", "says 0.93; whole 0.87", "a long caption about what is to be seen", "nothing"],
        headings=["a click", "mask 1", "mask 2", "mask 3"],
        marked=[1],
    ),
    "masks, bare": a_sheet,
    "box": lambda: mask_sheet(
        images[:2],
        [None, OUTER],
        boxes=[torch.tensor([3.0, 2, 14, 11]), None],
        captions=["a box", "its mask"],
    ),
    "one mask": lambda: mask_sheet(images[:1], [OUTER]),
    "beliefs": lambda: mask_sheet(
        images[[0, 0, 0, 0, 0, 1]],
        [None, BELIEF, OUTER.float(), None, None, BELIEF],
        columns=5,
        headings="abcde",
    ),
    "everything": lambda: everything_sheet(
        images[:3],
        {"found": [torch.stack([INNER, OUTER]), EMPTY, OUTER[None]], "what is there": [OUTER[None]] * 3},
        points=point_grid(4),
        titles=["astronaut", "cat", "coffee"],
    ),
    "everything in one": lambda: everything_sheet(images[:1], {"found": [OUTER[None]]}),
    "very many": lambda: everything_sheet(images[:1], {"found": [torch.rand(90, 16, 20) > 0.9]}),
    "confidence": lambda: confidence_against_truth(
        {"after 1 click": (PREDICTED, TRUE), "after 8 clicks": (2 * PREDICTED - 0.5, TRUE)}
    ),
    "few confident": lambda: confidence_against_truth({"all": (PREDICTED[:2], TRUE[:2])}),
    "rows": lambda: picture_rows(
        {"picture": images, "SAM's edges": BELIEF.expand(4, -1, -1), "none": torch.zeros(4, 16, 20)},
        titles=["one", "two"],
    ),
    "engine": lambda: engine_stages(ENGINE, percent=["IoU of the labels that were there"]),
    "engine, one seed": lambda: engine_stages({"clicks": {"first": [3.0], "second": [120.0]}}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole_and_leaves_nothing_behind(name):
    before = dict(plt.rcParams), np.random.get_state()[1].copy()
    figure = FIGURES[name]()
    state = torch.get_rng_state()
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    assert image[..., :3].min() < 120, "something is drawn"
    box = figure.get_tightbbox(canvas.get_renderer())  # in inches
    sides = figure.get_size_inches()
    assert (box.min > -0.03).all() and (box.max < sides + 0.03).all(), "nothing is cut off"
    assert sides[0] <= 7.3, "as wide as a notebook's page"
    small = [text.get_fontsize() for text in figure.findobj(plt.Text) if text.get_text()]
    assert min(small, default=9) >= 9, "readable in a notebook"
    assert not plt.get_fignums(), "a notebook would show an open figure twice"
    assert dict(plt.rcParams) == before[0] and torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], before[1])


def shown(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def pixels(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def dots(ax, colour: str) -> list[list[float]]:
    """Where the markers of a colour are."""
    lines = [line for line in ax.lines if to_hex(line.get_color()).upper() == colour]
    return [list(point) for line in lines for point in line.get_xydata()]


def test_a_place_s_map_is_its_own_and_the_ring_is_at_the_place():
    maps = similarity()
    left, right, *_ = FIGURES["places"]().axes
    for ax, values, place in zip((left, right), maps, PLACES, strict=True):
        assert np.allclose(shown(ax), values)
        assert np.allclose(ax.lines[0].get_xydata(), place)
        # The brightest cell is the one in the ring: the picture and the ring have the same axes.
        row, column = divmod(int(values.argmax()), 8)
        left_edge, right_edge, bottom, top = ax.images[0].get_extent()
        assert (left_edge, right_edge, bottom, top) == (0, 1, 1, 0)
        assert abs((column + 0.5) / 8 - place[0]) <= 0.07 and abs((row + 0.5) / 8 - place[1]) <= 0.07


def test_outside_of_a_mask_the_picture_is_faded_and_inside_it_is_not():
    axes = a_sheet().axes
    assert np.allclose(shown(axes[0]), pixels(images[0])), "without a mask: as it is"
    for ax, image, mask in zip(axes[1:], images[1:], (OUTER, INNER, NOTHING), strict=True):
        picture, inside = pixels(image), mask.numpy()
        assert np.allclose(shown(ax)[inside], picture[inside])
        assert (shown(ax)[~inside] >= picture[~inside]).all() and shown(ax)[~inside].min() >= 0.74


def outline(ax) -> np.ndarray:
    (contour,) = [one for one in ax.collections if isinstance(one, ContourSet)]
    return np.concatenate([path.vertices for path in contour.get_paths()])


def test_the_outline_is_around_the_mask_and_closed_at_the_picture_s_edge():
    everywhere = torch.ones(16, 20, dtype=torch.bool)
    inner, all_of_it, nothing = mask_sheet(images[:3], [INNER, everywhere, NOTHING]).axes
    assert np.allclose(outline(inner).min(axis=0), (4.5, 3.5)) and np.allclose(
        outline(inner).max(axis=0), (8.5, 7.5)
    )
    assert np.allclose(outline(all_of_it).min(axis=0), -0.5) and np.allclose(
        outline(all_of_it).max(axis=0), (19.5, 15.5)
    )
    assert not nothing.collections
    assert inner.get_xlim() == (-0.5, 19.5) and inner.get_ylim() == (15.5, -0.5), "as without an outline"


def test_clicks_are_where_they_were_made_in_the_colour_of_their_label():
    axes = FIGURES["masks"]().axes
    assert dots(axes[0], BLUE) == [[5, 4], [0, 15]] and dots(axes[0], VERMILION) == [[14, 11]]
    (ax, *_) = a_sheet(points=[POINTS[:1]] + [POINTS[:0]] * 3).axes
    assert dots(ax, BLUE) == [[5, 4]] and not dots(ax, VERMILION), "without labels: this"


def test_captions_headings_and_the_frame_of_the_chosen_one():
    axes = FIGURES["masks"]().axes
    assert [ax.get_title() for ax in axes] == ["a click", "mask 1", "mask 2", "mask 3"]
    assert " ".join(axes[2].get_xlabel().split()) == "a long caption about what is to be seen"
    assert [ax.spines["left"].get_visible() for ax in axes] == [False, True, False, False]


def test_a_box_is_drawn_where_it_is():
    boxed, other = FIGURES["box"]().axes
    (box,) = boxed.patches
    assert box.get_xy() == (3, 2) and (box.get_width(), box.get_height()) == (11, 9) and not other.patches


def test_beliefs_are_shown_from_0_to_1_with_a_scale():
    *axes, scale = FIGURES["beliefs"]().axes
    assert np.allclose(shown(axes[1]), BELIEF) and axes[1].images[0].get_clim() == (0, 1)
    assert np.allclose(shown(axes[2]), OUTER), "floats of 0 and 1 are beliefs, too"
    assert [text.get_text() for text in scale.get_xticklabels()] == ["0.0", "0.5", "1.0"]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 11), st.integers(1, 5))
def test_a_sheet_of_any_number_has_a_panel_for_each(count, columns):
    some = images[torch.arange(count) % 4]
    axes = mask_sheet(some, [OUTER] * count, columns=columns, headings="abcde"[:columns]).axes
    assert len(axes) == count
    assert [ax.get_title() for ax in axes[:columns]] == list("abcde"[: min(count, columns)])


def test_a_small_mask_lies_on_the_large_one_whatever_their_order():
    for masks in (torch.stack([INNER, OUTER]), torch.stack([OUTER, INNER])):
        _, ax = everything_sheet(images[:1], {"found": [masks]}).axes
        inside, around = shown(ax)[5, 6], shown(ax)[10, 12]
        assert np.abs(inside - around).max() > 0.2
        assert ax.get_xlabel() == "2 masks"
    assert np.ptp(shown(ax)[14, 18]) < 1e-6, "where nothing was found it is grey"


def test_everything_has_a_row_for_each_way_and_counts():
    axes = FIGURES["everything"]().axes
    assert len(axes) == 9 and [ax.get_title() for ax in axes[:3]] == ["astronaut", "cat", "coffee"]
    assert [ax.get_xlabel() for ax in axes[3:]] == ["2 masks", "0 masks", "1 mask"] + ["1 mask"] * 3
    assert [ax.get_ylabel() for ax in axes[3::3]] == ["found", "what is there"]
    # A grid of 4 x 4 in a picture that is 20 wide and 16 high: cells of 5 x 4 pixels, from -0.5 on.
    assert np.allclose(dots(axes[0], BLUE)[:2], [[2, 1.5], [7, 1.5]])
    assert not FIGURES["very many"]().axes[1].collections, f"no outlines above {MOST_OUTLINES} masks"


def test_confidence_has_a_dot_a_mask_and_its_means_in_the_order_of_confidence():
    first, _ = FIGURES["confidence"]().axes
    diagonal, masks, means = first.lines
    assert np.allclose(diagonal.get_xydata(), [[0, 0], [1, 1]])
    assert np.allclose(masks.get_xydata(), torch.stack([PREDICTED, TRUE], dim=1))
    x, y = means.get_data()
    assert len(x) == 8 and (np.diff(x) > 0).all()
    lowest = PREDICTED.argsort()[:7]  # 50 masks in 8: the first bins have 7
    assert np.isclose(x[0], PREDICTED[lowest].mean()) and np.isclose(y[0], TRUE[lowest].mean())


def test_pictures_are_in_colour_and_maps_dark_where_they_are_large():
    axes = FIGURES["rows"]().axes
    assert np.allclose(shown(axes[1]), pixels(images[1]))
    assert np.allclose(shown(axes[4]), BELIEF) and axes[4].images[0].get_cmap().name == "Greys"
    assert axes[4].images[0].get_clim() == (0, pytest.approx(float(BELIEF.max())))
    assert [ax.get_ylabel() for ax in axes[::4]] == ["picture", "SAM's edges", "none"]
    assert [ax.get_title() for ax in axes[:3]] == ["one", "two", ""]


def test_a_stage_has_its_mean_its_seeds_and_one_colour():
    axes = FIGURES["engine"]().axes
    for ax, (quantity, by_stage) in zip(axes, ENGINE.items(), strict=True):
        scale = 100 if "IoU" in quantity else 1
        assert np.allclose(
            [bar.get_height() for bar in ax.patches], [scale * np.mean(v) for v in by_stage.values()]
        )
        assert np.allclose(
            [line.get_ydata() for line in ax.lines], [scale * np.array(v) for v in by_stage.values()]
        )
        assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == list(COLOURS[:3])
        assert ax.get_ylim()[1] >= max(bar.get_height() for bar in ax.patches)
    assert "(%)" in axes[2].get_title() and "(%)" not in axes[0].get_title()
    (legend,) = FIGURES["engine"]().legends
    assert [text.get_text() for text in legend.get_texts()] == list(STAGES)
    (one,) = FIGURES["engine, one seed"]().axes
    assert [text.get_text() for text in one.texts] == ["3", "120"] and not one.lines


def test_mistakes_get_a_sentence():
    with pytest.raises(ValueError, match="'waves' has 1 for 2 points"):
        place_similarity({"waves": similarity()[:1]}, PLACES)
    with pytest.raises(ValueError, match="every image needs a mask; got 1 for 4 images"):
        mask_sheet(images, [OUTER])
    with pytest.raises(ValueError, match="every image needs a caption; got 1 for 4 images"):
        a_sheet(captions=["one"])
    with pytest.raises(ValueError, match="labels are those of the points; got 4 for 4 images"):
        a_sheet(labels=[LABELS] * 4)
    with pytest.raises(ValueError, match=r"as large as its picture, \(16, 20\); got \(20, 16\)"):
        mask_sheet(images[:1], [OUTER.T])
    with pytest.raises(ValueError, match="'found' has 1 for 2 images"):
        everything_sheet(images[:2], {"found": [EMPTY]})
    with pytest.raises(ValueError, match="'all' needs as many predicted as true IoUs"):
        confidence_against_truth({"all": (PREDICTED, TRUE[:3])})
    with pytest.raises(ValueError, match="every row needs 4 pictures, as the first has; 'edges' has 3"):
        picture_rows({"picture": images, "edges": images[:3]})
