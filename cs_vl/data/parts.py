"""Parts of emoji: trees of masks, such as face > muzzle > nose, for two styles that are drawn from areas."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from cs_vl.data.emoji import load_emoji
from cs_vl.data.files import DamagedFile, data_file, read_json, read_picture
from cs_vl.data.tiles import cut_tiles

PART_STYLES = ("twemoji", "fluent")


@dataclass(frozen=True)
class Parts:
    """The parts of each picture of a style, in the order of `Emoji.concepts(style)`.

    Part 1 is the whole.  Parts have no names: a part is an area that the artist drew.

    Attributes:
        index: at each pixel the innermost part to be seen there, 0 for the background.
        parents: of each picture, the part around part 1, part 2, ...: a lower number; 0 for the whole.
    """

    index: UInt8[Tensor, "n 64 64"]
    parents: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.index)

    def masks(self, picture: int) -> Bool[Tensor, "parts 64 64"]:
        """Where each part of a picture is, with the parts inside it; the whole first.

        So a part's mask lies within its parent's, and those of two parts side by side are apart.
        """
        parents = self.parents[picture]
        masks = self.index[picture] == torch.arange(1, len(parents) + 1)[:, None, None]
        for part in reversed(range(1, len(parents))):  # inner parts have higher numbers than those around
            masks[parents[part] - 1] |= masks[part]
        return masks

    def depth(self, picture: int) -> tuple[int, ...]:
        """How deep each part lies: 0 for the whole, 1 for its parts, 2 for theirs, ..."""
        depths: list[int] = []
        for parent in self.parents[picture]:
            depths.append(depths[parent - 1] + 1 if parent else 0)
        return tuple(depths)


def load_parts(style: str) -> Parts:
    """Read the parts of one of `PART_STYLES`.

    Raises:
        FileNotFoundError: a file is missing.
        DamagedFile (a ValueError): a file is not whole.
    """
    if style not in PART_STYLES:
        raise ValueError(f"style should be one of {', '.join(PART_STYLES)}; got {style!r}")
    count = len(load_emoji(styles=(style,)).concepts(style))
    trees_file = data_file(f"emoji/{style}/{style}_parts.json")
    index_file = data_file(f"emoji/{style}/{style}_parts.png")
    trees, index = read_json(trees_file), cut_tiles(read_picture(index_file), count, index_file)[:, 0]
    most = index.flatten(1).amax(dim=1).tolist()
    if len(trees) != count or not all(map(_is_tree, trees, most)):
        raise DamagedFile(trees_file, f"it should hold a tree for each of {count} pictures")
    return Parts(index, tuple(tuple(tree) for tree in trees))


def _is_tree(parents: Sequence[int], most: int) -> bool:
    """Whether every part lies in one with a lower number, and those to be seen (up to `most`) are there."""
    return (
        len(parents) >= most and parents[:1] == [0] and all(0 < p <= i for i, p in enumerate(parents[1:], 1))
    )
