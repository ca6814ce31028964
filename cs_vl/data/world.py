"""A small world: 127 things, pictures of them, and facts about them that no picture shows.

The things are emoji of the training split.  What WordNet and CLDR say of them (kind, gloss, keywords, first
letter) is what a language model reads about this world before it ever sees it.  Half of them are `taught`:
their facts may be said together with pictures.  The facts of the others stand in the language model's text
only, so who answers a question about *their* pictures must recognise the thing and remember what was read.

Every one of the 40 kinds has concepts of both halves.  Sources and licences: `data/world/README.md`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import regex
import torch

from cs_vl.data.bpe import WORDS, Tokenizer
from cs_vl.data.emoji import TRAIN_STYLES, emoji_bank, load_emoji
from cs_vl.data.files import DamagedFile, data_file, read_json
from cs_vl.data.scenes import Scenes, make_scenes
from cs_vl.data.sprites import Sprites

TOGETHER = 8  # scenes of the same two things


@dataclass(frozen=True, repr=False)
class World:
    """The things of the world, in Unicode's order; each field holds one entry a thing.

    Attributes:
        names: for instance "fox"; a caption can count them: "two foxes".
        concepts: indices into `Emoji.names`.
        kinds: what it is a kind of, "canine".
        glosses: what a dictionary says: "nocturnal bird of prey with hawk-like beak and claws ...".
        keywords: up to 4 words that go with it, the most particular first; none for a few things.
        letters: the first letter of its name.
        taught: whether its facts may be said together with pictures.
    """

    names: tuple[str, ...]
    concepts: tuple[int, ...]
    kinds: tuple[str, ...]
    glosses: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    letters: tuple[str, ...]
    taught: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"World({len(self)} things of {len(set(self.kinds))} kinds, {sum(self.taught)} taught)"

    def index(self, name: str) -> int:
        """Which thing has this name.

        Raises:
            ValueError: none has.
        """
        if name not in self.names:
            raise ValueError(f"there is no {name!r} in this world; its things are {', '.join(self.names)}")
        return self.names.index(name)


@cache
def load_world() -> World:
    """Read the things and their facts.

    Raises:
        FileNotFoundError: a data file is missing.
        DamagedFile (a ValueError): it is not whole.
    """
    path = data_file("world/facts.json")
    stored, emoji = read_json(path), load_emoji(styles=())
    try:
        rows = stored["concepts"]
        return World(
            names=tuple(row["name"] for row in rows),
            concepts=tuple(emoji.names.index(row["name"]) for row in rows),
            kinds=tuple(row["kind"] for row in rows),
            glosses=tuple(row["gloss"] for row in rows),
            keywords=tuple(tuple(row["keywords"]) for row in rows),
            letters=tuple(row["letter"] for row in rows),
            taught=tuple(bool(row["taught"]) for row in rows),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"{type(error).__name__}: {error}") from error


def world_banks(size: int = 64, styles: Sequence[str] = TRAIN_STYLES) -> list[Sprites]:
    """For each style the pictures of the world's things, kinds in the order of `World.names`.

    Args:
        size: side of the pictures in pixels: 64, 32, 16 or 8.

    Raises:
        ValueError: a style lacks a picture (the styles of `TRAIN_STYLES` have them all).
    """
    world, emoji = load_world(), load_emoji(size, styles)
    banks = [emoji_bank(emoji, style, torch.tensor(world.concepts)) for style in styles]
    for style, bank in zip(styles, banks, strict=True):
        if bank.kind_names != world.names:
            missing = set(world.names) - set(bank.kind_names)
            raise ValueError(f"the style {style} has no picture of {', '.join(sorted(missing))}")
    return banks


def make_world_scenes(
    n: int,
    *,
    seed: int,
    styles: Sequence[str] = TRAIN_STYLES,
    objects: tuple[int, int] = (1, 4),
    size: int = 64,
    repeats: float = 0.4,
) -> Scenes:
    """n random scenes of the world's things, each in one style; styles and numbers of things equally often.

    The same arguments give the same scenes; `Scenes.kind` is an index into `World.names`.

    Args:
        objects: fewest and most things in a scene, between 1 and 6.  The fewer, the larger they are.
        size: height and width in pixels.
        repeats: the share of scenes that know two things only, so that several of a kind are to be seen.  (Of
            127 things two are hardly ever the same by chance.)
    """
    fewest, most = objects
    if not styles or isinstance(styles, str):
        raise ValueError(f"styles should be a sequence of one style or more; got {styles!r}")
    if not 1 <= fewest <= most:
        raise ValueError(f"objects should be (fewest, most), at least one; got {objects}")
    generator = torch.Generator().manual_seed(seed)
    emoji, concepts = load_emoji(64, styles), torch.tensor(load_world().concepts)

    parts = []
    cells = [(style, count) for style in styles for count in range(fewest, most + 1)]
    for i, (style, count) in enumerate(cells):
        share = len(range(i, n, len(cells)))
        few = round(repeats * share) if count > 1 else 0
        drawn = [(share - few, torch.arange(len(concepts)))]
        for start in range(0, few, TOGETHER):
            pair = torch.randperm(len(concepts), generator=generator)[:2].sort().values
            drawn.append((min(TOGETHER, few - start), pair))
        for m, things in drawn:
            bank = emoji_bank(emoji, style, concepts[things])
            scenes = make_scenes(m, seed=generator, size=size, objects=(count, count), bank=bank)
            parts.append((scenes, things[scenes.kind]))

    def join(name: str, empty: float) -> torch.Tensor:
        """One tensor of all parts, with room for `most` things in each."""
        values = [getattr(scenes, name) for scenes, _ in parts] if name != "kind" else [k for _, k in parts]
        return torch.cat([_room(value, most, empty) for value in values])[order]

    order = torch.randperm(n, generator=generator)
    return Scenes(
        images=torch.cat([scenes.images for scenes, _ in parts])[order],
        masks=join("masks", False),
        full_masks=join("full_masks", False),
        boxes=join("boxes", 0),
        kind=join("kind", -1),
        colour=join("colour", -1),
        kind_names=load_world().names,
        colour_names=("",),
    )


def _room(value: torch.Tensor, most: int, empty: float) -> torch.Tensor:
    """(n, objects, ...) with `most` objects, the absent ones filled with `empty`."""
    absent = value.new_full((len(value), most - value.shape[1], *value.shape[2:]), empty)
    return torch.cat([value, absent], dim=1)


@cache
def load_world_tokenizer() -> Tokenizer:
    """The vocabulary of the language models that see: BPE, trained on the text about the world.

    Its special tokens: `<|endoftext|>`, `<pad>`, and those of `cs_vl.data.chat`.

    Raises:
        FileNotFoundError, ValueError: the file is missing, or damaged.
    """
    return Tokenizer.load(data_file("world/tokenizer.json"))


class WordCache:
    """A tokenizer that encodes each word once: the same ids as `tokenizer.encode`, many times faster.

    No merge crosses a word, so a text's ids are those of its words.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.known = {special: [i] for special, i in tokenizer.specials.items()}
        longest_first = sorted(map(regex.escape, tokenizer.specials), key=len, reverse=True)
        self.specials = regex.compile("(" + "|".join(longest_first) + ")") if longest_first else None

    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""
        ids: list[int] = []
        for piece in self.specials.split(text) if self.specials else [text]:
            for word in [piece] if piece in self.tokenizer.specials else WORDS.findall(piece):
                if word not in self.known:
                    self.known[word] = self.tokenizer.encode(word)
                ids += self.known[word]
        return ids


def encode_all(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """The ids of many texts, each word encoded once."""
    return list(map(WordCache(tokenizer).encode, texts))
