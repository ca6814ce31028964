"""A word as a prompt: what is cut out, and whether the word finds it."""

import pytest
import torch

from cs_vl.data.emoji_captions import load_tokenizer
from cs_vl.data.part_scenes import make_part_scenes
from cs_vl.tasks.emoji_clip import name_embeddings
from cs_vl.tasks.stored import load_emoji_clip
from cs_vl.tasks.text_prompt import cut_out, text_prompt
from cs_vl.tasks.zero_shot import encode_images

CLIP, TOKENIZER = load_emoji_clip(), load_tokenizer()
IMAGE = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0)) * 0.9  # nowhere white
WIDE = torch.zeros(30, 40, dtype=torch.bool)
WIDE[10:15, 3:23] = True  # 20 x 5
CORNER = torch.zeros(30, 40, dtype=torch.bool)
CORNER[24:, 34:] = True


def ask(image=IMAGE, masks=None, texts=("a fox", "a bus"), **options):
    return text_prompt(
        CLIP, TOKENIZER, image, torch.stack([WIDE, CORNER]) if masks is None else masks, texts, **options
    )


# --- the piece ------------------------------------------------------------------------------------------------


def test_a_thing_in_the_middle_of_white():
    piece = cut_out(IMAGE, WIDE, 22, margin=0.05)  # 20 and one on each side: nothing is scaled
    expected = torch.ones(3, 22, 22)
    expected[:, 8:13, 1:21] = IMAGE[:, 10:15, 3:23]
    torch.testing.assert_close(piece, expected)


def test_no_margin():
    torch.testing.assert_close(cut_out(IMAGE, CORNER, 6, margin=0), IMAGE[:, 24:, 34:])


def test_what_is_not_in_the_mask_is_white():
    mask = WIDE.clone()
    mask[12, 10] = False
    piece = cut_out(IMAGE, mask, 20, margin=0)
    assert (piece == 1).all(dim=0).sum() == 15 * 20 + 1
    assert piece[:, 7 + 2, 7].tolist() == [1, 1, 1]


@pytest.mark.parametrize("size", [8, 32, 100])
@pytest.mark.parametrize("mask", [WIDE, CORNER, WIDE | CORNER, torch.ones_like(WIDE)])
def test_any_mask_at_any_size(mask, size):
    before = IMAGE.clone()
    piece = cut_out(IMAGE, mask, size)
    assert piece.shape == (3, size, size) and torch.equal(IMAGE, before)
    assert piece.min() >= 0 and piece.max() <= 1 + 1e-6


def test_a_single_pixel():
    mask = torch.zeros_like(WIDE)
    mask[4, 5] = True
    torch.testing.assert_close(cut_out(IMAGE, mask, 3), IMAGE[:, 4:5, 5:6].expand(3, 3, 3))


def test_where_a_thing_is_makes_no_difference():
    moved = IMAGE.roll((7, 9), dims=(1, 2))
    torch.testing.assert_close(cut_out(moved, WIDE.roll((7, 9), dims=(0, 1)), 32), cut_out(IMAGE, WIDE, 32))


# --- the words ------------------------------------------------------------------------------------------------


def test_cosines_of_pieces_and_prompts():
    similar = ask(texts=["a fox", "a bus", "a hat"])
    pieces = torch.stack([cut_out(IMAGE, mask, 32) for mask in (WIDE, CORNER)])
    expected = encode_images(CLIP, pieces) @ name_embeddings(CLIP, TOKENIZER, ["a fox", "a bus", "a hat"]).T
    assert similar.shape == (2, 3)
    torch.testing.assert_close(similar, expected)
    assert (similar.abs() <= 1 + 1e-5).all()


def test_templates_of_ones_own():
    assert not torch.allclose(ask(templates=("{}",)), ask())
    torch.testing.assert_close(ask(templates=("{}", "{}")), ask(templates=("{}",)))


def test_names_find_their_things():
    """Among true masks of held-out things, which CLIP hasn't seen either; chance is one in two or three."""
    scenes = make_part_scenes(40, seed=5, split="held_out", objects=(2, 3))
    right = asked = chance = 0
    for i, names in enumerate(scenes.names):
        if len(set(names)) < len(names):
            continue
        wholes = scenes.masks[i][scenes.level[i] == 0]
        chosen = text_prompt(CLIP, TOKENIZER, scenes.images[i], wholes, names).argmax(dim=0)
        right += int((chosen == torch.arange(len(names))).sum())
        asked, chance = asked + len(names), chance + 1
    assert asked > 80 and right / asked > chance / asked + 0.2


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"texts": []}, r"a list of one text or more; got \[\]"),
        ({"texts": "a fox"}, "a list of one text or more; got 'a fox'"),
        ({"masks": torch.zeros(0, 30, 40, dtype=torch.bool)}, "there are 0 masks"),
        ({"masks": torch.stack([WIDE, WIDE & CORNER])}, "one pixel at least; got none of 1200"),
        (
            {"masks": torch.ones(1, 20, 20, dtype=torch.bool)},
            r"as large as its image, \(30, 40\); got \(20, 20\)",
        ),
    ],
)
def test_mistakes(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        ask(**wrong)
