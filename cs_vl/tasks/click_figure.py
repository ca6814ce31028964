"""A picture to click at: left "this", right "not this"."""

from typing import Any

import matplotlib
import torch
from jaxtyping import Bool, Float
from matplotlib.backend_bases import MouseButton
from matplotlib.figure import Figure
from torch import Tensor

from cs_vl.models.sam import SAM
from cs_vl.plots.clicks import draw_clicks, open_panels
from cs_vl.plots.sam import mask_sheet
from cs_vl.tasks.automatic_masks import automatic_masks
from cs_vl.tasks.point_grid import point_grid
from cs_vl.tasks.predictor import Image, Prediction, Predictor, as_image
from cs_vl.tasks.sam_scores import centre_points

# Backends of matplotlib whose figures hear clicks.
LISTENING = ("widget", "ipympl", "nbagg", "notebook", "webagg", "qtagg", "tkagg", "gtk4agg", "macosx")
AGAIN = "n"  # the key: "new"; most others are matplotlib's own


def click_figure(sam: SAM, image: Image) -> "ClickFigure | Figure":
    """A figure that answers clicks, where figures can listen; else a sheet of clicks made beforehand.

    In Jupyter figures listen after `%matplotlib widget`, which ipympl brings: `pip install "cs-vl[lab]"`, or
    `pip install ipympl`.  Then the left button says "this", the right one "not this", and the key n or the
    button below "start again".

    Args:
        image: as `Predictor` takes it, of any size.

    Returns:
        What a notebook shows where it is a cell's last expression.
    """
    backend = matplotlib.get_backend().lower()
    if backend in LISTENING or "ipympl" in backend:
        return ClickFigure(sam, image)
    return click_sheet(sam, image)


class Clicks:
    """Clicks on one picture, and what a SAM makes of them.

    After the first click it gives several masks, and the surest is chosen; each further one improves the
    chosen mask, which goes in as a prompt.

    Attributes:
        image: in [0, 1].
        points, labels: the clicks so far; 1 this, 0 not this.
        first: the answer to the first of them, None before it.
        mask: what is chosen now, None before the first click.
        iou: the IoU that the model predicts for it.
    """

    def __init__(self, sam: SAM, image: Image):
        self.image = as_image(image)
        self.predictor = Predictor(sam)
        self.predictor.set_image(image)
        self.start_again()

    def start_again(self) -> None:
        """Forget all clicks."""
        self.points: list[tuple[float, float]] = []
        self.labels: list[int] = []
        self.first: Prediction | None = None
        self.mask: Bool[Tensor, "height width"] | None = None
        self.iou = float("nan")
        self._logits: Tensor | None = None

    def click(self, x: float, y: float, label: int = 1) -> None:
        """One more click, on the pixel x, y.

        Raises:
            ValueError: it lies outside of the picture, or its label is neither 1 nor 0.
        """
        points, labels = [*self.points, (x, y)], [*self.labels, label]
        answer = self.predictor.predict(points, labels, mask=self._logits, multimask=self.first is None)
        best = int(answer.iou.argmax())
        self.points, self.labels, self.first = points, labels, self.first or answer
        self.mask, self.iou, self._logits = answer.masks[best], float(answer.iou[best]), answer.logits[best]

    @property
    def caption(self) -> str:
        """How many clicks, and what the model thinks of its answer."""
        n = len(self.points)
        return f"{n} click{'s' * (n > 1)}: {says(self.iou)}" if n else "left: this; right: not this"

    @property
    def best_of_first(self) -> int | None:
        """Which mask of the first answer was chosen."""
        return None if self.first is None else int(self.first.iou.argmax())


class ClickFigure:
    """A figure that listens.

    Attributes:
        clicks: what has been clicked, and the answer.
        figure: of matplotlib.
    """

    def __init__(self, sam: SAM, image: Image):
        self.clicks = Clicks(sam, image)
        self.figure, self.axes = open_panels()
        # Matplotlib forgets methods whose object nobody holds; a function it keeps, and with it the object.
        self.figure.canvas.mpl_connect("button_press_event", lambda event: self.on_press(event))
        self.figure.canvas.mpl_connect("key_press_event", lambda event: self.on_key(event))
        self.draw()

    def on_press(self, event: Any) -> None:
        """A mouse button was pressed, somewhere in the figure."""
        label = {MouseButton.LEFT: 1, MouseButton.RIGHT: 0}.get(event.button)
        busy = getattr(self.figure.canvas.toolbar, "mode", "")  # the same button zooms, or moves the picture
        if label is None or busy or event.inaxes is not self.axes[0]:
            return
        x, y = event.xdata, event.ydata
        if self.clicks.predictor.square.outside(
            torch.tensor([x, y])
        ):  # of a picture that was moved, there is ground beside it
            return
        self.clicks.click(x, y, label)
        self.draw()

    def on_key(self, event: Any) -> None:
        """A key was pressed."""
        if event.key == AGAIN:
            self.start_again()

    def start_again(self) -> None:
        """Forget all clicks."""
        self.clicks.start_again()
        self.draw()

    def draw(self) -> None:
        """Show what there is now."""
        clicks = self.clicks
        first = [] if clicks.first is None else zip(clicks.first.masks, clicks.first.iou, strict=True)
        draw_clicks(
            self.axes,
            clicks.image,
            torch.tensor(clicks.points).view(-1, 2),
            clicks.labels,
            clicks.mask,
            [(mask, says(iou)) for mask, iou in first],
            caption=clicks.caption,
            marked=clicks.best_of_first,
        )
        self.figure.canvas.draw_idle()

    def _ipython_display_(self) -> None:
        """In a notebook: the figure, and where it is a widget a button below it."""
        from IPython.display import display

        try:
            from ipywidgets import Button, VBox, Widget
        except ImportError:  # other listening figures than ipympl's can do without
            Widget = None
        if Widget is None or not isinstance(self.figure.canvas, Widget):
            self.figure.show()
            return
        button = Button(description="start again")
        button.on_click(lambda _: self.start_again())
        display(VBox([self.figure.canvas, button]))


def click_sheet(sam: SAM, image: Image, *, things: int = 2) -> Figure:
    """Clicks that were made beforehand: after each what the figure would show, a row.

    A first click in the middle of each of the surest automatic masks, the surest last; then "not this" in the
    middle of what its mask has and the smallest of its first masks lacks, or else beside it.

    Args:
        things: how many masks are clicked at.
    """
    clicks = Clicks(sam, image)
    masks: list[Tensor | None] = []
    captions, points, labels, marked = [], [], [], []

    def add_row() -> None:
        assert clicks.first is not None and clicks.best_of_first is not None
        marked.append(len(masks) + 1 + clicks.best_of_first)
        masks.extend([clicks.mask, *clicks.first.masks])
        captions.extend([clicks.caption, *map(says, clicks.first.iou)])
        beside = len(clicks.first.masks)
        points.extend([torch.tensor(clicks.points), *[torch.zeros(0, 2)] * beside])
        labels.extend([torch.tensor(clicks.labels), *[torch.zeros(0)] * beside])

    for thing in surest_masks(clicks.predictor, clicks.image, things).flip(0):
        clicks.start_again()
        clicks.click(*middle(thing))
        add_row()
    assert clicks.first is not None and clicks.mask is not None
    smallest = clicks.first.masks[clicks.first.masks.sum(dim=(1, 2)).argmin()]
    too_much = clicks.mask & ~smallest
    clicks.click(*middle(too_much if too_much.any() else ~clicks.mask), 0)
    add_row()
    return mask_sheet(
        [clicks.image] * len(masks),
        masks,
        points=points,
        labels=labels,
        captions=captions,
        headings=["chosen", *(f"mask {i + 1}" for i in range(len(clicks.first.masks)))],
        marked=marked,
        columns=1 + len(clicks.first.masks),
    )


@torch.no_grad()
def surest_masks(
    predictor: Predictor, image: Float[Tensor, "3 height width"], count: int
) -> Bool[Tensor, "m height width"]:
    """The surest automatic masks that have no pixel in common; where there is none, the whole image."""
    sam, square = predictor.sam, predictor.square
    clicks = point_grid(8) * torch.tensor([square.width, square.height]) - 0.5
    found = automatic_masks(
        sam,
        square.image(image.to(sam.mean), sam.mean),
        points=(square.points(clicks) + 0.5) / square.size,
        min_iou=-torch.inf,
        min_stability=0.0,
    )
    chosen: list[Tensor] = []
    for mask in square.masks_back(found.masks.float()) > 0.5:
        if len(chosen) < count and mask.any() and not any((mask & other).any() for other in chosen):
            chosen.append(mask)
    return torch.stack(chosen or [torch.ones(square.height, square.width, dtype=torch.bool)])


def middle(mask: Bool[Tensor, "height width"]) -> tuple[int, int]:
    """(x, y) of the pixel that is farthest from all that is not in the mask."""
    where, _ = centre_points(torch.zeros_like(mask)[None], mask[None])
    x, y = where[0].tolist()
    return x, y


def says(iou: float | Tensor) -> str:
    """What a model predicts, as a caption."""
    return f"says {float(iou):.2f}"
