"""Everything in an image: the parts against Meta's code, the whole with a model whose masks are known."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_files import load_amg
from pycocotools import mask as coco

from cs_vl.models.sam import SAMOutput
from cs_vl.tasks.automatic_masks import automatic_masks, clean
from cs_vl.tasks.nms import nms
from cs_vl.tasks.point_grid import point_grid
from cs_vl.tasks.rle import rle_to_mask
from cs_vl.tasks.stability import stability_score
from tests.pictures import rectangle

some = settings(max_examples=80, deadline=None)
SIZE = 32


# --- the parts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 32])
def test_the_grid_is_metas(n):
    assert point_grid(n).dtype == torch.float32
    assert np.allclose(point_grid(n).numpy(), load_amg().build_point_grid(n), atol=1e-7)


@some
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, -0.75, 1.5]), st.sampled_from([0.25, 1.0, 2.0]))
def test_stability_is_metas(seed, threshold, offset):
    logits = 3 * torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(seed))
    logits[0, 0] = -9  # 0 / 0 in Meta's
    logits[1, 1] = logits[1, 1].round(decimals=1)
    theirs = load_amg().calculate_stability_score(logits, threshold, offset)
    assert theirs[0, 0].isnan()
    assert torch.equal(stability_score(logits, threshold, offset), theirs.nan_to_num(0.0))


def suppressed(boxes, scores, threshold):
    """By the definition, box by box, in exact whole numbers: `threshold` is a fraction (above, below)."""
    above, below = threshold

    def area(x0, y0, x1, y1):
        return max(x1 - x0, 0) * max(y1 - y0, 0) if x1 > x0 and y1 > y0 else 0

    def too_near(a, b):
        common = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        return common * below > above * (area(*a) + area(*b) - common)

    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if not any(too_near(boxes[i], boxes[j]) for j in kept):
            kept.append(i)
    return kept


@st.composite
def boxes_with_scores(draw):
    """Small whole numbers: many overlaps, equal boxes, equal scores, and IoUs exactly at a threshold."""
    n = draw(st.integers(0, 14))
    low, side = (
        st.tuples(st.integers(-3, 6), st.integers(-3, 6)),
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
    )
    corners = [(draw(low), draw(side)) for _ in range(n)]
    boxes = [[x, y, x + w, y + h] for (x, y), (w, h) in corners]
    return boxes, draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))


@some
@given(boxes_with_scores(), st.sampled_from([(1, 2), (1, 4), (3, 4), (0, 1), (1, 1)]))
def test_suppression_by_its_definition(found, threshold):
    boxes, scores = found
    kept = nms(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        threshold[0] / threshold[1],
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == suppressed(boxes, scores, threshold)


@some
@given(boxes_with_scores())
def test_what_is_kept_is_apart_and_what_is_gone_is_near_something_kept(found):
    boxes = torch.tensor(found[0], dtype=torch.float32).reshape(-1, 4)
    scores = torch.tensor(found[1], dtype=torch.float32)
    kept = nms(boxes, scores, 0.4)
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    # Once more, nothing goes.
    assert nms(boxes[kept], scores[kept], 0.4).tolist() == list(range(len(kept)))
    for i in set(range(len(boxes))) - set(kept.tolist()):
        better = kept[scores[kept] >= scores[i]]
        alone = torch.cat([better, torch.tensor([i])])
        assert len(nms(boxes[alone], scores[alone], 0.4)) == len(better)


# --- a model that knows -----------------------------------------------------------------------------------


region = partial(rectangle, size=SIZE)


class Knowing(torch.nn.Module):
    """A model that knows the regions of an image.

    Of a click it gives the region that holds it (a sure mask), the same with a flat edge and a better IoU, and
    half of it with a bad IoU.  Beside all regions there is nothing.
    """

    def __init__(self, *regions):
        super().__init__()
        self.regions = regions  # (mask, IoU) each; of two that hold a click the later one is meant
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.asked = []

    def encode(self, images):
        assert images.shape == (1, 3, SIZE, SIZE)
        return images

    def decode(self, features, points, labels):
        assert points.shape == (1, labels.shape[1], 1, 2) and labels.shape[2] == 1
        assert (labels == 1).all()
        self.asked += points.flatten(0, 2).tolist()
        masks, ious = [], []
        for x, y in (points[0, :, 0] + 0.5).tolist():
            mask, iou = torch.zeros(SIZE, SIZE, dtype=torch.bool), 0.99
            for region, its_iou in self.regions:
                if region[int(y), int(x)]:
                    mask, iou = region, its_iou
            sure = torch.where(mask, 5.0, -5.0)
            masks.append(torch.stack([sure, sure / 10, torch.where(mask.cumsum(1) % 2 == 1, sure, -5.0)]))
            ious.append(torch.tensor([iou, iou + 0.005, 0.3]))
        return SAMOutput(torch.stack(masks)[None], torch.stack(ious)[None])


LARGE, SMALL, LINE = region(2, 3, 22, 27), region(5, 6, 12, 16), region(27, 4, 28, 30)
SCENE = ((LARGE, 0.91), (SMALL, 0.97), (LINE, 0.94))
IMAGE = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def found(*regions, **options):
    return automatic_masks(Knowing(*regions), IMAGE, **{"points": 16, **options})


def test_each_region_is_found_once_the_surest_first():
    masks = found(*SCENE)
    assert torch.equal(masks.masks, torch.stack([SMALL, LINE, LARGE]))
    assert masks.iou.tolist() == pytest.approx([0.97, 0.94, 0.91])
    assert masks.stability.tolist() == [1, 1, 1]
    assert masks.boxes.tolist() == [[5, 6, 11, 15], [27, 4, 27, 29], [2, 3, 21, 26]]
    for mask, (x, y) in zip(masks.masks, masks.points.tolist(), strict=True):
        assert mask[int(y + 0.5), int(x + 0.5)]
        assert (x + 0.5) * 16 / SIZE % 1 == (y + 0.5) * 16 / SIZE % 1 == 0.5


def test_the_whole_grid_is_asked_in_order():
    model = Knowing(*SCENE)
    automatic_masks(model, IMAGE, points=5, at_once=7)
    assert torch.allclose(torch.tensor(model.asked), point_grid(5) * SIZE - 0.5)


def test_points_of_ones_own():
    points = torch.tensor([[8.5, 9.5], [27.5, 20.5]]) / SIZE
    masks = found(*SCENE, points=points)
    assert torch.equal(masks.masks, torch.stack([SMALL, LINE]))
    assert masks.points.tolist() == [[8, 9], [27, 20]]


@pytest.mark.parametrize("at_once", [1, 7, 256, 1000])
def test_how_many_at_once_makes_no_difference(at_once):
    one, other = found(*SCENE), found(*SCENE, at_once=at_once)
    for name in ("masks", "boxes", "points", "iou", "stability"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_unsure_masks_go():
    assert torch.equal(found(*SCENE, min_iou=0.93).masks, torch.stack([SMALL, LINE]))
    assert found(*SCENE, min_iou=0.97 + 1e-3).masks.shape == (0, SIZE, SIZE)
    # The halves: their boxes are about those of the regions, which are surer.
    assert len(found(*SCENE, min_iou=0.0)) == 3
    assert len(found(*SCENE, min_iou=0.0, max_overlap=1.0)) > 3


def test_unsteady_masks_go():
    """The flat ones have the better IoU: where they may stay, they win."""
    masks = found(*SCENE, min_stability=0.0)
    assert masks.stability.tolist() == [0, 0, 0]
    assert masks.iou.tolist() == pytest.approx([0.975, 0.945, 0.915])
    # With a small offset they are steady, too.
    assert found(*SCENE, offset=0.4).iou.tolist() == pytest.approx([0.975, 0.945, 0.915])


def test_empty_masks_go():
    empty = found(min_stability=0.0, min_iou=0.0)
    assert len(empty) == 0


def test_of_two_that_overlap_the_surer_stays():
    inner = region(2, 3, 22, 23)  # IoU with LARGE: 20 / 24
    assert torch.equal(found((LARGE, 0.91), (inner, 0.96)).masks, inner[None])
    assert torch.equal(found((LARGE, 0.96), (inner, 0.91)).masks, LARGE[None])
    both = found((LARGE, 0.91), (inner, 0.96), max_overlap=0.84)
    assert torch.equal(both.masks, torch.stack([inner, LARGE]))


def test_boxes_of_lines_are_not_empty():
    """Their width is the one pixel: a line and a part of it are two, the same line found three times is one."""
    part = region(27, 20, 28, 30)  # 10 pixels of 26
    clicks = torch.tensor([[27.5, 5.5], [27.5, 10.5], [27.5, 22.5], [27.5, 28.5]]) / SIZE
    masks = found((LINE, 0.9), (part, 0.95), points=clicks)
    assert torch.equal(masks.masks, torch.stack([part, LINE]))


def test_small_regions_are_cleaned_before_boxes_are_drawn():
    ragged = SMALL.clone()
    ragged[8:10, 7:9] = False  # a hole of 4
    ragged[25, 25:28] = True  # an island of 3
    assert torch.equal(found((ragged, 0.9)).masks, ragged[None])
    masks = found((ragged, 0.9), min_area=5)
    assert torch.equal(masks.masks, SMALL[None])
    assert masks.boxes.tolist() == [[5, 6, 11, 15]]
    kept_hole = SMALL.clone()
    kept_hole[8:10, 7:9] = False
    assert torch.equal(found((ragged, 0.9), min_area=4).masks, kept_hole[None])


@pytest.mark.parametrize("min_area", [0, 9])
def test_nothing_found(min_area):
    masks = found(min_area=min_area)
    assert len(masks) == 0 and masks.records() == []
    assert masks.masks.shape == (0, SIZE, SIZE) and masks.masks.dtype == torch.bool
    assert masks.boxes.shape == (0, 4) and masks.points.shape == (0, 2)
    assert masks.iou.shape == masks.stability.shape == (0,)


def test_records_are_those_of_sam_and_ready_for_json():
    masks = found(*SCENE)
    records = json.loads(json.dumps(masks.records()))
    assert records == masks.records() and len(records) == 3
    for record, mask in zip(records, (SMALL, LINE, LARGE), strict=True):
        assert set(record) == {
            "segmentation", "area", "bbox", "predicted_iou", "stability_score", "point_coords",
        }  # fmt: skip
        assert torch.equal(rle_to_mask(record["segmentation"]), mask)
        packed = coco.frPyObjects(record["segmentation"], SIZE, SIZE)
        assert record["area"] == mask.sum() == coco.area(packed)
        assert record["bbox"] == coco.toBbox(packed).tolist()
        assert len(record["point_coords"]) == 1 and len(record["point_coords"][0]) == 2
        assert 0.9 < record["predicted_iou"] < 1 and record["stability_score"] == 1


def test_masks_can_be_chosen_from():
    masks = found(*SCENE)
    for kept in (torch.tensor([2, 0]), torch.tensor([True, False, True])):
        assert len(masks[kept]) == 2 and torch.equal(masks[kept].boxes, masks.boxes[kept])
    assert torch.equal(masks[:1].masks, SMALL[None])


def test_no_gradient_is_kept():
    assert not found(*SCENE).iou.requires_grad


# --- cleaning ------------------------------------------------------------------------------------------------


def drawn(*rows):
    return torch.tensor([[cell == "#" for cell in row] for row in rows])


def test_small_islands_go_and_small_holes_are_filled():
    mask = drawn("####..#", "#..#...", "####..#", "......#")
    assert torch.equal(clean(mask, 3), drawn("####...", "####...", "####...", "......."))
    assert torch.equal(clean(mask, 2), drawn("####...", "#..#...", "####..#", "......#"))
    assert torch.equal(clean(mask, 1), mask)


def test_corners_do_not_join():
    mask = drawn("##...", "##...", "..#..", ".....")
    assert torch.equal(clean(mask, 2), drawn("##...", "##...", ".....", "....."))


def test_an_island_that_is_all_there_is_stays():
    mask = drawn(".....", ".##..", ".....", ".....")
    assert torch.equal(clean(mask, 9), mask)


def test_cleaning_leaves_its_mask_as_it_was():
    mask = drawn("##..#", "##...")
    before = mask.clone()
    assert not torch.equal(clean(mask, 2), mask)
    assert torch.equal(mask, before)
