"""The world of things with facts: what is in it, its scenes, its text and its vocabulary."""

import importlib.util
import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cs_vl.data.bpe import END, PAD, Tokenizer
from cs_vl.data.captions import plural
from cs_vl.data.chat import ASSISTANT, EOC, IMAGE, USER
from cs_vl.data.emoji import TRAIN_STYLES, countable, load_emoji
from cs_vl.data.files import DamagedFile, data_file
from cs_vl.data.world import (
    WordCache,
    World,
    encode_all,
    load_world,
    load_world_tokenizer,
    make_world_scenes,
    world_banks,
)
from cs_vl.data.world_text import (
    ASKED,
    DIRECT,
    DOCUMENTS,
    KNOWLEDGE,
    NICKNAMES,
    fact_choice,
    fact_value,
    gloss_clause,
    keyword_clause,
    kind_clause,
    letter_clause,
    seen,
    sentence,
    text_questions,
    world_documents,
)


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


@pytest.fixture(scope="module")
def documents(world) -> list[str]:
    return world_documents(world, seed=0, n=40_000)


# ---- Facts ----


def test_contents(world):
    assert repr(world) == "World(127 things of 40 kinds, 64 taught)"
    assert len(world) == 127 == len(set(world.names))
    assert world.names[world.index("fox")] == "fox"
    fox = world.index("fox")
    assert (world.kinds[fox], world.letters[fox]) == ("canine", "f")
    assert "carnivorous mammal" in world.glosses[fox]
    with pytest.raises(ValueError, match="no 'unicorn' in this world"):
        world.index("unicorn")


def test_things_are_training_emoji_with_plain_names(world):
    emoji = load_emoji(styles=TRAIN_STYLES)
    assert [emoji.names[i] for i in world.concepts] == list(world.names)
    assert list(world.concepts) == sorted(world.concepts)
    drawn = set(emoji.concepts(TRAIN_STYLES, "train").tolist())
    assert set(world.concepts) <= drawn
    counted = {emoji.names[i] for i in countable(emoji).tolist()}
    assert set(world.names) - counted == {"fox"} and plural("fox") == "foxes"
    assert not emoji.colour_only[list(world.concepts)].any()
    heads = [name.split()[-1] for name in world.names]
    assert len(set(heads)) == len(heads)
    assert max(len(name.split()) for name in world.names) == 2


def test_kinds_are_shared_evenly_and_known_in_both_halves(world):
    sizes = Counter(world.kinds)
    assert 25 <= len(sizes) <= 40
    assert min(sizes.values()) >= 2 and max(sizes.values()) <= 0.1 * len(world)
    taught = {kind for kind, each in zip(world.kinds, world.taught, strict=True) if each}
    untaught = {kind for kind, each in zip(world.kinds, world.taught, strict=True) if not each}
    assert taught == untaught == set(sizes)
    assert abs(sum(world.taught) - len(world) / 2) <= 1


def test_a_name_does_not_give_its_facts_away(world):
    for name, kind, words in zip(world.names, world.kinds, world.keywords, strict=True):
        assert not set(name.split()) & set(kind.split())
        assert not set(words) & {*name.split(), *kind.split(), *world.names}
    for name, gloss, letter in zip(world.names, world.glosses, world.letters, strict=True):
        assert len(gloss.split()) >= 2 and not gloss.endswith((".", ";", " and", " with", " but", " or"))
        assert name.startswith(letter)
    assert len(set(world.glosses)) == len(world)


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "world").mkdir()
    shutil.copytree(data_file("emoji/names.json").parent, tmp_path / "emoji", ignore=lambda *_: ["noto"])
    (tmp_path / "world/facts.json").write_text('{"concepts": [{"name": "fox"}]}')
    monkeypatch.setenv("CS_VL_DATA", str(tmp_path))
    with pytest.raises(DamagedFile, match=r"facts\.json is damaged"):
        load_world.__wrapped__()


# ---- Scenes ----


def test_banks_have_the_things_in_the_worlds_order(world):
    banks = world_banks(32)
    assert len(banks) == len(TRAIN_STYLES)
    assert all(bank.kind_names == world.names for bank in banks)
    with pytest.raises(ValueError, match="has no picture of"):
        world_banks(32, ["fxemoji"])


def test_scenes_depend_on_the_seed_alone(world):
    before = torch.random.get_rng_state()
    a, b, c = (make_world_scenes(40, seed=seed, size=32) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name in ("images", "masks", "full_masks", "boxes", "kind", "colour"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert not torch.equal(a.images, c.images)
    assert a.kind_names == world.names and a.images.shape == (40, 3, 32, 32)


@pytest.mark.parametrize("n", [0, 1, 13])
def test_any_number_of_scenes(n):
    scenes = make_world_scenes(n, seed=0, size=16)
    assert len(scenes) == n and scenes.kind.shape == (n, 4)


def test_scenes_are_evenly_mixed_and_some_repeat_a_thing(world):
    scenes = make_world_scenes(360, seed=3, size=16)
    assert scenes.count.bincount().tolist() == [0, 90, 90, 90, 90]
    rows = [[kind for kind in row if kind >= 0] for row in scenes.kind.tolist()]
    repeated = sum(len(set(row)) < len(row) for row in rows)
    assert 60 < repeated < 130
    assert len({kind for row in rows for kind in row}) > 100
    absent = ~scenes.present
    assert (scenes.boxes[absent] == 0).all() and not scenes.masks[absent].any()
    none = make_world_scenes(360, seed=3, size=16, repeats=0.0)
    rows = [[kind for kind in row if kind >= 0] for row in none.kind.tolist()]
    assert sum(len(set(row)) < len(row) for row in rows) < 25


def test_a_scene_shows_what_its_kind_says(world):
    """The thing's own pixels: those of the same picture, drawn by its bank."""
    scenes = make_world_scenes(12, seed=5, styles=["noto"], objects=(1, 1))
    (bank,) = world_banks(64, ["noto"])
    for i in range(len(scenes)):
        mask = scenes.masks[i, 0]
        colour = scenes.images[i][:, mask].mean(1)
        picture = bank.levels[0][scenes.kind[i, 0]]
        own = picture[:3].sum((1, 2)) / picture[3].sum()
        assert (colour - own).abs().max() < 0.08, world.names[scenes.kind[i, 0]]


@pytest.mark.parametrize("arguments", [{"styles": "noto"}, {"styles": []}, {"objects": (0, 2)}])
def test_scenes_say_what_they_want(arguments):
    with pytest.raises(ValueError, match="should be"):
        make_world_scenes(2, seed=0, **arguments)


# ---- Text ----


def test_documents_depend_on_the_seed_alone(world, documents):
    assert world_documents(world, seed=0, n=300) == world_documents(world, seed=0, n=300)
    assert documents[:300] != world_documents(world, seed=1, n=300)
    assert len(set(documents)) > 0.6 * len(documents)


def test_every_fact_of_every_thing_is_told(world, documents):
    text = "\n".join(documents).lower()
    for i in range(len(world)):
        assert kind_clause(world, i).lower() in text
        assert letter_clause(world, i) in text
        assert gloss_clause(world, i).lower() in text
        assert f"{seen(world, i, 'kind').lower()}." in text
        if world.keywords[i]:
            assert keyword_clause(world, i) in text


def test_documents_say_nothing_wrong(world, documents):
    """Read back by their words: kinds, letters, sums and comparisons."""
    numbers = ("zero", "one", "two", "three", "four", "five", "six")
    kinds = {f"{name}": kind for name, kind in zip(world.names, world.kinds, strict=True)}
    checked = Counter()
    for text in documents:
        for name, kind in re.findall(r"[Aa]n? ([a-z -]+?) is a kind of ([a-z ]+?)(?:[.,]|$)", text):
            assert kinds[name] == kind
            checked["kind"] += 1
        for name, letter in re.findall(r"the word ([a-z -]+?) begins with (\w)", text):
            assert name[0] == letter
            checked["letter"] += 1
        if sums := re.fullmatch(r"(\w+) .* and (\w+) .*\. There are (\w+) things in all\.", text):
            one, two, both = (
                1 if n.lower() in ("a", "an") else numbers.index(n.lower()) for n in sums.groups()
            )
            assert one + two == both
            checked["sum"] += 1
        if "Are there more" in text:
            amounts = re.search(r"There (?:is|are) (\w+) .* and (\w+) .*, so the answer is (\w+)\.", text)
            one, two = (1 if n in ("a", "an") else numbers.index(n) for n in amounts.groups()[:2])
            assert amounts[3] == ("yes" if one > two else "no")
            checked["compare"] += 1
        if told := re.findall(r"the ([a-z -]+?) is called (\w+)\.", text):
            assert len(set(told)) == len(dict(told)) == len({nickname for _, nickname in told})
            checked["nickname"] += 1
    assert all(checked[each] > 100 for each in ("kind", "letter", "sum", "compare", "nickname")), checked


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_are_short_and_well_formed(world, kind):
    tokenizer = load_world_tokenizer()
    texts = world_documents(world, seed=7, n=3000, kinds=[kind])
    assert max(map(len, encode_all(tokenizer, texts))) <= 64
    for text in texts:
        assert IMAGE not in text and text == text.strip() and "  " not in text
        if USER in text:
            assert text.startswith(USER) and text.endswith(END)
            assert text.count(USER) == text.count(ASSISTANT) == text.count(END)
        elif EOC in text:  # as Flamingo reads it
            *chunks, rest = text.split(EOC)
            assert kind == "nickname" and rest == "" and END not in text
            assert all(re.fullmatch(r"an? [a-z -]+: This is (\w+|an? [a-z -]+)", chunk) for chunk in chunks)
        else:
            assert END not in text and text.endswith(".")


def test_unknown_kinds_of_documents(world):
    with pytest.raises(ValueError, match=r"should be some of scene, .*; got \['poem'\]"):
        world_documents(world, seed=0, n=1, kinds=["poem"])


def test_nicknames_for_testing_are_in_no_text(world, documents):
    train, test = set(NICKNAMES["train"]), set(NICKNAMES["test"])
    assert (len(train), len(test)) == (200, 40) and not train & test
    words = {word.strip(".,:?") for text in documents for word in text.replace("<", " <").split()}
    assert not words & test
    assert len(words & train) == 200
    others = [kind for kind in DOCUMENTS if kind != "nickname"]
    plain = "\n".join(world_documents(world, seed=2, n=5000, kinds=others))
    assert not [name for name in train | test if f" {name} " in plain]  # nor are they words


def test_questions_by_words_alone(world):
    assert ("What kind of thing is a fox?", "A fox is a kind of canine.") in text_questions(world)
    assert all(len(text_questions(world, fact)) == 127 for fact in ASKED if fact != "keyword")
    assert len(text_questions(world, "keyword")) == sum(map(bool, world.keywords))


def test_a_choice_has_one_right_answer(world):
    rng, fox = random.Random(0), world.index("fox")
    for fact in KNOWLEDGE:
        for _ in range(30):
            choice = fact_choice(world, fox, fact, rng)
            assert choice.choices[choice.answer] == fact_value(world, fox, fact)
            assert len(set(choice.choices)) == 3 and "" not in choice.choices
    assert sentence(seen(world, fox, "kind")) == "This is a fox, and a fox is a kind of canine."
    assert KNOWLEDGE.keys() == DIRECT.keys()


# ---- Vocabulary ----


def test_vocabulary(world):
    tokenizer = load_world_tokenizer()
    assert tokenizer.vocab_size == 1500
    assert list(tokenizer.specials) == [END, PAD, IMAGE, EOC, USER, ASSISTANT]
    lengths = Counter(len(tokenizer.encode(f" {name}")) for name in world.names)
    assert lengths[1] >= 110 and max(lengths) <= 3
    many = {kind: [len(tokenizer.encode(f" {n}")) for n in names] for kind, names in NICKNAMES.items()}
    mean = {kind: sum(each) / len(each) for kind, each in many.items()}
    assert abs(mean["train"] - mean["test"]) < 0.4  # neither is known to it


@given(st.lists(st.sampled_from([*"ab <>|\n.'é7", END, PAD, IMAGE, USER]), max_size=30))
def test_the_cache_encodes_as_the_tokenizer_does(pieces):
    text = "".join(pieces)
    tokenizer = load_world_tokenizer()
    cache = WordCache(tokenizer)
    assert cache.encode(text) == tokenizer.encode(text) == cache.encode(text)


def test_the_cache_encodes_documents_as_the_tokenizer_does(documents):
    tokenizer = load_world_tokenizer()
    assert encode_all(tokenizer, documents[:200]) == [tokenizer.encode(text) for text in documents[:200]]
    plain = Tokenizer(tokenizer.merges, ())
    assert encode_all(plain, ["a fox <pad>"]) == [plain.encode("a fox <pad>")]


# ---- The script that wrote the facts ----

FOLDER = Path(__file__).parents[1] / "data/world"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_world", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_glosses_are_shortened(build):
    assert build.first_clause('(Islam) a place of worship; "to the mosque"') == "a place of worship"
    assert build.first_clause("flown in wind (at a string)") == "flown in wind"
    long = "large bird of the south having very long legs and a very long bent bill and pink feathers"
    assert build.first_clause(long) == "large bird of the south"
    assert build.first_clause("decapod " + long[24:]).startswith("decapod")
    kept = "a hand tool that is used to hold or twist a nut"
    assert build.first_clause(kept) == kept


def test_the_committed_facts_are_what_the_script_chooses(build, world):
    kinds = {kind: names.split(", ") for kind, names in build.KINDS.items()}
    assert {name: kind for kind, names in kinds.items() for name in names} == dict(
        zip(world.names, world.kinds, strict=True)
    )
    taught = {name for name, each in zip(world.names, world.taught, strict=True) if each}
    assert build.choose_taught(kinds, build.SEED) == taught
    assert build.choose_taught(kinds, build.SEED + 1) != taught
    emoji = load_emoji(styles=())
    spread = Counter(word for words in emoji.keywords for word in words)
    for name, kind, words in zip(world.names, world.kinds, world.keywords, strict=True):
        assert build.keywords(emoji, name, kind, set(world.names), spread) == list(words)
    stored = json.loads((FOLDER / "facts.json").read_text("utf-8"))
    assert stored["seed"] == build.SEED
    assert all(re.fullmatch(r"[a-z -]+#\d", row["wordnet"]) for row in stored["concepts"])


def test_wordnet_is_read(build, tmp_path):
    """A dictionary of four nouns in WordNet's format; a fox is an animal in its second sense."""
    lines, starts = ["  1 licence"], {}
    entries = [
        ("animal", [], "a living thing"),
        ("canine", ["animal"], "a fox or a dog"),
        ("sly person", [], 'a person; "the old fox"'),
        ("fox", ["canine"], "alert mammal; runs"),
    ]
    for name, above, gloss in entries:
        start = sum(len(line) + 1 for line in lines)
        starts[name] = f"{start:08d}"
        pointers = "".join(f" @ {starts[other]} n 0000" for other in above)
        word = name.replace(" ", "_")
        lines.append(f"{start:08d} 05 n 01 {word} 0 {len(above):03d}{pointers} | {gloss}  ")
    (tmp_path / "data.noun").write_text("\n".join(lines) + "\n")
    (tmp_path / "index.noun").write_text(
        f"  1 licence\nfox n 2 1 @ 2 0 {starts['sly person']} {starts['fox']}  \n"
        f"canine n 1 1 @ 1 0 {starts['canine']}  \n"
    )
    wordnet = build.WordNet(tmp_path)
    assert wordnet.sense("fox", "animal") == wordnet.sense("fox", "canine") == 2
    assert (
        wordnet.gloss("fox", 1) == 'a person; "the old fox"'
        and wordnet.gloss("fox", 2) == "alert mammal; runs"
    )
    for name, kind in (("fox", "fruit"), ("owl", "animal")):
        with pytest.raises(ValueError, match="WordNet knows no"):
            wordnet.sense(name, kind)


def test_the_licences_lie_beside():
    text = (FOLDER / "LICENSE").read_text("utf-8")
    for part in ("WordNet 3.0 Copyright 2006 by Princeton University", "UNICODE LICENSE", "facts.json"):
        assert part.lower() in text.lower(), part
