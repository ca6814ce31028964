"""Edges without any training: with a model whose masks are known, and with one that knows nothing."""

from functools import partial

import numpy as np
import pytest
import torch

from cs_vl.models.sam import SAMOutput
from cs_vl.tasks.edges import edges, thin
from cs_vl.tasks.sam_models import make_scene_sam
from tests.pictures import rectangle

SIZE = 32
IMAGE = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


region = partial(rectangle, size=SIZE)


class Knowing(torch.nn.Module):
    """Of a click it gives the region that holds it, surely; then nothing at all; then half of it, unsurely."""

    image_size = mask_size = SIZE

    def __init__(self, *regions):
        super().__init__()
        self.regions = regions  # (mask, IoU) each
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))
        self.nothing = torch.nn.Parameter(torch.zeros(()))  # on the device where the model is
        self.asked = []

    def encode(self, images):
        assert images.shape == (1, 3, SIZE, SIZE)
        return images

    def decode(self, features, points, labels):
        assert (labels == 1).all()
        self.asked += points.flatten(0, 2).tolist()
        masks, ious = [], []
        for x, y in (points[0, :, 0] + 0.5).tolist():
            mask, iou = torch.zeros(SIZE, SIZE, dtype=torch.bool), 0.9
            for region, its_iou in self.regions:
                if region[int(y), int(x)]:
                    mask, iou = region, its_iou
            sure = torch.where(mask, 8.0, -8.0)
            masks.append(torch.stack([sure, torch.full_like(sure, -8.0), sure / 100]))
            ious.append(torch.tensor([iou, 0.99, 0.1]))
        return SAMOutput(torch.stack(masks)[None], torch.stack(ious)[None])


def around(mask):
    """The pixels that have a neighbour in the mask, but are not in it."""
    padded = torch.nn.functional.pad(mask, (1, 1, 1, 1))
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return near & ~mask


def test_edges_are_just_around_what_there_is():
    box = region(6, 8, 20, 24)
    found = edges(Knowing((box, 0.9)), IMAGE)
    assert found.shape == (SIZE, SIZE) and found.dtype == torch.float32
    assert found.min() == 0 and found.max() == 1
    assert not found[~around(box)].any()
    assert (found[around(box)] > 0.5).float().mean() > 0.9


def test_two_things_have_two_outlines():
    one, other = region(2, 2, 10, 30), region(18, 4, 28, 12)
    found = edges(Knowing((one, 0.9), (other, 0.9)), IMAGE)
    for box in (one, other):
        assert (found[around(box)] > 0.5).float().mean() > 0.85
    assert not found[~(around(one) | around(other))].any()


def test_what_is_worth_less_has_weaker_edges():
    one, other = region(2, 2, 10, 30), region(18, 4, 28, 12)
    model = Knowing((one, 0.8), (other, 0.2))
    found, alike = edges(model, IMAGE), edges(model, IMAGE, weighted=False)
    middle = (slice(5, 11), 17)  # at the left of the second one
    assert found[middle].mean() == pytest.approx(0.25, abs=0.02)
    assert alike[middle].mean() == pytest.approx(1, abs=0.02)


def test_a_mask_that_is_everything_or_nothing_has_no_edge():
    assert not edges(Knowing((region(0, 0, SIZE, SIZE), 0.9)), IMAGE).any()
    assert not edges(Knowing(), IMAGE).any()


def test_at_the_images_border_there_is_no_edge():
    found = edges(Knowing((region(0, 0, 12, SIZE), 0.9)), IMAGE)
    rows, columns = found.nonzero().T
    assert set(columns.tolist()) == {12} and len(rows) == SIZE


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_how_many_at_once_makes_no_difference(at_once):
    model = Knowing((region(6, 8, 20, 24), 0.9))
    assert torch.equal(edges(model, IMAGE, at_once=at_once, points=6), edges(model, IMAGE, points=6))
    assert len(model.asked) == 2 * 36


@pytest.mark.parametrize("size", [(16, 32), (90, 40), (64, 64)])
def test_images_of_any_size(size):
    """The left half of the square's upper part, in the image's own pixels."""
    height, width = size
    found = edges(Knowing((region(0, 0, 8, SIZE), 0.9)), torch.rand(3, height, width))
    assert found.shape == size and found.max() == 1
    _, columns = (found > 0.5).nonzero().T
    expected = 8 * max(size) / SIZE  # the border, from the image's left edge on
    assert (columns + 0.5 - expected).abs().max() <= max(1, max(size) / SIZE)


def test_the_grid_is_within_the_image_not_in_the_padding():
    model = Knowing()
    edges(model, torch.rand(3, 16, 32), points=4)
    x, y = torch.tensor(model.asked).T
    assert x.max() == pytest.approx(32 * 7 / 8 - 0.5) and y.max() == pytest.approx(16 * 7 / 8 - 0.5)
    assert x.min() == pytest.approx(32 / 8 - 0.5) and y.min() == pytest.approx(16 / 8 - 0.5)


def test_a_model_that_knows_nothing():
    torch.manual_seed(0)
    found = edges(make_scene_sam(), torch.rand(3, 40, 64), points=4)
    assert found.shape == (40, 64) and found.isfinite().all()
    assert found.min() >= 0 and found.max() <= 1 and not found.requires_grad


# --- thinning -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90, 135, 160])
def test_a_blurred_line_becomes_thin(angle):
    y, x = np.indices((41, 41)) - 20
    across = x * np.sin(np.deg2rad(angle)) - y * np.cos(np.deg2rad(angle))
    blurred = np.exp(-(across**2) / 8)
    found = thin(blurred)
    assert np.array_equal(found[found > 0], blurred[found > 0])
    assert np.abs(across[found > 0.5]).max() <= 0.8
    inner = (slice(8, -8), slice(8, -8))
    assert (found[inner] > 0.5).sum() >= 25  # it has no gaps
    assert (found[inner] > 0.5).sum() < 0.35 * (blurred[inner] > 0.5).sum()


def test_nothing_is_nothing():
    assert not thin(np.zeros((5, 7))).any()
