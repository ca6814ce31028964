"""Run-length encoding: pycocotools and Meta's code read what ours writes, and the other way round."""

import json

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle_files import load_amg
from pycocotools import mask as coco

from cs_vl.tasks.rle import mask_to_rle, rle_to_mask

some = settings(max_examples=100, deadline=None)
# Long runs, as masks have them, and noise.
masks = st.one_of(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), fill=st.booleans()),
)


@some
@given(masks)
@example(np.zeros((3, 5), dtype=bool))
@example(np.ones((5, 3), dtype=bool))
@example(np.ones((1, 1), dtype=bool))
@example(np.zeros((1, 1), dtype=bool))
def test_what_is_encoded_is_decoded(array):
    mask = torch.from_numpy(array)
    rle = mask_to_rle(mask)
    assert json.loads(json.dumps(rle)) == rle
    assert rle["size"] == list(array.shape)
    assert sum(rle["counts"][1::2]) == array.sum()
    assert all(count > 0 for count in rle["counts"][1:])  # only the first run of zeros may be none
    decoded = rle_to_mask(rle)
    assert decoded.dtype == torch.bool and torch.equal(decoded, mask)


@some
@given(masks)
@example(np.zeros((3, 5), dtype=bool))
@example(np.ones((5, 3), dtype=bool))
def test_coco_reads_and_writes_the_same(array):
    height, width = array.shape
    packed = coco.frPyObjects(mask_to_rle(torch.from_numpy(array)), height, width)
    assert np.array_equal(coco.decode(packed), array)
    assert packed == coco.encode(np.asfortranarray(array.astype(np.uint8)))
    assert coco.area(packed) == array.sum()


@some
@given(masks)
@example(np.zeros((3, 5), dtype=bool))
@example(np.ones((5, 3), dtype=bool))
def test_meta_reads_and_writes_the_same(array):
    amg, mask = load_amg(), torch.from_numpy(array)
    assert mask_to_rle(mask) == amg.mask_to_rle_pytorch(mask[None])[0]
    assert np.array_equal(amg.rle_to_mask(mask_to_rle(mask)), array)
    assert amg.area_from_rle(mask_to_rle(mask)) == array.sum()


def test_runs_go_down_the_columns():
    mask = torch.tensor([[0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    assert mask_to_rle(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert mask_to_rle(~mask) == {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}


def test_runs_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="add up to 5 pixels; 2 x 3 has 6"):
        rle_to_mask({"size": [2, 3], "counts": [2, 3]})
