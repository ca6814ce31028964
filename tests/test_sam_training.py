"""What a SAM learns from, how its loss goes on from click to click, and how good its masks are said to be."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cs_vl.data.part_scenes import LEVELS, PartScenes, make_part_scenes
from cs_vl.losses.best_of_masks import best_of_masks_loss
from cs_vl.models.sam import SAM, SAMOutput, make_sam
from cs_vl.tasks.sam_models import IMAGE_SIZE, make_scene_sam
from cs_vl.tasks.sam_scores import click_scores
from cs_vl.tasks.sam_training import Targets, draw_targets, sam_loss


@pytest.fixture(scope="module")
def scenes() -> PartScenes:
    return make_part_scenes(6, seed=1)


def targets_of(scenes: PartScenes, seed: int = 0, prompts: int = 3) -> Targets:
    return draw_targets(scenes, torch.arange(4), prompts, torch.Generator().manual_seed(seed))


def small_sam() -> SAM:
    torch.manual_seed(0)
    return make_sam(
        image_size=64, patch_size=8, dim=16, depth=1, heads=2, out_dim=16, decoder_heads=2, decoder_mlp_dim=16
    )


class Recorder(nn.Module):
    """In a SAM's place: remembers what it is asked; its masks are logits to learn, each with an IoU."""

    mask_size = 64

    def __init__(self, masks: Tensor, iou: Tensor):
        super().__init__()
        self.masks, self.iou = nn.Parameter(masks), nn.Parameter(iou)
        self.asked: list[dict[str, Any]] = []

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, features, points, labels, boxes=None, masks=None, *, multimask=True) -> SAMOutput:
        self.asked.append(
            {"points": points, "labels": labels, "boxes": boxes, "masks": masks, "multimask": multimask}
        )
        k = 3 if multimask else 1
        return SAMOutput(self.masks[:, :, :k], self.iou[:, :, :k])


def recorder(batch: Targets) -> Recorder:
    images, prompts = batch.masks.shape[:2]
    generator = torch.Generator().manual_seed(3)
    masks = torch.randn(images, prompts, 3, 64, 64, generator=generator)
    return Recorder(masks, torch.rand(images, prompts, 3, generator=generator))


def with_first(scenes: PartScenes, box: bool) -> Targets:
    """A batch whose first prompts are boxes, or clicks."""
    for seed in range(50):
        batch = targets_of(scenes, seed)
        if (float(torch.rand((), generator=torch.Generator().manual_seed(batch.seed))) < 0.5) == box:
            return batch
    raise AssertionError("no such batch")


# ---- What is drawn


def test_a_first_click_lies_in_the_mask_that_it_means(scenes):
    batch = targets_of(scenes, prompts=40)
    assert torch.equal(batch.images, scenes.images[:4])
    for i in range(4):
        among = {mask.numpy().tobytes() for mask in scenes.masks[i]}
        for mask, (x, y) in zip(batch.masks[i], batch.first[i].long().tolist(), strict=True):
            assert mask[y, x] and mask.numpy().tobytes() in among
        drawn = {mask.numpy().tobytes() for mask in batch.masks[i]}
        assert len(drawn) > 1 or len(among) == 1  # wholes and parts, not always the same


def test_the_same_generator_draws_the_same(scenes):
    a, b, c = targets_of(scenes, 0), targets_of(scenes, 0), targets_of(scenes, 1)
    assert torch.equal(a.first, b.first) and torch.equal(a.masks, b.masks) and a.seed == b.seed
    assert not torch.equal(a.first, c.first)


# ---- The rounds


def test_without_further_clicks_the_loss_is_that_of_the_best_mask(scenes):
    batch = with_first(scenes, box=False)
    model = recorder(batch)
    loss, metrics = sam_loss(model, batch, points=0)  # type: ignore[arg-type]
    flat = [x.flatten(0, 1) for x in (model.masks, model.iou, batch.masks)]
    torch.testing.assert_close(loss, sum(best_of_masks_loss(*flat)))
    (asked,) = model.asked
    assert asked["multimask"] and asked["boxes"] is None and asked["masks"] is None
    assert torch.equal(asked["points"][:, :, 0], batch.first) and (asked["labels"] == 1).all()
    assert 0 <= metrics["iou"] <= 1


@pytest.mark.parametrize("box", [False, True])
def test_clicks_add_up_and_two_rounds_have_none_of_their_own(scenes, box):
    batch = with_first(scenes, box)
    model = recorder(batch)
    sam_loss(model, batch, points=4)  # type: ignore[arg-type]
    counts = [asked["points"].shape[2] for asked in model.asked]
    assert len(counts) == 4 + 3 and counts[0] == (0 if box else 1)
    steps = [b - a for a, b in pairwise(counts)]
    assert sorted(steps) == [0, 0, 1, 1, 1, 1] and steps[-1] == 0
    assert [asked["multimask"] for asked in model.asked] == [not box] + [False] * 6
    assert all((asked["boxes"] is not None) == box for asked in model.asked)
    assert model.asked[0]["masks"] is None and all(asked["masks"] is not None for asked in model.asked[1:])


def test_each_further_click_is_on_a_fault_of_the_surest_mask(scenes):
    batch = with_first(scenes, box=False)
    model = recorder(batch)
    sam_loss(model, batch, points=3)  # type: ignore[arg-type]
    best = model.iou.argmax(2)
    shown = model.masks.gather(2, best[:, :, None, None, None].expand(-1, -1, 1, 64, 64))[:, :, 0]
    second = next(asked for asked in model.asked if asked["points"].shape[2] == 2)
    torch.testing.assert_close(second["masks"], shown if second is model.asked[1] else model.masks[:, :, 0])
    faults = (second["masks"] > 0) != batch.masks
    x, y = second["points"][:, :, 1].long().unbind(-1)
    i, j = torch.meshgrid(torch.arange(4), torch.arange(3), indexing="ij")
    assert faults[i, j, y, x].all()
    assert torch.equal(second["labels"][:, :, 1] == 1, batch.masks[i, j, y, x])


def test_a_twin_with_one_mask_is_never_asked_for_several(scenes):
    batch = with_first(scenes, box=False)
    model = recorder(batch)
    sam_loss(model, batch, points=2, multimask=False)  # type: ignore[arg-type]
    assert not any(asked["multimask"] for asked in model.asked)


def test_all_parts_learn_and_the_loss_falls(scenes):
    model, batches = small_sam(), [with_first(scenes, box) for box in (False, True)]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(15):
        loss = sum(sam_loss(model, batch, points=1)[0] for batch in batches)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
            # Of the three masks only those learn that are some prompt's best.
            assert {n.split(".")[1] for n in idle} <= {"hypernetworks"}
            assert {n.split(".")[2] for n in idle} < {"1", "2", "3"}
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


# ---- Scores


class Oracle(nn.Module):
    """In a SAM's place: knows a scene's masks; surest of the whole that a click lies in, then of its parts."""

    def __init__(self, scenes: PartScenes):
        super().__init__()
        self.scenes = scenes
        self.nothing = nn.Parameter(torch.zeros(()))

    def encode(self, images: Tensor) -> Tensor:
        (self.scene,) = [i for i, image in enumerate(self.scenes.images) if torch.equal(image, images[0])]
        return images

    def decode(self, features, points, labels, boxes=None, masks=None, *, multimask=True) -> SAMOutput:
        every, level = self.scenes.masks[self.scene], self.scenes.level[self.scene]
        out = []
        for first in points[0, :, 0].long().tolist():
            x, y = first
            inside = every[(level == 0) & every[:, y, x]][:1]
            chain = every[every[:, y, x]]
            chain = torch.cat([inside, chain.flip(0)])[:3] if multimask else inside
            out.append(torch.cat([chain, chain[-1:].expand(3 - len(chain), -1, -1)]) if multimask else chain)
        logits = 2.0 * torch.stack(out)[None] - 1
        return SAMOutput(logits, torch.linspace(0.9, 0.1, logits.shape[2]).expand(1, len(out), -1))


def test_scores_of_who_knows_the_whole_alone(scenes):
    """Sure of the whole: exact for wholes, and of a part what share it has of the whole."""
    scores = click_scores(Oracle(scenes), scenes, clicks=3, at_once=2)  # type: ignore[arg-type]
    assert len(scores.level) == sum(map(len, scenes.masks)) == len(scores.best)
    assert scores.chosen.shape == scores.confidence.shape == (len(scores.level), 3)
    assert torch.equal(scores.level, torch.cat(scenes.level))
    wholes = scores.level == 0
    assert (scores.best[wholes] == 1).all() and (scores.chosen[wholes] == 1).all()
    assert (scores.chosen[~wholes] < 1).all()
    assert (scores.best >= scores.chosen[:, 0]).all()
    assert torch.allclose(scores.confidence[:, 0], torch.tensor(0.9))
    table = scores.table()
    assert table[f"best of 3, {LEVELS[0]}"] == 1
    assert table["1 clicks"] == pytest.approx(float(scores.chosen[:, 0].mean()))


def test_the_scenes_sam_has_masks_as_large_as_its_pictures(scenes):
    model = make_scene_sam().eval()
    assert (model.image_size, model.mask_size) == (IMAGE_SIZE, IMAGE_SIZE)
    scores = click_scores(model, PartScenes(*(field[:1] for field in vars(scenes).values())), clicks=2)
    assert ((scores.chosen >= 0) & (scores.chosen <= 1)).all()
