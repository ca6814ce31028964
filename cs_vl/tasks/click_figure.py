"""A figure that listens: click on a picture, and the masks appear."""

import matplotlib
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib import pyplot as plt
from matplotlib.backend_bases import Event, MouseButton, MouseEvent
from matplotlib.figure import Figure
from matplotlib.widgets import Button
from torch import Tensor

from cs_vl.models.sam import SAM
from cs_vl.plots.sam import faded_outside, mark_clicks, mask_sheet
from cs_vl.plots.style import picture
from cs_vl.tasks.predictor import Prediction, Predictor
from cs_vl.tasks.sam_scores import centre_points

LISTENING = ("ipympl", "widget", "nbagg", "notebook", "webagg", "qt", "tk", "gtk", "wx", "macosx")  # backends


class Clicker:
    """The clicks on a picture so far, and what a SAM answers to them.

    Args:
        model: the SAM.
        image: in [0, 1], of any size.
    """

    def __init__(self, model: SAM, image: Float[Tensor, "3 height width"]):
        self.predictor = Predictor(model)
        self.predictor.set_image(image)
        self.image = image
        self.start_again()

    def start_again(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.labels: list[int] = []
        self.answer: Prediction | None = None

    def click(self, x: float, y: float, label: int) -> Prediction:
        """One more click, 1 (this) or 0 (not this): three masks after the first one, then one."""
        points, labels = [*self.points, (x, y)], [*self.labels, label]
        before = None
        if self.answer is not None:
            before = self.answer.logits[int(self.answer.iou.argmax())]
        self.answer = self.predictor.predict(points, labels, mask=before, multimask=before is None)
        self.points, self.labels = points, labels
        return self.answer


def click_figure(model: SAM, image: Float[Tensor, "3 height width"]) -> Figure:
    """Left button: this.  Right button: not this.

    It listens where matplotlib can hear: in Jupyter after `%matplotlib widget` (ipympl, in the extra `lab` of
    the package), or in a window of its own.  Elsewhere it shows clicks that were made beforehand.

    Args:
        model: the SAM.
        image: in [0, 1], of any size.
    """
    clicker = Clicker(model, image)
    if any(name in matplotlib.get_backend().lower() for name in LISTENING):
        return listening_figure(clicker)
    return made_beforehand(clicker)


def listening_figure(clicker: Clicker) -> Figure:
    """The picture to click on, beside it the answers."""
    figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.9), width_ratios=[1.6, 1, 1, 1], layout="constrained")
    button = Button(figure.add_axes((0.88, 0.9, 0.11, 0.09)), "start again")

    def draw() -> None:
        answer = clicker.answer
        for ax in axes:
            ax.clear()
        picture(axes[0], clicker.image)
        axes[0].set_title("left: this, right: not this", fontsize=9)
        for ax, i in zip(axes[1:], range(0 if answer is None else len(answer.iou)), strict=False):
            assert answer is not None
            faded_outside(ax, clicker.image, answer.masks[i].numpy())
            ax.set_xlabel(f"says {answer.iou[i]:.2f}", fontsize=9)
        for ax in axes[1 + (0 if answer is None else len(answer.iou)) :]:
            ax.set_axis_off()
        if clicker.points:
            mark_clicks(axes[0], np.array(clicker.points), np.array(clicker.labels))
        figure.canvas.draw_idle()

    def pressed(event: Event) -> None:
        if not isinstance(event, MouseEvent) or event.inaxes is not axes[0]:
            return
        if event.xdata is None or event.ydata is None or event.button is None:
            return
        height, width = clicker.image.shape[-2:]
        x = float(np.clip(event.xdata, 0, width - 1))
        y = float(np.clip(event.ydata, 0, height - 1))
        clicker.click(x, y, 0 if event.button == MouseButton.RIGHT else 1)
        draw()

    def again(_: Event) -> None:
        clicker.start_again()
        draw()

    figure.canvas.mpl_connect("button_press_event", pressed)
    button.on_clicked(again)
    figure.start_again = button  # type: ignore[attr-defined]  # a button that nobody holds on to goes deaf
    draw()
    return figure


def made_beforehand(clicker: Clicker) -> Figure:
    """Two clicks: in the middle of what stands out from the ground; then "not this", on what is too much."""
    image = clicker.image
    ground = image.flatten(1).median(dim=1).values[:, None, None]
    stands_out = (image - ground).abs().sum(dim=0) > 0.25
    answers = [clicker.click(*middle(stands_out if stands_out.any() else ~stands_out), 1)]
    chosen = answers[0].masks[int(answers[0].iou.argmax())]
    smallest = answers[0].masks[int(answers[0].masks.sum(dim=(1, 2)).argmin())]
    if (extra := chosen & ~smallest).any():
        answers.append(clicker.click(*middle(extra), 0))
    panels = [
        (mask, n, "" if said is None else f"says {said:.2f}")
        for n, answer in enumerate(answers, start=1)
        for mask, said in [(None, None), *zip(answer.masks, answer.iou, strict=True)]
    ]
    return mask_sheet(
        [image] * len(panels),
        [mask for mask, _, _ in panels],
        points=[torch.tensor(clicker.points[:n]) for _, n, _ in panels],
        labels=[torch.tensor(clicker.labels[:n]) for _, n, _ in panels],
        captions=[text for _, _, text in panels],
    )


def middle(mask: Bool[Tensor, "height width"]) -> tuple[float, float]:
    """(x, y) of the pixel that lies deepest in a mask."""
    (point,), _ = centre_points(torch.zeros_like(mask)[None], mask[None])
    return float(point[0]), float(point[1])
