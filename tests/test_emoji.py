"""The emoji data set: what is in it, that its splits keep their promises, and what damaged files say."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from cs_vl.data.captions import make_captions
from cs_vl.data.emoji import (
    FAR_STYLES,
    NEAR_STYLES,
    SKETCH_STYLES,
    SPLITS,
    STYLES,
    TRAIN_STYLES,
    Emoji,
    countable,
    emoji_bank,
    load_emoji,
    on_background,
)
from cs_vl.data.emoji_captions import (
    CONTEXT_LENGTH,
    FORMS,
    STYLE_TEMPLATES,
    TEMPLATES,
    CaptionTable,
    caption_variants,
    draw_variants,
    load_tokenizer,
    make_emoji_captions,
)
from cs_vl.data.features import load_features
from cs_vl.data.files import data_file
from cs_vl.data.parts import PART_STYLES, load_parts
from cs_vl.data.scenes import make_scenes

DATA = Path(__file__).parents[1] / "data"
BIG = tuple(style for style in STYLES if style not in ("noto_v1", "fxemoji"))


@pytest.fixture(scope="module")
def emoji() -> Emoji:
    return load_emoji(32)


@pytest.fixture(scope="module")
def table(emoji) -> CaptionTable:
    return CaptionTable(emoji, load_tokenizer())


# ---- Contents ----


def test_contents(emoji):
    assert len(emoji) == 1402 == len(set(emoji.names))
    assert len(emoji.group_names) == 8 and len(emoji.subgroup_names) == 94
    assert emoji.group.unique().tolist() == list(range(8))
    assert emoji.subgroup.unique().tolist() == list(range(94))
    assert {len(row) for row in (emoji.keywords, emoji.phrases, emoji.characters, emoji.split)} == {1402}
    assert len(emoji.concepts(BIG)) == 1374
    assert TRAIN_STYLES + NEAR_STYLES + FAR_STYLES + SKETCH_STYLES == STYLES and len(STYLES) == 9
    counts = [len(emoji.concepts(style)) for style in STYLES]
    assert counts == [1402, 1402, 1381, 1381, 1043, 834, 1402, 1401, 1381]
    assert "1402 concepts" in repr(emoji)


def test_no_variants_are_concepts(emoji):
    for name, character in zip(emoji.names, emoji.characters, strict=True):
        assert not any(0x1F3FB <= ord(c) <= 0x1F3FF for c in character), f"{name}: a skin tone"
        assert not any(0x1F1E6 <= ord(c) <= 0x1F1FF for c in character), f"{name}: a flag"
        assert not re.search(r"facing right|o'clock|-thirty|keycap|“|”|’|:", name), name


@pytest.mark.parametrize("style", STYLES)
def test_pictures_are_whole(emoji, style):
    rgba = emoji.rgba(style)
    assert rgba.shape == (len(emoji.concepts(style)), 4, 32, 32) and rgba.dtype == torch.float32
    assert rgba.min() >= 0 and rgba.max() <= 1
    drawn = rgba[:, 3].flatten(1)
    assert (drawn.max(dim=1).values > 0.4).all(), "nothing is empty"  # fog is thin
    # A level of coverage below which a picture would be a speck; squares in squares are the fullest.
    assert (drawn.mean(dim=1) > 0.01).all()
    assert emoji.rgba(style) is rgba, "read once"


def test_pictures_differ(emoji):
    # The same picture under two names would be a mistake of the build (alike is another matter).
    for style in ("twemoji", "noto", "fluent"):
        flat = emoji.rgba(style).flatten(1)
        assert len(flat.unique(dim=0)) >= len(flat) - 6, style


def test_known_pictures_look_as_they_should(emoji):
    """Colours and shapes that everybody knows, in every style that has colour: no mix-up of rows."""
    main_colour = {
        "red heart": 0,
        "green book": 1,
        "blue circle": 2,
        "red apple": 0,
        "broccoli": 1,
        "water wave": 2,
    }
    for style in TRAIN_STYLES + NEAR_STYLES + FAR_STYLES:
        present = emoji.concepts(style).tolist()
        for name, channel in main_colour.items():
            if emoji.names.index(name) in present:
                rgba = emoji.rgba(style)[present.index(emoji.names.index(name))]
                colour = (rgba[:3] * rgba[3]).sum(dim=(1, 2))
                assert colour.argmax() == channel, (style, name)
    for style in STYLES:  # an arrow up is wide at the top, one down at the bottom: nothing is upside down
        present = emoji.concepts(style).tolist()
        for name, wider in (("red triangle pointed up", 1), ("red triangle pointed down", 0)):
            if emoji.names.index(name) in present:
                top, bottom = emoji.rgba(style)[present.index(emoji.names.index(name)), 3].split(16)
                assert (bottom.sum() > top.sum()) == wider, (style, name)


def test_sizes_and_alpha():
    whole, half = load_emoji(64).rgba("noto")[::9], load_emoji(32).rgba("noto")[::9]
    blocks = whole.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)  # (n, 4, 32, 32, 4)
    alpha = blocks[:, 3]
    torch.testing.assert_close(half[:, 3], alpha.mean(-1))
    # Where there is something to be seen, colours are means weighted by alpha.
    colour = (blocks[:, :3] * alpha[:, None]).sum(-1) / alpha.sum(-1)[:, None].clamp(min=1e-6)
    seen = (half[:, 3:] > 0.02).expand_as(colour)
    torch.testing.assert_close(half[:, :3][seen], colour[seen], atol=1e-4, rtol=1e-4)
    assert load_emoji(16).rgba("noto").shape[-1] == 16


def test_select(emoji):
    pictures = emoji.select(("noto", "fxemoji"), "held_out")
    expected = torch.cat([emoji.concepts(style, "held_out") for style in ("noto", "fxemoji")])
    assert (pictures.concept == expected).all() and len(pictures) == len(expected)
    assert pictures.style.unique().tolist() == [STYLES.index("noto"), STYLES.index("fxemoji")]
    row = int((pictures.style == STYLES.index("fxemoji")).nonzero()[5])
    place = (emoji.concepts("fxemoji") == pictures.concept[row]).nonzero().item()
    assert (pictures.rgba[row] == emoji.rgba("fxemoji")[place]).all()
    some = pictures[torch.tensor([3, 1])]
    assert len(some) == 2 and some.concept.tolist() == [pictures.concept[3], pictures.concept[1]]
    assert len(pictures[pictures.style == 5].to("cpu")) == len(emoji.concepts("fxemoji", "held_out"))
    assert len(emoji.select("noto")) == 1402


def test_on_background(emoji):
    rgba = emoji.rgba("twemoji")[:3]
    for colour in (0.25, (0.1, 0.5, 0.9), torch.rand(3, 3)):
        images = on_background(rgba, colour)
        ground = torch.as_tensor(colour).expand(3) if isinstance(colour, float) else torch.as_tensor(colour)
        expected = rgba[:, :3] * rgba[:, 3:] + (1 - rgba[:, 3:]) * ground.reshape(-1, 3, 1, 1)
        torch.testing.assert_close(images, expected)
    assert on_background(rgba[0]).shape == (3, 32, 32)
    assert (on_background(torch.zeros(4, 8, 8)) == 1).all(), "white by default"
    with pytest.raises(ValueError, match="red, green and blue"):
        on_background(rgba, (0.1, 0.2))


def test_wrong_arguments(emoji):
    with pytest.raises(ValueError, match=r"size should be 64, 32, 16 or 8; got 48"):
        load_emoji(48)
    with pytest.raises(ValueError, match="styles should be some of"):
        load_emoji(styles="noto")
    with pytest.raises(ValueError, match=r"style should be one of twemoji, .*; got 'apple'"):
        emoji.rgba("apple")
    with pytest.raises(ValueError, match="split should be one of"):
        emoji.concepts(split="test")
    with pytest.raises(ValueError, match="one or more"):
        emoji.select(())


# ---- The split ----


def _words(name: str) -> set[str]:
    return set(re.findall(r"[A-Za-zñ0-9]+(?:'s)?", name)) - {
        *("a", "an", "and", "at", "for", "in", "of", "on", "or", "the", "to", "with", "without")
    }


def test_split(emoji):
    sizes = [len(emoji.concepts(split=split)) for split in SPLITS]
    assert sizes == [1162, 100, 140]
    training = set().union(*(_words(emoji.names[i]) for i in emoji.concepts(split="train").tolist()))
    for split in ("held_out", "selection"):
        concepts = emoji.concepts(split=split)
        assert (emoji.concepts(BIG, split) == concepts).all(), "each has a picture in all big styles"
        for i in concepts.tolist():
            assert _words(emoji.names[i]) <= training, f"{emoji.names[i]}: its words occur in training names"
            subgroup = emoji.subgroup_names[emoji.subgroup[i]]
            assert subgroup not in ("arrow", "geometric", "alphanum"), emoji.names[i]
        of_groups = emoji.group[concepts].bincount()
        assert of_groups.max() < len(concepts) / 4 and (of_groups > 0).sum() == 7  # symbols: none


def test_colour_only(emoji):
    flagged = {emoji.names[i] for i in emoji.colour_only.nonzero().squeeze(1).tolist()}
    assert {"red heart", "light blue heart", "green apple", "red circle", "blue book"} <= flagged
    assert not {"police car", "police car light", "white cane", "red paper lantern", "dog"} & flagged


# ---- Names and captions ----


def test_articles(emoji):
    phrase = dict(zip(emoji.names, emoji.phrases, strict=True))
    for name, expected in {
        "red apple": "a red apple",
        "hourglass done": "hourglass done",
        "euro banknote": "a euro banknote",
        "unicorn": "a unicorn",
        "umbrella": "an umbrella",
        "SOS button": "an SOS button",
        "UP! button": "an UP! button",
        "FREE button": "a FREE button",
        "x-ray": "an x-ray",
        "grapes": "grapes",
        "bus": "a bus",
        "people hugging": "people hugging",
        "woman's clothes": "woman's clothes",
        "fork and knife": "a fork and knife",
        "person lifting weights": "a person lifting weights",
        "sun with face": "the sun with face",
    }.items():
        assert phrase[name] == expected
    assert all(re.fullmatch(rf"(an? |the )?{re.escape(name)}", p) for name, p in phrase.items())
    assert not [p for p in emoji.phrases if re.match(r"a [aeio](?!ne-|uro|we)|an [bcdfgjklmpqrstvwyz]", p)]


def test_captions(emoji):
    apple = emoji.names.index("red apple")
    variants = caption_variants(emoji, apple)
    assert variants[:3] == ["red apple", "a red apple", "a picture of a red apple"]
    assert all(len(caption_variants(emoji, i)) == len(variants) for i in range(len(emoji)))
    texts = [text for i in range(len(emoji)) for text in caption_variants(emoji, i)]
    assert not [t for t in texts if re.search(r"[{}]|  |\ba (?:an? |the )|,,|, ?$|: ?$|^ ", t)]
    assert set(STYLE_TEMPLATES) == set(STYLES)
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_caption_forms(emoji):
    n = 2000
    concept = torch.full((n,), emoji.names.index("red apple"))
    style = torch.arange(n) % len(STYLES)
    for form, expected in {
        "name": {"red apple"},
        "plain": {template.format("a red apple") for template in TEMPLATES},
    }.items():
        captions = make_emoji_captions(emoji, concept, style, torch.Generator().manual_seed(0), (form,))
        assert set(captions) == expected
    captions = make_emoji_captions(emoji, concept, style, torch.Generator().manual_seed(0), ("style",))
    for i, name in enumerate(STYLES):
        assert set(captions[i :: len(STYLES)]) == {t.format("a red apple") for t in STYLE_TEMPLATES[name]}
    captions = make_emoji_captions(emoji, concept, style, torch.Generator().manual_seed(0), ("keywords",))
    assert len(set(captions)) == 6 and all(any(k in c for k in emoji.keywords[concept[0]]) for c in captions)
    with pytest.raises(ValueError, match="forms should be some of"):
        draw_variants(style, torch.Generator(), ("rhyme",))


def test_caption_table_says_the_same(emoji, table):
    generator = torch.Generator().manual_seed(3)
    concept = torch.randint(len(emoji), (300,), generator=generator)
    style = torch.randint(len(STYLES), (300,), generator=generator)
    captions = make_emoji_captions(emoji, concept, style, torch.Generator().manual_seed(5))
    ids, lengths = table(concept, style, torch.Generator().manual_seed(5))
    expected_ids, expected_lengths = load_tokenizer().batch(captions)
    assert (ids == expected_ids).all() and (lengths == expected_lengths).all()
    assert table.lengths.max() <= CONTEXT_LENGTH, "no caption is cut"
    none = table(concept[:0], style[:0], torch.Generator())
    assert none[0].shape == (0, 0) and none[1].shape == (0,)
    assert len(FORMS) == 4


def test_tokenizer(emoji):
    tokenizer = load_tokenizer()
    assert tokenizer.vocab_size == 2048
    for text in (*emoji.names[::9], "a red circle left of two blue stars", "Ünknown wörds 🙂"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    names = [tokenizer.encode(" " + emoji.names[i]) for i in emoji.concepts(split="held_out").tolist()]
    words = sum(len(emoji.names[i].split()) for i in emoji.concepts(split="held_out").tolist())
    assert sum(map(len, names)) < 1.5 * words, "most words are one token"


# ---- Scenes, parts, features ----


def test_bank_in_scenes(emoji):
    bank = emoji_bank(emoji, "noto")
    assert len(bank.kind_names) == len(countable(emoji))
    scenes = make_scenes(60, seed=1, bank=bank, objects=(1, 5), size=48)
    for caption in make_captions(scenes) + make_captions(scenes, "relation"):
        assert not re.search(r"\ba [aeio]|faces? blowing|(men|people|with \w+|running)s\b", caption), caption
    again = make_scenes(60, seed=1, bank=emoji_bank(emoji, "noto"), objects=(1, 5), size=48)
    assert (again.images == scenes.images).all()
    # Two hearts of one kind: the plural is plain English.
    cat = torch.tensor([emoji.names.index("black cat")])
    two = make_scenes(1, seed=0, bank=emoji_bank(emoji, "fluent", cat), objects=(2, 2))
    assert make_captions(two) == ["two black cats"]
    with pytest.raises(ValueError, match="none of these concepts"):
        emoji_bank(emoji, "fxemoji", torch.tensor([emoji.names.index("axe")]))


@pytest.mark.parametrize("style", PART_STYLES)
def test_parts_nest(emoji, style):
    parts = load_parts(style)
    alpha = load_emoji(64).rgba(style)[:, 3]
    assert len(parts) == len(alpha)
    assert ((parts.index > 0) == (alpha >= 128 / 255)).all(), "together the parts are the picture"
    for picture in range(0, len(parts), 11):
        masks, parents, depths = parts.masks(picture), parts.parents[picture], parts.depth(picture)
        assert (masks[0] == (parts.index[picture] > 0)).all()
        for part, parent in enumerate(parents):
            assert masks[part].sum() >= 16
            if part == 0:
                assert parent == 0 and depths[0] == 0
                continue
            assert not (masks[part] & ~masks[parent - 1]).any() and depths[part] == depths[parent - 1] + 1
            for other in range(1, part):
                if parents[other] == parent:
                    assert not (masks[part] & masks[other]).any(), "side by side"
    dog = emoji.concepts(style).tolist().index(emoji.names.index("dog face"))
    assert max(parts.depth(dog)) >= 2
    with pytest.raises(ValueError, match="style should be one of twemoji, fluent"):
        load_parts("noto")


def test_features(emoji):
    features = load_features()
    assert features.text.shape == (1402, 384) and features.text.dtype == torch.float32
    torch.testing.assert_close(features.text.norm(dim=1), torch.ones(1402), atol=1e-2, rtol=0)
    assert {style: len(x) for style, x in features.image.items()} == {
        s: len(emoji.concepts(s)) for s in STYLES
    }
    # MiniLM knows that names are related; the classifier sees one thing in two styles.
    names = [emoji.names.index(name) for name in ("dog face", "dog", "trumpet")]
    dog_face, dog, trumpet = features.text[names]
    assert dog_face @ dog > dog_face @ trumpet + 0.3
    common = emoji.concepts(TRAIN_STYLES)
    noto, twemoji = (
        torch.nn.functional.normalize(features.image[style][torch.isin(emoji.concepts(style), common)], dim=1)
        for style in ("noto", "twemoji")
    )
    right = (noto @ twemoji.T).argmax(dim=1) == torch.arange(len(common))
    assert right.float().mean() > 0.4  # by chance 0.0007


# ---- Missing and damaged files ----


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the small files, in which the library looks first, with links to the large ones."""
    for path in DATA.rglob("*"):
        if path.suffix in (".json", ".webp", ".png", ".safetensors"):
            target = tmp_path / path.relative_to(DATA)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    monkeypatch.setenv("CS_VL_DATA", str(tmp_path))
    yield tmp_path
    load_tokenizer.cache_clear()


def damage(path: Path, change) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


def test_where_data_are_looked_for(copy, monkeypatch):
    assert data_file("emoji/names.json") == copy / "emoji/names.json"
    (copy / "emoji/names.json").unlink()
    assert data_file("emoji/names.json") == DATA / "emoji/names.json"
    monkeypatch.delenv("CS_VL_DATA")
    assert data_file("emoji/names.json") == DATA / "emoji/names.json"
    with pytest.raises(FileNotFoundError, match=r"the data file emoji/none\.json is in none of .*install"):
        data_file("emoji/none.json")


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def test_damaged_files_are_named(copy, tmp_path):
    webp = copy / "emoji/noto/noto.webp"
    damage(webp, half)
    with pytest.raises(ValueError, match=r"noto/noto\.webp is damaged .*get it again"):
        load_emoji().rgba("noto")
    webp.unlink()
    webp.write_text("not a picture")
    with pytest.raises(ValueError, match=r"noto/noto\.webp is damaged"):
        load_emoji().rgba("noto")
    shutil.copy(DATA / "emoji/noto/noto_v1.webp", webp)  # a whole picture, of too few emoji
    with pytest.raises(ValueError, match=r"noto\.webp is damaged .*names\.json lists 1402"):
        load_emoji().rgba("noto")


@pytest.mark.parametrize(
    "name, read",
    [
        ("emoji/names.json", load_emoji),
        ("emoji/splits.json", load_emoji),
        ("emoji/tokenizer.json", lambda: (load_tokenizer.cache_clear(), load_tokenizer())),
        ("emoji/twemoji/twemoji_parts.json", lambda: load_parts("twemoji")),
        ("emoji/twemoji/twemoji_parts.png", lambda: load_parts("twemoji")),
        ("features/text.safetensors", load_features),
        ("features/images.safetensors", load_features),
    ],
)
def test_half_a_file(copy, name, read):
    damage(copy / name, half)
    with pytest.raises(ValueError, match=re.escape(name)):
        read()


def test_files_of_another_data_set(copy):
    damage(copy / "emoji/splits.json", lambda content: content.replace(b'"grinning face"', b'"grinning fox"'))
    with pytest.raises(ValueError, match=r"names\.json is damaged .*splits\.json sets concepts apart"):
        load_emoji()
    damage(copy / "emoji/fluent/fluent_parts.json", lambda content: b"[[0]]")
    (copy / "emoji/splits.json").unlink()
    with pytest.raises(ValueError, match=r"fluent_parts\.json is damaged .*1381 pictures"):
        load_parts("fluent")
    shutil.copy(DATA / "features/text.safetensors", copy / "swap")
    (copy / "features/images.safetensors").unlink()
    (copy / "swap").rename(copy / "features/images.safetensors")
    with pytest.raises(ValueError, match=r"images\.safetensors is damaged .*1402 rows for the style twemoji"):
        load_features()
