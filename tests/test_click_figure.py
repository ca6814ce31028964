"""The figure that is clicked at: by simulated clicks, and the sheet where figures do not listen."""

import gc
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.figure import Figure

from cs_vl.models.sam import SAMOutput
from cs_vl.tasks import click_figure as module
from cs_vl.tasks.click_figure import (
    AGAIN,
    ClickFigure,
    Clicks,
    click_figure,
    click_sheet,
    middle,
    surest_masks,
)
from cs_vl.tasks.sam_models import make_scene_sam
from tests.pictures import rectangle

SIZE = 32
IMAGE = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


region = partial(rectangle, size=SIZE)


WHOLE, PART, OTHER = region(2, 3, 18, 21), region(4, 5, 9, 11), region(22, 20, 30, 30)


class Knowing(torch.nn.Module):
    """Knows a whole with a part, and another thing.  "Not this" on the whole leaves the part."""

    image_size = mask_size = SIZE

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.asked = []

    def encode(self, images):
        return images

    def decode(self, features, points, labels, masks=None, *, multimask=True):
        self.asked.append((points[0].tolist(), labels[0].tolist(), masks is not None, multimask))
        found, ious = [], []
        for clicks, kinds in zip((points[0] + 0.5).long().tolist(), labels[0].tolist(), strict=True):
            x, y = clicks[0]
            if WHOLE[y, x]:
                three, iou = [PART, WHOLE, region(4, 5, 9, 9)], [0.7, 0.9, 0.6]
            elif OTHER[y, x]:
                three, iou = [OTHER, region(22, 20, 30, 25), OTHER], [0.8, 0.5, 0.4]
            else:
                three, iou = [torch.zeros_like(WHOLE)] * 3, [0.1, 0.2, 0.3]
            if not multimask:
                three, iou = [PART if 0 in kinds else three[1]], [0.95]
            found.append(torch.stack([torch.where(mask, 5.0, -5.0) for mask in three]))
            ious.append(torch.tensor(iou))
        return SAMOutput(torch.stack(found)[None], torch.stack(ious)[None])


@pytest.fixture(autouse=True)
def no_figure_is_left():
    plt.close("all")
    yield
    plt.close("all")


def press(figure: ClickFigure, x: float, y: float, button: int, axes: int = 0) -> None:
    """A mouse button at a place in the data of one of the axes, through matplotlib's own events."""
    figure.figure.canvas.draw()
    at = figure.axes[axes].transData.transform((x, y))
    event = MouseEvent("button_press_event", figure.figure.canvas, *at, button=button)
    figure.figure.canvas.callbacks.process("button_press_event", event)


def press_key(figure: ClickFigure, key: str) -> None:
    event = KeyEvent("key_press_event", figure.figure.canvas, key)
    figure.figure.canvas.callbacks.process("key_press_event", event)


def captions(figure: Figure) -> list[str]:
    return [ax.get_xlabel() for ax in figure.axes]


# --- clicks ---------------------------------------------------------------------------------------------------


def test_the_first_click_gives_three_and_chooses_one():
    model = Knowing()
    clicks = Clicks(model, IMAGE)
    assert clicks.mask is None and clicks.first is None and clicks.best_of_first is None
    clicks.click(10, 10)
    assert torch.equal(clicks.mask, WHOLE) and clicks.best_of_first == 1
    assert clicks.iou == pytest.approx(0.9) and clicks.caption == "1 click: says 0.90"
    assert torch.equal(clicks.first.masks[0], PART)
    assert model.asked == [([[[10, 10]]], [[1]], False, True)]


def test_a_further_click_improves_the_chosen_mask():
    model = Knowing()
    clicks = Clicks(model, IMAGE)
    clicks.click(10, 10)
    first = clicks.first
    clicks.click(16, 18, 0)
    assert torch.equal(clicks.mask, PART) and clicks.first is first
    assert clicks.caption == "2 clicks: says 0.95"
    assert model.asked[1] == ([[[10, 10], [16, 18]]], [[1, 0]], True, False)


def test_start_again():
    clicks = Clicks(Knowing(), IMAGE)
    clicks.click(10, 10)
    clicks.start_again()
    assert clicks.mask is None and clicks.points == [] and clicks.labels == []
    clicks.click(25, 25)
    assert torch.equal(clicks.mask, OTHER) and clicks.points == [(25, 25)]


def test_a_click_that_fails_is_forgotten():
    clicks = Clicks(Knowing(), IMAGE)
    clicks.click(10, 10)
    with pytest.raises(ValueError, match="outside"):
        clicks.click(99, 10)
    assert clicks.points == [(10, 10)] and torch.equal(clicks.mask, WHOLE)


# --- a figure that listens ------------------------------------------------------------------------------------


def test_left_is_this_and_right_is_not_this():
    figure = ClickFigure(Knowing(), IMAGE)
    assert captions(figure.figure) == ["left: this; right: not this", "", "", ""]
    press(figure, 10, 12, button=1)
    assert torch.equal(figure.clicks.mask, WHOLE)
    assert figure.clicks.points[0] == pytest.approx((10, 12), abs=1e-3)
    assert captions(figure.figure) == ["1 click: says 0.90", "says 0.70", "says 0.90", "says 0.60"]
    assert [ax.spines["left"].get_visible() for ax in figure.axes] == [False, False, True, False]
    press(figure, 16, 18, button=3)
    assert figure.clicks.labels == [1, 0] and torch.equal(figure.clicks.mask, PART)
    assert captions(figure.figure)[0] == "2 clicks: says 0.95"


def test_the_key_starts_again():
    figure = ClickFigure(Knowing(), IMAGE)
    press(figure, 10, 12, button=1)
    press_key(figure, "x")
    assert figure.clicks.mask is not None
    press_key(figure, AGAIN)
    assert figure.clicks.mask is None
    assert captions(figure.figure) == ["left: this; right: not this", "", "", ""]


def test_the_key_is_none_of_matplotlibs():
    used = {
        key for name, keys in matplotlib.rcParamsDefault.items() if name.startswith("keymap.") for key in keys
    }
    assert AGAIN not in used


def test_other_buttons_and_other_places_do_nothing():
    figure = ClickFigure(Knowing(), IMAGE)
    press(figure, 10, 12, button=2)
    press(figure, 10, 12, button=1, axes=1)
    figure.on_press(SimpleNamespace(button=1, inaxes=None, xdata=None, ydata=None))
    figure.axes[0].set(xlim=(-20, 60))  # zoomed out
    press(figure, -9, 12, button=1)
    assert figure.clicks.mask is None
    press(figure, 10, 12, button=1)
    assert figure.clicks.mask is not None


def test_while_the_toolbar_zooms_a_click_is_none(monkeypatch):
    figure = ClickFigure(Knowing(), IMAGE)
    event = SimpleNamespace(button=1, inaxes=figure.axes[0], xdata=10.0, ydata=12.0)
    with monkeypatch.context() as patch:
        patch.setattr(figure.figure.canvas, "toolbar", SimpleNamespace(mode="zoom rect"))
        figure.on_press(event)
    assert figure.clicks.mask is None
    figure.on_press(event)
    assert figure.clicks.mask is not None


def test_it_listens_though_nobody_holds_it():
    model = Knowing()
    canvas = ClickFigure(model, IMAGE).figure.canvas
    gc.collect()
    canvas.draw()
    x, y = canvas.figure.axes[0].transData.transform((10, 12))
    canvas.callbacks.process("button_press_event", MouseEvent("button_press_event", canvas, x, y, button=1))
    assert len(model.asked) == 1


@pytest.mark.parametrize("size", [(16, 32), (90, 40)])
def test_pictures_of_any_size(size):
    height, width = size
    figure = ClickFigure(Knowing(), torch.rand(3, height, width))
    press(figure, width - 1, height - 1, button=1)
    assert figure.clicks.mask.shape == size


# --- the sheet ------------------------------------------------------------------------------------------------


def test_where_figures_do_not_listen_there_is_a_sheet():
    figure = click_figure(Knowing(), IMAGE)
    assert isinstance(figure, Figure) and not plt.get_fignums()
    assert captions(figure) == [
        "1 click: says 0.80", "says 0.80", "says 0.50", "says 0.40",
        "1 click: says 0.90", "says 0.70", "says 0.90", "says 0.60",
        "2 clicks: says 0.95", "says 0.70", "says 0.90", "says 0.60",
    ]  # fmt: skip
    assert [ax.get_title() for ax in figure.axes[:4]] == ["chosen", "mask 1", "mask 2", "mask 3"]


def test_the_last_click_is_on_what_is_too_much():
    model = Knowing()
    click_sheet(model, IMAGE)
    points, labels, with_mask, multimask = model.asked[-1]
    (one, other), ((x, y),) = labels[0], points[0][1:]
    assert (one, other, with_mask, multimask) == (1, 0, True, False)
    too_much = WHOLE & ~PART
    assert too_much[int(y + 0.5), int(x + 0.5)]


def test_it_is_the_same_each_time():
    def clicks():
        model = Knowing()
        click_sheet(model, IMAGE)
        return model.asked

    assert clicks() == clicks()


def test_the_surest_masks_have_nothing_in_common():
    clicks = Clicks(Knowing(), IMAGE)
    assert torch.equal(surest_masks(clicks.predictor, IMAGE, 1), WHOLE[None])
    assert torch.equal(surest_masks(clicks.predictor, IMAGE, 5), torch.stack([WHOLE, OTHER]))


def test_the_middle_is_far_from_the_border():
    assert middle(region(4, 6, 15, 17)) == (9, 11)
    ring = region(4, 4, 20, 20) & ~region(6, 6, 20, 18)
    x, y = middle(ring)
    assert ring[y, x]


@pytest.mark.parametrize("backend", ["widget", "module://ipympl.backend_nbagg", "TkAgg", "nbAgg"])
def test_where_figures_listen(monkeypatch, backend):
    monkeypatch.setattr(module.matplotlib, "get_backend", lambda: backend)
    assert isinstance(click_figure(Knowing(), IMAGE), ClickFigure)


@pytest.mark.parametrize(
    "backend", ["agg", "inline", "module://matplotlib_inline.backend_inline", "svg", "pdf"]
)
def test_where_they_do_not(monkeypatch, backend):
    monkeypatch.setattr(module.matplotlib, "get_backend", lambda: backend)
    assert isinstance(click_figure(Knowing(), IMAGE), Figure)


@pytest.mark.parametrize("size", [(64, 64), (40, 70)])
def test_a_model_that_knows_nothing(size):
    torch.manual_seed(0)
    sam, image = make_scene_sam(), torch.rand(3, *size)
    assert len(click_figure(sam, image).axes) in (8, 12)  # one or two things
    figure = ClickFigure(sam, image)
    press(figure, 10, 12, button=1)
    assert figure.clicks.mask.shape == size


def test_it_is_a_widget_with_ipympl(tmp_path):
    """In a kernel of its own, as in a notebook: a button and a canvas are shown, and a click is heard."""
    pytest.importorskip("ipympl")
    script = """
import matplotlib
matplotlib.use("module://ipympl.backend_nbagg")
import torch, IPython.display
from matplotlib.backend_bases import MouseEvent
from cs_vl.tasks.click_figure import ClickFigure, click_figure
from cs_vl.tasks.sam_models import make_scene_sam
shown = []
IPython.display.display = shown.append
torch.manual_seed(0)
figure = click_figure(make_scene_sam(), torch.rand(3, 64, 64))
assert isinstance(figure, ClickFigure)
figure._ipython_display_()
canvas, button = shown[0].children
assert canvas is figure.figure.canvas and button.description == "start again"
figure.figure.draw_without_rendering()
x, y = figure.axes[0].transData.transform((20, 30))
canvas.callbacks.process("button_press_event", MouseEvent("button_press_event", canvas, x, y, button=1))
assert figure.clicks.mask is not None and figure.clicks.labels == [1]
button.click()
assert figure.clicks.mask is None
print("heard")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().endswith("heard"), done.stderr[-2000:]
