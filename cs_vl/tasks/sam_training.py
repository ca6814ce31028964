"""How SAM learns: one mask, a first prompt, and then what an annotator would click next."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cs_vl.data.part_scenes import PartScenes
from cs_vl.losses.best_of_masks import best_of_masks_loss
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.models.sam import SAM, most_confident, to_size
from cs_vl.tasks.clicks import jitter_boxes, mask_boxes, sample_error_points


@dataclass(frozen=True)
class Targets:
    """What is to be learned from a batch: for each image `prompts` masks that are meant.

    Attributes:
        images: in [0, 1].
        masks: the masks that are meant.
        first: a pixel of each, (x, y), for a first click.
        seed: of the chance in the rounds that follow.
    """

    images: Float[Tensor, "images 3 size size"]
    masks: Bool[Tensor, "images prompts size size"]
    first: Float[Tensor, "images prompts 2"]
    seed: int

    def to(self, device: torch.device | str) -> "Targets":
        return Targets(self.images.to(device), self.masks.to(device), self.first.to(device), self.seed)


def draw_targets(scenes: PartScenes, rows: Tensor, prompts: int, generator: torch.Generator) -> Targets:
    """For each scene some of its masks, any as likely, and a click in each, any of its pixels as likely.

    So a pixel in the eye of a cat means now the eye, now the cat.  The batch lies where the scenes lie.
    """
    masks = pad_sequence([scenes.masks[i] for i in rows.tolist()], batch_first=True)  # (images, most, ...)
    count = torch.tensor([len(scenes.masks[i]) for i in rows.tolist()])
    which, where = torch.rand(2, len(rows), prompts, generator=generator)
    number = (which * count[:, None]).long().to(masks.device)
    meant = masks.take_along_dim(number[:, :, None, None], dim=1)
    flat = meant.flatten(0, 1)
    first, _ = sample_error_points(torch.zeros_like(flat), flat, where.flatten().to(masks.device))
    seed = int(torch.randint(2**31, (), generator=generator))
    return Targets(scenes.images[rows.to(masks.device)], meant, first.view(*meant.shape[:2], 2).float(), seed)


def sam_loss(
    model: SAM, batch: Targets, *, points: int = 8, multimask: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """The interactive training of SAM (Kirillov et al. 2023, app. A, "Training algorithm").

    A first prompt, a click or the mask's box (loosely drawn), equally often; then `points` clicks where the
    answer so far is wrong, each time with that answer as a prompt, too; one round without a new click in
    between, and another one at the end.  A first click may mean several things: the model gives several
    masks, and the best of them learns.  A box, or more clicks, leave no doubt: one mask.

    Args:
        points: how many clicks after the first prompt; with 0 there is one round alone.
        multimask: whether there are several masks after a single click.

    Returns:
        The mean of the rounds' losses, and a number to watch: the IoU of the last answers.
    """
    generator = torch.Generator().manual_seed(batch.seed)
    device, size = batch.images.device, batch.images.shape[-1]
    images, prompts = batch.masks.shape[:2]
    wanted = to_size(batch.masks.float(), model.mask_size) > 0.5
    features = model.encode(batch.images)

    clicks, box = batch.first[:, :, None], None
    labels = torch.ones(images, prompts, 1, dtype=torch.long, device=device)
    if torch.rand((), generator=generator) < 0.5:
        noise = torch.randn(images, prompts, 4, generator=generator).to(device)
        box = jitter_boxes(mask_boxes(batch.masks), noise, size)
        clicks, labels = clicks[:, :, :0], labels[:, :, :0]

    rounds = points + 3 if points else 1
    pauses = {int(torch.randint(1, points + 1, (), generator=generator)), rounds - 1} if points else set()
    answer: Tensor | None = None
    total = torch.zeros((), device=device)
    for number in range(rounds):
        if answer is not None and number not in pauses:
            shown = to_size(answer, size).flatten(0, 1) > 0
            drawn = torch.rand(images * prompts, generator=generator).to(device)
            more = sample_error_points(shown, batch.masks.flatten(0, 1), drawn)
            point, label = (x.unflatten(0, (images, prompts))[:, :, None] for x in more)
            clicks, labels = torch.cat([clicks, point], dim=2), torch.cat([labels, label], dim=2)
        several = multimask and number == 0 and box is None
        out = model.decode(features, clicks, labels, box, answer, multimask=several)
        mask_loss, iou_loss = best_of_masks_loss(*(x.flatten(0, 1) for x in (*out, wanted)))
        total = total + mask_loss + iou_loss
        answer = most_confident(out).detach()  # what the annotator sees
    assert answer is not None
    return total / rounds, {"iou": mask_iou(answer > 0, wanted).mean()}
