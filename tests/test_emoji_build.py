"""The scripts that made the emoji data set: their choices, on cases that are easily seen through."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "data/emoji"


@pytest.fixture(scope="module")
def build():
    # The package that builds wheels has the script's name, and another test may have imported it.
    others = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "build"}
    sys.path.insert(0, str(FOLDER))
    try:
        import build

        yield build
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("build", None)
        sys.modules.update(others)


@pytest.fixture(scope="module")
def build_parts(build):
    import build_parts

    yield build_parts
    sys.modules.pop("build_parts", None)


def entry(label, code, group=1):
    return {"label": label, "hexcode": code, "group": group}


def test_what_is_a_concept(build):
    for kept in (
        entry("grinning face", "1F600"),
        entry("health worker", "1F9D1-200D-2695-FE0F"),
        entry("polar bear", "1F43B-200D-2744-FE0F"),
        entry("man", "1F468"),
        entry("person walking", "1F6B6"),
    ):
        assert build.is_base(kept), kept
    for left_out in (
        entry("man health worker", "1F468-200D-2695-FE0F"),
        entry("woman walking", "1F6B6-200D-2640-FE0F"),
        entry("person walking: facing right", "1F6B6-200D-27A1-FE0F"),
        entry("keycap: 3", "0033-FE0F-20E3"),
        entry("one o’clock", "1F550"),
        entry("twelve-thirty", "1F567"),
        entry("white flag", "1F3F3-FE0F", group=9),
        entry("red hair", "1F9B0", group=2),
        entry("family: adult, child", "1F9D1-200D-1F9D2"),
        entry("men holding hands", "1F46C"),
    ):
        assert not build.is_base(left_out), left_out


def test_names(build):
    assert build.readable("person: bald") == "bald person"
    assert build.readable("Japanese “here” button") == 'Japanese "here" button'
    assert build.readable("woman’s boot") == "woman's boot"
    assert build.bare("2764-fe0f-200d-1f525") == "2764-200D-1F525"
    assert build.squeeze("Jack-o-lantern 8") == "jackolantern8"


def test_committed_names_are_what_the_script_writes(build):
    concepts = json.loads((FOLDER / "names.json").read_text("utf-8"))["concepts"]
    for concept in concepts:
        assert build.readable(concept["cldr"]) == concept["name"]
        assert build.noun_phrase(concept["name"]) == concept["phrase"]
    assert build.colour_only([c["name"] for c in concepts]) == [c["colour_only"] for c in concepts]


def test_committed_split_is_what_the_script_draws(build):
    stored = json.loads((FOLDER / "names.json").read_text("utf-8"))
    splits = json.loads((FOLDER / "splits.json").read_text("utf-8"))
    concepts, subgroups = stored["concepts"], stored["subgroups"]
    in_all = set(range(len(concepts))).intersection(*(stored["styles"][style] for style in build.BIG))
    candidates = {
        i for i in in_all if build.may_be_held_out(concepts[i]["name"], subgroups[concepts[i]["subgroup"]])
    }
    parts = build.split(concepts, candidates, splits["seed"])
    for part in ("held_out", "selection"):
        assert [c["name"] for c, each in zip(concepts, parts, strict=True) if each == part] == splits[part]
    assert build.split(concepts, candidates, splits["seed"] + 1) != parts


def test_icons_follow_aliases_and_flips(build):
    package = {
        "width": 32,
        "height": 32,
        "icons": {"left": {"body": "<path d='M0 0'/>"}, "tall": {"body": "<g/>", "height": 40}},
        "aliases": {"right": {"parent": "left", "hFlip": True}, "again": {"parent": "right", "hFlip": True}},
    }
    assert "scale(1 1)" in build.svg_of(package, "left")
    assert "scale(-1 1)" in build.svg_of(package, "right")
    assert "scale(1 1)" in build.svg_of(package, "again"), "twice flipped"
    assert 'viewBox="-4.0 0.0 40 40"' in build.svg_of(package, "tall"), "in the middle of a square"
    assert build.svg_of(package, "none") is None


def test_scaling_ignores_hidden_colours(build):
    pixels = np.zeros((128, 128, 4), dtype=np.uint8)
    pixels[:, :64] = (255, 0, 0, 255)
    pixels[:, 64:] = (0, 255, 0, 0)  # transparent, green behind
    small = np.asarray(build.scale_down(Image.fromarray(pixels)))
    assert small.shape == (64, 64, 4) and small[..., 1].max() == 0
    wide = np.asarray(build.scale_down(Image.new("RGBA", (100, 50), (0, 0, 255, 255))))
    assert wide[32, 32, 3] == 255 and wide[2, 32, 3] == 0


def test_atlas(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COLUMNS", 2)
    pictures = [np.zeros((64, 64, 4), dtype=np.uint8) for _ in range(3)]
    pictures[0][8:20, 30:50] = (200, 10, 30, 255)
    pictures[1][:, :5] = (10, 200, 30, 77)
    pictures[2][40:, 40:] = (10, 20, 230, 0)  # transparent, blue behind
    pictures[2][:9, 1:8] = (1, 2, 3, 1)  # nearly so
    build.write_atlas(tmp_path / "a.webp", pictures)
    atlas = np.asarray(Image.open(tmp_path / "a.webp"))
    assert atlas.shape == (128, 128, 4)
    assert (atlas[:64, :64] == pictures[0]).all() and (atlas[:64, 64:] == pictures[1]).all()
    assert (atlas[64:, :64][:40] == pictures[2][:40]).all() and atlas[64:, 64:].max() == 0
    assert atlas[104:, 40:64].max() == 0, "what nobody sees is black"


def test_parts(build_parts):
    """A disc with two eyes, one with a pupil, something behind it, and a sliver."""
    y, x = np.mgrid[:64, :64]
    disc = (x - 32) ** 2 + (y - 32) ** 2 < 24**2
    behind = (y < 20) & (x > 28) & (x < 36)
    eyes = (np.minimum((x - 22) ** 2, (x - 42) ** 2) + (y - 30) ** 2) < 6**2
    pupil = (x - 22) ** 2 + (y - 30) ** 2 < 3**2
    sliver = (y == 50) & (x > 28) & (x < 36)
    index, parents = build_parts.part_tree(disc | behind, [behind, disc, eyes, pupil, sliver])
    assert (index > 0).sum() == (disc | behind).sum()
    # The disc is nine tenths of the silhouette: it is the whole, with the eyes and the thing behind in it.
    assert len(parents) == 5 and parents[0] == 0 and sorted(parents[1:]) == sorted([1, 1, 1, index[30, 17]])
    assert index[30, 22] != index[30, 17] and parents[index[30, 22] - 1] == index[30, 17]
    assert index[50, 32] == 1, "a sliver belongs to what is around"
    assert index[0, 0] == 0


def test_connected(build_parts):
    mask = np.zeros((8, 9), dtype=bool)
    mask[0, :3] = mask[1, 3] = True  # joined by a corner
    mask[5:7, 6:8] = True
    assert sorted(piece.sum() for piece in build_parts.connected(mask)) == [4, 4]
    assert build_parts.connected(np.zeros((3, 3), dtype=bool)) == []


def test_areas_are_drawn_alone(build_parts):
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><defs><path id="a" d="M0 0"/></defs>'
        '<g transform="scale(2)"><path d="M1 1"/><g><circle r="1"/></g></g><use href="#a"/></svg>'
    )
    alone = build_parts.areas(svg)
    assert len(alone) == 3 and all("defs" in each for each in alone)
    assert "M1 1" in alone[0] and "circle" not in alone[0] and "use" not in alone[0]
    assert "circle" in alone[1] and "scale(2)" in alone[1] and "M1 1" not in alone[1]
