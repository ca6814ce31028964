"""Scenes whose things have parts: for each scene every mask that a click could mean.

A pixel of a cheese on a pizza lies in three masks at once: the topping's, the cheese's and the pizza's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from cs_vl.data.emoji import Split, emoji_bank, load_emoji
from cs_vl.data.parts import PART_STYLES, load_parts
from cs_vl.data.scenes import make_scenes

LEVELS = ("whole", "part", "subpart")
MIN_AREA = 16  # pixels, 0.4 % of the picture; what is smaller is no part, but belongs to what is around it
MAX_SHARE = 0.9  # a part that fills more than this of what is around it is that thing itself


@dataclass(frozen=True)
class PartScenes:
    """n scenes, and the masks in each.

    Attributes:
        images: in [0, 1].
        masks: of each scene, what is to be seen of its things and of their parts: a whole, then its parts
            and their subparts, thing by thing.  A part lies within what is around it.
        level: of each mask, an index into `LEVELS`.
        thing: of each mask, which of the scene's things it belongs to, from 0 on.
        names: of each scene, the names of its things.
    """

    images: Float[Tensor, "n 3 height width"]
    masks: tuple[Bool[Tensor, "masks height width"], ...]
    level: tuple[Int[Tensor, " masks"], ...]
    thing: tuple[Int[Tensor, " masks"], ...]
    names: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "PartScenes":
        """Pictures and masks on another device."""
        masks = tuple(mask.to(device) for mask in self.masks)
        return PartScenes(self.images.to(device), masks, self.level, self.thing, self.names)

    def __repr__(self) -> str:
        return f"PartScenes({len(self)} scenes, {sum(map(len, self.masks))} masks)"


def make_part_scenes(
    n: int,
    *,
    seed: int,
    style: str = "twemoji",
    split: Split | None = "train",
    objects: tuple[int, int] = (1, 4),
    size: int = 64,
) -> PartScenes:
    """Draw n random scenes of emoji, with the masks of their parts.

    Args:
        seed: an int; the same arguments give the same scenes.
        style: one of `PART_STYLES`.
        split: of which concepts; None for all.
        objects: fewest and most things in a scene, 1 to 6, each number equally often.  The fewer, the larger
            they are.
        size: height and width in pixels.

    Raises:
        ValueError: a style without parts, or what `make_scenes` can't draw.
    """
    if style not in PART_STYLES:
        raise ValueError(f"style should be one of {', '.join(PART_STYLES)}; got {style!r}")
    fewest, most = objects
    if not 1 <= fewest <= most:
        raise ValueError(f"objects should be (fewest, most), at least one; got {objects}")
    emoji, parts = load_emoji(64, (style,)), load_parts(style)
    concepts = emoji.concepts(style, split)
    rows = torch.isin(emoji.concepts(style), concepts).nonzero().squeeze(1)
    bank = emoji_bank(emoji, style, concepts)
    numbers = _PartNumbers(parts.index[rows], bank.kind_names)

    images, found = [], []
    generator = torch.Generator().manual_seed(seed)
    for count in range(fewest, most + 1):
        here = len(range(count - fewest, n, most - fewest + 1))
        chance = int(torch.randint(2**31, (), generator=generator))
        draw = partial(make_scenes, here, seed=chance, objects=(count, count), size=size)
        scenes = draw(bank=bank)
        # The same chance lays the same things out; this time each paints the numbers of its parts.
        index = (draw(bank=numbers).images[:, 0] * 255).round()
        images.append(scenes.images)
        for i in range(here):
            pictures = rows[scenes.kind[i]].tolist()
            of_things = [
                _masks_of_parts(index[i], whole, parts.parents[picture])
                for whole, picture in zip(scenes.masks[i], pictures, strict=True)
            ]
            names = tuple(bank.kind_names[kind] for kind in scenes.kind[i].tolist())
            found.append((of_things, names))

    order = torch.randperm(n, generator=generator)
    found = [found[i] for i in order.tolist()]
    return PartScenes(
        images=torch.cat(images)[order],
        masks=tuple(torch.stack([mask for thing in things for mask, _ in thing]) for things, _ in found),
        level=tuple(torch.tensor([level for thing in things for _, level in thing]) for things, _ in found),
        thing=tuple(
            torch.tensor([i for i, thing in enumerate(things) for _ in thing]) for things, _ in found
        ),
        names=tuple(names for _, names in found),
    )


def _masks_of_parts(
    index: Float[Tensor, "height width"], whole: Bool[Tensor, "height width"], parents: Sequence[int]
) -> list[tuple[Bool[Tensor, "height width"], int]]:
    """(mask, level) of a thing and of those of its parts that are large enough to be seen."""
    number = torch.arange(2, len(parents) + 1)[:, None, None]
    masks = torch.cat([whole[None], (index == number) & whole])
    for part in reversed(range(1, len(parents))):  # inner parts have higher numbers than those around
        masks[parents[part] - 1] |= masks[part]
    area = masks.sum(dim=(1, 2)).tolist()
    level = {0: 0}  # of each part that is kept
    around = {0: 0}  # of every part: the kept one that it is, or lies in
    for part in range(1, len(parents)):
        outer = around[parents[part] - 1]
        deeper = level[outer] + 1
        kept = MIN_AREA <= area[part] <= MAX_SHARE * area[outer] and deeper < len(LEVELS)
        around[part] = part if kept else outer
        if kept:
            level[part] = deeper
    return [(masks[part], depth) for part, depth in level.items()]


class _PartNumbers:
    """A bank for `make_scenes`: it paints the number of the part at each pixel, in 255ths of white."""

    def __init__(self, index: UInt8[Tensor, "kinds side side"], names: tuple[str, ...]):
        self.index = index
        self.kind_names = names
        self.colour_names = ("",)

    def draw(self, kind: Tensor, colour: Tensor, x: Tensor, y: Tensor, pixel: Tensor) -> Tensor:
        side = self.index.shape[-1]
        column, row = (((c + 1) / 2 * side).floor().long() for c in (x, y))  # (n, 1, width), (n, height, 1)
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        number = self.index[kind[:, None, None], row.clamp(0, side - 1), column.clamp(0, side - 1)]
        number = number.masked_fill(~inside, 0)
        alpha = (number > 0).float()
        return torch.stack([number / 255] * 3 + [alpha], dim=1)
