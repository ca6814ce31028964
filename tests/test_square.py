"""Images of any size in a square: against Meta's and transformers' code, and to and fro."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import SamImageProcessor

from cs_vl.data.square import Square
from cs_vl.models.sam import MEAN, STD

some = settings(max_examples=60, deadline=None)
sides, sizes, seeds = st.integers(1, 90), st.sampled_from([16, 64, 100]), st.integers(0, 2**31)
GREY = torch.full((3, 1, 1), 0.25)
MEANS, STDS = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))


def random_image(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


@some
@given(sides, sides, sizes)
def test_the_longer_side_fills_the_square(height, width, size):
    scaled = Square(height, width, size).scaled
    assert max(scaled) == size and min(scaled) >= 1
    assert (scaled[0] >= scaled[1]) == (height >= width) or scaled[0] == scaled[1]
    assert abs(scaled[1] / scaled[0] * height - width) <= max(height, width) / min(scaled)


@some
@given(sides, sides, sizes, seeds)
def test_an_image_and_its_padding(height, width, size, seed):
    square, image = Square(height, width, size), random_image(height, width, seed)
    before = image.clone()
    placed = square.image(image, GREY)
    rows, columns = square.scaled
    assert placed.shape == (3, size, size) and torch.equal(image, before)
    assert (placed[:, rows:] == 0.25).all() and (placed[:, :, columns:] == 0.25).all()
    inside = placed[:, :rows, :columns]
    assert image.amin() - 1e-5 <= inside.min() and inside.max() <= image.amax() + 1e-5
    expected = F.interpolate(image[None], (rows, columns), mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(inside, expected)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (30, 20), (200, 150), (77, 129), (64, 64)])
def test_image_and_padding_are_those_of_transformers(height, width):
    """Theirs rounds to bytes after scaling: half a byte's worth, in the units of the normalised image."""
    processor = SamImageProcessor(
        size={"longest_edge": 64}, mask_size={"longest_edge": 16}, pad_size={"height": 64, "width": 64},
        mask_pad_size={"height": 16, "width": 16}, image_mean=MEAN, image_std=STD,
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    theirs = processor(pixels, return_tensors="pt")
    square = Square(height, width, 64)
    assert tuple(theirs["reshaped_input_sizes"][0].tolist()) == square.scaled
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    ours = (square.image(image, MEANS) - MEANS) / STDS
    assert (ours - theirs["pixel_values"][0]).abs().max() < 2 / 255 / min(STD)
    padding = torch.ones(64, 64, dtype=torch.bool)
    padding[: square.scaled[0], : square.scaled[1]] = False
    assert not ours[:, padding].any() and not theirs["pixel_values"][0][:, padding].any()

    masks = torch.randn(1, 2, 16, 16)
    (back,) = processor.post_process_masks(
        masks[None], theirs["original_sizes"], theirs["reshaped_input_sizes"], binarize=False,
        pad_size={"height": 64, "width": 64},
    )  # fmt: skip
    torch.testing.assert_close(square.masks_back(masks), back)


def test_an_image_of_the_models_size_stays_as_it_is():
    image, masks = random_image(64, 64), torch.randn(2, 64, 64)
    square = Square(64, 64, 64)
    assert torch.equal(square.image(image, GREY), image)
    assert torch.equal(square.masks_back(masks), masks)
    points = torch.tensor([[3.0, 7.5]])
    assert torch.equal(square.points(points), points)


@some
@given(sides, sides, sizes)
def test_corners_of_the_image_become_corners_of_its_place(height, width, size):
    square = Square(height, width, size)
    rows, columns = square.scaled
    corners = torch.tensor([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    assert not square.outside(corners).any()
    expected = torch.tensor([[-0.5, -0.5], [columns - 0.5, rows - 0.5]])
    torch.testing.assert_close(square.points(corners), expected)
    torch.testing.assert_close(square.boxes(corners.flatten()), expected.flatten())
    assert square.outside(corners + torch.tensor([[-0.01, 0], [0, 0.01]])).all()
    assert square.outside(torch.tensor([torch.nan, 0.0]))


@some
@given(sides, sides, sizes, seeds)
def test_points_are_metas_but_for_half_a_pixel(height, width, size, seed):
    """Meta multiplies: right for pixels' corners, half a pixel's difference in size off for their centres."""
    square = Square(height, width, size)
    scale = torch.tensor([square.scaled[1] / width, square.scaled[0] / height])
    points = torch.rand(5, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([width, height])
    torch.testing.assert_close(square.points(points) - points * scale, ((scale - 1) / 2).expand(5, 2))


@some
@given(st.integers(4, 40), st.integers(4, 40), seeds)
def test_a_point_is_on_the_same_thing_in_both(height, width, seed):
    """A bright pixel in the dark: after scaling, the square is bright where the pixel's centre goes."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (int(torch.randint(side, (), generator=generator)) for side in (width, height))
    image = torch.zeros(3, height, width)
    image[:, y, x] = 1
    square = Square(height, width, 8 * max(height, width))
    placed = square.image(image, torch.zeros(3, 1, 1))[0]
    at = square.points(torch.tensor([x, y]).float()) + 0.5  # from the corner on
    column, row = at.floor().long().tolist()
    assert placed[row, column] > 0.85  # an even factor: the centre is between pixels


@some
@given(st.integers(8, 60), st.integers(8, 60), sizes, seeds)
def test_masks_to_and_fro(height, width, size, seed):
    """A box drawn in the image and one drawn in the square cover the same pixels, but for the border."""
    generator = torch.Generator().manual_seed(seed)
    x0, x1 = sorted((torch.rand(2, generator=generator) * width).tolist())
    y0, y1 = sorted((torch.rand(2, generator=generator) * height).tolist())
    square = Square(height, width, size)

    def drawn(box, rows, columns):
        x, y = torch.arange(columns), torch.arange(rows)[:, None]
        return torch.where((x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3]), 1.0, -1.0)

    box = torch.tensor([x0, y0, x1, y1])
    back = square.masks_back(drawn(square.boxes(box).tolist(), size, size)[None])
    assert back.shape == (1, height, width)
    slack = 1 + max(height, width) / size  # a pixel of each frame
    inner = drawn((x0 + slack, y0 + slack, x1 - slack, y1 - slack), height, width) > 0
    outer = drawn((x0 - slack, y0 - slack, x1 + slack, y1 + slack), height, width) > 0
    assert (back[0] > 0)[inner].all() and not (back[0] > 0)[~outer].any()


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_masks_of_any_batch(batch):
    masks = torch.randn(*batch, 16, 16)
    back = Square(30, 50, 64).masks_back(masks)
    assert back.shape == (*batch, 30, 50)
    if batch:
        torch.testing.assert_close(back[-1], Square(30, 50, 64).masks_back(masks[-1]))


def test_nothing_of_the_padding_comes_back():
    masks = torch.full((1, 64, 64), -1.0)
    masks[:, 32:] = 9
    assert (Square(32, 64, 64).masks_back(masks) == -1).all()


@pytest.mark.parametrize("shape", [(0, 5, 64), (5, 0, 64), (5, 5, 0), (-3, 5, 64)])
def test_nothing_has_no_square(shape):
    with pytest.raises(ValueError, match=f"one pixel at least; got {shape[0]} x {shape[1]} for {shape[2]}"):
        Square(*shape)
