"""Make the emoji data set again: `python data/emoji/build.py SCRATCH` (see README.md here for what it needs).

It downloads the packages of `PACKAGES` into the folder SCRATCH (what is there already is used), chooses the
concepts, renders every picture at 64 x 64 pixels and writes an atlas for each style, the names and the split.
Nothing in it depends on chance but the split, which has a seed.
"""

import io
import json
import random
import re
import subprocess
import sys
import tarfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
SIZE = 64  # pixels
COLUMNS = 38  # pictures in a row of an atlas
SEED = 20250917  # of the split
HELD_OUT, SELECTION = 140, 100
TOTAL = {"held_out": HELD_OUT, "selection": SELECTION}
MOST = 48  # set apart in one of the eight groups

# npm's name and version, by a short name.
PACKAGES = {
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "noto": "@iconify-json/noto@1.2.9",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent_3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "noto_v1": "@iconify-json/noto-v1@1.2.5",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "openmoji": "openmoji@17.0.0",
    "fluent_contrast": "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "emojibase": "emojibase-data@17.0.0",
    "cldr": "cldr-annotations-full@48.2.0",
    "cldr_derived": "cldr-annotations-derived-full@48.2.0",
    "licences": "spdx-license-list@6.12.0",
}

# Where a style's atlas lies, with its licence beside it.
ATLASES = {
    "twemoji": "twemoji/twemoji.webp",
    "noto": "noto/noto.webp",
    "fluent": "fluent/fluent.webp",
    "fluent_3d": "fluent/fluent_3d.webp",
    "noto_v1": "noto/noto_v1.webp",
    "fxemoji": "fxemoji/fxemoji.webp",
    "openmoji": "openmoji/openmoji.webp",
    "openmoji_line": "openmoji/openmoji_line.webp",
    "fluent_contrast": "fluent/fluent_contrast.webp",
}
BIG = tuple(style for style in ATLASES if style not in ("noto_v1", "fxemoji"))


# ---- Packages ----


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


def read_json(path: Path):
    return json.loads(path.read_text("utf-8"))


# ---- Concepts ----


def is_base(entry: dict) -> bool:
    """Whether an entry of emojibase is a concept: no flag, gender or direction variant, clock or keycap.

    (Skin tones are nested below their entry and never come up.)
    """
    code, label = entry["hexcode"].split("-"), entry["label"]
    component_or_flag = entry.get("group") in (None, 2, 9)
    clock = "o’clock" in label or label.endswith("-thirty")
    keycap = label.startswith("keycap")
    gender = "200D" in code and (code[0] in ("1F468", "1F469") or "2640" in code or "2642" in code)
    gender = gender or label in ("women holding hands", "men holding hands")
    direction = label.endswith("facing right")
    family = "200D" in code and label.startswith("family")
    return not (component_or_flag or clock or keycap or gender or direction or family)


def readable(name: str) -> str:
    """A CLDR name as it stands in a caption: plain quotes, and words for the colon.

    >>> readable("person: red hair"), readable("A button (blood type)")
    ('person with red hair', 'A button')
    """
    name = name.replace("’", "'").replace("“", '"').replace("”", '"')
    name = re.sub(r" \(blood type\)$", "", name)
    name = re.sub(r"^person: bald$", "bald person", name)
    return name.replace(": ", " with ")


# Names that stand without an article: what one cannot count, proper names, what is no noun.
MASS = frozenset(
    """breast-feeding|horse racing|light rail|luggage|left luggage|high voltage|fog|fire|foggy|camping|cooking
    building construction|construction|wood|coral|garlic|broccoli|bread|bacon|falafel|fondue|popcorn|butter
    salt|canned food|cooked rice|curry rice|shaved ice|soft ice cream|ice cream|custard|candy|oden|sushi
    spaghetti|sake|pouring liquid|bubble tea|mate|ice|meat on bone|tennis|bowling|field hockey|ice hockey
    lacrosse|ping pong|badminton|thread|yarn|money with wings|soap|dna|potable water|passport control
    non-potable water|currency exchange|information|copyright|infinity|wireless|vibration mode|nail polish
    dizzy|dashing away|star-struck|rolling on the floor laughing|locked|unlocked|locked with pen|prohibited
    locked with key|radioactive|registered|multiply|plus|minus|divide|om|yin yang|ZZZ|hourglass done
    hourglass not done|palms up together|mount fuji|Santa Claus|Mrs. Claus|Mx Claus|input latin uppercase
    input latin lowercase|input latin letters|input numbers|input symbols|Aries|Taurus|Gemini|Cancer|Leo
    Virgo|Libra|Scorpio|Sagittarius|Capricorn|Aquarius|Pisces|Ophiuchus|mahjong red dragon|cricket game
    thumbs up|thumbs down|no entry|customs|flower playing cards""".replace("\n", "|")
    .replace("    ", "")
    .split("|")
)
THE = frozenset({"milky way", "Statue of Liberty", "Tokyo tower", "kaaba", "sign of the horns"})
COUNTED = re.compile(  # singular nouns that end in s
    "(glass|bus|compass|cactus|octopus|dress|cross|lotus|princess|rhinoceros|hippopotamus|hibiscus|abacus"
    "|trolleybus|minibus|hourglass|kiss|fleur-de-lis)$"
)
PREPOSITION = re.compile(
    r" (with|without|of|in|on|at|for|over|to|and|showing|pointing|fluttering|holding|playing|lifting) .*"
)
# Words that begin with the other kind of sound than their first letter says.
VOWEL_SOUND = re.compile(r"[aeio]|u(?!ni[^nm])|hourglass|x-ray|[AEFIO]\b|(AB|ATM|ID|NG|OK|ON|END|SOS|UP)\b")
CONSONANT_SOUND = re.compile(r"one|ewe|euro|unicorn")


def noun_phrase(name: str) -> str:
    """A name with its article, where one belongs: "an apple", "a bus", "grapes", "the sun".

    >>> [noun_phrase(name) for name in ("euro banknote", "hourglass", "gloves", "fork and knife", "sushi")]
    ['a euro banknote', 'an hourglass', 'gloves', 'a fork and knife', 'sushi']
    """
    head = PREPOSITION.sub("", name).split()[-1]
    plural = head.endswith("s") and not COUNTED.match(head) and not head.endswith("'s")
    if name in THE or re.match(r"sun\b", name):
        return f"the {name}"
    if name in MASS or plural or head == "people" or re.match(r"(no|people) ", name):
        return name
    an = VOWEL_SOUND.match(name) and not CONSONANT_SOUND.match(name)
    return f"{'an' if an else 'a'} {name}"


def bare(code: str) -> str:
    """A code point sequence without variation selectors, which packages write or leave out as they like."""
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def choose_concepts(folders: dict[str, Path]) -> list[dict]:
    """The concepts in Unicode's order: code, emoji, name, cldr (the name as CLDR writes it), keywords, ..."""
    annotations = read_json(folders["cldr"] / "annotations/en/annotations.json")["annotations"]["annotations"]
    derived = read_json(folders["cldr_derived"] / "annotationsDerived/en/annotations.json")
    annotations |= derived["annotationsDerived"]["annotations"]
    concepts = []
    for entry in sorted(read_json(folders["emojibase"] / "en/data.json"), key=lambda e: e.get("order", 0)):
        if not is_base(entry):
            continue
        cldr = annotations[entry["emoji"].replace("\ufe0f", "")]
        (cldr_name,) = cldr["tts"]
        name = readable(cldr_name)
        keywords = [readable(keyword) for keyword in cldr["default"]]
        concepts.append(
            {
                "code": bare(entry["hexcode"]),
                "emoji": entry["emoji"],
                "name": name,
                "phrase": noun_phrase(name),
                "cldr": cldr_name,
                "keywords": [keyword for keyword in keywords if keyword != name],
                "group": entry["group"],
                "subgroup": entry["subgroup"],
            }
        )
    return concepts


# ---- Pictures ----


def svg_of(package: dict, name: str) -> str | None:
    """An icon of iconify's `icons.json`, its aliases followed, as a square SVG; None where there is none."""
    flips, angle = [False, False], 0
    seen = []
    icon: dict = {"parent": name}
    while "parent" in icon:
        name = icon["parent"]
        seen.append(name)
        if name in package["icons"]:
            icon = package["icons"][name]
        elif name in package.get("aliases", {}):
            icon = package["aliases"][name]
        else:
            return None
        flips = [flips[0] ^ icon.get("hFlip", False), flips[1] ^ icon.get("vFlip", False)]
        angle += 90 * icon.get("rotate", 0)
    width = icon.get("width", package.get("width", 16))
    height = icon.get("height", package.get("height", 16))
    left, top = icon.get("left", 0), icon.get("top", 0)
    side = max(width, height)
    x, y = left - (side - width) / 2, top - (side - height) / 2  # centred
    cx, cy = x + side / 2, y + side / 2
    turn = f"translate({cx} {cy}) rotate({angle}) scale({-1 if flips[0] else 1} {-1 if flips[1] else 1})"
    body = f'<g transform="{turn} translate({-cx} {-cy})">{icon["body"]}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{x} {y} {side} {side}">{body}</svg>'
    )


def squeeze(name: str) -> str:
    """Letters and digits only, lower case: the way FxEmoji writes names."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def fxemoji_names(concepts: list[dict], folders: dict[str, Path]) -> dict[str, str]:
    """FxEmoji's own name for each concept that it has, by code.

    Most are spelt as CLDR or Unicode do; `fxemoji/names.json` has those that are not, or that mean something
    else there ("cat" is the cat's face), and "" for pictures to leave out.  It was made by looking.
    """
    icons = read_json(folders["fxemoji"] / "icons.json")["icons"]
    unicode_names = read_json(folders["emojibase"] / "meta/unicode-names.json")
    by_hand = read_json(HERE / "fxemoji/names.json")
    by_name = {concept["name"]: concept["code"] for concept in concepts}
    spellings = {squeeze(concept["cldr"]): concept["code"] for concept in concepts}
    for code in by_name.values():
        if "-" not in code:
            name = unicode_names.get(code) or unicodedata.name(chr(int(code, 16)), "")
            spellings.setdefault(squeeze(name), code)
            spellings.setdefault(squeeze(name.replace(" SIGN", "").replace(" SYMBOL", "")), code)
    found = {by_name[name]: icon for icon, name in by_hand.items() if name}
    for icon in icons:
        code = spellings.get(squeeze(icon))
        if code and icon not in by_hand:
            found.setdefault(code, icon)
    return found


def sources(style: str, concepts: list[dict], folders: dict[str, Path]) -> dict[int, str | Path]:
    """Where each concept's picture is: an SVG's text, or a file's path.  By the concept's index."""
    if style in ("openmoji", "openmoji_line"):
        folder = folders["openmoji"] / ("color" if style == "openmoji" else "black") / "svg"
        files = {bare(path.stem): path for path in folder.glob("*.svg")}
        return {
            i: files[concept["code"]].read_text("utf-8")
            for i, concept in enumerate(concepts)
            if concept["code"] in files
        }
    if style == "fluent_3d":
        files = {bare(path.stem): path for path in (folders[style] / "assets").glob("*.webp")}
        return {i: files[c["code"]] for i, c in enumerate(concepts) if c["code"] in files}

    package = read_json(folders[style] / "icons.json")
    if style == "fxemoji":
        names = fxemoji_names(concepts, folders)
    elif style == "noto_v1":  # it lists no code points: its names are those of Noto
        noto = read_json(folders["noto"] / "chars.json")
        names = {bare(code): name for code, name in noto.items()}
    else:
        names = {bare(code): name for code, name in read_json(folders[style] / "chars.json").items()}
    found = {i: svg_of(package, names[c["code"]]) for i, c in enumerate(concepts) if c["code"] in names}
    return {i: svg for i, svg in found.items() if svg is not None}


def scale_down(image: Image.Image) -> Image.Image:
    """A square of SIZE pixels with the picture in its middle."""
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    # Pillow weighs colours by alpha here: what is hidden under transparency does not bleed in.
    return square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def render(source: str | Path) -> np.ndarray:
    """One picture, (64, 64, 4) uint8: red, green, blue (not multiplied by alpha) and alpha."""
    if isinstance(source, Path):
        return np.asarray(scale_down(Image.open(source).convert("RGBA")))
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=source, width=SIZE, height=SIZE)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))


def write_atlas(path: Path, pictures: list[np.ndarray]) -> None:
    """Pictures row by row in one lossless WebP; what is fully transparent is black, to compress well."""
    rows = -(-len(pictures) // COLUMNS)
    side = pictures[0].shape[0]
    atlas = np.zeros((rows * side, COLUMNS * side, 4), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // COLUMNS * side, i % COLUMNS * side
        atlas[top : top + side, left : left + side] = picture
    atlas[atlas[..., 3] == 0] = 0
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(atlas).save(path, lossless=True, quality=100, method=6, exact=True)


# ---- The split ----

COLOURS = frozenset(
    (
        "red",
        "orange",
        "yellow",
        "green",
        "blue",
        "light-blue",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "grey",
    )
)
SMALL_WORDS = frozenset(
    ("a", "an", "and", "at", "for", "in", "of", "on", "or", "the", "to", "with", "without")
)
# Pictures without a look of their own: signs, letters and arrows are never held out.
NEVER_HELD_OUT = re.compile(
    "(arrow|geometric|alphanum|av-symbol|math|punctuation|currency|other-symbol|zodiac|religion|gender"
    "|transport-sign|warning|time)$"
)
# Nor are names whose words all occur elsewhere, but in another sense: nobody could know the picture by them.
# (Chosen by reading the list of candidates, before any training.)
IDIOMS = frozenset(
    {
        *("hot dog", "alien", "anger symbol", "sign of the horns", "lotus", "cricket", "factory", "fountain"),
        *("desert", "construction", "stop sign", "satellite", "balloon", "flag in hole", "diamond suit"),
        *("cricket game", "glasses", "hair pick", "ring", "radio", "red paper lantern", "mirror", "ice"),
        *("railway track", "OK hand", "hole", "kiss mark", "pick", "heart suit"),
    }
)
# Nor one of a pair that mirror each other, which a model trained with flips cannot tell apart.
MIRRORED = re.compile(r"\b(left|right|leftwards|rightwards|waxing|waning|first quarter|last quarter)\b")


def words(name: str) -> frozenset[str]:
    """The words of a name that carry meaning."""
    return frozenset(re.findall(r"[A-Za-zñ0-9]+(?:'s)?", name)) - SMALL_WORDS


def may_be_held_out(name: str, subgroup: str) -> bool:
    """Whether somebody who knows the words could know the picture."""
    return not NEVER_HELD_OUT.match(subgroup) and name not in IDIOMS and not MIRRORED.search(name)


def colour_only(names: list[str]) -> list[bool]:
    """Whether another name differs from this one only in a colour word ("red heart", "blue heart")."""
    split_names = [name.replace("light blue", "light-blue").split() for name in names]
    without = [" ".join(word for word in name if word not in COLOURS) for name in split_names]
    return [without.count(rest) > 1 for rest in without]


def split(concepts: list[dict], candidates: set[int], seed: int) -> list[str]:
    """ "train", "selection" or "held_out" for each concept.

    A concept can be set apart as long as each of its words stays in some training name.  Subgroups take
    turns, no group gives more than MOST, and both parts get their share of each group.
    """
    rng = random.Random(seed)
    parts = ["train"] * len(concepts)
    support = Counter(word for concept in concepts for word in words(concept["name"]))
    subgroups: dict[int, list[int]] = {}
    for i in sorted(candidates):
        subgroups.setdefault(concepts[i]["subgroup"], []).append(i)
    # The longer a subgroup, the more turns it has, spread evenly over the whole.
    turns = []
    for members in subgroups.values():
        rng.shuffle(members)
        turns += [((place + rng.random()) / len(members), i) for place, i in enumerate(members)]

    count: Counter[tuple[str, int]] = Counter()
    total: Counter[str] = Counter()
    for _, i in sorted(turns):
        own, group = words(concepts[i]["name"]), concepts[i]["group"]
        held_out, selection = count["held_out", group], count["selection", group]
        supported = own and all(support[word] >= 2 for word in own)
        if not supported or held_out + selection >= MOST:
            continue
        part = "held_out" if held_out * SELECTION <= selection * HELD_OUT else "selection"
        if total[part] >= TOTAL[part]:
            part = "selection" if part == "held_out" else "held_out"
        if total[part] >= TOTAL[part]:
            break
        parts[i] = part
        count[part, group] += 1
        total[part] += 1
        for word in own:
            support[word] -= 1
    return parts


# ---- Licences ----

# By folder: the art's terms (SPDX) and whose it is.
LICENCES = {
    "twemoji": ("CC-BY-4.0", "Twemoji: Copyright Twitter, Inc and other contributors, and jdecked"),
    "noto": ("Apache-2.0", "Noto Emoji and Noto Emoji v1: Copyright Google LLC"),
    "fluent": ("MIT", "Fluent Emoji (flat, 3D, high contrast): Copyright (c) Microsoft Corporation"),
    "fxemoji": ("Apache-2.0", "FxEmoji (Firefox OS Emoji): Copyright Mozilla Foundation"),
    "openmoji": ("CC-BY-SA-4.0", "All emojis designed by OpenMoji, the open-source emoji and icon project"),
}
CHANGES = (
    "Changed: rendered at 64 x 64 pixels and put side by side in one file.  Masks of parts, where there are "
    "any, were computed from the drawings."
)


def write_licences(folders: dict[str, Path]) -> None:
    """A LICENSE beside each atlas, and one for the names."""
    for folder, (spdx, owner) in LICENCES.items():
        text = read_json(folders["licences"] / f"licenses/{spdx}.json")["licenseText"]
        if spdx == "MIT":
            text = text.replace(
                "Copyright (c) <year> <copyright holders>", "Copyright (c) Microsoft Corporation"
            )
        (HERE / folder / "LICENSE").write_text(
            f"{owner}\nLicence: {spdx}.  {CHANGES}\n\n{text.strip()}\n", "utf-8"
        )
    cldr, emojibase = ((folders[name] / "LICENSE").read_text("utf-8") for name in ("cldr", "emojibase"))
    (HERE / "LICENSE").write_text(
        "names.json: names and keywords are Unicode CLDR's, groups and order emojibase's, under the licences"
        " below.\nAll other files of this folder itself: as the rest of the course (MIT).\nThe pictures in"
        f" the folders below have licences of their own.\n\n{cldr.strip()}\n\n----\n\n{emojibase.strip()}\n",
        "utf-8",
    )


# ---- All of it ----


def draw_style(style: str, concepts: list[dict], folders: dict[str, Path]) -> list[int]:
    """Write the atlas of one style; the indices of the concepts in it, in order."""
    pictures = {i: render(source) for i, source in sources(style, concepts, folders).items()}
    present = [i for i in sorted(pictures) if pictures[i][..., 3].max() > 0]
    write_atlas(HERE / ATLASES[style], [pictures[i] for i in present])
    print(
        f"{style}: {len(present)} pictures, {(HERE / ATLASES[style]).stat().st_size / 1e6:.2f} MB", flush=True
    )
    return present


def write_names(concepts: list[dict], present: dict[str, list[int]], folders: dict[str, Path]) -> None:
    """Write names.json and splits.json."""
    in_all = set(range(len(concepts))).intersection(*(present[style] for style in BIG))
    print(f"{len(concepts)} concepts, {len(in_all)} of them in all of {', '.join(BIG)}")
    meta = read_json(folders["emojibase"] / "meta/groups.json")
    candidates = {
        i
        for i in in_all
        if may_be_held_out(concepts[i]["name"], meta["subgroups"][str(concepts[i]["subgroup"])])
    }
    parts = split(concepts, candidates, SEED)
    named = {
        part: [concept["name"] for concept, each in zip(concepts, parts, strict=True) if each == part]
        for part in TOTAL
    }
    write_json(HERE / "splits.json", {"seed": SEED, **named})

    # Only groups that occur, numbered from 0.
    groups = sorted({concept["group"] for concept in concepts})
    subgroups = sorted({concept["subgroup"] for concept in concepts})
    flags = colour_only([concept["name"] for concept in concepts])
    rows = [
        {
            **concept,
            "group": groups.index(concept["group"]),
            "subgroup": subgroups.index(concept["subgroup"]),
            "colour_only": flag,
        }
        for concept, flag in zip(concepts, flags, strict=True)
    ]
    names = {
        "groups": [meta["groups"][str(i)] for i in groups],
        "subgroups": [meta["subgroups"][str(i)] for i in subgroups],
        "styles": present,
        "concepts": rows,
    }
    write_json(HERE / "names.json", names)


def main(scratch: Path) -> None:
    folders = download(scratch)
    concepts = choose_concepts(folders)
    write_names(concepts, {style: draw_style(style, concepts, folders) for style in ATLASES}, folders)
    write_licences(folders)


def write_json(path: Path, value: dict) -> None:
    """One line for each innermost list or concept: small, and readable in a diff."""
    lines = []
    for key, item in value.items():
        if isinstance(item, list) and item and isinstance(item[0], dict):
            rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in item)
            lines.append(f"{json.dumps(key)}: [\n{rows}\n]")
        elif isinstance(item, dict):
            rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in item.items())
            lines.append(f"{json.dumps(key)}: {{\n{rows}\n}}")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python data/emoji/build.py SCRATCH   (a folder for the packages)")
    main(Path(sys.argv[1]))
