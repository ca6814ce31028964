"""Find the parts of emoji again: `python data/emoji/build_parts.py SCRATCH` (after build.py, same folder).

Twemoji and Fluent flat are drawn from plain areas, one over the other.  An area inside another is its part:
that gives trees, such as head > muzzle > nose, without anybody's labels.
"""

import json
import sys
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path

import build
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
STYLES = ("twemoji", "fluent")
SMALLEST = 16  # pixels of 64 x 64, 0.4 %: less is a sliver
INSIDE = 0.9  # the share of an area that lies within another, whose part it then is
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {SVG + tag for tag in ("path", "circle", "ellipse", "rect", "polygon", "polyline", "line", "use")}
HIDDEN = {SVG + tag for tag in ("defs", "clipPath", "mask", "filter", "linearGradient", "radialGradient")}


def areas(svg: str) -> list[str]:
    """For each thing that is drawn, from back to front, an SVG of it alone."""
    root = ET.fromstring(svg)

    def drawn(element: ET.Element) -> list[ET.Element]:
        if element.tag in HIDDEN:
            return []
        return [element] if element.tag in DRAWN else [each for child in element for each in drawn(child)]

    alone = []
    for keep in range(len(drawn(root))):
        copy = deepcopy(root)
        others = [each for i, each in enumerate(drawn(copy)) if i != keep]
        for parent in list(copy.iter()):
            for child in list(parent):
                if any(child is other for other in others):
                    parent.remove(child)
        alone.append(ET.tostring(copy, encoding="unicode"))
    return alone


def connected(mask: np.ndarray) -> list[np.ndarray]:
    """The connected pieces of a mask (neighbours share a side or a corner)."""
    pieces = []
    left = mask.copy()
    while left.any():
        piece = np.zeros_like(mask)
        piece[np.unravel_index(left.argmax(), mask.shape)] = True
        size = 0
        while piece.sum() > size:
            size = piece.sum()
            padded = np.pad(piece, 1)
            height, width = mask.shape
            for dy in range(3):
                for dx in range(3):
                    piece = piece | (padded[dy : dy + height, dx : dx + width] & left)
        pieces.append(piece)
        left &= ~piece
    return pieces


def part_tree(silhouette: np.ndarray, layers: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Parts from the areas that a picture consists of.

    Args:
        silhouette: (size, size) bool, where anything is drawn.
        layers: the same of each area, the parts of it that are covered too, from back to front.

    Returns:
        index: (size, size) uint8, 0 for the background, else the innermost part to be seen there; 1 is the
            whole.
        parents: of part i + 1, the part around it: parents[0] is 0, of the whole.
    """
    pieces = [piece for layer in layers for piece in connected(layer & silhouette) if piece.sum() >= SMALLEST]
    # What fills the whole silhouette is the whole, not a part.
    pieces = [piece for piece in pieces if piece.sum() < INSIDE * silhouette.sum()]
    around = []  # the smallest earlier piece that holds this one, else the whole (-1)
    for i, piece in enumerate(pieces):
        holders = [
            j
            for j in range(i)
            if (piece & pieces[j]).sum() >= INSIDE * piece.sum() and piece.sum() < INSIDE * pieces[j].sum()
        ]
        around.append(min(holders, key=lambda j: pieces[j].sum(), default=-1))

    top = np.full(silhouette.shape, -1)
    for i, piece in enumerate(pieces):
        top[piece] = i
    # Leave out what is hardly to be seen, with all that is inside it: its pixels go to what is around.
    kept: list[int] = []
    for i in reversed(range(len(pieces))):
        inside = {i, *(j for j in kept if _is_inside(j, i, around))}
        if np.isin(top, list(inside)).sum() >= SMALLEST:
            kept.append(i)
        else:
            top[top == i] = around[i]
            around = [around[i] if parent == i else parent for parent in around]
    kept.sort()
    number = {-1: 1, **{i: n for n, i in enumerate(kept, start=2)}}
    index = np.zeros(silhouette.shape, dtype=np.uint8)
    for i in (-1, *kept):
        index[(top == i) & silhouette] = number[i]
    return index, [0, *(number[around[i]] for i in kept)]


def _is_inside(part: int, other: int, around: list[int]) -> bool:
    while part >= 0:
        part = around[part]
        if part == other:
            return True
    return False


def main(scratch: Path) -> None:
    folders = build.download(scratch)
    concepts = build.choose_concepts(folders)
    present = build.read_json(HERE / "names.json")["styles"]
    for style in STYLES:
        drawings = build.sources(style, concepts, folders)
        trees, tiles = [], []
        for i in present[style]:
            whole = build.render(drawings[i])[..., 3] >= 128
            layers = [build.render(alone)[..., 3] >= 128 for alone in areas(str(drawings[i]))]
            index, parents = part_tree(whole, layers)
            tiles.append(index)
            trees.append(parents)
        folder = HERE / style
        rows = -(-len(tiles) // build.COLUMNS)
        tiles += [np.zeros_like(tiles[0])] * (rows * build.COLUMNS - len(tiles))
        atlas = np.stack(tiles).reshape(rows, build.COLUMNS, build.SIZE, build.SIZE)
        atlas = atlas.transpose(0, 2, 1, 3).reshape(rows * build.SIZE, -1)
        Image.fromarray(atlas).save(folder / f"{style}_parts.png", optimize=True)
        lines = ",\n".join(json.dumps(parents) for parents in trees)
        (folder / f"{style}_parts.json").write_text(f"[\n{lines}\n]\n", "utf-8")
        parts = sum(len(tree) > 1 for tree in trees) / len(trees)
        subparts = sum(any(parent > 1 for parent in tree) for tree in trees) / len(trees)
        print(
            f"{style}: {parts:.0%} have parts, {subparts:.0%} parts of parts, at most {max(map(len, trees))}"
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python data/emoji/build_parts.py SCRATCH   (build.py's folder)")
    main(Path(sys.argv[1]))
