"""Prompts on pictures of any size: the same answers as from the model itself, and a sentence for each mistake."""

import numpy as np
import pytest
import torch

from cs_vl.data.square import Square
from cs_vl.models.sam import to_size
from cs_vl.tasks.predictor import Predictor, as_image
from cs_vl.tasks.sam_models import make_scene_sam

torch.manual_seed(0)
SAM = make_scene_sam().eval()
with torch.no_grad():  # at the start prompts are nearly nothing, and all masks alike
    for parameter in SAM.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
SIZE, MASK = SAM.image_size, SAM.mask_size
IMAGE = torch.rand(3, 48, 80)  # 48 high, 80 wide
POINT, ONE = [[10.0, 20.0]], [1]


def ready(image=IMAGE):
    predictor = Predictor(SAM)
    predictor.set_image(image)
    return predictor


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# --- the model's own answers ----------------------------------------------------------------------------------

PROMPTS = {
    "a point": {"points": [[10.0, 20]], "labels": [1]},
    "points": {"points": [[10, 20], [40, 3], [0, 63]], "labels": [1, 0, 1]},
    "a box": {"box": [5, 6, 30.5, 40]},
    "a mask": {"mask": torch.randn(MASK, MASK)},
    "all": {"points": [[10, 20]], "labels": [0], "box": (5, 6, 30, 40), "mask": torch.randn(MASK, MASK)},
}


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("name", PROMPTS)
@torch.no_grad()
def test_a_square_image_is_answered_as_by_the_model(name, multimask):
    image, prompt = torch.rand(3, SIZE, SIZE), PROMPTS[name]
    found = ready(image).predict(**prompt, multimask=multimask)
    batched = {key: torch.as_tensor(value)[None, None] for key, value in prompt.items()}
    direct = SAM.decode(
        SAM.encode(image[None]),
        points=batched["points"].float() if "points" in batched else None,
        labels=batched.get("labels"),
        boxes=batched["box"].float() if "box" in batched else None,
        masks=batched.get("mask"),
        multimask=multimask,
    )
    close(found.logits, direct.masks[0, 0])
    close(found.iou, direct.iou[0, 0])
    assert torch.equal(found.masks, to_size(found.logits, SIZE) > 0)
    assert len(found.masks) == len(found.iou) == len(found.logits) == (3 if multimask else 1)


@torch.no_grad()
def test_an_image_that_is_not_square_is_put_in_one():
    square = Square(48, 80, SIZE)
    features = SAM.encode(square.image(IMAGE, SAM.mean)[None])
    direct = SAM.decode(features, square.points(torch.tensor(POINT))[None, None], torch.ones(1, 1, 1).long())
    found = ready().predict(POINT, ONE)
    close(found.logits, direct.masks[0, 0])
    assert torch.equal(found.masks, square.masks_back(found.logits) > 0)


def test_padding_is_zero_after_normalisation(monkeypatch):
    seen = []
    monkeypatch.setattr(SAM.encoder, "forward", lambda x: seen.append(x) or torch.zeros(1, 1, 1, 1))
    ready()
    (image,) = seen
    assert image.shape == (1, 3, SIZE, SIZE)
    rows, columns = Square(48, 80, SIZE).scaled
    assert (rows, columns) == (38, SIZE)
    assert not image[:, :, rows:].any() and image[:, :, :rows].all()


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (80, 48), (1, 1), (1, 200), (7, 3), (300, 211)])
@pytest.mark.parametrize("multimask", [True, False])
def test_masks_are_as_large_as_the_image(size, multimask):
    height, width = size
    predictor = ready(torch.rand(3, height, width))
    found = predictor.predict([[width - 1, height - 1]], ONE, multimask=multimask)
    assert found.masks.shape == (3 if multimask else 1, height, width) and found.masks.dtype == torch.bool
    assert found.logits.shape[1:] == (MASK, MASK)
    # The logits are ready for a next round.
    again = predictor.predict(
        [[width - 1, height - 1], [0, 0]], [1, 0], mask=found.logits[0], multimask=False
    )
    assert again.masks.shape == (1, height, width)


def test_bytes_and_floats_are_the_same_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    one, other = ready(pixels).predict(POINT, ONE), ready(tensor).predict(POINT, ONE)
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(as_image(pixels[::-1]), tensor.flip(1))  # a view, upside down


def test_points_as_lists_arrays_and_tensors():
    predictor = ready()
    found = [
        predictor.predict(make(POINT), make(ONE)).logits
        for make in (list, np.array, torch.tensor, lambda x: torch.tensor(x).double())
    ]
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_the_image_is_encoded_once(monkeypatch):
    calls = []
    encode = SAM.encoder.forward
    monkeypatch.setattr(SAM.encoder, "forward", lambda x: calls.append(1) or encode(x))
    predictor = ready()
    for _ in range(3):
        predictor.predict(POINT, ONE)
    assert len(calls) == 1
    predictor.set_image(IMAGE)
    assert len(calls) == 2


def test_no_gradient_is_kept_and_the_model_stays_as_it_was():
    found = ready().predict(POINT, ONE)
    assert not found.logits.requires_grad and not found.iou.requires_grad
    assert all(parameter.grad is None for parameter in SAM.parameters())


def test_a_pixel_just_within_the_edge_is_within():
    for x, y in ((-0.5, -0.5), (79.5, 47.5), (0, 47)):
        ready().predict([[x, y]], ONE)
    ready().predict(box=[-0.5, 0, 79.5, 47.5])
    ready().predict(box=[3, 4, 3, 4])  # of one pixel


# --- mistakes: one sentence each ------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
MISTAKES = {
    "no prompt": ({}, "there is no prompt"),
    "no labels": ({"points": [[1, 2], [3, 4]]}, "points need labels.*got 2 points"),
    "no points": ({"labels": [1, 0]}, "labels need points.*got 2 labels"),
    "too few labels": ({"points": [[1, 2], [3, 4]], "labels": [1]}, r"got 2 points and labels of the shape \(1,\)"),
    "labels as a table": ({"points": POINT, "labels": [[1]]}, r"got 1 points and labels of the shape \(1, 1\)"),
    "empty": ({"points": [], "labels": []}, "one click at least; got 0"),
    "an empty tensor": ({"points": torch.zeros(0, 2), "labels": torch.zeros(0)}, "one click at least; got 0"),
    "one point bare": ({"points": [3, 4], "labels": [1]}, r"got \(2,\): write \[\[x, y\]\]"),
    "three coordinates": ({"points": [[1, 2, 3]], "labels": [1]}, r"got \(1, 3\)"),
    "ragged": ({"points": [[1, 2], [3]], "labels": [1, 1]}, "points should be numbers"),
    "words": ({"points": "here", "labels": [1]}, "points should be numbers"),
    "beyond the right": ({"points": [[5, 5], [80, 3]], "labels": [1, 1]}, r"point 1, \(80, 3\).*80 x 48.*0 to 79"),
    "beyond the bottom": ({"points": [[5, 48]], "labels": [1]}, r"point 0, \(5, 48\).*y from 0 to 47"),
    "beyond the left": ({"points": [[-1, 5]], "labels": [1]}, r"point 0, \(-1, 5\)"),
    "NaN": ({"points": [[NAN, 5]], "labels": [1]}, "points should be finite; got nan"),
    "infinite": ({"points": [[5, -INF]], "labels": [1]}, "points should be finite; got -inf"),
    "label 2": ({"points": POINT, "labels": [2]}, r"labels should be 1 \(this\) or 0 \(not this\); got 2"),
    "label -1": ({"points": POINT, "labels": [-1]}, "labels should be .*; got -1"),
    "label 0.5": ({"points": POINT, "labels": [0.5]}, "labels should be .*; got 0.5"),
    "label NaN": ({"points": POINT, "labels": [NAN]}, "labels should be .*; got nan"),
    "x turned": ({"box": [30, 5, 10, 20]}, "x0 <= x1; got x0 = 30 and x1 = 10"),
    "y turned": ({"box": [3, 25, 10, 20]}, "y0 <= y1; got y0 = 25 and y1 = 20"),
    "box beyond": ({"box": [3, 5, 10, 48]}, "the box 3, 5, 10, 48 reaches outside of the image of 80 x 48"),
    "box before": ({"box": [-4, 5, 10, 20]}, "the box -4, 5, 10, 20 reaches outside"),
    "box of three": ({"box": [1, 2, 3]}, r"four numbers.*got the shape \(3,\)"),
    "two boxes": ({"box": [[1, 2, 3, 4]] * 2}, r"got the shape \(2, 4\)"),
    "box NaN": ({"box": [1, 2, NAN, 4]}, "a box should be finite; got nan"),
    "mask too small": ({"mask": torch.zeros(16, 16)}, rf"\({MASK}, {MASK}\).*got \(16, 16\)"),
    "mask of the image": ({"mask": torch.zeros(48, 80)}, r"got \(48, 80\)"),
    "all masks": ({"mask": torch.zeros(3, MASK, MASK)}, rf"got \(3, {MASK}, {MASK}\)"),
    "mask of booleans": ({"mask": torch.ones(MASK, MASK) > 0}, "should be logits.*got torch.bool"),
    "mask NaN": ({"mask": torch.full((MASK, MASK), NAN)}, f"finite; got {MASK**2} of {MASK**2}"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_prompt_that_does_not_fit(name):
    prompt, sentence = MISTAKES[name]
    with pytest.raises(ValueError, match=sentence) as error:
        ready().predict(**prompt)
    assert "\n" not in str(error.value)


def test_no_image_yet():
    predictor = Predictor(SAM)
    for ask in (
        lambda: predictor.predict(POINT, ONE),
        lambda: predictor.predict(),
        lambda: predictor.features,
    ):
        with pytest.raises(ValueError, match="no image to ask about"):
            ask()


PIXELS = np.zeros((8, 9, 3), dtype=np.uint8)
NO_IMAGES = {
    "grey": (torch.rand(1, 8, 9), r"got 1 channels, in the shape \(1, 8, 9\)"),
    "transparent": (np.zeros((8, 9, 4), dtype=np.uint8), r"got 4 channels, in the shape \(8, 9, 4\)"),
    "channels last": (torch.rand(8, 9, 3), r"got 8 channels, in the shape \(8, 9, 3\)"),
    "channels first": (PIXELS.transpose(2, 0, 1), r"got 9 channels, in the shape \(3, 8, 9\)"),
    "a batch": (torch.rand(1, 3, 8, 9), "got 4 dimensions"),
    "flat": (PIXELS[..., 0], "got 2 dimensions"),
    "too bright": (torch.full((3, 8, 9), 200.0), r"\[0, 1\]; got 216 of 216.*200"),
    "negative": (torch.tensor([0.5, -0.25, 1.0])[:, None, None], "got 1 of 3 that do not, for instance -0.25"),
    "NaN": (torch.tensor([0.5, NAN, 1.0])[:, None, None], "got 1 of 3 that do not, for instance nan"),
    "no height": (torch.rand(3, 0, 9), r"one pixel at least; got the shape \(3, 0, 9\)"),
    "no width": (PIXELS[:, :0], r"one pixel at least; got the shape \(8, 0, 3\)"),
    "bytes in a tensor": (torch.zeros(3, 8, 9, dtype=torch.uint8), "got Tensor of torch.uint8"),
    "floats in an array": (PIXELS / 255, "got ndarray of float64"),
    "a path": ("cat.png", "got str"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image(name):
    image, sentence = NO_IMAGES[name]
    predictor = ready()
    before = predictor.predict(POINT, ONE)
    with pytest.raises(ValueError, match=sentence) as error:
        predictor.set_image(image)
    assert "\n" not in str(error.value)
    # The image before is still there.
    assert torch.equal(predictor.predict(POINT, ONE).logits, before.logits)
