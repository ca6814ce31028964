"""POPE: questions that are half yes and half no, and scores against a confusion matrix."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.tasks.hallucination import (
    STRATEGIES,
    co_occurrence,
    evaluate_pope,
    frequencies,
    pope_questions,
    says_yes,
    yes_no_scores,
)
from cs_vl.tasks.vqa import VQAItem

NAMES = ["fox", "car", "apple", "bee", "cup", "owl"]
# In training a fox comes with an apple, a car with a cup; bees are everywhere.
TRAIN = [["fox", "apple", "bee"]] * 5 + [["car", "cup", "bee"]] * 4 + [["owl", "bee"], ["fox", "cup"]]


def asked(items: list[VQAItem], answer: str) -> list[str]:
    return [item.question.split()[-1].rstrip("?") for item in items if item.answer == answer]


scenes = st.lists(st.lists(st.sampled_from(NAMES), max_size=6), max_size=6)


@settings(max_examples=200, deadline=None)
@given(scenes, st.sampled_from(STRATEGIES), st.sampled_from([0, 2, 4, 6]), st.integers(0, 999))
def test_half_of_the_questions_about_each_picture_are_true(present, how, per_image, seed):
    items = pope_questions(present, NAMES, how, per_image=per_image, seed=seed)
    for image, there in enumerate(present):
        here = [item for item in items if item.image == image]
        yes, no = asked(here, "yes"), asked(here, "no")
        expected = min(per_image // 2, len(set(there)), len(NAMES) - len(set(there)))
        assert len(yes) == len(no) == expected and len(yes) + len(no) == len(here)
        assert set(yes) <= set(there) and set(no) <= set(NAMES) - set(there)
        assert len(set(yes)) == len(yes) and len(set(no)) == len(no)  # nothing is asked twice
    assert all(item.family == f"POPE {how}" for item in items)
    assert items == pope_questions(present, NAMES, how, per_image=per_image, seed=seed)


@settings(max_examples=200, deadline=None)
@given(scenes, st.sampled_from(STRATEGIES[1:]), st.integers(0, 999))
def test_the_absent_are_the_most_tempting(present, how, seed):
    items = pope_questions(present, NAMES, how, per_image=4, seed=seed, train=TRAIN)
    for image, there in enumerate(present):
        no = asked([item for item in items if item.image == image], "no")

        def tempting(name, there=there):
            if how == "popular":
                return sum(name in scene for scene in TRAIN)
            return sum((name in scene) and (other in scene) for scene in TRAIN for other in set(there))

        left = [tempting(name) for name in set(NAMES) - set(there) - set(no)]
        assert [tempting(name) for name in no] == sorted(map(tempting, no), reverse=True)
        if no and left:
            assert min(map(tempting, no)) >= max(left)


def test_strategies_by_hand():
    def no(how, train=TRAIN):
        return asked(pope_questions([["car"]], NAMES, how, per_image=2, seed=0, train=train), "no")

    assert no("popular") == ["bee"]  # in 10 of 11
    assert no("adversarial", [*TRAIN, ["car", "cup"]]) == ["cup"]  # 5 times with a car; bees 4 times
    assert no("adversarial", [["car", "cup"], *[["bee"]] * 9]) == ["cup"]
    assert no("popular", [["car", "cup"], *[["bee"]] * 9]) == ["bee"]


def test_without_training_lists_the_pictures_themselves_are_counted():
    present = [["fox", "owl"], ["fox", "owl"], ["fox", "owl"], ["car", "bee"], ["fox"]]
    items = pope_questions(present, NAMES, "adversarial", per_image=2, seed=1)
    assert asked([item for item in items if item.image == 4], "no") == ["owl"]
    items = pope_questions(present, NAMES, "popular", per_image=2, seed=1)
    assert asked([item for item in items if item.image == 3], "no") == ["fox"]


def test_where_counts_say_nothing_every_absent_name_is_asked_about():
    """The first names of the list must not become the only negatives."""
    present = [["fox"]] * 300
    for how in STRATEGIES:
        items = pope_questions(present, NAMES, how, per_image=2, seed=0, train=[])
        counts = Counter(asked(items, "no"))
        assert set(counts) == set(NAMES[1:]) and max(counts.values()) < 3 * min(counts.values())


def test_of_what_is_there_each_is_asked_about():
    items = pope_questions([["fox", "car", "owl"]] * 60, NAMES, "random", per_image=2, seed=0)
    counts = Counter(asked(items, "yes"))
    assert set(counts) == {"fox", "car", "owl"} and min(counts.values()) > 8


def test_a_picture_s_random_questions_do_not_depend_on_the_others():
    present = [["fox", "car"], ["bee"], ["owl", "cup"]]
    items = pope_questions(present, NAMES, "random", per_image=4, seed=2)
    others = pope_questions([*present[:2], ["fox"]], NAMES, "random", per_image=4, seed=2)
    assert [i for i in items if i.image < 2] == [i for i in others if i.image < 2]
    assert items != pope_questions(present, NAMES, "random", per_image=4, seed=3)


def test_counts_by_hand():
    lists = [["fox", "fox", "car"], ["car"], []]
    assert frequencies(lists) == {"fox": 1, "car": 2}
    assert co_occurrence(lists) == {("fox", "car"): 1, ("car", "fox"): 1}


def test_wording_and_articles():
    items = pope_questions([["apple"]], ["apple", "fox"], "random", per_image=2, seed=0)
    assert [item.question for item in items] == ["Is there an apple?", "Is there a fox?"]
    items = pope_questions([["apple"]], ["apple"], "random", per_image=2, seed=0)
    assert items == []  # nothing is absent
    items = pope_questions([["fox"]], NAMES, "random", per_image=2, seed=0, question="See {}?".format)
    assert items[0].question == "See fox?"


@pytest.mark.parametrize(
    "answer, meaning",
    [
        ("yes", True),
        ("Yes, there is a fox.", True),
        ("There is a fox.", True),
        ("no", False),
        ("NO!", False),
        ("No. There is a car.", False),
        ("Yes. There is no car.", True),  # the first sentence
        ("There is not", False),
        ("It isn't there", False),
        ("It isn’t there", False),
        ("a notebook, nobody", True),  # whole words
        ("", None),
        (" ?! ", None),
        ("...no", False),
    ],
)
def test_what_a_free_answer_means(answer, meaning):
    assert says_yes(answer) is meaning


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["yes", "no", ""]), st.sampled_from(["yes", "no"])), max_size=12))
def test_scores_are_those_of_the_confusion_matrix(pairs):
    scores = yes_no_scores([said for said, _ in pairs], [label for _, label in pairs])
    matrix = np.zeros((3, 2))  # said yes, no, nothing; should be yes, no
    for said, label in pairs:
        matrix[("yes", "no", "").index(said), ("yes", "no").index(label)] += 1
    (tp, fp), (fn, tn), (silent_yes, _) = matrix

    def ratio(part, whole):
        return part / whole if whole else 0.0

    precision, recall = ratio(tp, tp + fp), ratio(tp, tp + fn + silent_yes)
    assert scores["accuracy"] == pytest.approx(ratio(tp + tn, matrix.sum()))
    assert scores["precision"] == pytest.approx(precision)
    assert scores["recall"] == pytest.approx(recall)
    assert scores["f1"] == pytest.approx(ratio(2 * precision * recall, precision + recall))
    assert scores["yes_ratio"] == pytest.approx(ratio(tp + fp, matrix.sum()))
    assert scores["n"] == len(pairs)


def test_scores_by_hand():
    labels = ["yes", "no"] * 3
    assert yes_no_scores(["yes"] * 6, labels) == {
        "accuracy": 0.5,
        "precision": 0.5,
        "recall": 1,
        "f1": pytest.approx(2 / 3),
        "yes_ratio": 1,
        "n": 6,
    }
    perfect = yes_no_scores(labels, labels)
    assert perfect == {"accuracy": 1, "precision": 1, "recall": 1, "f1": 1, "yes_ratio": 0.5, "n": 6}
    silent = yes_no_scores([""] * 6, labels)
    assert silent == {"accuracy": 0, "precision": 0, "recall": 0, "f1": 0, "yes_ratio": 0, "n": 6}
    assert yes_no_scores([], []) == {**silent, "n": 0}


def test_a_model_of_habit_hallucinates_more_the_harder_the_strategy():
    """It sees what is there, and whatever usually comes with it; "random" hardly notices."""
    present = [["fox", "bee"], ["car"], ["fox"], ["car", "owl"], ["fox"], ["car"]] * 10
    images = torch.zeros(len(present), 3, 4, 4) + torch.arange(len(present))[:, None, None, None]
    habits = {"fox": {"apple"}, "car": {"cup"}}

    def answer(images, questions):
        said = []
        for image, question in zip(images[:, 0, 0, 0].long().tolist(), questions, strict=True):
            name, there = question.split()[-1].rstrip("?"), present[image]
            expected = set(there).union(*(habits.get(x, set()) for x in there))
            said.append("Yes." if name in expected else "No.")
        return said

    train = [["fox", "apple"], ["car", "cup"], ["owl"]]
    scores = {}
    for how in ("random", "adversarial"):
        items = pope_questions(present, NAMES, how, per_image=2, seed=0, train=train)
        scores |= evaluate_pope(answer, images, items, batch_size=7)
    assert scores["POPE random"]["recall"] == scores["POPE adversarial"]["recall"] == 1
    assert scores["POPE random"]["accuracy"] > 0.8
    assert scores["POPE adversarial"]["accuracy"] == 0.5  # every trap is stepped into
    assert scores["POPE adversarial"]["yes_ratio"] == 1


def test_nothing_asked_is_nothing_scored():
    assert pope_questions([], NAMES, "popular", seed=0) == []
    assert pope_questions([[], []], NAMES, "adversarial", seed=0) == []
    assert evaluate_pope(lambda images, questions: [], torch.zeros(0, 3, 4, 4), []) == {}


def test_misuse_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="how must be one of random, popular, adversarial; got 'hard'"):
        pope_questions([["fox"]], NAMES, "hard", seed=0)
    with pytest.raises(ValueError, match="per_image must be even, half of it yes and half no; got 3"):
        pope_questions([["fox"]], NAMES, "random", per_image=3, seed=0)
    with pytest.raises(ValueError, match="'wolf' is present in a picture, but not among the names"):
        pope_questions([["wolf"]], NAMES, "random", seed=0)
    with pytest.raises(ValueError, match="got 1 for 2"):
        yes_no_scores(["yes"], ["yes", "no"])
    with pytest.raises(ValueError, match='labels must be "yes" or "no"; got \'fox\''):
        evaluate_pope(lambda i, q: ["yes"], None, [VQAItem(0, "What is it?", "fox", "kind")])
