"""Pictures of any size, prompts in their own pixels, and a sentence for each prompt that makes no sense."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cs_vl.data.square import Square
from cs_vl.models.sam import SAM, make_sam
from cs_vl.tasks.predictor import Predictor

SIZE = 32


@pytest.fixture(scope="module")
def sam() -> SAM:
    torch.manual_seed(0)
    model = make_sam(
        image_size=SIZE,
        patch_size=4,
        dim=16,
        depth=1,
        heads=2,
        out_dim=16,
        decoder_heads=2,
        decoder_mlp_dim=16,
    )
    for parameter in model.parameters():  # at the start all embeddings are next to nothing
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return model.eval()


@pytest.fixture
def predictor(sam) -> Predictor:
    predictor = Predictor(sam)
    predictor.set_image(picture(20, 50))
    return predictor


def picture(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * width))


# ---- The square


@given(height=st.integers(1, 200), width=st.integers(1, 200), size=st.sampled_from([16, 64, 100]))
def test_the_longer_side_fits_and_what_is_put_comes_back_at_its_size(height, width, size):
    square = Square(height, width, size)
    assert max(square.inner) == size and min(square.inner) >= 1
    assert abs(square.inner[0] / size - height / max(height, width)) <= 1 / size
    put = square.put(torch.ones(3, height, width), torch.zeros(3, 1, 1))
    assert put.shape == (3, size, size)
    inside = put[:, : square.inner[0], : square.inner[1]]
    assert torch.allclose(inside, torch.ones(()), atol=1e-5) and float(put.sum()) == pytest.approx(
        float(inside.sum()), rel=1e-5
    )
    back = square.back(put[:2])
    assert back.shape == (2, height, width) and float(back.min()) > 0.4


@pytest.mark.parametrize(
    ("height", "width", "inner"),
    # What segment-anything's ResizeLongestSide(64).get_preprocess_shape says: rounded, half up.
    [(20, 50, (26, 64)), (50, 20, (64, 26)), (64, 64, (64, 64)), (301, 200, (64, 43)), (128, 1, (64, 1))],
)
def test_the_sides_are_rounded_as_in_segment_anything(height, width, inner):
    square = Square(height, width, 64)
    assert square.inner == inner
    corner = square.points(torch.tensor([float(width), float(height)]))
    assert corner.tolist() == pytest.approx([inner[1], inner[0]])


def test_a_square_of_the_models_size_is_left_as_it_is():
    image = picture(SIZE, SIZE)
    square = Square(SIZE, SIZE, SIZE)
    assert torch.allclose(square.put(image, torch.zeros(3, 1, 1)), image, atol=1e-6)
    assert torch.equal(square.back(image), image)


# ---- Predictions


def test_a_picture_of_the_models_size_is_answered_as_by_the_model(sam):
    image = picture(SIZE, SIZE)
    predictor = Predictor(sam)
    predictor.set_image(image)
    found = predictor.predict([[3, 4], [10, 20]], [1, 0], [2, 3, 20, 30])
    with torch.no_grad():
        direct = sam(
            image[None],
            torch.tensor([[[[3.0, 4], [10, 20]]]]),
            torch.tensor([[[1, 0]]]),
            torch.tensor([[[2.0, 3, 20, 30]]]),
        )
    torch.testing.assert_close(found.logits, direct.masks[0, 0])
    torch.testing.assert_close(found.iou, direct.iou[0, 0])
    assert torch.equal(found.masks, found.logits > 0)


def test_masks_are_as_large_as_the_picture_and_answers_go_on(predictor):
    first = predictor.predict([(49, 19)])
    assert first.masks.shape == (3, 20, 50) and first.masks.dtype == torch.bool
    assert first.logits.shape == (3, SIZE, SIZE)
    second = predictor.predict([(49, 19), (0, 0)], [1, 0], mask=first.logits[0], multimask=False)
    assert second.masks.shape == (1, 20, 50)
    without = predictor.predict([(49, 19), (0, 0)], [1, 0], multimask=False)
    assert not torch.equal(second.logits, without.logits)
    assert predictor.predict(box=[0, 0, 49, 19]).iou.shape == (3,)
    assert predictor.predict(mask=first.logits[1].numpy()).iou.shape == (3,)


def test_bytes_and_floats_are_the_same_picture(sam):
    array = (picture(20, 50).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    answers = []
    for image in (array, torch.from_numpy(array).permute(2, 0, 1).float() / 255):
        predictor = Predictor(sam)
        predictor.set_image(image)
        answers.append(predictor.predict([(5, 5)]).logits)
    torch.testing.assert_close(*answers)


# ---- Sentences


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({}, "there is no prompt: give points"),
        ({"labels": [1]}, "there are no points"),
        ({"points": []}, "there is no point: give one"),
        ({"points": [[1, 2, 3]]}, r"list of \(x, y\), of shape \(n, 2\); got \(1, 3\)"),
        ({"points": [3, 4]}, r"got \(2,\)"),
        ({"points": [["a", 1]]}, "points are numbers"),
        ({"points": [[1, 2], [3]]}, "points are numbers"),
        ({"points": [[float("nan"), 2]]}, "points are finite numbers"),
        (
            {"points": [[50, 2]]},
            r"\(50, 2\) lies outside of the picture: x goes from 0 to 49, y from 0 to 19",
        ),
        ({"points": [[1, -1]]}, r"\(1, -1\) lies outside"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "every point needs a label; got 2 for 1 points"),
        ({"points": [[1, 2]], "labels": [2]}, r"1 \(this\) or 0 \(not this\); got \[2.0\]"),
        ({"box": [10, 2, 4, 8]}, "x1 = 4 is less than x0 = 10"),
        ({"box": [1, 12, 4, 8]}, "y1 = 8 is less than y0 = 12"),
        ({"box": [1, 2, 60, 8]}, r"box's corner \(60, 8\) lies outside"),
        ({"box": [1, 2, 3]}, r"a box is x0, y0, x1, y1; got the shape \(3,\)"),
        ({"box": [1, 2, float("inf"), 8]}, "finite"),
        ({"mask": torch.zeros(20, 50)}, r"\(32, 32\); got \(20, 50\)"),
        ({"mask": torch.full((SIZE, SIZE), float("nan"))}, "finite"),
    ],
)
def test_a_prompt_that_makes_no_sense_gets_a_sentence(predictor, prompt, sentence):
    with pytest.raises(ValueError, match=sentence):
        predictor.predict(**prompt)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.zeros(4, 8, 8), r"got a tensor \(4, 8, 8\)"),
        (torch.zeros(8, 8), r"got a tensor \(8, 8\)"),
        (torch.zeros(3, 0, 8), r"got a tensor \(3, 0, 8\)"),
        (torch.full((3, 8, 8), 200.0), "its values go from 200 to 200"),
        (torch.full((3, 8, 8), float("nan")), "its values go from nan"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "torch.uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"got an array of shape \(8, 8, 4\)"),
        (np.zeros((8, 8, 3)), "got an array of float64"),
        ("cat.png", "got a str"),
    ],
)
def test_what_is_no_picture_gets_a_sentence(sam, image, sentence):
    with pytest.raises(ValueError, match=sentence):
        Predictor(sam).set_image(image)


def test_without_a_picture_there_is_nothing_to_ask(sam):
    with pytest.raises(ValueError, match="call set_image"):
        Predictor(sam).predict([(1, 1)])
