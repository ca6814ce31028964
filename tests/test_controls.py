"""Controls: models that look, read, or do neither, must be told apart by them."""

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cs_vl.tasks.controls import CONTROLS, majority_answers, shuffle_images, with_controls
from cs_vl.tasks.vqa import VQAItem

N = 12
COLOURS = ("red", "green", "blue")
IMAGES = torch.stack(
    [torch.eye(3)[i % 3][:, None, None].expand(3, 4, 4) for i in range(N)]
)  # one colour each
ITEMS = [VQAItem(i, "What colour?", COLOURS[i % 3], "colour") for i in range(N)]
ITEMS += [VQAItem(i, f"Is it {COLOURS[0]}?", "yes" if i % 3 == 0 else "no", "presence") for i in range(N)]


def truth(image: int, question: str) -> str:
    colour = COLOURS[image % 3]
    return colour if question == "What colour?" else ("yes" if colour in question else "no")


def looks(images, questions):
    """Sees the colour of a picture, and reads what is asked; without a picture, or a question, it guesses."""
    colours = [None] * len(questions)
    if images is not None:
        mean = images.mean((2, 3))
        colours = [COLOURS[int(m.argmax())] if m.max() > m.min() else None for m in mean]
    return [
        "" if colour is None else truth(COLOURS.index(colour), question)
        for colour, question in zip(colours, questions, strict=True)
    ]


def reads(images, questions):
    """Never looks: the most frequent answer to each question."""
    return ["no" if q.startswith("Is it") else "red" for q in questions]


@st.composite
def item_lists(draw):
    families = st.sampled_from(["a", "b", "c"])
    return [
        VQAItem(draw(st.integers(0, 6)), f"question {i}", "x", draw(families))
        for i in range(draw(st.integers(0, 20)))
    ]


@settings(max_examples=200, deadline=None)
@given(item_lists(), st.integers(0, 10**6))
def test_no_item_keeps_its_picture_and_each_family_keeps_its_pictures(items, seed):
    counts = Counter((item.family, item.image) for item in items)
    sizes = Counter(item.family for item in items)
    assume(all(2 * count <= sizes[family] for (family, _), count in counts.items()))
    shuffled = shuffle_images(items, seed)
    for old, new in zip(items, shuffled, strict=True):
        assert new.image != old.image
        assert (new.question, new.answer, new.family) == (old.question, old.answer, old.family)
    assert Counter((item.family, item.image) for item in shuffled) == counts
    assert shuffle_images(items, seed) == shuffled


@settings(max_examples=100, deadline=None)
@given(item_lists(), st.integers(2, 9), st.integers(0, 99))
def test_where_no_derangement_exists_other_pictures_are_drawn(items, more, seed):
    n = 7 + more
    shuffled = shuffle_images(items, seed, n)
    assert all(
        0 <= new.image < n and new.image != old.image for old, new in zip(items, shuffled, strict=True)
    )


def test_a_family_s_shuffle_depends_on_the_seed_and_on_nothing_else():
    alone = shuffle_images(ITEMS[:N], 3)
    assert shuffle_images(ITEMS, 3)[:N] == alone
    assert shuffle_images(ITEMS, 4)[:N] != alone
    other = shuffle_images([VQAItem(i, "q", "x", "other") for i in range(N)], 3)
    assert [item.image for item in other] != [item.image for item in alone]
    state = torch.get_rng_state()
    shuffle_images(ITEMS, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_shuffle_that_can_t_be_is_told():
    one = [VQAItem(0, "Is it red?", "yes", "presence")] * 3 + [VQAItem(1, "Is it red?", "no", "presence")]
    with pytest.raises(ValueError, match="3 of the 4 questions of family 'presence' are about one picture"):
        shuffle_images(one, 0)
    with pytest.raises(ValueError, match="can't all get another one"):
        shuffle_images(one[:1], 0, 1)


def test_who_looks_loses_without_the_picture():
    scores = with_controls(looks, IMAGES, ITEMS, truth=truth)
    assert set(scores) == {*CONTROLS, "perfect, shuffled"}
    right = {control: {f: s["exact_match"] for f, s in family.items()} for control, family in scores.items()}
    assert right["full"] == {"colour": 1, "presence": 1}
    for blind in ("text only", "grey image"):
        assert right[blind] == {"colour": 0, "presence": 0}
    # To an empty question this model says "no", which is right of two colours of three.
    assert right["image only"] == {"colour": 0, "presence": pytest.approx(2 / 3)}
    # Who sees perfectly is right about a wrong picture just as often as the truth about it is.
    assert right["shuffled images"] == right["perfect, shuffled"]
    assert 0 < right["perfect, shuffled"]["presence"] < 1
    assert right["majority answer"] == {"colour": pytest.approx(1 / 3), "presence": pytest.approx(2 / 3)}
    assert all(s["n"] == N for family in scores.values() for s in family.values())


def test_who_only_reads_is_found_out():
    scores = with_controls(reads, IMAGES, ITEMS)
    assert scores["full"] == scores["text only"] == scores["grey image"] == scores["shuffled images"]
    assert scores["full"] == scores["majority answer"]
    assert "perfect, shuffled" not in scores


def test_what_each_control_shows_the_model():
    seen = {}
    for control in CONTROLS[:-1]:

        def spy(images, questions, control=control):
            seen.setdefault(control, []).append((images, questions))
            return [""] * len(questions)

        with_controls(spy, IMAGES, ITEMS[:N], controls=[control], generic_question="What is it?", seed=5)
    questions = [item.question for item in ITEMS[:N]]
    assert seen["text only"] == [(None, questions)]
    assert torch.equal(seen["full"][0][0], IMAGES)
    assert torch.equal(seen["grey image"][0][0], torch.full_like(IMAGES, 0.5))
    assert seen["image only"][0][1] == ["What is it?"] * N and torch.equal(seen["image only"][0][0], IMAGES)
    there = [item.image for item in shuffle_images(ITEMS[:N], 5)]
    assert torch.equal(seen["shuffled images"][0][0], IMAGES[there])
    assert all(seen[c][0][1] == questions for c in seen if c != "image only")


def test_majority_answers_are_of_the_items_or_of_training_ones():
    items = [
        VQAItem(0, "q", ("Two", "2", "a pair"), "count"),
        VQAItem(1, "q", ("pair", "couple"), "count"),
        VQAItem(2, "q", "one", "count"),
    ]
    assert majority_answers(items) == {"count": "pair"}  # right for two; "two" and "2" are one answer
    scores = with_controls(looks, IMAGES, items, controls=["majority answer"])
    assert scores["majority answer"]["count"]["exact_match"] == pytest.approx(2 / 3)
    train = [VQAItem(0, "q", "one", "count")]
    scores = with_controls(looks, IMAGES, items, controls=["majority answer"], train_items=train)
    assert scores["majority answer"]["count"]["exact_match"] == pytest.approx(1 / 3)
    scores = with_controls(looks, IMAGES, items, controls=["majority answer"], train_items=[])
    assert scores["majority answer"]["count"]["exact_match"] == 0


def test_the_truth_may_have_several_answers_or_none():
    items = [VQAItem(i, "q", ("", "same"), "f") for i in range(4)]
    several = {0: ("x", "same"), 1: "Same!", 2: None, 3: "other"}
    scores = with_controls(
        looks, IMAGES, items, controls=["shuffled images"], truth=lambda image, q: several[image]
    )
    assert scores["perfect, shuffled"]["f"]["exact_match"] == 0.5  # "no answer" is not the empty answer


def test_nothing_asked_and_empty_answers():
    empty = with_controls(looks, IMAGES, [], truth=truth)
    assert set(empty) == {*CONTROLS, "perfect, shuffled"} and not any(empty.values())
    silent = with_controls(lambda images, questions: [""] * len(questions), IMAGES, ITEMS)
    assert silent["full"]["colour"]["exact_match"] == 0


def test_an_unknown_control_is_told():
    with pytest.raises(ValueError, match="'text' is no control; there are full, text only, grey image"):
        with_controls(looks, IMAGES, ITEMS, controls=["full", "text"])
