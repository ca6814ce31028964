"""Augmentation: colours by one matrix, shapes by one grid."""

import pytest
import torch

from cs_vl.data.augment import (
    augment,
    outline,
    random_affine,
    random_backgrounds,
    random_colours,
    recolour,
)
from cs_vl.data.emoji import on_background


def pictures(n: int = 5, height: int = 12, width: int = 16) -> torch.Tensor:
    return torch.rand(n, 4, height, width, generator=torch.Generator().manual_seed(0))


def premultiply(rgba: torch.Tensor) -> torch.Tensor:
    return torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)


def test_one_product_recolours_and_lays_over_the_background():
    rgba = pictures()
    generator = torch.Generator().manual_seed(1)
    matrix, offset = random_colours(len(rgba), generator)
    background = random_backgrounds(len(rgba), generator)
    colours = torch.einsum("nij,njhw->nihw", matrix, rgba[:, :3]) + offset[:, :, None, None]
    alpha = rgba[:, 3:]
    by_hand = alpha * colours + (1 - alpha) * background[:, :, None, None]
    got = recolour(premultiply(rgba), matrix, offset, background)
    torch.testing.assert_close(got, by_hand.clamp(0, 1), atol=1e-5, rtol=0)


def test_nothing_changed_is_the_picture_on_its_background():
    rgba = pictures()
    got = recolour(premultiply(rgba), torch.eye(3), torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(got, on_background(rgba, 1.0), atol=1e-6, rtol=0)


def test_no_movement_leaves_images_as_they_are_and_a_flip_mirrors_them():
    images = pictures()
    still = {"degrees": 0, "scale": (1.0, 1.0), "stretch": 0.0, "shift": 0.0}
    torch.testing.assert_close(random_affine(images, **still, flip=0.0), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(random_affine(images, **still, flip=1.0), images.flip(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("colours", [0.0, 0.5, 1.0])
def test_pictures_stay_in_range_and_depend_on_the_generator_alone(colours):
    rgba = pictures(40)
    state = torch.random.get_rng_state()
    first, again, other = (
        augment(rgba, torch.Generator().manual_seed(seed), colours=colours) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.shape == (40, 3, 12, 16)
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_shape_only_leaves_a_plain_colour_alone():
    rgba = torch.ones(8, 4, 16, 16)
    rgba[:, 1:3] = 0  # red
    centre = augment(rgba, torch.Generator().manual_seed(0), colours=0.0)[:, :, 8, 8]
    torch.testing.assert_close(centre, torch.tensor([1.0, 0.0, 0.0]).expand(8, 3))


def test_colours_change_in_a_share_of_the_pictures():
    rgba = torch.ones(400, 4, 16, 16)
    rgba[:, 1:3] = 0  # red
    images = augment(rgba, torch.Generator().manual_seed(0), colours=0.25, outlines=0.5)
    red = torch.isclose(images[:, :, 8, 8], torch.tensor([1.0, 0.0, 0.0]), atol=1e-4).all(dim=1)
    assert 0.65 < red.float().mean() < 0.85


def test_an_outline_is_white_where_nothing_changes_and_dark_at_an_edge():
    images = torch.zeros(1, 3, 8, 8)
    images[..., 4:] = 1
    drawn = outline(images)
    assert torch.all(drawn[..., [0, 1, 6, 7]] == 1) and torch.all(drawn[..., [3, 4]] == 0)


def test_some_are_grey_and_some_are_negatives():
    matrix, _ = random_colours(2000, torch.Generator().manual_seed(0))
    grey = (torch.linalg.matrix_rank(matrix, atol=1e-5) == 1).float().mean()
    negative = (matrix.sum(dim=(1, 2)) < 0).float().mean()
    assert 0.16 < grey < 0.24 and 0.11 < negative < 0.18
