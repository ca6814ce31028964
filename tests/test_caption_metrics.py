"""Caption scores: sacrebleu through our door against BLEU and chrF counted by hand, and CHAIR against sets."""

import math
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.tasks.caption_metrics import corpus_scores, mentions, name_forms, object_scores

NAMES = ("fox", "fox cub", "bear", "polar bear", "cherry", "car", "glass", "glasses", "T-Rex")
FORMS = name_forms(NAMES, {"wolverine": "fox", "automobile": "car"})


def names_in(text: str) -> list[str]:
    return [name for _, _, name in mentions(text, FORMS)]


def test_without_sacrebleu_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(ImportError, match="pip install sacrebleu"):
        corpus_scores(["a fox"], [["a fox"]])
    assert object_scores(["a fox"], [["fox"]], NAMES)["recall"] == 1


@pytest.fixture
def sacrebleu():
    return pytest.importorskip("sacrebleu", reason="sacrebleu is an optional extra: pip install sacrebleu")


def bleu_by_hand(captions, references):
    """Papineni et al. 2002, eq. 2 f., for words that are split at blanks, where every order has a match."""
    logs, said, right = [], 0, 0
    for order in range(1, 5):
        matched = total = 0
        for caption, some in zip(captions, references, strict=True):

            def grams(text, order=order):
                words = text.lower().split()
                return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))

            most = Counter()
            for reference in some:
                most |= grams(reference)
            matched += (grams(caption) & most).total()
            total += grams(caption).total()
        logs.append(math.log(matched / total))
    for caption, some in zip(captions, references, strict=True):
        n = len(caption.split())
        said += n
        right += min((abs(len(r.split()) - n), len(r.split())) for r in some)[1]
    return 100 * min(1, math.exp(1 - right / said)) * math.exp(sum(logs) / 4)


def test_bleu_by_hand(sacrebleu):
    captions = ["A fox left of a red car", "two bears and a glass and a fox"]
    references = [
        ["a fox left of a red car below a bear", "a fox left of a car"],
        ["two bears and a glass", "a glass and a fox and two bears", "two bears"],
    ]
    scores = corpus_scores(captions, references)
    assert scores["BLEU"] == pytest.approx(bleu_by_hand(captions, references))
    assert 0 < scores["chrF"] < 100 and scores["n"] == 2


def test_references_need_not_be_equally_many(sacrebleu):
    captions = ["fox", "a car"]
    few = corpus_scores(captions, [["fox and bear"], ["a car", "car"]])
    assert few == corpus_scores(captions, [["fox and bear"] * 2, ["a car", "car"]])
    assert few["BLEU"] == pytest.approx(100 * math.exp(1 - 5 / 3))  # 3 words of 5, all right; no 3-grams


def test_chrf_by_hand(sacrebleu):
    # "fox" against "fix": of 3, 2, 1 n-grams of length 1, 2, 3 are shared 2, 0, 0; longer there are none.
    precision = recall = (2 / 3 + 0 + 0) / 3
    f2 = 5 * precision * recall / (4 * precision + recall)
    assert corpus_scores(["fix"], [["Fox"]])["chrF"] == pytest.approx(100 * f2, abs=1e-6)


def test_a_perfect_caption_scores_100_however_short(sacrebleu):
    for text in ("a fox", "fox", "a fox and a car and a bear"):
        scores = corpus_scores([text], [[text, "something else"]])
        assert scores["BLEU"] == pytest.approx(100) and scores["chrF"] == pytest.approx(100)


def test_ngrams_are_blind_to_what_the_objects_are(sacrebleu):
    """Why object_scores stands beside them."""
    right, wrong = "a fox left of a car above a glass", "a fox left of a bear above a glass"
    assert corpus_scores([wrong], [[right]])["chrF"] > 70
    present = [["fox", "car", "glass"]]
    assert object_scores([wrong], present, NAMES)["CHAIR_s"] == 1
    assert object_scores([right], present, NAMES)["CHAIR_s"] == 0


def test_empty_captions_and_none_at_all(sacrebleu):
    assert corpus_scores([], []) == {"BLEU": 0, "chrF": 0, "n": 0}
    assert corpus_scores(["", ""], [["a fox"], ["a car", "car"]]) == {"BLEU": 0, "chrF": 0, "n": 2}
    nothing = {"CHAIR_i": 0, "CHAIR_s": 0, "precision": 0, "recall": 0}
    assert object_scores([], [], NAMES) == {**nothing, "n": 0}
    assert object_scores([""], [["fox"]], NAMES) == {**nothing, "n": 1}
    assert object_scores(["a fox"], [[]], ()) == {**nothing, "n": 1}


@pytest.mark.parametrize(
    "text, names",
    [
        ("A fox and a Polar Bear.", ["fox", "polar bear"]),
        ("two bears, foxes and cherries", ["bear", "fox", "cherry"]),
        ("foxglove, carpet, a scar", []),
        ("glasses", ["glasses"]),  # a name wins over a plural
        ("a glass", ["glass"]),
        ("an automobile", ["car"]),
        ("a t-rex, not a rex", ["T-Rex"]),
        ("a fox-like sea-bear", []),
        ("a fox cub", ["fox cub"]),
        ("no fox", ["fox"]),  # words alone
        ("", []),
    ],
)
def test_which_names_a_text_mentions(text, names):
    assert names_in(text) == names


def test_mentions_say_where():
    text = "A polar bear and two foxes"
    assert [(text[i:j], name) for i, j, name in mentions(text, FORMS)] == [
        ("polar bear", "polar bear"),
        ("foxes", "fox"),
    ]


def test_chair_by_hand():
    captions = ["a fox, a fox and a car", "a bear", "nothing much", "two cherries"]
    present = [["fox", "fox"], ["bear", "glass"], ["car"], ["cherry"]]
    # Mentioned: fox, car | bear | - | cherry = 4, one invented (car).  There: fox | bear, glass | car | cherry = 5.
    assert object_scores(captions, present, NAMES) == {
        "CHAIR_i": 1 / 4,
        "CHAIR_s": 1 / 4,
        "precision": 3 / 4,
        "recall": 3 / 5,
        "n": 4,
    }


SOME = st.lists(st.sampled_from(["fox", "bear", "polar bear", "car", "cherry"]), max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(SOME, SOME), max_size=5), st.integers(1, 3))
def test_chair_counts_pairs_of_picture_and_name(pairs, times):
    captions = [" and ".join(f"a {name}" for name in said * times) for said, _ in pairs]
    scores = object_scores(captions, [there for _, there in pairs], NAMES)
    said = {(i, name) for i, (names, _) in enumerate(pairs) for name in names}
    there = {(i, name) for i, (_, names) in enumerate(pairs) for name in names}
    assert scores["CHAIR_i"] == (len(said - there) / len(said) if said else 0)
    assert scores["CHAIR_s"] == (len({i for i, _ in said - there}) / len(pairs) if pairs else 0)
    assert scores["precision"] == (len(said & there) / len(said) if said else 0)
    assert scores["recall"] == (len(said & there) / len(there) if there else 0)
    if said:
        assert scores["CHAIR_i"] + scores["precision"] == pytest.approx(1)


def test_misuse_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="lists of references; got 1 and 0"):
        corpus_scores(["a fox"], [])
    with pytest.raises(ValueError, match=r"caption 0 needs a list of one reference or more; got \[\]"):
        corpus_scores(["a fox"], [[]])
    with pytest.raises(ValueError, match="caption 0 needs a list of one reference or more; got 'a fox'"):
        corpus_scores(["a fox"], ["a fox"])
    with pytest.raises(ValueError, match="lists of what is present; got 1 and 2"):
        object_scores(["a fox"], [["fox"], ["fox"]], NAMES)
    with pytest.raises(ValueError, match="'ox' is present in a picture, but not among the names"):
        object_scores(["an ox"], [["ox"]], NAMES)
    with pytest.raises(ValueError, match="'wolves' is given as a synonym of 'wolf'"):
        name_forms(NAMES, {"wolves": "wolf"})
