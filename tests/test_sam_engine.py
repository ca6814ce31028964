"""The annotator of the data engine, and what is stored of SAM's training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cs_vl.data.part_scenes import LEVELS, PartScenes, make_part_scenes
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.models.sam import SAM, SAMOutput
from cs_vl.tasks.annotator import Annotator, as_scenes, nesting
from cs_vl.tasks.automatic_masks import automatic_masks
from cs_vl.tasks.data_engine import STAGES
from cs_vl.tasks.sam_models import EVERYTHING, load_scene_sam
from cs_vl.tasks.sam_results import stored_sam
from cs_vl.tasks.sam_scores import click_scores, everything_scores
from tests.pictures import rectangle


@pytest.fixture(scope="module")
def sam() -> SAM:
    return load_scene_sam()


@pytest.fixture(scope="module")
def scenes() -> PartScenes:
    return make_part_scenes(12, seed=8, split="held_out")


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
        [
            rectangle(*box, size=64)
            for box in ((10, 10, 20, 20), (0, 0, 40, 40), (5, 5, 30, 30), (41, 0, 60, 9))
        ]
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
