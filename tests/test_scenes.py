"""Scenes: whatever the generator says of a picture is read off the picture again, by other means."""

import random
import re
import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from cs_vl.data.captions import make_captions
from cs_vl.data.questions import QUESTION_KINDS, make_questions
from cs_vl.data.scenes import RELATIONS, cell_targets, make_scenes, spatial_relations
from cs_vl.data.shapes import COLOURS, SHAPES
from cs_vl.data.sprites import Sprites

few = settings(max_examples=25, deadline=None)


@st.composite
def some_scenes(draw, **fixed):
    layout = draw(st.sampled_from(["free", "grid"]))
    grid = draw(st.integers(1, 3)) if layout == "grid" else 2
    most = draw(st.integers(0, min(6, grid * grid) if layout == "grid" else 6))
    arguments = {
        "n": draw(st.integers(0, 6)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "size": draw(st.sampled_from([24, 32, 47, 64])),
        "objects": (draw(st.integers(0, most)), most),
        "layout": layout,
        "grid": grid,
    }
    return make_scenes(**{**arguments, **fixed})


# ---- A second opinion: objects read off the pixels and masks, in NumPy, without the generator's labels ----


def _outline(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points of the unit square, y down, are inside a shape that fills it."""
    turns = np.arange(10) * 2 * np.pi / 10
    radii = np.where(np.arange(10) % 2, np.sin(np.pi / 10) / np.sin(7 * np.pi / 10), 1)
    star = np.stack([radii * np.sin(turns), -radii * np.cos(turns)], axis=1)
    star = (star - star.min(0)) / np.ptp(star, axis=0)
    a, b = 0.323, 0.677
    plus = [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
    polygons = {
        "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
        "diamond": [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)],
        "triangle": [(0.5, 0), (1, 1), (0, 1)],
        "cross": plus,
        "star": star,
    }
    r = 2 * np.hypot(x - 0.5, y - 0.5)
    if kind == "circle":
        return r < 1
    if kind == "ring":
        return (r < 1) & (r > 0.47)
    if kind == "heart":
        lobes = np.hypot((np.abs(x - 0.5) - 0.21), (y - 0.31)) < 0.30
        return lobes | ((np.abs(x - 0.5) < 0.5 * (1 - y) / 0.62) & (y > 0.38))
    return Path(polygons[kind]).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)


def _look(scenes, scene: int) -> list[dict]:
    """Kind, colour and box centre of each object, by looking."""
    image = scenes.images[scene].permute(1, 2, 0).numpy()
    found = []
    for visible, whole in zip(scenes.masks[scene].numpy(), scenes.full_masks[scene].numpy(), strict=True):
        if not whole.any():
            continue
        distance = np.abs(image[visible][:, None] - np.array(list(COLOURS.values()))).sum(-1)
        votes = Counter(distance.argmin(1).tolist())  # pixels on the edge are a mixture and may be wrong
        colour = list(COLOURS)[votes.most_common(1)[0][0]]
        assert distance.min() < 0.02, "some pixel shows the colour pure"
        ys, xs = np.nonzero(whole)
        x0, y0, x1, y1 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        y, x = np.mgrid[y0:y1, x0:x1] + 0.5
        crop = whole[y0:y1, x0:x1]
        overlap = {}
        for kind in SHAPES:
            inside = _outline(kind, (x - x0) / (x1 - x0), (y - y0) / (y1 - y0))
            overlap[kind] = (inside & crop).sum() / (inside | crop).sum()
        kind = max(overlap, key=overlap.get)
        ys, xs = np.nonzero(visible)
        centre = ((xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2)
        found.append({"kind": kind, "colour": colour, "x": centre[0], "y": centre[1]})
    return found


WORDS = ["zero", "one", "two", "three", "four", "five", "six"]


def _holds(one: dict, relation: str, other: dict, margin: float = 0.0) -> bool:
    return {
        "left of": one["x"] < other["x"] - margin,
        "right of": one["x"] > other["x"] + margin,
        "above": one["y"] < other["y"] - margin,
        "below": one["y"] > other["y"] + margin,
    }[relation]


def _singular(noun: str) -> str:
    return "cross" if noun in ("cross", "crosses") else noun.removesuffix("s")


def _the(objects: list[dict], name: str) -> dict:
    (only,) = [o for o in objects if f"{o['colour']} {o['kind']}" == name]
    return only


def _answer(objects: list[dict], text: str, size: int) -> str:
    if m := re.fullmatch(r"Is there an? (\w+) (\w+)\?", text):
        return "yes" if any((o["colour"], o["kind"]) == m.groups() for o in objects) else "no"
    if text == "How many objects are there?":
        return WORDS[len(objects)]
    if m := re.fullmatch(r"How many (\w+) objects are there\?", text):
        return WORDS[sum(o["colour"] == m[1] for o in objects)]
    if m := re.fullmatch(r"How many (\w+) are there\?", text):
        return WORDS[sum(o["kind"] == _singular(m[1]) for o in objects)]
    if m := re.fullmatch(r"What colour is the (\w+)\?", text):
        (only,) = [o for o in objects if o["kind"] == m[1]]
        return only["colour"]
    if m := re.fullmatch(r"What is the (\w+) object\?", text):
        (only,) = [o for o in objects if o["colour"] == m[1]]
        return f"a {only['kind']}"
    if m := re.fullmatch(r"Is the (\w+ \w+) (left of|right of|above|below) the (\w+ \w+)\?", text):
        return "yes" if _holds(_the(objects, m[1]), m[2], _the(objects, m[3])) else "no"
    if m := re.fullmatch(r"Where is the (\w+ \w+)\?", text):
        it = _the(objects, m[1])
        return f"{'top' if it['y'] < size / 2 else 'bottom'} {'left' if it['x'] < size / 2 else 'right'}"
    raise AssertionError(f"an unknown question: {text}")


def _counts(caption: str) -> Counter:
    """Names in a list such as "a red circle, two blue stars and a green ring"."""
    if caption == "nothing":
        return Counter()
    counts: Counter = Counter()
    for part in re.split(r", | and ", caption):
        number, *name = part.split()
        times = 1 if number in ("a", "an") else WORDS.index(number)
        counts[" ".join([*name[:-1], _singular(name[-1])])] += times
    return counts


# ---- What is said of the scenes is true ----


@few
@given(some_scenes())
def test_images_masks_and_boxes_agree(scenes):
    n, slots = scenes.kind.shape
    assert scenes.images.shape == (n, 3, scenes.size, scenes.size) and scenes.images.dtype == torch.float32
    assert n == 0 or (scenes.images.min() >= 0 and scenes.images.max() <= 1)
    assert torch.equal(scenes.present, scenes.colour >= 0)
    assert torch.equal(scenes.present, torch.arange(slots) < scenes.count[:, None])
    assert torch.equal(scenes.masks.any(-1).any(-1), scenes.present)
    assert (scenes.masks.sum(1) <= 1).all(), "no pixel shows two objects"
    for scene in range(n):
        for slot in range(slots):
            mask, box = scenes.masks[scene, slot].numpy(), scenes.boxes[scene, slot].tolist()
            if not mask.any():
                assert box == [0, 0, 0, 0]
                continue
            ys, xs = np.nonzero(mask)
            assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            hidden = scenes.full_masks[scene, slot + 1 :].any(0).numpy()
            assert np.array_equal(mask, scenes.full_masks[scene, slot].numpy() & ~hidden)
            assert mask.sum() > 0.6 * scenes.full_masks[scene, slot].sum(), "most of an object is visible"


@few
@given(some_scenes(size=96))
def test_labels_captions_and_relations_are_what_one_sees(scenes):
    related = spatial_relations(scenes, margin=0.1)
    captions = {style: make_captions(scenes, style) for style in ("objects", "kinds", "relation")}
    for scene in range(len(scenes)):
        seen = _look(scenes, scene)
        labels = zip(scenes.kind[scene].tolist(), scenes.colour[scene].tolist(), strict=True)
        named = [
            (scenes.kind_names[kind], scenes.colour_names[colour]) for kind, colour in labels if kind >= 0
        ]
        assert [(o["kind"], o["colour"]) for o in seen] == named
        names = [f"{o['colour']} {o['kind']}" for o in seen]
        assert _counts(captions["objects"][scene]) == Counter(names)
        assert _counts(captions["kinds"][scene]) == Counter(o["kind"] for o in seen)

        for i, one in enumerate(seen):
            for j, other in enumerate(seen):
                for r, relation in enumerate(RELATIONS):
                    holds = _holds(one, relation, other, 0.1 * scenes.size)
                    assert bool(related[scene, i, j, r]) == holds
        caption = captions["relation"][scene]
        if m := re.fullmatch(r"an? (\w+ \w+) (left of|right of|above|below) an? (\w+ \w+)", caption):
            assert _holds(_the(seen, m[1]), m[2], _the(seen, m[3]), 0.1 * scenes.size)
        else:
            assert _counts(caption) == Counter(names)
            unique = [i for i, name in enumerate(names) if names.count(name) == 1]
            assert not related[scene][unique][:, unique].any(), "a relation could have been told"


@few
@given(some_scenes(size=96), st.integers(0, 2**32))
def test_every_answer_is_what_one_sees(scenes, seed):
    questions = make_questions(scenes, 6, seed=seed)
    assert questions == make_questions(scenes, 6, seed=seed)
    assert len({(q.scene, q.text) for q in questions}) == len(questions)
    seen = [_look(scenes, scene) for scene in range(len(scenes))]
    for q in questions:
        assert _answer(seen[q.scene], q.text, scenes.size) == q.answer, q


def test_cell_targets_are_what_one_sees():
    scenes = make_scenes(50, seed=3, size=64, layout="grid", grid=3, objects=(0, 6))
    targets = cell_targets(scenes, 3)
    assert targets.shape == (50, 9)
    for scene in range(50):
        expected = [0] * 9
        for o in _look(scenes, scene):
            cell = int(o["y"] * 3 // 64) * 3 + int(o["x"] * 3 // 64)
            assert expected[cell] == 0, "one object a cell"
            expected[cell] = (
                1 + list(SHAPES).index(o["kind"]) * len(COLOURS) + list(COLOURS).index(o["colour"])
            )
        assert targets[scene].tolist() == expected


def test_answers_can_not_be_guessed_from_the_words():
    scenes = make_scenes(1500, seed=0, size=32, objects=(1, 4))
    questions = make_questions(scenes, 2, seed=0)
    assert len(questions) == 3000
    for kind in QUESTION_KINDS:
        answers = [q.answer for q in questions if q.kind == kind]
        assert abs(len(answers) - 3000 / len(QUESTION_KINDS)) < 10
        best_constant = Counter(answers).most_common(1)[0][1] / len(answers)
        chance = 1 / len(set(answers))
        assert best_constant < chance + (0.12 if kind == "count" else 0.03), kind


def test_everything_is_equally_likely():
    scenes = make_scenes(10000, seed=0, size=16, objects=(1, 4))
    assert (torch.bincount(scenes.count, minlength=5)[1:] / 10000 - 0.25).abs().max() < 0.03
    for index in (scenes.kind, scenes.colour):
        frequency = torch.bincount(index[scenes.present], minlength=8) / scenes.present.sum()
        assert (frequency - 1 / 8).abs().max() < 0.015
    left, right, above, below = spatial_relations(scenes)[:, 0, 1].float().mean(0)
    assert max(abs(left - right), abs(above - below), abs(left - above)) < 0.03


# ---- Seeds ----


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 130), st.integers(1, 130))
def test_a_scene_depends_on_the_seed_and_its_number_alone(seed, few_, many):
    few_, many = sorted((few_, many))
    a, b = make_scenes(few_, seed=seed, size=24), make_scenes(many, seed=seed, size=24)[:few_]
    for name in ("images", "masks", "full_masks", "boxes", "kind", "colour"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_a_generator_goes_on_where_it_was():
    generator = torch.Generator().manual_seed(5)
    first, second = make_scenes(4, seed=generator), make_scenes(4, seed=generator)
    assert torch.equal(first.images, make_scenes(4, seed=5).images)
    assert not torch.equal(first.images, second.images)


def test_global_state_is_left_alone_and_does_not_matter():
    expected = make_scenes(5, seed=1)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            scenes = make_scenes(5, seed=1)
            make_questions(scenes, 3, seed=0), make_captions(scenes, "relation"), cell_targets(scenes)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(scenes.images, expected.images) and scenes.images.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])


# ---- Using them ----


def test_some_of_the_scenes():
    scenes = make_scenes(6, seed=0)
    assert len(scenes[2]) == 1 and torch.equal(scenes[2].images, scenes.images[2:3])
    assert torch.equal(scenes[-1].boxes, scenes.boxes[5:])
    assert torch.equal(scenes[[4, 0]].kind, scenes.kind[[4, 0]])
    assert make_captions(scenes[1:3]) == make_captions(scenes)[1:3]
    assert torch.equal(scenes[scenes.count > 2].count, scenes.count[scenes.count > 2])
    assert len(list(scenes)) == 6
    with pytest.raises(IndexError):
        scenes[6]


def test_chosen_kinds_and_colours():
    scenes = make_scenes(40, seed=0, kinds=("star", "ring"), colours=("blue",), objects=(1, 2))
    assert set(make_captions(scenes[scenes.count == 1])) == {"a blue star", "a blue ring"}


def test_sprites_fit_the_same_renderer():
    square, dot = torch.zeros(2, 4, 32, 32)
    square[:, 4:28, 4:28] = torch.tensor([0.2, 0.6, 0.4, 1.0])[:, None, None]
    square[:3, :4] = 1.0  # white, but transparent: must never be seen
    dot[:, 12:20, 12:20] = torch.tensor([0.9, 0.1, 0.5, 0.5])[:, None, None]  # half transparent
    bank = Sprites(torch.stack([square, dot]), ["apple", "box"])
    scenes = make_scenes(30, seed=0, bank=bank, objects=(1, 1), size=48)
    assert set(make_captions(scenes)) == {"an apple", "a box"}
    assert {q.kind for q in make_questions(scenes, 6, seed=0)} == {"presence", "count", "position"}
    apples = scenes[scenes.kind[:, 0] == 0]
    pixels = apples.images.permute(0, 2, 3, 1)[apples.masks[:, 0]]
    assert (pixels.median(0).values - torch.tensor([0.2, 0.6, 0.4])).abs().max() < 1e-5
    canvas = apples.images[:, :, :1, :1]
    darker = torch.minimum(canvas, torch.tensor([0.2, 0.6, 0.4])[:, None, None])
    lighter = torch.maximum(canvas, torch.tensor([0.2, 0.6, 0.4])[:, None, None])
    assert (apples.images >= darker - 1e-5).all() and (apples.images <= lighter + 1e-5).all()
    sides = apples.boxes[:, 0, 2:] - apples.boxes[:, 0, :2]
    assert (sides[:, 0] - sides[:, 1]).abs().max() <= 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n": -1}, "number of scenes"),
        ({"size": 8}, "16 pixels"),
        ({"objects": (2, 1)}, "0 to 6 objects"),
        ({"objects": (1, 7)}, "0 to 6 objects"),
        ({"objects": 3}, "pair"),
        ({"layout": "ring"}, '"free" or "grid"'),
        ({"layout": "grid", "grid": 1, "objects": (1, 2)}, "can't hold 2 objects"),
        ({"kinds": ("blob",)}, "kinds must be some of circle"),
        ({"colours": ()}, "colours must be some of"),
        ({"kinds": ("star",), "bank": Sprites(torch.zeros(1, 4, 8, 8), ["x"])}, "bank"),
    ],
)
def test_mistakes_get_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_scenes(**{"n": 2, "seed": 0, **arguments})


def test_mistakes_of_words_get_a_sentence():
    scenes = make_scenes(2, seed=0)
    with pytest.raises(ValueError, match="style must be"):
        make_captions(scenes, "rhyme")
    with pytest.raises(ValueError, match="kinds must be some of"):
        make_questions(scenes, seed=0, kinds=("taste",))
    with pytest.raises(ValueError, match="name each"):
        Sprites(torch.zeros(2, 4, 8, 8), ["one"])


@pytest.mark.slow
def test_fast_enough():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        make_scenes(64, seed=0, objects=(1, 6))
        start = time.process_time()
        make_scenes(512, seed=0, objects=(1, 6))
        assert 512 / (time.process_time() - start) > 1200, "scenes of 64 px a CPU-second, with masks"
    finally:
        torch.set_num_threads(threads)
