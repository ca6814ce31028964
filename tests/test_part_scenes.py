"""Scenes with parts: what is said of each mask is read off the masks, and off the parts of the pictures, again."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F

from cs_vl.data.emoji import load_emoji
from cs_vl.data.part_scenes import LEVELS, MAX_SHARE, MIN_AREA, make_part_scenes
from cs_vl.data.parts import PART_STYLES, load_parts

every_style = pytest.mark.parametrize("style", PART_STYLES)


@cache
def scenes_of(style, **options):
    return make_part_scenes(24, **{"seed": 3, "style": style, "split": "train", **options})


def things_of(scenes):
    """(masks, levels, name) of each thing of each scene."""
    for masks, level, thing, names in zip(
        scenes.masks, scenes.level, scenes.thing, scenes.names, strict=True
    ):
        for i, name in enumerate(names):
            yield masks[thing == i], level[thing == i], name


def within(inner, outer):
    return bool((inner <= outer).all())


@every_style
def test_shapes_and_names_agree(style):
    scenes = scenes_of(style)
    assert len(scenes) == 24 and repr(scenes) == f"PartScenes(24 scenes, {sum(map(len, scenes.masks))} masks)"
    assert scenes.images.shape == (24, 3, 64, 64) and scenes.images.dtype == torch.float32
    assert scenes.images.min() >= 0 and scenes.images.max() <= 1
    for masks, level, thing, names in zip(
        scenes.masks, scenes.level, scenes.thing, scenes.names, strict=True
    ):
        assert masks.dtype == torch.bool and masks.shape[1:] == (64, 64)
        assert len(masks) == len(level) == len(thing)
        assert thing.tolist() == sorted(thing.tolist())
        assert set(thing.tolist()) == set(range(len(names)))


@every_style
def test_the_same_arguments_give_the_same_scenes_and_others_others(style):
    state = torch.get_rng_state()
    a, b, c = (make_part_scenes(5, seed=seed, style=style) for seed in (8, 8, 9))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a.images, b.images) and a.names == b.names
    for name in ("masks", "level", "thing"):
        assert all(map(torch.equal, getattr(a, name), getattr(b, name)))
    assert not torch.equal(a.images, c.images)


@every_style
def test_a_whole_comes_first_and_every_part_lies_in_what_is_around_it(style):
    deepest = set()
    for masks, level, _ in things_of(scenes_of(style)):
        assert level[0] == 0 and (level[1:] > 0).all()
        for i in range(1, len(masks)):
            around = [j for j in range(i) if level[j] == level[i] - 1 and within(masks[i], masks[j])]
            assert len(around) == 1
            assert MIN_AREA <= masks[i].sum() <= MAX_SHARE * masks[around[0]].sum()
        deepest.add(int(level.max()))
    assert deepest == set(range(len(LEVELS)))


@every_style
def test_parts_side_by_side_are_apart(style):
    for masks, level, _ in things_of(scenes_of(style)):
        for i in range(len(masks)):
            for j in range(i):
                assert within(masks[i], masks[j]) or not (masks[i] & masks[j]).any()
                if level[i] == level[j]:
                    assert not (masks[i] & masks[j]).any()


@every_style
def test_things_do_not_overlap_and_are_to_be_seen(style):
    for masks, level in zip(scenes_of(style).masks, scenes_of(style).level, strict=True):
        wholes = masks[level == 0]
        assert (wholes.sum(dim=0) <= 1).all()
        assert wholes.flatten(1).any(dim=1).all()


@every_style
def test_as_many_things_as_asked_for_each_number_equally_often(style):
    counts = [len(names) for names in scenes_of(style, objects=(2, 4)).names]
    assert sorted(counts) == [2] * 8 + [3] * 8 + [4] * 8
    assert counts != sorted(counts)  # mixed
    assert {len(names) for names in scenes_of(style, objects=(3, 3)).names} == {3}


@every_style
def test_a_split_shows_its_own_concepts_only(style):
    emoji = load_emoji(64, (style,))
    for split in ("train", "selection", "held_out"):
        own = {emoji.names[i] for i in emoji.concepts(style, split).tolist()}
        shown = {name for names in scenes_of(style, split=split, objects=(1, 6)).names for name in names}
        assert shown <= own
    everyone = {
        name for names in make_part_scenes(60, seed=0, style=style, split=None).names for name in names
    }
    held_out = {emoji.names[i] for i in emoji.concepts(style, "held_out").tolist()}
    assert everyone & held_out and everyone - held_out


@every_style
def test_things_are_drawn_where_their_masks_are(style):
    """Beyond all things there is the canvas, of one colour; within, there are other colours."""
    scenes = scenes_of(style)
    beyond, inside = [], []
    for image, masks in zip(scenes.images, scenes.masks, strict=True):
        things = masks.any(dim=0)
        free = ~F.max_pool2d(things[None].float(), 5, 1, 2)[0].bool()  # at the edges colours are mixed
        canvas = image[:, free].median(dim=1).values
        differs = (image - canvas[:, None, None]).abs().amax(dim=0) > 0.05
        beyond.append(differs[free])
        inside.append(differs[things])
    assert torch.cat(beyond).float().mean() < 1e-3  # a speck that is too faint to be of the thing
    assert torch.cat(inside).float().mean() > 0.9


@every_style
def test_parts_are_those_of_the_picture(style):
    """A single large thing: each of its parts is one of the picture's, as deep or deeper, stretched to the box."""
    emoji, parts = load_emoji(64, (style,)), load_parts(style)
    pictures = [emoji.names[i] for i in emoji.concepts(style).tolist()]

    def cut(masks, like):
        """Masks within the box of the first, every pixel of a box of another size."""
        sides = []
        for across in (1, 0):
            own, other = (m.any(dim=across).nonzero().flatten() for m in (masks[0], like))
            steps = (torch.arange(len(other)) + 0.5) / len(other)
            sides.append(own[(steps * len(own)).long()])
        return masks[:, sides[0]][:, :, sides[1]]

    overlaps = []
    for masks, level, name in things_of(scenes_of(style, objects=(1, 1), size=128)):
        picture = pictures.index(name)
        originals, depth = cut(parts.masks(picture), masks[0]), torch.tensor(parts.depth(picture))
        for mask, its_level in zip(cut(masks, masks[0])[1:], level[1:], strict=True):
            deep = originals[depth >= its_level]
            overlaps.append(((deep & mask).sum(dim=(1, 2)) / (deep | mask).sum(dim=(1, 2))).max())
    assert len(overlaps) > 100
    assert torch.stack(overlaps).mean() > 0.8  # with another picture's parts: below 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "noto"}, r"one of twemoji, fluent; got 'noto'"),
        ({"objects": (0, 2)}, r"at least one; got \(0, 2\)"),
        ({"objects": (3, 2)}, r"at least one; got \(3, 2\)"),
        ({"objects": (1, 7)}, r"0 to 6 objects"),
        ({"size": 8}, r"16 pixels or more"),
        ({"split": "test"}, r"one of train, selection, held_out; got 'test'"),
    ],
)
def test_wrong_arguments_get_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        make_part_scenes(3, seed=0, **options)


def test_no_scenes():
    scenes = make_part_scenes(0, seed=0)
    assert len(scenes) == 0 and scenes.images.shape == (0, 3, 64, 64) and scenes.masks == ()
