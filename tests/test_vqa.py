"""VQA scores: by hand, against SQuAD's formula written another way, and with models that misbehave."""

import re
import string

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cs_vl.tasks.vqa import (
    VQAItem,
    ask,
    evaluate_vqa,
    exact_match,
    final_answer,
    normalise,
    score_answers,
    token_f1,
)

WORDS = st.sampled_from(
    ["the", "A", "an", "fox", "Fox", "car", "two", "2", "none", "fox's", "left-right", "."]
)
TEXTS = st.lists(WORDS, max_size=6).map(" ".join) | st.text(max_size=12)


@pytest.mark.parametrize(
    "text, normal",
    [
        ("The two Foxes.", "2 foxes"),
        ("  a fox,\tAND the car! ", "fox and car"),
        ("none", "0"),
        ("Zero", "0"),
        ("ten", "10"),
        ("another theatre", "another theatre"),  # articles are whole words
        ("fox's", "foxs"),
        ("A", "a"),  # nothing but an article: the answer of a multiple choice
        ("(B)", "b"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_what_nobody_should_be_marked_down_for_is_dropped(text, normal):
    assert normalise(text) == normal


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_normalising_twice_changes_nothing_more(text):
    assert normalise(normalise(text)) == normalise(text)


def squad_f1(prediction: str, answer: str) -> float:
    """SQuAD's F1 as its definition reads: lists, precision, recall; no Counter, no shortcut."""

    def tokens(text):
        text = "".join(c for c in text.lower() if c not in set(string.punctuation))
        split = text.split()
        kept = re.sub(r"(?<!\S)(a|an|the)(?!\S)", " ", " ".join(split)).split() or split
        numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        return [str(numbers.index(w)) if w in numbers else "0" if w == "none" else w for w in kept]

    said, right = tokens(prediction), tokens(answer)
    if not said or not right:
        return float(said == right)
    left, shared = list(right), 0
    for word in said:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(right)
    return 2 * precision * recall / (precision + recall)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS)
@example("", "")
@example("", "fox")
@example("the", "fox")
@example("fox fox car", "fox car car")
def test_f1_is_squad_s(prediction, answer):
    value = token_f1(prediction, answer)
    assert value == pytest.approx(squad_f1(prediction, answer))
    assert value == pytest.approx(token_f1(answer, prediction))  # symmetric, as F1 is
    assert 0 <= value <= 1
    if exact_match(prediction, answer):
        assert value == 1
    elif value == 1:
        assert sorted(normalise(prediction).split()) == sorted(normalise(answer).split())


def test_f1_by_hand():
    assert token_f1("a red fox", "the fox") == pytest.approx(2 / 3)  # P 1/2, R 1
    assert token_f1("fox fox", "fox car") == pytest.approx(1 / 2)  # the second fox is one too many
    assert token_f1("two foxes left of the car", "2 foxes") == pytest.approx(4 / 7)
    assert token_f1("dog", "fox") == 0
    assert token_f1("", "") == token_f1("!", "") == 1
    assert token_f1("", "fox") == token_f1("fox", "") == 0


def test_of_several_right_answers_the_best_counts():
    assert exact_match("Canines", ("canine", "canines"))
    assert not exact_match("canid", ("canine", "canines"))
    assert token_f1("a big canine", ("feline", "big", "canine animal")) == pytest.approx(2 / 3)
    assert token_f1("fox", ()) == 0 and not exact_match("fox", ())
    assert not exact_match("", "A") and not exact_match("A", "the")  # an article that is an answer stays one


@pytest.mark.parametrize(
    "text, part",
    [
        ("This is a fox, and a fox is a kind of canine.", "canine"),
        ("A fox is a kind of canine. It has a tail.", "canine"),
        ("The answer is B. Foxes are canines.", "B"),
        ("Foxes bark, so THE ANSWER IS: B", "B"),
        ("answer: two", "two"),
        ("This is an owl, and owl begins with o.", "o"),
        ("This is an owl, and owl goes with the word wise", "wise"),
        ("A fox is a kind of canine. A canine is a kind of mammal.", "mammal"),  # the last one
        ("A fox is not a kind of canine.", "A fox is not a kind of canine."),  # a denial is no answer
        ("This is a kind offer", "This is a kind offer"),  # whole words
        ("  canine ", "canine"),
        ("It is a kind of", ""),
        ("", ""),
    ],
)
def test_the_part_that_counts(text, part):
    assert final_answer(text) == part


def test_final_answers_are_judged_strictly():
    def right(said, answer):
        return exact_match(final_answer(said), answer)

    assert right("This is a fox, and a fox is a kind of canine.", "canine")
    assert not right("A fox is a kind of canine, feline or bird.", "canine")  # no listing
    assert not right("A fox is a kind of not canine.", "canine")
    assert not right("a teddy bear", "bear")
    assert not right("It's no canine", "canine")
    assert right("so: canine", "canine") is False  # no marker, so the whole text counts
    assert final_answer("so: canine", markers=("so:",)) == "canine"
    assert final_answer(" the answer is x", markers=()) == "the answer is x"


IMAGES = torch.arange(5.0)[:, None, None, None].expand(5, 3, 8, 8) / 5
ITEMS = [
    VQAItem(4, "How many?", ("4", "many"), "count"),
    VQAItem(0, "Is there a fox?", "yes", "presence"),
    VQAItem(2, "How many?", "2", "count"),
    VQAItem(2, "Is there a fox?", "no", "presence"),
    VQAItem(1, "How many?", "1", "count"),
]


def reads_brightness(images, questions):
    """Counts right (its pictures say which they are), and sees a fox everywhere."""
    numbers = (images[:, 0, 0, 0] * 5).round().long().tolist()
    words = ("zero", "One.", "three", "three", "four")
    return [words[k] if q == "How many?" else "Yes" for k, q in zip(numbers, questions, strict=True)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_scores_are_told_apart_by_family(batch_size):
    scores = evaluate_vqa(reads_brightness, IMAGES, ITEMS, batch_size)
    assert list(scores) == ["count", "presence"]
    assert scores["count"] == {"exact_match": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3), "n": 3}
    assert scores["presence"] == {"exact_match": 0.5, "f1": 0.5, "n": 2}


def test_f1_and_exact_match_differ_where_some_words_are_right():
    scores = score_answers(["a red fox"], [VQAItem(0, "What is it?", "a fox", "kind")])
    assert scores == {"kind": {"exact_match": 0.0, "f1": pytest.approx(2 / 3), "n": 1}}


def test_answers_can_be_cut_first():
    items = [VQAItem(0, "What is a fox?", "canine", "facts")]
    said = ["This is a fox, and a fox is a kind of canine."]
    assert score_answers(said, items)["facts"]["exact_match"] == 0
    assert score_answers(said, items, final_answer)["facts"] == {"exact_match": 1, "f1": 1, "n": 1}


def test_batches_keep_questions_and_pictures_together():
    seen = []

    def echo(images, questions):
        seen.append((images.shape, len(questions)))
        return [f"{q} {round(float(i[0, 0, 0]) * 5)}" for i, q in zip(images, questions, strict=True)]

    assert ask(echo, IMAGES, ITEMS, 2) == [f"{item.question} {item.image}" for item in ITEMS]
    assert seen == [((2, 3, 8, 8), 2), ((2, 3, 8, 8), 2), ((1, 3, 8, 8), 1)]
    assert ask(lambda images, questions: [str(images)] * len(questions), None, ITEMS) == ["None"] * 5


def test_nothing_asked_is_nothing_scored():
    def never(images, questions):
        raise AssertionError("asked about nothing")

    assert evaluate_vqa(never, IMAGES, []) == {}
    assert evaluate_vqa(never, torch.zeros(0, 3, 8, 8), []) == {}
    assert evaluate_vqa(lambda images, questions: [""] * len(questions), IMAGES, ITEMS)["count"]["f1"] == 0


def test_misuse_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="picture 5; there are 5, counted from 0"):
        ask(reads_brightness, IMAGES, [VQAItem(5, "How many?", "5", "count")])
    with pytest.raises(ValueError, match="for 5 questions it gave 1"):
        ask(lambda images, questions: ["yes"], IMAGES, ITEMS)
    with pytest.raises(ValueError, match="gave the string 'yesno!'"):
        ask(lambda images, questions: "yesno!", IMAGES, ITEMS)
    with pytest.raises(TypeError, match="must be strings, decoded already; got Tensor"):
        ask(lambda images, questions: list(torch.arange(len(questions))), IMAGES, ITEMS)
    with pytest.raises(ValueError, match="got 1 for 5 items"):
        score_answers(["yes"], ITEMS)
    with pytest.raises(ValueError, match="batch_size must be 1 or more; got 0"):
        ask(reads_brightness, IMAGES, ITEMS, 0)
