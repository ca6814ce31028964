"""The figures of models that see: the right things are in them, nothing is cut off, nothing is left behind."""

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
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.patches import Rectangle

from cs_vl.losses.next_token import IGNORED
from cs_vl.models.llava import splice_images
from cs_vl.models.sampling import next_token_probabilities
from cs_vl.nn.gated_cross_attention import media_mask
from cs_vl.nn.rotary import rotary_embed
from cs_vl.plots import (
    answer_sheet,
    few_shot_sheet,
    hallucination_bars,
    interleaved_mask,
    next_token_bars,
    scene_sheet,
    scores_by_distance,
    scores_with_controls,
    spliced_sequence,
)
from cs_vl.plots.style import BLUE, COLOURS, VERMILION

generator = torch.Generator().manual_seed(0)
rng = np.random.default_rng(0)
images = torch.rand(9, 3, 16, 16, generator=generator)

AT_RANDOM = torch.rand(9, 9, generator=generator)
TOKENS = ["<user>", "<image>", "How", " many", "?", "<assistant>", "two", "\n", "<|endoftext|>"]
LABELS = torch.full((8 + 4,), IGNORED).index_fill(0, torch.tensor([9, 11]), 7)
INTERLEAVED = ["Look", ":", "<image>", "a", " fox", "<eoc>", "<image>", "an", " owl", "<eoc>"]
MASK = media_mask(torch.tensor([[token == "<image>" for token in INTERLEAVED]]), 2)[0]
WORDS = ["fox", " owl", "\n", "a very long word indeed", "", " bus"]
LOGITS = torch.tensor([[0.5, 3.0, -1.0, 2.0, 0.0, -9.0]])
WAYS = {
    "temperature 1": next_token_probabilities(LOGITS)[0],
    "top-k 2": next_token_probabilities(LOGITS, top_k=2)[0],
    "greedy": next_token_probabilities(LOGITS, temperature=0)[0],
    "temperature 2": next_token_probabilities(LOGITS, temperature=2.0)[0],
}
QUESTIONS = ["How many?", "What is left of the grinning face with big eyes and of the other one?", "Is it?"]
TRUTH = ["two", "an owl", "no"]
ANSWERS = {"before": ["a a a a " * 40, "", "yes"], "phase 2": [" Two", "a fox", "no"]}
KINDS = ["presence", "kind of thing", "count", "relation", "place"]
SCORES = {
    name: {kind: rng.uniform(low, 1, 3).tolist() for kind in KINDS}
    for name, low in (
        ("with its picture", 0.8),
        ("no picture", 0.2),
        ("another picture", 0.1),
        ("commonest", 0.2),
    )
}
POPE = {
    name: {
        kind: [{"accuracy": rng.uniform(), "yes_ratio": rng.uniform()} for _ in range(3)]
        for kind in ("random", "popular", "adversarial")
    }
    for name in ("with its picture", "another picture")
}
BOXES = torch.tensor([[0, 0, 5, 7], [9, 2, 15, 8], [4, 9, 9, 15]])
NAMES = ["graduation cap", "owl", "fox"]
TEXTS = {
    "conversation": [("Is there a fox?", "yes"), ("How many?", "three")],
    "description": [("Describe the picture.", "There is a graduation cap. " * 9)],
}


def turned(length: int = 9, width: int = 8) -> torch.Tensor:
    q, k = torch.randn(2, 1, 1, 1, width, generator=torch.Generator().manual_seed(1)).expand(
        2, 1, 1, length, width
    )
    places = torch.arange(length)
    return (rotary_embed(q, places) @ rotary_embed(k, places).mT)[0, 0]


FIGURES = {
    "spliced": lambda: spliced_sequence(TOKENS, LABELS, images[:1], grid=2),
    "spliced, text alone": lambda: spliced_sequence(["a"] * 80, torch.arange(80), [], grid=2),
    "distance": lambda: scores_by_distance({"turned": turned(), "at random": AT_RANDOM}),
    "next token": lambda: next_token_bars(WORDS, WAYS),
    "next token, one way": lambda: next_token_bars(WORDS, {"greedy": WAYS["greedy"]}, top=3),
    "answers": lambda: answer_sheet(images[:3], QUESTIONS, TRUTH, ANSWERS),
    "one answer": lambda: answer_sheet(images[:1], QUESTIONS[1:2], TRUTH[1:2], {"model": ["a fox"]}),
    "controls": lambda: scores_with_controls(SCORES),
    "controls, one seed": lambda: scores_with_controls({"a": {"kind": [0.5]}}, colours=COLOURS),
    "hallucination": lambda: hallucination_bars(POPE),
    "mask": lambda: interleaved_mask(INTERLEAVED, MASK, images[:2]),
    "few shots": lambda: few_shot_sheet(images[:5], ["wug", "dap"] * 2, ["wug", "dap"], torch.tensor([-4.0, -1.0]), right=1),
    "no shot": lambda: few_shot_sheet(images[:1], [], ["wug", "dap"], torch.tensor([-4.0, -1.0]), right=1),
    "eight shots": lambda: few_shot_sheet(images, ["wug", "dap"] * 4, ["wug", "dap"], torch.zeros(2), right=0),
    "scene": lambda: scene_sheet(images[0], BOXES, NAMES, [(0, "left of", 1), (2, "below", 1)], TEXTS),
    "scene of one": lambda: scene_sheet(images[0], BOXES[:1], NAMES[:1], [], {"description": [("Describe.", "")]}),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole_and_leaves_nothing_behind(name):
    before = dict(plt.rcParams), torch.get_rng_state(), np.random.get_state()[1].copy()
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    assert image[..., :3].min() < 100, "something is drawn"
    box = figure.get_tightbbox(canvas.get_renderer())  # in inches
    sides = figure.get_size_inches()
    assert (box.min > -0.03).all() and (box.max < sides + 0.03).all(), "nothing is cut off"
    assert sides[0] <= 7.3, "as wide as a notebook's page"
    small = [text.get_fontsize() for text in figure.findobj(plt.Text) if text.get_text()]
    assert min(small) >= 9, "readable in a notebook"
    assert not plt.get_fignums(), "a notebook would show an open figure twice"
    assert dict(plt.rcParams) == before[0] and torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], before[2])


def colour_of(patch) -> str:
    return to_hex(patch.get_facecolor()).upper()


def words_of(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_sequence_has_patches_where_the_image_token_was_and_blue_where_it_learns():
    (ax,) = FIGURES["spliced"]().axes
    assert words_of(ax) == ["<user>", "How", "·many", "?", "<assistant>", "two", "↵", "<|endoftext|>"]
    learned = [colour_of(box) == BLUE for box in ax.patches]
    assert learned == [False] * 5 + [True, False, True]
    # The picture's four quarters, row by row, between the first word and the second.
    left = [patch.get_extent()[0] for patch in ax.images]
    assert ax.patches[0].get_x() < left[0] and left == sorted(left) and left[-1] < ax.patches[1].get_x()
    for patch, (row, column) in zip(ax.images, [(0, 0), (0, 8), (8, 0), (8, 8)], strict=True):
        assert np.allclose(
            patch.get_array(), images[0, :, row : row + 8, column : column + 8].permute(1, 2, 0)
        )


def test_a_patch_that_would_be_learned_is_seen():
    (ax,) = spliced_sequence(TOKENS, LABELS.index_fill(0, torch.tensor([2]), 5), images[:1], grid=2).axes
    (frame,) = [box for box in ax.patches if not box.get_fill()]
    left, right, *_ = ax.images[1].get_extent()
    assert frame.get_x() < left and right < frame.get_x() + frame.get_width()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["<image>", "fox", " and", "."]), min_size=1, max_size=30))
def test_any_text_is_spliced_as_llava_splices_it(tokens):
    ids = torch.tensor([[0 if token == "<image>" else 1 for token in tokens]])
    pictures = images[:1].expand(tokens.count("<image>"), -1, -1, -1)
    _, labels = splice_images(ids, torch.zeros(1, len(tokens), 2), torch.zeros(len(pictures), 4, 2), 0, ids)
    (ax,) = spliced_sequence(tokens, labels[0], list(pictures), grid=2).axes
    assert len(ax.images) == 4 * len(pictures) and len(ax.texts) == len(tokens) - len(pictures)
    assert all(colour_of(box) == BLUE for box in ax.patches), "all words are learned, no patch is"
    right = [box.get_x() + box.get_width() for box in ax.patches]
    assert max(right, default=0) <= ax.get_xlim()[1], "no word leaves the page"


def test_turned_scores_fall_on_one_line():
    values = turned()
    heat, _, below, *_ = scores_by_distance({"turned": values, "other": values}).axes
    assert np.allclose(heat.images[0].get_array(), values)
    points, line = below.lines
    distance, score = points.get_data()
    where = dict(zip(*line.get_data(), strict=True))
    assert sorted(where) == list(range(-8, 9))
    assert np.allclose(score, [where[d] for d in distance], atol=1e-4)
    # Query at 8 and key at 0: a distance of +8.
    assert np.isclose(where[8], values[8, 0])


def test_next_tokens_have_one_order_and_their_own_probabilities():
    axes = FIGURES["next token"]().axes
    order = LOGITS[0].argsort(descending=True)
    for ax, (name, p) in zip(axes, WAYS.items(), strict=True):
        assert np.allclose([bar.get_width() for bar in ax.patches], p[order])
        assert ax.get_title() == name
    shown = [label.get_text() for label in axes[0].get_yticklabels()]
    assert shown == ["·owl", "a·very·long…", "fox", "∅", "↵", "·bus"]
    assert [label.get_text() for label in axes[3].get_yticklabels()] == shown, (
        "each row's first panel has them"
    )
    assert axes[1].get_xlabel() == "2 tokens left" and axes[2].get_xlabel() == "1 token left"
    assert words_of(axes[2]) == ["100%"] + ["0"] * 5
    assert words_of(axes[0])[-1] == "<1%", "a little is not nothing"


def test_answers_are_judged_one_by_one():
    axes = FIGURES["answers"]().axes
    beside = axes[1::2]
    for ax, image in zip(axes[::2], images, strict=False):
        assert np.allclose(ax.images[0].get_array(), image.permute(1, 2, 0))
    marks = [[(word[0], text.get_color()) for word, text in zip(words_of(ax), ax.texts, strict=True) if word[0] in "✓✗"] for ax in beside]  # fmt: skip
    right, wrong = ("✓", BLUE), ("✗", VERMILION)
    assert marks == [[wrong, right], [wrong, wrong], [wrong, right]]
    assert "✗ before: (nothing)" in words_of(beside[1]) and "(right: an owl)" in words_of(beside[1])
    assert [text.get_text() for text in beside[0].texts if text.get_fontweight() == "bold"] == ["How many?"]
    never = answer_sheet(images[:3], QUESTIONS, TRUTH, ANSWERS, right=lambda said, truth: False)
    assert "✓" not in "".join(word for ax in never.axes for word in words_of(ax))


def test_bars_are_means_and_dots_are_seeds():
    (ax,) = FIGURES["controls"]().axes
    means = [100 * np.mean(SCORES[name][kind]) for name in SCORES for kind in KINDS]
    assert np.allclose([bar.get_height() for bar in ax.patches], means)
    dots = [100 * np.array(SCORES[name][kind]) for name in SCORES for kind in KINDS]
    assert np.allclose([line.get_ydata() for line in ax.lines], dots)
    assert [colour_of(bar) == BLUE for bar in ax.patches] == [True] * 5 + [False] * 15
    # A control that a kind of question lacks leaves a gap, where its bar would have been.
    (ax,) = scores_with_controls({"a": {"x": [1.0], "y": [0.5]}, "b": {"y": [0.25]}}).axes
    x = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    assert np.allclose(x, [-0.21, 0.79, 1.21]) and not ax.lines


def test_hallucination_has_what_is_right_and_how_often_it_says_yes():
    right, yes = FIGURES["hallucination"]().axes
    for ax, key in ((right, "accuracy"), (yes, "yes_ratio")):
        means = [100 * np.mean([one[key] for one in runs]) for by in POPE.values() for runs in by.values()]
        assert np.allclose([bar.get_height() for bar in ax.patches], means)
    assert right.get_title() == "right (%)" and yes.get_title() == "says yes (%)"


def test_each_token_s_picture_is_blue_in_its_column():
    (ax,) = FIGURES["mask"]().axes
    assert np.array_equal(ax.collections[0].get_array(), MASK.T)
    assert [label.get_text() for label in ax.get_xticklabels()][3:5] == ["a", "·fox"]
    pictures = [artist.offsetbox.get_data() for artist in ax.artists if isinstance(artist, AnnotationBbox)]
    assert np.allclose(pictures[1], images[1].permute(1, 2, 0))


def test_an_episode_shows_the_labels_shares_and_which_is_right():
    *pictures, bars = FIGURES["few shots"]().axes
    assert [ax.get_xlabel() for ax in pictures] == ["wug", "dap", "wug", "dap", "?"]
    p = torch.tensor([-4.0, -1.0]).softmax(0)
    assert np.allclose([bar.get_width() for bar in bars.patches], p)
    assert [colour_of(bar) for bar in bars.patches] == [VERMILION, BLUE]
    assert words_of(bars) == ["wug 5%", "dap 95%"]


def test_a_scene_has_its_boxes_its_graph_and_its_texts():
    shown, graph, below = FIGURES["scene"]().axes
    corners = [(box.get_x() + 0.5, box.get_y() + 0.5) for box in shown.patches if isinstance(box, Rectangle)]
    assert corners == [(0, 0), (9, 2), (4, 9)]
    names = words_of(graph)
    assert names[-3:] == ["graduation\ncap", "owl", "fox"] and "left of" in names and "below" in names
    nodes = {text.get_text(): text.get_position() for text in graph.texts}
    assert nodes["owl"] == (12, 5)
    assert nodes["left of"] == ((2.5 + 12) / 2, (3.5 + 5) / 2)
    said = words_of(below)
    assert said[:2] == ["conversation", ""] and said.index("Is there a fox?") + 1 == said.index("→ yes")
    assert sum("graduation cap" in line for line in said) > 1, "a long answer goes on in the next line"


def test_mistakes_get_a_sentence():
    with pytest.raises(
        ValueError, match=r"9 tokens with 1 images of 2 x 2 patches are 12 in a row; got 9 labels"
    ):
        spliced_sequence(TOKENS, LABELS[:9], images[:1], grid=2)
    with pytest.raises(ValueError, match="with 2 images"):
        spliced_sequence(TOKENS, LABELS, images[:2], grid=2)
    with pytest.raises(ValueError, match=r"'turned' must be \(length, length\); got \(9, 8\)"):
        scores_by_distance({"turned": turned()[:, :8]})
    with pytest.raises(ValueError, match="'greedy' must have a probability for each of 5 words"):
        next_token_bars(WORDS[:5], {"greedy": WAYS["greedy"]})
    with pytest.raises(ValueError, match="3 questions, 2 images, 3 right answers"):
        answer_sheet(images[:2], QUESTIONS, TRUTH, ANSWERS)
    with pytest.raises(ValueError, match="and 1 answers of 'late'"):
        answer_sheet(images[:3], QUESTIONS, TRUTH, ANSWERS | {"late": ["no"]})
    with pytest.raises(ValueError, match="1 to 6 bars"):
        scores_with_controls({str(i): {"kind": [0.5]} for i in range(7)})
    with pytest.raises(ValueError, match=r"of \['kind'\]; 'b' has 'count'"):
        scores_with_controls({"a": {"kind": [0.5]}, "b": {"count": [0.5]}})
    with pytest.raises(ValueError, match="1 to 6 models"):
        hallucination_bars({})
    with pytest.raises(ValueError, match=r"\(10, 2\); got \(2, 10\)"):
        interleaved_mask(INTERLEAVED, MASK.T, images[:2])
    with pytest.raises(ValueError, match="4 images for 4 examples, and 2 scores of 3"):
        few_shot_sheet(images[:4], ["a"] * 4, ["a", "b", "c"], torch.zeros(2), right=0)
    with pytest.raises(ValueError, match="got 3 boxes and 2 names"):
        scene_sheet(images[0], BOXES, NAMES[:2], [], TEXTS)
