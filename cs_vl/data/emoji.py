"""Emoji: a real image-text data set.  Nine styles by independent artists, one list of names.

The same thing drawn by several hands is what lets us ask how far a model sees beyond the style that it
learned from: some styles are for training, others lie near them, far away, or are mere line drawings.
And some things (`held_out`) are never shown in training, in any style, though every word of their names is.

Licences and sources stand beside the files in `data/emoji`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs_vl.data.captions import a
from cs_vl.data.files import DamagedFile, data_file, read_json, read_picture
from cs_vl.data.sprites import Sprites
from cs_vl.data.tiles import SIDE, cut_tiles

TRAIN_STYLES = ("twemoji", "noto", "fluent")
NEAR_STYLES = ("fluent_3d", "noto_v1", "fxemoji")  # other renditions, with colours and areas
FAR_STYLES = ("openmoji",)  # thick outlines, its own palette
SKETCH_STYLES = ("openmoji_line", "fluent_contrast")  # black strokes and areas, without colour
STYLES = TRAIN_STYLES + NEAR_STYLES + FAR_STYLES + SKETCH_STYLES

STYLE_NAMES = {
    "twemoji": "Twemoji",
    "noto": "Noto",
    "fluent": "Fluent flat",
    "fluent_3d": "Fluent 3D",
    "noto_v1": "Noto v1",
    "fxemoji": "FxEmoji",
    "openmoji": "OpenMoji",
    "openmoji_line": "OpenMoji line",
    "fluent_contrast": "Fluent high contrast",
}

Split = Literal["train", "selection", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "selection", "held_out")

# By licence: each folder holds one, with its terms.
_FOLDERS = {
    "fluent_3d": "fluent",
    "fluent_contrast": "fluent",
    "noto_v1": "noto",
    "openmoji_line": "openmoji",
}


@dataclass(frozen=True)
class EmojiSet:
    """Pictures with what they show: n of them.

    Attributes:
        rgba: red, green, blue (not multiplied by alpha) and alpha, in [0, 1].
        concept: of each picture, an index into `Emoji.names`.
        style: of each picture, an index into `STYLES`.
    """

    rgba: Float[Tensor, "n 4 size size"]
    concept: Int[Tensor, " n"]
    style: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.rgba)

    def __getitem__(self, index: Int[Tensor, " m"] | Bool[Tensor, " n"] | slice) -> "EmojiSet":
        """Some of the pictures."""
        return EmojiSet(self.rgba[index], self.concept[index], self.style[index])

    def showing(self, concepts: Int[Tensor, " some"]) -> "EmojiSet":
        """The pictures of some concepts, indices into `Emoji.names`."""
        return self[torch.isin(self.concept, concepts)]

    def to(self, device: torch.device | str) -> "EmojiSet":
        return EmojiSet(self.rgba.to(device), self.concept.to(device), self.style.to(device))


@dataclass(frozen=True, repr=False)
class Emoji:
    """The concepts, in Unicode's order, and their pictures.

    Attributes:
        names: for instance "red apple"; no two are the same.
        phrases: the names with their article, where one belongs: "a red apple", "grapes".
        keywords: other words for each, for instance ("apple", "diet", "food", "fruit", ...).
        characters: the emoji themselves.
        group, subgroup: of each concept, an index into `group_names` (8), `subgroup_names` (94).
        colour_only: whether another concept's name differs by a colour word only ("red heart", "blue
            heart"): leave these out of scores on styles without colour.
        split: of each concept, an index into `SPLITS`.
        styles: of which pictures are at hand.
        size: of the pictures, in pixels.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    characters: tuple[str, ...]
    group: Int[Tensor, " concepts"]
    subgroup: Int[Tensor, " concepts"]
    group_names: tuple[str, ...]
    subgroup_names: tuple[str, ...]
    colour_only: Bool[Tensor, " concepts"]
    split: Int[Tensor, " concepts"]
    styles: tuple[str, ...]
    size: int
    _present: dict[str, Int[Tensor, " n"]] = field()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Emoji({len(self)} concepts, {len(self.styles)} styles, {self.size} x {self.size} pixels)"

    def concepts(
        self, style: str | Sequence[str] | None = None, split: Split | None = None
    ) -> Int[Tensor, " n"]:
        """Indices of concepts that have a picture in the style (in all of several), of one split or all."""
        wanted = torch.ones(len(self), dtype=torch.bool)
        for each in [style] if isinstance(style, str) else style or ():
            has = torch.zeros(len(self), dtype=torch.bool)
            has[self._present[self._known(each)]] = True
            wanted &= has
        if split is not None:
            if split not in SPLITS:
                raise ValueError(f"split should be one of {', '.join(SPLITS)}; got {split!r}")
            wanted &= self.split == SPLITS.index(split)
        return wanted.nonzero().squeeze(1)

    def rgba(self, style: str) -> Float[Tensor, "n 4 size size"]:
        """The pictures of one style, in [0, 1], in the order of `concepts(style)`.  Read once, then kept."""
        return _pictures(data_file(_atlas(self._known(style))), self.size, len(self._present[style]))

    def select(self, styles: str | Sequence[str], split: Split | None = None) -> EmojiSet:
        """All pictures in some styles of the concepts of one split, or of all: style by style."""
        styles = [styles] if isinstance(styles, str) else styles
        parts = []
        for style in styles:
            concept = self.concepts(style, split)
            rows = torch.searchsorted(self._present[style], concept)
            parts.append((self.rgba(style)[rows], concept, torch.full_like(concept, STYLES.index(style))))
        if not parts:
            raise ValueError(f"select needs one or more of the styles {', '.join(self.styles)}")
        return EmojiSet(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _known(self, style: str) -> str:
        if style not in self.styles:
            raise ValueError(f"style should be one of {', '.join(self.styles)}; got {style!r}")
        return style


def load_emoji(size: int = 32, styles: Sequence[str] = STYLES) -> Emoji:
    """Read the names now, and a style's pictures when they are first asked for.

    Args:
        size: side of the pictures in pixels: 64 as committed, or 32, 16, 8, by averaging.

    Raises:
        FileNotFoundError: a data file is missing.
        DamagedFile (a ValueError): a data file is not whole.
    """
    if size not in (64, 32, 16, 8):
        raise ValueError(f"size should be 64, 32, 16 or 8; got {size!r}")
    if isinstance(styles, str) or not set(styles) <= set(STYLES):
        raise ValueError(f"styles should be some of {', '.join(STYLES)}; got {styles!r}")
    path = data_file("emoji/names.json")
    stored, parts = read_json(path), read_json(data_file("emoji/splits.json"))
    try:
        concepts = stored["concepts"]
        names = tuple(concept["name"] for concept in concepts)
        set_apart = {name: SPLITS.index(split) for split in SPLITS[1:] for name in parts[split]}
        if not set_apart.keys() <= set(names):
            raise ValueError("splits.json sets concepts apart that names.json lacks")
        return Emoji(
            names=names,
            phrases=tuple(concept["phrase"] for concept in concepts),
            keywords=tuple(tuple(concept["keywords"]) for concept in concepts),
            characters=tuple(concept["emoji"] for concept in concepts),
            group=torch.tensor([concept["group"] for concept in concepts]),
            subgroup=torch.tensor([concept["subgroup"] for concept in concepts]),
            group_names=tuple(stored["groups"]),
            subgroup_names=tuple(stored["subgroups"]),
            colour_only=torch.tensor([concept["colour_only"] for concept in concepts]),
            split=torch.tensor([set_apart.get(name, 0) for name in names]),
            styles=tuple(styles),
            size=size,
            _present={style: torch.tensor(stored["styles"][style]) for style in styles},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"{type(error).__name__}: {error}") from error


def on_background(
    rgba: Float[Tensor, "*batch 4 height width"],
    colour: float | Sequence[float] | Float[Tensor, "*#batch 3"] = 1.0,
) -> Float[Tensor, "*batch 3 height width"]:
    """Put pictures on a plain ground: alpha * picture + (1 - alpha) * colour.

    Args:
        colour: in [0, 1]: one grey level, one colour, or a colour (..., 3) for each picture.
    """
    ground = torch.as_tensor(colour, dtype=rgba.dtype, device=rgba.device)
    ground = ground.expand(3) if ground.ndim == 0 else ground
    if ground.shape[-1] != 3:
        raise ValueError(f"a colour has red, green and blue; got shape {tuple(ground.shape)}")
    picture, alpha = rgba[..., :3, :, :], rgba[..., 3:, :, :]
    return torch.lerp(ground[..., None, None].expand_as(picture), picture, alpha.expand_as(picture))


def emoji_bank(emoji: Emoji, style: str, concepts: Int[Tensor, " n"] | None = None) -> Sprites:
    """Emoji for scenes: `make_scenes(n, seed=0, bank=emoji_bank(load_emoji(64), "noto"))`.

    Args:
        concepts: which to draw; those without a picture in the style are left out.  By default those that a
            caption can count, see `countable`.
    """
    present = emoji.concepts(style)
    wanted = countable(emoji) if concepts is None else concepts
    rows = torch.isin(present, wanted).nonzero().squeeze(1)
    if not len(rows):
        raise ValueError(f"none of these concepts has a picture in the style {style}")
    return Sprites(emoji.rgba(style)[rows], [emoji.names[i] for i in present[rows].tolist()])


def countable(emoji: Emoji) -> Int[Tensor, " n"]:
    """Concepts whose names a caption can count: one "red apple", two "red apples"."""
    nouns = [
        phrase == a(name) and not _NO_PLAIN_PLURAL.search(name)
        for name, phrase in zip(emoji.names, emoji.phrases, strict=True)
    ]
    return torch.tensor(nouns).nonzero().squeeze(1)


# What does not end in a noun that takes an s: "hand with fingers splayed", "person running", "wolf".
_NO_PLAIN_PLURAL = re.compile(
    r"\b(with|without|of|in|on|at|for|over|and|not|behind|tilted|showing|holding|pointing|pointed|wearing)\b"
    r"|^(face|person|people|man|woman|head|index|backhand|input|circled)\b.* |[A-Z]\w*$"
    r"|([^aeiou]y|f|fe|o|man|mouse|goose|ox|tooth|foot|fish|deer|sheep|moose|bison|squid|child|person)$"
    r"|(shrimp|bread|green|die|lis|increasing|decreasing|departure|arrival|up|down|off|done|volume|nose)$"
)


def _atlas(style: str) -> str:
    return f"emoji/{_FOLDERS.get(style, style)}/{style}.webp"


@cache
def _pictures(path: Path, size: int, count: int) -> Float[Tensor, "n 4 size size"]:
    rgba = cut_tiles(read_picture(path), count, path).float() / 255
    if size == SIDE:
        return rgba
    # Colours are averaged weighted by alpha: else what is hidden under transparency would bleed in.
    alpha = rgba[:, 3:]
    small = F.avg_pool2d(torch.cat([rgba[:, :3] * alpha, alpha], dim=1), SIDE // size)
    return torch.cat([small[:, :3] / small[:, 3:].clamp(min=1e-6), small[:, 3:]], dim=1).clamp_(0, 1)
