"""What is built around a SAM: masks by text, edges, a figure that listens, and an annotator of the data engine."""

from typing import Any

import matplotlib as mpl
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backend_bases import MouseButton, MouseEvent
from torch import Tensor, nn

from cs_vl.data.captions import a
from cs_vl.data.emoji_captions import load_tokenizer
from cs_vl.data.part_scenes import LEVELS, PartScenes, make_part_scenes
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.models.sam import SAM, SAMOutput
from cs_vl.tasks.annotator import Annotator, as_scenes, nesting
from cs_vl.tasks.automatic_masks import automatic_masks
from cs_vl.tasks.click_figure import Clicker, click_figure, listening_figure, middle
from cs_vl.tasks.data_engine import STAGES
from cs_vl.tasks.edges import edges
from cs_vl.tasks.sam_models import EVERYTHING, load_scene_sam
from cs_vl.tasks.sam_results import stored_sam
from cs_vl.tasks.sam_scores import click_scores, everything_scores
from cs_vl.tasks.stored import load_emoji_clip
from cs_vl.tasks.text_prompt import cut_out, text_prompt


@pytest.fixture(scope="module")
def sam() -> SAM:
    return load_scene_sam()


@pytest.fixture(scope="module")
def scenes() -> PartScenes:
    return make_part_scenes(12, seed=8, split="held_out")


def square(x0: int, y0: int, x1: int, y1: int, size: int = 64) -> Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Knows(nn.Module):
    """In a SAM's place: answers a click with the smallest mask around it, and, asked for three, two worse ones.

    A mask of fewer than `least` pixels it never gives.
    """

    mask_size = 64

    def __init__(self, scenes: PartScenes, least: int = 0):
        super().__init__()
        self.scenes, self.least = scenes, least
        self.nothing = nn.Parameter(torch.zeros(()))

    def encode(self, images: Tensor) -> Tensor:
        (self.scene,) = [i for i, image in enumerate(self.scenes.images) if torch.equal(image, images[0])]
        return images

    def decode(self, features, points, labels, boxes=None, masks=None, *, multimask=True) -> SAMOutput:
        every = self.scenes.masks[self.scene]
        out = []
        for clicks in points[0].long().tolist():
            x, y = clicks[0]
            around = [m for m in every if m[y, x] and m.sum() >= self.least]
            best = min(around, key=lambda m: int(m.sum()), default=torch.zeros_like(every[0]))
            out.append([torch.zeros_like(best), best, ~best] if multimask else [best])
        logits = 10.0 * torch.stack([torch.stack(k) for k in out])[None] - 5
        return SAMOutput(
            logits, torch.tensor([0.3, 0.9, 0.1] if multimask else [0.9]).expand(*logits.shape[:3])
        )


# ---- Text


def test_a_cut_out_is_on_white_in_the_middle_of_a_square():
    image = torch.rand(3, 64, 64) / 2
    crop = cut_out(image, square(10, 20, 50, 30), size=48)  # 40 wide, 10 high; with the margin 48
    assert crop.shape == (3, 48, 48)
    assert torch.allclose(crop[:, 19:29, 4:44], image[:, 20:30, 10:50], atol=1e-5)
    assert float(crop[:, :18].min()) == float(crop[:, :, :3].min()) == 1


def test_a_named_thing_is_found_among_the_true_masks(scenes):
    clip, tokenizer = load_emoji_clip(), load_tokenizer()
    hits = asked = 0
    for image, masks, level, names in zip(
        scenes.images, scenes.masks, scenes.level, scenes.names, strict=True
    ):
        if len(set(names)) < 2:
            continue
        wholes = masks[level == 0]
        similar = text_prompt(clip, tokenizer, image, wholes, [a(name) for name in names])
        assert similar.shape == (len(wholes), len(names)) and (similar.abs() <= 1.001).all()
        hits += int((similar.argmax(dim=0) == torch.arange(len(names))).sum())
        asked += len(names)
    assert hits / asked > 0.65  # of two to four things: chance is a third


# ---- Edges


def test_edges_lie_along_the_outlines_of_masks(scenes):
    found = edges(Knows(scenes), scenes.images[0], points=8)  # type: ignore[arg-type]
    assert found.shape == (64, 64) and float(found.min()) == 0 and float(found.max()) == 1
    every = scenes.masks[0].float()
    # A pixel is near an outline where a mask has another value close by.
    near = (
        nn.functional.max_pool2d(every[:, None], 5, 1, 2)
        - -nn.functional.max_pool2d(-every[:, None], 5, 1, 2)
    ).amax(dim=0)[0] > 0
    assert not found[~near].any() and (found[near] > 0).float().mean() > 0.15


def test_where_nothing_is_sure_enough_there_are_no_edges(scenes):
    found = edges(Knows(scenes), scenes.images[0], points=4, min_iou=2.0)  # type: ignore[arg-type]
    assert found.shape == (64, 64) and not found.any()


# ---- The figure that listens


def press(figure: Any, ax: Any, x: float, y: float, button: MouseButton) -> None:
    at = ax.transData.transform((x, y))
    figure.canvas.callbacks.process(
        "button_press_event", MouseEvent("button_press_event", figure.canvas, *at, button)
    )


def test_clicks_on_the_figure_reach_the_model_and_can_be_forgotten(sam, scenes):
    clicker = Clicker(sam, scenes.images[0])
    figure = listening_figure(clicker)
    figure.canvas.draw()
    picture, *others = figure.axes[:4]
    press(figure, picture, 20.2, 30.7, MouseButton.LEFT)
    assert clicker.labels == [1] and clicker.points[0] == pytest.approx((20.2, 30.7), abs=0.01)
    assert clicker.answer is not None and len(clicker.answer.masks) == 3
    press(figure, picture, 40, 10, MouseButton.RIGHT)
    assert clicker.labels == [1, 0] and len(clicker.answer.masks) == 1
    press(figure, others[0], 5, 5, MouseButton.LEFT)  # beside the picture
    assert clicker.labels == [1, 0]
    clicker.start_again()
    assert clicker.answer is None and not clicker.points
    plt.close(figure)


def test_a_click_goes_on_from_the_surest_answer(sam, scenes):
    clicker = Clicker(sam, scenes.images[0])
    first = clicker.click(20, 30, 1)
    second = clicker.click(10, 10, 0)
    expected = clicker.predictor.predict(
        [(20, 30), (10, 10)], [1, 0], mask=first.logits[int(first.iou.argmax())], multimask=False
    )
    assert torch.equal(second.logits, expected.logits)


def test_where_nobody_listens_the_figure_shows_clicks_made_beforehand(sam, scenes):
    assert mpl.get_backend().lower() == "agg"
    figure = click_figure(sam, scenes.images[0])
    assert len(figure.axes) in (4, 6)  # one click and three answers; perhaps a second click and one answer
    assert [ax.get_xlabel() for ax in figure.axes[1:4]] == [
        f"says {iou:.2f}" for iou in _first_answer(sam, scenes.images[0])
    ]
    plt.close(figure)
    flat = click_figure(sam, torch.full((3, 64, 64), 0.5))  # nothing stands out
    assert len(flat.axes) >= 4
    plt.close(flat)


def _first_answer(sam: SAM, image: Tensor) -> Tensor:
    clicker = Clicker(sam, image)
    ground = image.flatten(1).median(dim=1).values[:, None, None]
    return clicker.click(*middle((image - ground).abs().sum(dim=0) > 0.25), 1).iou


# ---- The annotator


def test_who_is_helped_by_an_all_knowing_model_labels_what_is_missing(scenes):
    annotator = Annotator(scenes)
    all_masks = list(scenes.masks[0])
    smallest = min(range(len(all_masks)), key=lambda i: int(all_masks[i].sum()))
    there = [mask for i, mask in enumerate(all_masks) if i != smallest]
    model: Any = Knows(scenes)
    added = annotator.annotate(model, 0, there)
    (mask,) = added
    assert float(mask_iou(mask, all_masks[smallest])) > 0.9 and annotator.clicks == 1
    assert annotator.annotate(model, 0, all_masks) == [] and annotator.clicks == 1


def test_what_stays_bad_is_left_out_after_so_many_clicks(scenes):
    model: Any = Knows(scenes, least=10_000)  # knows nothing
    annotator = Annotator(scenes, patience=4)
    assert annotator.annotate(model, 0, []) == []
    assert annotator.clicks == 4 * len(scenes.masks[0])


def test_masks_lie_in_one_another():
    masks = torch.stack(
        [square(10, 10, 20, 20), square(0, 0, 40, 40), square(5, 5, 30, 30), square(41, 0, 60, 9)]
    )
    assert nesting(masks).tolist() == [2, 0, 1, 0]
    assert nesting(torch.cat([masks, masks[:1]])).tolist() == [2, 0, 1, 0, 2]  # one that is there twice


def test_labelled_images_are_scenes_without_those_that_have_no_label(scenes):
    labels = [list(scenes.masks[0]), [], list(scenes.masks[2])]
    again = as_scenes(scenes.images[:3], labels)
    assert len(again) == 2 and torch.equal(again.images, scenes.images[[0, 2]])
    assert torch.equal(again.masks[1], scenes.masks[2])
    assert (again.level[0] == 0).any() and int(again.level[0].max()) < len(LEVELS)


# ---- What is stored


def test_everything_is_found_by_who_knows_everything(scenes):
    few = PartScenes(*(field[:3] for field in vars(scenes).values()))
    scores = everything_scores(Knows(few), few, points=24, max_overlap=0.99)  # type: ignore[arg-type]
    assert scores["found that is there"] == 1
    assert scores["found, part"] > 0.5 and scores["found, an image"] > 3
    nothing = everything_scores(Knows(few), few, points=4, min_iou=2.0)  # type: ignore[arg-type]
    assert nothing["found, whole"] == nothing["found that is there"] == nothing["found, an image"] == 0


@pytest.mark.parametrize("name", ["sam", "single"])
def test_the_committed_models_are_as_good_as_their_results_say(name, scenes):
    three = name == "sam"
    table = click_scores(load_scene_sam(name), scenes, multimask=three).table()
    stored = stored_sam(name)
    assert [one["seed"] for one in stored] == [0, 1, 2]
    for key in ("best of 3, whole", "1 clicks", "8 clicks"):
        assert abs(table[key] - stored[0]["scores"][key]) < 0.12, key
    assert len(stored[0]["along"]["step"]) == len(stored[0]["along"]["8 clicks"])
    if three:
        assert all(one["scores"]["best of 3, whole"] > 0.8 for one in stored)


def test_the_committed_model_finds_most_things(sam, scenes):
    hits = [
        (mask_iou(automatic_masks(sam, image, **EVERYTHING).masks[:, None], masks[level == 0]) > 0.5).any(
            dim=0
        )
        for image, masks, level in zip(scenes.images[:6], scenes.masks, scenes.level, strict=False)
    ]
    assert torch.cat(hits).float().mean() > 0.6  # stored: 0.81 of 150


def test_the_engines_results_have_all_stages():
    for one in stored_sam("engine"):
        assert tuple(one["stages"]) == STAGES
        assert one["stages"]["fully-automatic"]["by_hand"] == 0


def test_names_that_are_not_there_get_a_sentence():
    with pytest.raises(ValueError, match='"sam" or "single"; got \'sem\''):
        load_scene_sam("sem")
    with pytest.raises(FileNotFoundError, match="no stored run 'sem'; there is engine, sam, single"):
        stored_sam("sem")
