"""A relative score as LLaVA-Bench's: a judge rates the model's answer and a reference answer, 1 to 10 each.

The score is the ratio of the two mean ratings, in per cent (Liu et al. 2023, sec. 5.1; the official
`summarize_gpt_review.py`).  There the judge is GPT-4, and the reference GPT-4's answer from the picture's
description.  Here the judge is a `Judge`, any function; `RuleJudge` knows what is true of a scene.

What is weak about such a score, and what is done about it:

- Judges prefer the answer in one of the two places (Zheng et al. 2023, sec. 3.3).  So both orders are rated.
- Judges prefer long answers.  RuleJudge does not: something false makes an answer worse, however long it is.
- The scale begins at 1, so an answer that says nothing still scores 10 % of a perfect reference: read the
  score beside that of an empty answer.
- It is relative: a poor reference makes every model look good.  Above 100 is possible.
- RuleJudge sees names, numbers and relations only, in the words that it was given.  Whatever else an answer
  says, rightly or wrongly or badly put, counts nothing.  Open questions are all taken for "what is there?": a
  short right answer to a narrow one ("How many foxes?" "Two.") rates low; use `vqa.exact_match` for those.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from cs_vl.data.captions import object_names
from cs_vl.data.scenes import RELATIONS, Scenes, spatial_relations
from cs_vl.tasks.caption_metrics import mentions, name_forms
from cs_vl.tasks.vqa import VQAItem, by_family, normalise

# ("there", name), ("count", name, "2"), ("related", name, "left of", name), or ("not", *one of these).
Statement = tuple[str, ...]
INVERSES = {"right of": "left of", "below": "above"}  # said the other way round, it is the same fact
CLOSED = re.compile(r"\s*(is|are)\b", re.IGNORECASE)
COMPARES = re.compile(r"\b(more|fewer|than|or)\b", re.IGNORECASE)
NOT = re.compile(r"\bnot\b|n't\b", re.IGNORECASE)
NONE = re.compile(r"(\b(no|not|without)|n't)(\s+(an?|any))?\s+$", re.IGNORECASE)  # just before a name


@dataclass(frozen=True)
class SceneFacts:
    """What is true of one picture.  What is not in here is false."""

    objects: tuple[str, ...]  # the name of each object: two foxes are ("fox", "fox")
    relations: frozenset[tuple[str, str, str]] = frozenset()  # ("fox", "left of", "car")


class Judge(Protocol):
    def __call__(self, question: str, facts: SceneFacts, answers: tuple[str, str]) -> tuple[float, float]:
        """Rate two answers to one question, each from 1 to 10; the higher, the better."""
        ...


def scene_facts(scenes: Scenes, margin: float = 0.1) -> list[SceneFacts]:
    """The facts of each scene: its objects, and which are left of, right of, above or below which.

    Between names that occur more than once a relation is true if it is true of one pair (and not wanted).

    Args:
        margin: how far apart, as in `spatial_relations`.
    """
    facts = []
    for names, holds in zip(object_names(scenes), spatial_relations(scenes, margin).tolist(), strict=True):
        related = frozenset(
            (x, relation, y)
            for i, x in enumerate(names)
            for j, y in enumerate(names)
            for r, relation in enumerate(RELATIONS)
            if holds[i][j][r]
        )
        facts.append(SceneFacts(tuple(names), related))
    return facts


class RuleJudge:
    """Rates an answer by what it says that is true, and by what it leaves out.

    rating = 1 + 9 * F1 of

    - helpfulness, the share of the wanted facts that the answer states.  A closed question ("Is there a
      fox?", "Is the fox left of the car?") wants the truth about just that, an open one everything;
    - accuracy, the share of the answer's statements that are true.

    So an answer without any statement, or without a true one that was wanted, rates 1; to state all facts and
    nothing false rates 10.  To say a thing twice changes nothing; "right of" is read as "left of" the other
    way round.  Each answer is rated by itself, so its place does not matter.

    Args:
        names: of the objects.  Each mention states that one is there ("a fox"), how many ("two foxes"), or
            that none is ("no fox").
        relations: the words between two names that state a relation: "the fox is to the left of the car".
        others: further words that may stand after a relation without being objects of the scene: "canine"
            for the relation "a kind of".
        synonyms: see `cs_vl.tasks.caption_metrics.name_forms`.
    """

    def __init__(
        self,
        names: Sequence[str],
        relations: Sequence[str] = RELATIONS,
        others: Sequence[str] = (),
        synonyms: Mapping[str, str] | None = None,
    ):
        self.names = frozenset(names)
        self.forms = name_forms([*names, *others], synonyms)
        # Between two names: up to four words such as "is to the", the relation, an article.
        words = (
            "|".join(re.escape(relation) for relation in sorted(relations, key=len, reverse=True)) or "(?!)"
        )
        pattern = rf"((?:\s+[\w']+){{0,4}}?)\s+({words})\s+(?:(?:the|an?)\s+)?"
        self.between = re.compile(pattern, re.IGNORECASE)

    def __call__(self, question: str, facts: SceneFacts, answers: tuple[str, str]) -> tuple[float, float]:
        first, second = answers
        return self.rate(question, facts, first), self.rate(question, facts, second)

    def rate(self, question: str, facts: SceneFacts, answer: str) -> float:
        """The rating of one answer, 1 to 10."""
        asked = self._asked(question)
        claims = self.statements(answer)
        word = (normalise(answer).split() or [""])[0]
        if word in ("yes", "no"):
            claims |= {s if word == "yes" else _negated(s) for s in asked}
        wanted = {s if _is_true(s, facts) else _negated(s) for s in asked} or _all_facts(facts)
        stated = sum(_settled(fact, claims) for fact in wanted)
        if not stated:
            return 1.0
        helpfulness = stated / len(wanted)
        accuracy = sum(_is_true(s, facts) for s in claims) / len(claims)
        return 1 + 9 * 2 * helpfulness * accuracy / (helpfulness + accuracy)

    def statements(self, text: str) -> set[Statement]:
        """What a text states, as far as the judge can read."""
        found = mentions(text, self.forms)
        stated: set[Statement] = set()
        for start, _, name in found:
            if name not in self.names:
                continue
            before = text[:start]
            number = normalise((re.findall(r"(\w+)\s+$", before) or [""])[0])
            if number == "0" or NONE.search(before):
                stated.add(("not", "there", name))
            else:
                stated.add(("there", name))
                if number.isdecimal():
                    stated.add(("count", name, str(int(number))))
        for (begin, end, x), (start, _, y) in pairwise(found):
            if relation := self.between.fullmatch(text[end:start]):
                statement = _related(x, relation[2].lower(), y)
                negated = NONE.search(text[:begin]) or NOT.search(relation[1])
                stated.add(_negated(statement) if negated else statement)
        return stated

    def _asked(self, question: str) -> set[Statement]:
        """What a closed question asks about; nothing for an open one, or one that compares."""
        if not CLOSED.match(question) or COMPARES.search(question):
            return set()
        stated = self.statements(question)
        # "Are there two foxes?" asks for the number, "Is the fox left of the car?" for the relation.
        for kind in ("related", "count", "there"):
            if some := {s for s in stated if s[0] == kind}:
                return some
        return set()


def _related(x: str, relation: str, y: str) -> Statement:
    if relation in INVERSES:
        return ("related", y, INVERSES[relation], x)
    return ("related", x, relation, y)


def _negated(statement: Statement) -> Statement:
    return statement[1:] if statement[0] == "not" else ("not", *statement)


def _settled(fact: Statement, claims: set[Statement]) -> bool:
    """Whether the claims state the fact, as it stands or by what excludes its contrary."""
    if fact in claims:
        return True
    match fact:
        case ("not", "related", x, relation, y) if relation in INVERSES.values():
            return ("related", y, relation, x) in claims
        case ("not", "count", name, n):
            return any(claim[:2] == ("count", name) and claim[2] != n for claim in claims)
    return False


def _all_facts(facts: SceneFacts) -> set[Statement]:
    """What a full answer states.  Of several foxes, which is left of the car is too much to ask."""
    there: set[Statement] = {("there", name) for name in facts.objects}
    counts = Counter(facts.objects)
    several: set[Statement] = {("count", name, str(n)) for name, n in counts.items() if n > 1}
    return (
        there | several | {_related(x, r, y) for x, r, y in facts.relations if max(counts[x], counts[y]) < 2}
    )


def _is_true(statement: Statement, facts: SceneFacts) -> bool:
    kind, *what = statement
    if kind == "not":
        return not _is_true(statement[1:], facts)
    if kind == "count":
        return facts.objects.count(what[0]) == int(what[1])
    if kind == "there":
        return what[0] in facts.objects
    return statement in {_related(*relation) for relation in facts.relations}


def relative_score(
    judge: Judge,
    answers: Sequence[str],
    items: Sequence[VQAItem],
    facts: Sequence[SceneFacts],
    *,
    both_orders: bool = True,
) -> dict[str, dict[str, float]]:
    """The model's mean rating in per cent of the reference's: {family or "all": scores}.

    The scores are "candidate" and "reference" (mean ratings, 1 to 10), "relative" (their ratio, in per cent:
    a ratio of means, as in the official code, not a mean of ratios), and "n".  No items give {}.

    Args:
        judge: sees the question, the facts and both answers.
        answers: the model's, one an item (`cs_vl.tasks.vqa.ask`).
        items: the questions, each with its reference as its answer (the first one of several), in families:
            conversation, detail, reasoning.
        facts: of each picture; an item's `image` points into them.
        both_orders: rate each pair twice, once in each order, and take the mean; else the reference comes
            first, as in the official code.

    Raises:
        ValueError: not as many answers as items, no facts for a picture, a rating that is not in 1 to 10, or
            a family called "all".
    """
    if len(answers) != len(items):
        raise ValueError(f"one answer an item, please; got {len(answers)} for {len(items)} items")
    ratings = []  # (candidate, reference)
    for answer, item in zip(answers, items, strict=True):
        if not 0 <= item.image < len(facts):
            raise ValueError(
                f"{item.question!r} is about picture {item.image}; there are facts of {len(facts)} pictures"
            )
        if not item.answers:
            raise ValueError(f"{item.question!r} has no reference: its answer is empty")
        reference = item.answers[0]
        theirs, ours = judge(item.question, facts[item.image], (reference, answer))
        if both_orders:
            ours_first, theirs_second = judge(item.question, facts[item.image], (answer, reference))
            theirs, ours = (theirs + theirs_second) / 2, (ours + ours_first) / 2
        if not (1 <= ours <= 10 and 1 <= theirs <= 10):
            raise ValueError(f"a judge must rate from 1 to 10; got {ours} and {theirs} for {item.question!r}")
        ratings.append((ours, theirs))

    groups = by_family(items)
    if "all" in groups:
        raise ValueError('no family can be called "all": that is the mean over all items')
    if items:
        groups["all"] = list(range(len(items)))
    scores = {}
    for family, positions in groups.items():
        ours, theirs = (sum(ratings[i][side] for i in positions) / len(positions) for side in range(2))
        scores[family] = {
            "candidate": ours,
            "reference": theirs,
            "relative": 100 * ours / theirs,
            "n": len(positions),
        }
    return scores
