"""Clicks: each is checked pixel by pixel, by other means."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle_files import load_amg

from cs_vl.tasks.clicks import jitter_boxes, mask_boxes, sample_error_points
from cs_vl.tasks.sam_scores import centre_points

some = settings(max_examples=60, deadline=None)


@st.composite
def pairs_of_masks(draw, most=9):
    """(predicted, targets); some are faultless, some have nothing in common, no target is empty."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, most), st.integers(1, most)))
    predicted, targets = (torch.from_numpy(draw(hnp.arrays(bool, shape))) for _ in range(2))
    targets[~targets.flatten(1).any(dim=1), -1, -1] = True
    faultless = torch.tensor(draw(st.lists(st.booleans(), min_size=shape[0], max_size=shape[0])))
    predicted[faultless] = targets[faultless]
    return predicted, targets


def candidates(predicted, target):
    """(x, y) of the pixels that may be clicked, row by row."""
    cells = [(x, y) for y in range(target.shape[0]) for x in range(target.shape[1])]
    return [(x, y) for x, y in cells if predicted[y, x] != target[y, x]] or [
        (x, y) for x, y in cells if target[y, x]
    ]


# --- a random wrong pixel ----------------------------------------------------------------------------------


@some
@given(pairs_of_masks(), st.integers(0, 2**32 - 1))
def test_a_click_is_the_candidate_of_its_number(masks, seed):
    predicted, targets = masks
    uniform = torch.rand(len(targets), generator=torch.Generator().manual_seed(seed))
    points, labels = sample_error_points(predicted, targets, uniform)
    assert points.dtype == labels.dtype == torch.int64
    for p, t, u, (x, y), label in zip(predicted, targets, uniform, points.tolist(), labels, strict=True):
        among = candidates(p, t)
        assert (x, y) == among[int(u * len(among))]
        assert label == int(t[y, x])


def test_every_wrong_pixel_is_as_likely():
    predicted, targets = torch.zeros(2, 4, 6, dtype=torch.bool).unbind()
    predicted[1, 1:4], targets[1:3, 3:6] = True, True
    among = candidates(predicted, targets)
    n = 100 * len(among)
    uniform = (torch.arange(n) + 0.5) / n
    points, _ = sample_error_points(predicted.expand(n, -1, -1), targets.expand(n, -1, -1), uniform)
    assert Counter(map(tuple, points.tolist())) == dict.fromkeys(among, 100)


# --- the middle of the largest fault -------------------------------------------------------------------------


@some
@given(pairs_of_masks())
def test_a_centre_is_farthest_from_all_that_is_right(masks):
    predicted, targets = masks
    points, labels = centre_points(predicted, targets)
    for p, t, (x, y), label in zip(predicted, targets, points.tolist(), labels, strict=True):
        height, width = t.shape
        wrong = set(candidates(p, t))
        around = [(i, j) for j in range(-1, height + 1) for i in range(-1, width + 1) if (i, j) not in wrong]
        depth = {at: min((at[0] - i) ** 2 + (at[1] - j) ** 2 for i, j in around) for at in wrong}
        deepest = [at for at in wrong if depth[at] == max(depth.values())]
        assert (x, y) == min(deepest, key=lambda at: (at[1], at[0]))
        assert label == int(t[y, x])


def test_the_centre_of_a_square_is_its_middle():
    targets = torch.zeros(1, 9, 11, dtype=torch.bool)
    targets[0, 2:7, 4:9] = True
    points, labels = centre_points(torch.zeros_like(targets), targets)
    assert (points.tolist(), labels.tolist()) == ([[6, 4]], [1])
    points, labels = centre_points(targets | True, targets)
    assert labels.tolist() == [0]


# --- boxes ---------------------------------------------------------------------------------------------------


@some
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=9)))
def test_boxes_are_those_of_meta(array):
    masks = torch.from_numpy(array)
    assert mask_boxes(masks).tolist() == load_amg().batched_mask_to_box(masks).tolist()
    for mask, box in zip(array.reshape(-1, *array.shape[-2:]), mask_boxes(masks).view(-1, 4), strict=True):
        y, x = np.nonzero(mask)
        assert box.tolist() == ([x.min(), y.min(), x.max(), y.max()] if len(x) else [0, 0, 0, 0])


def test_a_jittered_box_is_near_the_box_and_within_the_image():
    generator = torch.Generator().manual_seed(0)
    low = torch.randint(0, 150, (500, 2), generator=generator)
    high = torch.minimum(low + torch.randint(0, 250, (500, 2), generator=generator), torch.tensor(255))
    boxes = torch.cat([low, high], dim=1)
    moved = jitter_boxes(boxes, torch.randn(500, 4, generator=generator), size=256)
    assert (moved >= 0).all() and (moved <= 255).all()
    assert (moved[:, :2] <= moved[:, 2:]).all()
    assert 0 < (moved - boxes).abs().max() <= 20
    assert torch.equal(jitter_boxes(boxes, torch.zeros(500, 4), size=256), boxes.float())


@pytest.mark.parametrize("side", [0, 1, 2, 3])
def test_a_jitter_is_a_tenth_of_the_side_at_most_20_pixels(side):
    boxes, normal = torch.tensor([100, 200, 149, 219]), torch.zeros(4)  # 50 wide, 20 high
    normal[side] = 0.5
    expected = boxes.float()
    expected[side] += (2.5, 1.0)[side % 2]
    assert torch.allclose(jitter_boxes(boxes, normal, size=1024), expected)
    normal[side] = -50
    moved = (jitter_boxes(boxes, normal, size=1024) - boxes).abs().max()
    assert moved == 20 or side >= 2  # there the corners change places
