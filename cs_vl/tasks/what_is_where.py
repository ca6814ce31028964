"""What is where: look at a board of 2 x 2 cells, and name what stands in each.

One vector an image has to tell it all, so the model must know what it sees *and* where: without positions a
transformer can only know what.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.data.scenes import Scenes, cell_targets, make_scenes
from cs_vl.nn.vit import ViT

GRID = 2
SIZE = 32  # pixels
ORDERS = ("right", "one shuffle for all", "a shuffle for each")
Batch = tuple[Tensor, Tensor]


class BoardReader(nn.Module):
    """A ViT with a linear head a cell.

    Args:
        vit: reads the images; its pooled vector goes to the heads.
        classes: number of answers a cell, "nothing" included.
        positions: False switches the position embedding off.
    """

    def __init__(self, vit: ViT, classes: int, *, cells: int = GRID * GRID, positions: bool = True):
        super().__init__()
        self.vit = vit
        self.classes = classes
        self.head = nn.Linear(vit.norm.normalized_shape[0], cells * classes)
        # Ten times ViT's own start: a short training has no time to let the positions grow.
        nn.init.normal_(vit.position_embed, std=0.2)
        if not positions:
            vit.position_embed.requires_grad_(False).zero_()

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch cells classes"]:
        """Logits of what stands in each cell, row by row; images in [0, 1]."""
        return self.head(self.vit(2 * images - 1).pooled).unflatten(1, (-1, self.classes))


def board_scenes(n: int, seed: int | torch.Generator, **options) -> Scenes:
    """Scenes of the task: at most one shape a cell, one to four in all."""
    return make_scenes(n, seed=seed, size=SIZE, layout="grid", grid=GRID, objects=(1, GRID * GRID), **options)


def board_classes(scenes: Scenes) -> int:
    """Number of answers a cell: nothing, or a shape in a colour."""
    return 1 + len(scenes.kind_names) * len(scenes.colour_names)


def shuffle_patches(
    images: Float[Tensor, "batch channels height width"], patch_size: int, order: Int[Tensor, "batch patches"]
) -> Float[Tensor, "batch channels height width"]:
    """The images with their patches laid out anew: place i holds patch order[:, i], counted row by row."""
    height, width = images.shape[-2:]
    p = patch_size
    patches = F.unfold(images, p, stride=p)  # (batch, channels * p * p, patches)
    shuffled = patches.gather(2, order[:, None].expand(-1, patches.shape[1], -1))
    return F.fold(shuffled, (height, width), p, stride=p)


def patch_orders(
    kind: str, n: int, patches: int, generator: torch.Generator | None = None
) -> Int[Tensor, "n patches"]:
    """Orders for `shuffle_patches`: a kind of `ORDERS`.

    "one shuffle for all" is the same for every image and every call; "a shuffle for each" is drawn anew.
    """
    if kind not in ORDERS:
        raise ValueError(f"kind must be one of {ORDERS}; got {kind!r}")
    if kind == "right":
        return torch.arange(patches).expand(n, -1)
    if kind == "one shuffle for all":
        return torch.randperm(patches, generator=torch.Generator().manual_seed(0)).expand(n, -1)
    return torch.rand(n, patches, generator=generator).argsort(dim=1)


def board_batches(
    scenes: Scenes, batch_size: int, patch_size: int, *, order: str = "right"
) -> Callable[[int, torch.Generator], Batch]:
    """Random batches of some scenes for `cs_vl.train.fit`: (images, targets)."""
    images, targets = scenes.images, cell_targets(scenes, GRID)
    patches = (scenes.size // patch_size) ** 2

    def batch(step: int, generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(images), (batch_size,), generator=generator)
        orders = patch_orders(order, batch_size, patches, generator)
        return shuffle_patches(images[chosen], patch_size, orders), targets[chosen]

    return batch


def board_data(
    scenes: Scenes, patch_size: int, order: str = "right", generator: torch.Generator | None = None
) -> Batch:
    """(images, targets) of all of some scenes, their patches in the order asked for."""
    patches = (scenes.size // patch_size) ** 2
    orders = patch_orders(order, len(scenes), patches, generator)
    return shuffle_patches(scenes.images, patch_size, orders), cell_targets(scenes, GRID)


def board_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy over the cells, and the share of cells named rightly."""
    images, targets = batch
    logits = model(images)
    accuracy = (logits.argmax(dim=-1) == targets).float().mean()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()), {"accuracy": accuracy}


@torch.no_grad()
def board_scores(model: nn.Module, batch: Batch, classes: int) -> dict[str, float]:
    """How well a model knows what is where, and what is there at all; all between 0 and 1.

    Returns:
        "where": the share of cells named rightly, object or nothing.
        "what": wherever they are: if k kinds of object are on a board, the share of them among the k that the
            model takes for likeliest (its probabilities summed over the cells).
        "where by chance", "what by chance": always the commonest answer for a cell, and k kinds at random.
    """
    images, targets = batch
    device = next(model.parameters()).device
    logits = model(images.to(device)).cpu()
    there = F.one_hot(targets, classes).amax(dim=1)[:, 1:].bool()  # (batch, kinds of object)
    k = there.sum(dim=1, keepdim=True)
    likelihood = logits.softmax(dim=-1).sum(dim=1)[:, 1:]
    rank = likelihood.argsort(dim=1, descending=True).argsort(dim=1)
    return {
        "where": (logits.argmax(dim=-1) == targets).float().mean().item(),
        "what": ((there & (rank < k)).sum(dim=1, keepdim=True) / k).mean().item(),
        "where by chance": (targets == targets.flatten().mode().values).float().mean().item(),
        "what by chance": (k / (classes - 1)).mean().item(),
    }


@torch.no_grad()
def board_readings(model: nn.Module, scenes: Scenes) -> tuple[list[str], list[bool]]:
    """What a model says of each scene ("red circle, -, -, blue square"), and whether all of it is right."""
    device = next(model.parameters()).device
    guesses = model(scenes.images.to(device)).argmax(dim=-1).cpu()
    colours = len(scenes.colour_names)

    def name(label: int) -> str:
        if label == 0:
            return "-"
        return f"{scenes.colour_names[(label - 1) % colours]} {scenes.kind_names[(label - 1) // colours]}"

    readings = [", ".join(map(name, cells)) for cells in guesses.tolist()]
    return readings, (guesses == cell_targets(scenes, GRID)).all(dim=1).tolist()
