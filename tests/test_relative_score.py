"""The relative score: what the rule-based judge reads, that neither length nor place helps, and the ratio."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.data.scenes import make_scenes
from cs_vl.tasks.relative_score import RuleJudge, SceneFacts, relative_score, scene_facts
from cs_vl.tasks.vqa import VQAItem

NAMES = ("fox", "car", "bee", "polar bear", "cup", "owl", "bus", "ant", "hat")
JUDGE = RuleJudge(NAMES, synonyms={"automobile": "car"})
FACTS = SceneFacts(
    ("fox", "car", "cup", "cup"), frozenset({("fox", "left of", "car"), ("cup", "above", "fox")})
)
OPEN = "What is in the picture?"
# The five facts that FACTS wants.  Which of the cups is above the fox is true, but not wanted.
ALL = "A fox, a car and two cups. The fox is to the left of the car."


@pytest.mark.parametrize(
    "text, statements",
    [
        ("a fox", {("there", "fox")}),
        ("Two foxes and an automobile!", {("there", "fox"), ("count", "fox", "2"), ("there", "car")}),
        ("3 bees", {("there", "bee"), ("count", "bee", "3")}),
        ("there is no fox", {("not", "there", "fox")}),
        ("there isn't a fox", {("not", "there", "fox")}),
        ("there aren't any foxes", {("not", "there", "fox")}),
        ("zero foxes", {("not", "there", "fox")}),
        ("The polar bear", {("there", "polar bear")}),
        (
            "the fox is to the left of the car",
            {("there", "fox"), ("there", "car"), ("related", "fox", "left of", "car")},
        ),
        ("a car right of a fox", {("there", "fox"), ("there", "car"), ("related", "fox", "left of", "car")}),
        ("a car below a fox", {("there", "fox"), ("there", "car"), ("related", "fox", "above", "car")}),
        (
            "the fox is not above the car",
            {("there", "fox"), ("there", "car"), ("not", "related", "fox", "above", "car")},
        ),
        (
            "there is no fox above the car",
            {("not", "there", "fox"), ("there", "car"), ("not", "related", "fox", "above", "car")},
        ),
        ("a fox. Left of the car", {("there", "fox"), ("there", "car")}),  # not across sentences
        ("a fox and a bee above a cup", {
            ("there", "fox"), ("there", "bee"), ("there", "cup"), ("related", "bee", "above", "cup"),
        }),
        ("A nice day, and foxgloves.", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_what_the_judge_reads(text, statements):
    assert JUDGE.statements(text) == statements


def rating(helpfulness: float, accuracy: float) -> float:
    return 1 + 9 * 2 / (1 / helpfulness + 1 / accuracy)


@pytest.mark.parametrize(
    "answer, value",
    [
        (ALL, 10),
        ("", 1),
        ("A nice day.", 1),
        ("a bee", 1),
        ("a fox", rating(1 / 5, 1)),
        ("a fox and a bee", rating(1 / 5, 1 / 2)),
        ("three cups", rating(1 / 5, 1 / 2)),  # there: true; three: false
        ("a fox, and no bee", rating(1 / 5, 1)),  # true, but not wanted
        ("a car left of a fox", rating(2 / 5, 2 / 3)),
        ("a cup above a fox", rating(2 / 5, 1)),
        ("a fox left of a car", rating(3 / 5, 1)),
    ],
)
def test_ratings_by_hand(answer, value):
    assert JUDGE.rate(OPEN, FACTS, answer) == pytest.approx(value)


@pytest.mark.parametrize(
    "question, right, wrong",
    [
        ("Is there a fox?", ["Yes.", "yes", "There is a fox.", "Yes, there is a fox."], ["No.", "There is no fox", ""]),
        ("Is there a bee?", ["No.", "no", "There is no bee.", "No, there isn't a bee."], ["Yes!", "A bee.", ""]),
        ("Is the fox left of the car?", ["Yes", "The car is right of the fox"], ["No", "It is below", ""]),
        ("Is the car left of the fox?", ["No", "The car is to the right of the fox"], ["Yes", ""]),
        ("Is a cup above the fox?", ["Yes"], ["No"]),
        ("Are there two cups?", ["Yes", "two cups"], ["No", "three cups"]),
        ("Are there 3 cups?", ["No", "No, there are two cups.", "two cups"], ["Yes", "3 cups"]),
    ],
)  # fmt: skip
def test_closed_questions_want_just_the_truth_about_that(question, right, wrong):
    assert [JUDGE.rate(question, FACTS, answer) for answer in right] == [10] * len(right)
    assert all(JUDGE.rate(question, FACTS, answer) < 5 for answer in wrong)


def test_a_comparison_is_not_taken_for_a_question_whether_they_are_there():
    for question in ("Are there more cups than foxes?", "Is it a cup or a fox?"):
        assert JUDGE.rate(question, FACTS, "yes") == JUDGE.rate(question, FACTS, "no") == 1
        assert JUDGE.rate(question, FACTS, "two cups and a fox") == JUDGE.rate(
            OPEN, FACTS, "two cups and a fox"
        )


TRUE = ("a fox", "a car", "two cups", "a fox left of a car", "a cup above a fox", "no bee", "no owl")
FALSE = ("a bee", "three cups", "no car", "a car left of a fox", "an owl above a bee")
sentences = st.lists(st.sampled_from(TRUE + FALSE), max_size=6).map(". ".join)


@settings(max_examples=200, deadline=None)
@given(sentences, st.sampled_from(FALSE))
def test_longer_but_false_rates_lower(answer, false):
    before = JUDGE.rate(OPEN, FACTS, answer)
    after = JUDGE.rate(OPEN, FACTS, f"{answer}. {false}")
    added = JUDGE.statements(f"{answer}. {false}") - JUDGE.statements(answer)
    claims_nothing_new = not added
    if claims_nothing_new:
        assert after == before
    elif before > 1 and not added & (JUDGE.statements(ALL)):
        assert after < before


@settings(max_examples=200, deadline=None)
@given(sentences, st.sampled_from(TRUE))
def test_a_further_fact_never_rates_lower(answer, true):
    before = JUDGE.rate(OPEN, FACTS, answer)
    after = JUDGE.rate(OPEN, FACTS, f"{answer}. {true}")
    assert after >= before - 1e-9
    if JUDGE.statements(true) & JUDGE.statements(ALL) - JUDGE.statements(answer):
        assert after > before


@settings(max_examples=100, deadline=None)
@given(sentences, st.integers(2, 4))
def test_saying_it_again_changes_nothing(answer, times):
    assert JUDGE.rate(OPEN, FACTS, ". ".join([answer] * times)) == JUDGE.rate(OPEN, FACTS, answer)


def test_listing_everything_does_not_pay():
    listing = ", ".join(f"a {name}" for name in NAMES)
    assert JUDGE.rate(OPEN, FACTS, listing) < JUDGE.rate(OPEN, FACTS, "a fox and a car")


def items(*references: str, family: str = "detail") -> list[VQAItem]:
    return [VQAItem(0, OPEN, reference, family) for reference in references]


def test_the_score_is_a_ratio_of_means():
    answers = ["a fox", ALL, ""]
    asked = [*items(ALL, "a bee"), *items(ALL, family="reasoning")]
    scores = relative_score(JUDGE, answers, asked, [FACTS])
    first = JUDGE.rate(OPEN, FACTS, "a fox")
    assert list(scores) == ["detail", "reasoning", "all"]
    assert scores["detail"]["candidate"] == pytest.approx((first + 10) / 2)
    assert scores["detail"]["reference"] == pytest.approx((10 + 1) / 2)
    assert scores["detail"]["relative"] == pytest.approx(
        100 * (first + 10) / (10 + 1)
    )  # above 100 is possible
    assert scores["reasoning"] == {"candidate": 1, "reference": 10, "relative": pytest.approx(10), "n": 1}
    assert scores["all"]["relative"] == pytest.approx(100 * (first + 11) / 21) and scores["all"]["n"] == 3


@settings(max_examples=100, deadline=None)
@given(sentences, sentences)
def test_the_rule_judge_does_not_care_for_places(candidate, reference):
    first, second = JUDGE(OPEN, FACTS, (candidate, reference))
    assert JUDGE(OPEN, FACTS, (reference, candidate)) == (second, first)
    scores = [
        relative_score(JUDGE, [candidate], items(reference), [FACTS], both_orders=both)["all"]["relative"]
        for both in (False, True)
    ]
    assert scores[0] == pytest.approx(scores[1])
    other_way = relative_score(JUDGE, [reference], items(candidate), [FACTS])["all"]["relative"]
    assert scores[0] * other_way == pytest.approx(100 * 100)


def test_rating_both_orders_undoes_a_judge_s_liking_for_a_place():
    def likes_the_first(question, facts, answers):
        return 8.0, 4.0

    score = relative_score(likes_the_first, ["a fox"], items("a fox"), [FACTS], both_orders=False)
    assert score["all"]["relative"] == 50  # the reference comes first
    assert relative_score(likes_the_first, ["a fox"], items("a fox"), [FACTS])["all"]["relative"] == 100


def test_the_judge_is_told_all_it_needs():
    seen = []

    def spy(question, facts, answers):
        seen.append((question, facts, answers))
        return 5, 5

    other = SceneFacts(("cup",))
    relative_score(spy, ["mine"], [VQAItem(1, "What?", ("theirs", "or theirs"), "detail")], [FACTS, other])
    assert seen == [("What?", other, ("theirs", "mine")), ("What?", other, ("mine", "theirs"))]


def test_knowledge_is_a_relation_to_a_word_that_is_no_object():
    judge = RuleJudge(NAMES, relations=("a kind of",), others=("canine", "vehicle"))
    facts = SceneFacts(("fox",), frozenset({("fox", "a kind of", "canine")}))
    assert judge.rate("Why?", facts, "This is a fox, and a fox is a kind of canine.") == 10
    assert judge.rate("Why?", facts, "A fox is a kind of vehicle.") < judge.rate("Why?", facts, "A fox.") < 10
    assert judge.statements("a canine") == set()


def test_facts_of_scenes():
    scenes = make_scenes(30, seed=0)
    for i, facts in enumerate(scene_facts(scenes)):
        here = scenes[i]
        names = [
            f"{here.colour_names[c]} {here.kind_names[k]}"
            for k, c in zip(here.kind[0].tolist(), here.colour[0].tolist(), strict=True)
            if k >= 0
        ]
        assert list(facts.objects) == names
        x = dict(zip(names, here.centres[0, :, 0].tolist(), strict=False))
        for a, relation, b in facts.relations:
            assert {a, b} <= set(names)
            if relation == "left of" and names.count(a) == names.count(b) == 1:
                assert x[a] < x[b]
        judge = RuleJudge(sorted(set(names)))
        told = [f"a {a} {relation} a {b}" for a, relation, b in facts.relations] + [
            f"a {name}" for name in names
        ]
        assert all(judge.rate(OPEN, facts, text) > 1 for text in told)
    assert any(facts.relations for facts in scene_facts(scenes))
    assert scene_facts(make_scenes(0, seed=0)) == []


def test_nothing_asked_nothing_there_nothing_said():
    assert relative_score(JUDGE, [], [], []) == {}
    nowhere = SceneFacts(())
    assert JUDGE.rate(OPEN, nowhere, "") == JUDGE.rate(OPEN, nowhere, "a fox") == 1
    assert JUDGE.rate("", FACTS, ALL) == 10
    assert RuleJudge(()).rate(OPEN, FACTS, "a fox") == 1
    assert RuleJudge(NAMES, relations=()).statements("a fox  car") == {("there", "fox"), ("there", "car")}


def test_misuse_is_told_in_a_sentence():
    with pytest.raises(ValueError, match="got 0 for 1 items"):
        relative_score(JUDGE, [], items("a fox"), [FACTS])
    with pytest.raises(ValueError, match="is about picture 0; there are facts of 0 pictures"):
        relative_score(JUDGE, ["a fox"], items("a fox"), [])
    with pytest.raises(ValueError, match=r"a judge must rate from 1 to 10; got 0\.0 and 0\.0"):
        relative_score(lambda question, facts, answers: (0, 0), ["a fox"], items("a fox"), [FACTS])
    with pytest.raises(ValueError, match='no family can be called "all"'):
        relative_score(JUDGE, ["a fox"], items("a fox", family="all"), [FACTS])
    with pytest.raises(ValueError, match="has no reference"):
        relative_score(JUDGE, ["a fox"], [VQAItem(0, OPEN, (), "detail")], [FACTS])
