"""Many small pictures in one file."""

from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from cs_vl.data.files import DamagedFile

SIDE = 64  # pixels


def cut_tiles(
    atlas: UInt8[Tensor, "height width channels"], count: int, path: Path
) -> UInt8[Tensor, "n channels 64 64"]:
    """The first `count` pictures of an atlas, which holds them row by row.

    Raises:
        DamagedFile: the last of them would not lie in the last row; `path` is the file to name.
    """
    rows, columns = atlas.shape[0] // SIDE, atlas.shape[1] // SIDE
    if not (rows - 1) * columns < count <= rows * columns:
        raise DamagedFile(path, f"it has room for {rows * columns} pictures; names.json lists {count}")
    tiles = (
        atlas[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, -1).permute(0, 2, 4, 1, 3)
    )
    return tiles.flatten(0, 1)[:count].contiguous()
