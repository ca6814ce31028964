"""Figures: the right numbers are in them, nothing is cut off, and nothing is left behind."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from cs_vl.data.captions import make_captions
from cs_vl.data.scenes import make_scenes
from cs_vl.nn import MultiHeadAttention, ViT
from cs_vl.plots import (
    attention_maps,
    attention_weights,
    bars,
    learning_curves,
    mask_grid,
    position_similarity,
    show_scenes,
)
from cs_vl.train import History


def pixels(figure: Figure) -> np.ndarray:
    with io.BytesIO() as file:
        figure.savefig(file, format="rgba", dpi=100)
        width, height = (round(side * 100) for side in figure.get_size_inches())
        return np.frombuffer(file.getvalue(), np.uint8).reshape(height, width, 4)


def a_history(evaluated: bool = True) -> History:
    history = History()
    for step in range(1, 41):
        history.record(step, 2.0 / step, {"accuracy": step / 40})
        if evaluated and step % 20 == 0:
            history.record_evaluation(step, {"accuracy": 0.5, "where": 0.25})
    return history


scenes = make_scenes(8, seed=0, objects=(0, 6))
eye = torch.eye(5, dtype=torch.bool)
weights = torch.rand(4, 17, 17, generator=torch.Generator().manual_seed(0)).softmax(-1)
words = ["a", "red", "star", "left", "of"]

FIGURES = {
    "scenes": lambda: show_scenes(scenes),
    "scenes, all drawn": lambda: show_scenes(scenes, 5, boxes=True, masks=True, correct=[True, False] * 3),
    "attention of a patch": lambda: attention_maps(torch.rand(3, 32, 32), weights, grid=4, query=(2, 1)),
    "attention of the class token": lambda: attention_maps(torch.rand(3, 32, 32), weights, grid=4, columns=3),
    "positions": lambda: position_similarity(torch.randn(1, 17, 8), 4),
    "positions, oblong": lambda: position_similarity(torch.randn(15, 8), (3, 5)),
    "curves": lambda: learning_curves({"one": a_history(), "other": a_history(False)}, chance={"accuracy": 0.3}),
    "a curve": lambda: learning_curves(a_history(False)),
    "masks": lambda: mask_grid({"itself": eye, "causal": eye.tril(), "additive": torch.zeros(5, 5)}, tokens=words),
    "cross mask": lambda: mask_grid({"cross": torch.ones(2, 7, dtype=torch.bool)}),
    "bars": lambda: bars({"a": [0.5, 0.7], "b": [0.2, 0.3]}, chance=0.25),
    "groups": lambda: bars({"a": {"x": [1.0], "y": [2.0]}, "b": {"x": [3.0], "y": [1.0]}}, chance={"x": 1}, percent=False),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_whole_and_leaves_nothing_behind(name):
    before = dict(plt.rcParams), torch.get_rng_state()
    with torch.random.fork_rng():
        figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    image = pixels(figure)
    assert image[..., :3].min() < 100, "something is drawn"
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert border[:, :3].min() > 100, "nothing is cut off at the edge"
    assert not plt.get_fignums(), "a notebook would show an open figure twice"
    assert dict(plt.rcParams) == before[0] and torch.equal(torch.get_rng_state(), before[1])
    small = [text.get_fontsize() for text in figure.findobj(plt.Text) if text.get_text()]
    assert min(small, default=9) >= 9, "readable in a notebook"


def test_scenes_show_the_images_and_captions():
    figure = show_scenes(scenes, 3)
    assert len(figure.axes) == 3
    for ax, image, caption in zip(figure.axes, scenes.images, make_captions(scenes), strict=False):
        assert np.allclose(ax.images[0].get_array(), image.permute(1, 2, 0))
        assert ax.get_xlabel().replace("\n", " ") == caption
    assert [
        ax.get_xlabel() for ax in show_scenes(scenes, 2, captions=["x", "y"], correct=[True, False]).axes
    ] == [
        "✓ x",
        "✗ y",
    ]
    boxed = show_scenes(scenes, boxes=True)
    assert [len(ax.patches) for ax in boxed.axes] == scenes.count.tolist()


def test_attention_maps_show_the_query_s_row():
    figure = attention_maps(torch.rand(3, 32, 32), weights, grid=4, query=(2, 1))
    token = 1 + 2 * 4 + 1
    for head, ax in enumerate(figure.axes[1:]):
        row = weights[head, token].numpy()
        strength = ax.images[1].get_alpha()
        assert np.allclose(strength, 0.9 * row[1:].reshape(4, 4) / row[1:].max())
        assert ax.get_title() == f"head {head + 1} (max {row[1:].max():.2f})"
        assert ax.get_xlabel() == f"{row[0]:.0%} on the class token"
        assert (ax.patches[0].get_x() + 0.5, ax.patches[0].get_y() + 0.5) == (8, 16)


def test_positions_are_compared_patch_by_patch():
    embed = torch.randn(1, 1 + 6, 4)
    (ax, _) = position_similarity(embed, (2, 3)).axes
    canvas = np.asarray(ax.images[0].get_array().filled(np.nan))
    patches = canvas[~np.isnan(canvas)]
    expected = torch.cosine_similarity(embed[0, 1:, None], embed[0, None, 1:], dim=-1)
    assert np.allclose(canvas[:2, :3], expected[0].reshape(2, 3), atol=1e-6)
    assert np.allclose(canvas[3:5, 8:11], expected[5].reshape(2, 3), atol=1e-6)
    assert patches.size == 36


def test_curves_are_running_means():
    figure = learning_curves({"run": a_history()}, smooth=4)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "accuracy", "where"]
    x, y = figure.axes[0].lines[0].get_data()
    losses = np.array(a_history().losses)
    assert list(x) == list(range(1, 41)) and y[0] == losses[0]
    assert np.allclose(y[3:], np.convolve(losses, np.ones(4) / 4, "valid"))
    dots = figure.axes[1].lines[1].get_data()
    assert list(dots[0]) == [20, 40] and list(dots[1]) == [0.5, 0.5]


def test_masks_are_blue_where_one_may_look():
    causal = torch.ones(4, 4).tril().bool()
    additive = torch.zeros(4, 4).masked_fill(~causal, -torch.inf)
    figure = mask_grid({"bool": causal, "float": additive})
    for ax in figure.axes:
        assert np.array_equal(ax.collections[0].get_array().reshape(4, 4), causal)
        assert ax.yaxis_inverted(), "the first query is on top"


def test_bars_are_means_and_standard_deviations():
    (ax,) = bars({"a": [0.5, 0.7], "b": [0.2, 0.3]}, chance=0.25).axes
    assert np.allclose([bar.get_height() for bar in ax.patches], [60, 25])
    low, high = ax.containers[1].lines[2][0].get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(np.std([50, 70], ddof=1))
    assert any(np.allclose(line.get_ydata(), 25) for line in ax.lines if line.get_linestyle() == "--")


# ---- Recording ----


def test_recorded_weights_are_those_of_every_layer_in_order():
    vit = ViT(image_size=16, patch_size=8, dim=12, depth=3, heads=2).train()
    vit.blocks[1].eval()
    images = torch.rand(5, 3, 16, 16)
    recorded = attention_weights(vit, images)
    assert [w.shape for w in recorded] == [(5, 2, 5, 5)] * 3
    states = vit(images).hidden_states
    for w, block, x in zip(recorded, vit.blocks, states, strict=False):
        assert torch.allclose(w, block.attn(block.norm1(x))[1], atol=1e-6) and not w.requires_grad
    assert vit.training and vit.blocks[0].attn.training and not vit.blocks[1].training
    assert not any(module._forward_hooks for module in vit.modules())


def test_recording_works_for_a_student_s_own_class_and_cleans_up_after_an_error():
    student = type("MultiHeadAttention", (nn.Module,), {"forward": lambda self, x: (x, x + 1)})
    model = nn.Sequential(student())
    assert torch.equal(attention_weights(model, torch.ones(2))[0], torch.full((2,), 2.0))
    attention = MultiHeadAttention(4, 2)
    with pytest.raises(RuntimeError):
        attention_weights(attention, torch.ones(1, 2, 5))
    assert not attention._forward_hooks and attention.training
    with pytest.raises(ValueError, match="Linear called no MultiHeadAttention"):
        attention_weights(nn.Linear(2, 2), torch.ones(2))


def test_mistakes_get_a_sentence():
    with pytest.raises(ValueError, match="choose one image of the batch"):
        attention_maps(torch.rand(3, 32, 32), weights[None], grid=4)
    with pytest.raises(ValueError, match="5 x 5 patches"):
        attention_maps(torch.rand(3, 32, 32), weights, grid=5)
    with pytest.raises(ValueError, match="needs 25 positions; got 17"):
        position_similarity(torch.randn(1, 17, 8), 5)
    with pytest.raises(ValueError, match=r"must be .queries, keys."):
        mask_grid({"four": torch.ones(1, 1, 3, 3)})
    with pytest.raises(ValueError, match="every group needs the bars"):
        bars({"a": {"x": [1]}, "b": {"y": [1]}})
    with pytest.raises(ValueError, match="6 runs"):
        learning_curves({str(i): a_history() for i in range(7)})
