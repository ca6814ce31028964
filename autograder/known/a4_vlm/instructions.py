"""Known answers: instruction data from a scene graph."""

from collections import Counter
from itertools import combinations, pairwise, permutations

import numpy as np

from autograder.known import alternative, mistake
from cs_vl.data.captions import NUMBERS, a, join, plural

INSTRUCT = "scene_instructions"
MIRROR = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


# --- other right answers -----------------------------------------------------------------------------


def related(one, other, margin, y_up=False):
    """The relations of one centre to another."""
    dx, dy = other[0] - one[0], other[1] - one[1]
    if y_up:
        dy = -dy
    return [
        *(["left of"] if dx > margin else []),
        *(["right of"] if dx < -margin else []),
        *(["above"] if dy > margin else []),
        *(["below"] if dy < -margin else []),
    ]


@alternative(INSTRUCT)
def with_a_matrix(graph, absent=(), margin=0.1):
    """All distances at once, in NumPy."""
    names = list(dict.fromkeys(graph.objects))
    counts = [graph.objects.count(name) for name in names]
    centres = np.array(graph.centres)
    apart = centres[None] - centres[:, None]  # [i, j]: from i to j
    far = np.concatenate([apart[..., :1], -apart[..., :1], apart[..., 1:], -apart[..., 1:]], axis=-1)
    holds, towards = far > margin, far > 0
    words = ["left of", "right of", "above", "below"]
    only = [graph.objects.count(name) == 1 for name in graph.objects]

    talk = []
    for name, n in zip(names, counts, strict=True):
        talk += [(f"Is there {a(name)}?", "yes"), (f"How many {plural(name)} are there?", NUMBERS[n])]
    talk += [(f"Is there {a(name)}?", "no") for name in absent if name not in names]
    talk += [("How many things are there?", NUMBERS[len(graph.objects)])]
    for i, j, r in np.argwhere(holds):
        if only[i] and only[j]:
            one, other = graph.objects[i], graph.objects[j]
            talk.append((f"Is the {one} {words[r]} the {other}?", "yes"))
            talk.append((f"Is the {other} {words[r]} the {one}?", "no"))
    for j, r in np.argwhere(towards.sum(0) == 1):
        i = int(towards[:, j, r].argmax())
        if only[j] and holds[i, j, r]:
            talk.append((f"What is {words[r]} the {graph.objects[j]}?", a(graph.objects[i])))

    amounts = {n: a(n) if k == 1 else f"{NUMBERS[k]} {plural(n)}" for n, k in zip(names, counts, strict=True)}
    text = join(list(amounts.values()))
    text = text[:1].upper() + text[1:] + "."
    row = [i for i in np.argsort(centres[:, 0]) if only[i]]
    for i, j in pairwise(row):
        if holds[i, j].any():
            text += f" The {graph.objects[i]} is {words[holds[i, j].argmax()]} the {graph.objects[j]}."

    thoughts = []
    for p, first in enumerate(names):
        for q, second in enumerate(names):
            if p != q:
                told = f"There {['are', 'is'][counts[p] == 1]} {amounts[first]} and {amounts[second]}"
                end = ["no", "yes"][counts[p] > counts[q]]
                question = f"Are there more {plural(first)} than {plural(second)}?"
                thoughts.append((question, f"{told}, so the answer is {end}."))
    return {"conversation": talk, "description": [("Describe the picture.", text)], "reasoning": thoughts}


@alternative(INSTRUCT)
def by_plain_loops(graph, absent=(), margin=0.1):
    names = []
    for name in graph.objects:
        if name not in names:
            names.append(name)

    def n(name):
        return sum(1 for other in graph.objects if other == name)

    def amount(name):
        return a(name) if n(name) == 1 else NUMBERS[n(name)] + " " + plural(name)

    data = {"reasoning": [], "conversation": [], "description": []}
    for name in [*names, *absent]:
        answer = "yes" if name in graph.objects else "no"
        if ("Is there " + a(name) + "?", "yes") not in data["conversation"]:
            data["conversation"].append(("Is there " + a(name) + "?", answer))
    data["conversation"].append(("How many things are there?", NUMBERS[len(graph.objects)]))
    for name in names:
        data["conversation"].append(("How many " + plural(name) + " are there?", NUMBERS[n(name)]))

    placed = [(name, at) for name, at in zip(graph.objects, graph.centres, strict=True) if n(name) == 1]
    for one, at in placed:
        for other, there in placed:
            for relation in ("left of", "right of", "above", "below"):
                if relation in related(at, there, margin):
                    data["conversation"].append((f"Is the {one} {relation} the {other}?", "yes"))
                elif MIRROR[relation] in related(at, there, margin):
                    data["conversation"].append((f"Is the {one} {relation} the {other}?", "no"))
    for other, there in placed:
        for relation in ("left of", "right of", "above", "below"):
            found = [
                (name, at)
                for name, at in zip(graph.objects, graph.centres, strict=True)
                if relation in related(at, there, 0)
            ]
            if len(found) == 1 and relation in related(found[0][1], there, margin):
                data["conversation"].append((f"What is {relation} the {other}?", a(found[0][0])))

    said = join([amount(name) for name in names])
    sentences = [said[0].upper() + said[1:] + "."]
    placed = sorted(placed, key=lambda thing: thing[1][0])
    for k in range(1, len(placed)):
        (one, at), (other, there) = placed[k - 1], placed[k]
        if related(at, there, margin):
            sentences.append(f"The {one} is {related(at, there, margin)[0]} the {other}.")
    data["description"].append(("Describe the picture.", " ".join(sentences)))

    for one in names:
        for other in names:
            if one == other:
                continue
            verb = "is" if n(one) == 1 else "are"
            data["reasoning"].append(
                (
                    f"Are there more {plural(one)} than {plural(other)}?",
                    f"There {verb} {amount(one)} and {amount(other)}, "
                    f"so the answer is {'yes' if n(one) > n(other) else 'no'}.",
                )
            )
    return data


@alternative(INSTRUCT)
def by_pairs_both_ways(graph, absent=(), margin=0.1):
    """Each pair once, with its mirror image; lists of lists instead of tuples."""
    count = Counter(graph.objects)
    amount = {name: a(name) if k == 1 else f"{NUMBERS[k]} {plural(name)}" for name, k in count.items()}
    alone = {name: at for name, at in zip(graph.objects, graph.centres, strict=True) if count[name] == 1}

    talk = {f"Is there {a(name)}?": "no" for name in absent}
    talk |= {f"Is there {a(name)}?": "yes" for name in count}
    talk |= {f"How many {plural(name)} are there?": NUMBERS[k] for name, k in count.items()}
    talk["How many things are there?"] = NUMBERS[sum(count.values())]
    for one, other in combinations(alone, 2):
        for relation in related(alone[one], alone[other], margin):
            back = MIRROR[relation]
            talk[f"Is the {one} {relation} the {other}?"] = "yes"
            talk[f"Is the {other} {back} the {one}?"] = "yes"
            talk[f"Is the {other} {relation} the {one}?"] = "no"
            talk[f"Is the {one} {back} the {other}?"] = "no"
    things = list(zip(graph.objects, graph.centres, strict=True))
    for name, (x, y) in alone.items():
        for relation, axis, sign in (
            ("left of", 0, -1),
            ("right of", 0, 1),
            ("above", 1, -1),
            ("below", 1, 1),
        ):
            beyond = sorted((sign * (at[axis] - (x, y)[axis]), thing) for thing, at in things)
            beyond = [pair for pair in beyond if pair[0] > 0]
            if [far > margin for far, _ in beyond] == [True]:
                talk[f"What is {relation} the {name}?"] = a(beyond[0][1])

    text = join(list(amount.values())) + "."
    text = text.replace(text[0], text[0].upper(), 1)
    before = None
    for name in sorted(alone, key=alone.get):
        if before and (holds := related(alone[before], alone[name], margin)):
            text += f" The {before} is {holds[0]} the {name}."
        before = name

    thoughts = []
    for one, other in permutations(count, 2):
        told = f"There {'is' if count[one] < 2 else 'are'} {amount[one]} and {amount[other]}"
        answer = "no" if count[one] <= count[other] else "yes"
        question = f"Are there more {plural(one)} than {plural(other)}?"
        thoughts.append([question, f"{told}, so the answer is {answer}."])
    pairs = [list(pair) for pair in talk.items()]
    return {"conversation": pairs, "description": [["Describe the picture.", text]], "reasoning": thoughts}


# --- mistakes ----------------------------------------------------------------------------------------


def is_unique(name, objects):
    return objects.count(name) == 1


def instruct(
    graph, absent, margin, *, article=a, plural=plural, numbers=NUMBERS, relations=related, all_things=len,
    names=lambda objects: list(dict.fromkeys(objects)), seen=lambda name, objects: name in objects,
    present=None, pass_over=True, absent_counted=False, may_relate=is_unique, relation_pairs=permutations,
    to_its_own_name=True, neither=None, backwards="no", noes=True, may_ask=is_unique, there=None, the_answer=None,
    amount=None, order=None, neighbours=None, described=lambda holds, level: holds[:1], capital=True, list_all=None,
    describe_unique=True, told=None, more=lambda m, n: m > n, pairs=permutations, number_of=None,
):  # fmt: skip
    """Right where no option is given; each mistake changes one or two."""
    objects, centres = graph.objects, graph.centres
    number_of = number_of or (lambda name: objects.count(name))
    things = range(len(objects))

    def how_many(name):
        if amount:
            return amount(name, number_of(name))
        return article(name) if number_of(name) == 1 else f"{numbers[number_of(name)]} {plural(name)}"

    talk = [(f"Is there {article(name)}?", "yes") for name in (present or names)(objects)]
    talk += [
        (f"Is there {article(name)}?", "no") for name in absent if not (pass_over and seen(name, objects))
    ]
    talk += [("How many things are there?", numbers[all_things(objects)])]
    talk += [(f"How many {plural(name)} are there?", numbers[number_of(name)]) for name in names(objects)]
    if absent_counted:
        talk += [(f"How many {plural(name)} are there?", "zero") for name in absent if name not in objects]
    for i, j in relation_pairs([i for i in things if may_relate(objects[i], objects)], 2):
        if objects[i] == objects[j] and not to_its_own_name:
            continue
        holds = relations(centres[i], centres[j], margin)
        for relation in MIRROR:
            question = f"Is the {objects[i]} {relation} the {objects[j]}?"
            if relation in holds:
                talk.append((question, "yes"))
            elif MIRROR[relation] in holds:
                if noes:
                    talk.append((question, backwards))
            elif neither:
                talk.append((question, neither))
    for j in [j for j in things if may_ask(objects[j], objects)]:
        for relation in MIRROR:
            beyond = [i for i in things if relation in relations(centres[i], centres[j], 0) and i != j]
            axis = int(relation in ("above", "below"))
            beyond.sort(key=lambda i: abs(centres[i][axis] - centres[j][axis]))  # the nearest first
            plain = [i for i in beyond if relation in relations(centres[i], centres[j], margin)]
            found = there(beyond, plain, objects, centres, j) if there else plain if len(beyond) == 1 else []
            for i in found:
                answer = the_answer(objects[i]) if the_answer else article(objects[i])
                talk.append((f"What is {relation} the {objects[j]}?", answer))

    listed = list_all(objects) if list_all else [how_many(name) for name in names(objects)]
    text = join(listed) + "."
    text = text[0].upper() + text[1:] if capital else text
    row = [i for i in things if not describe_unique or objects.count(objects[i]) == 1]
    row = order(row, centres) if order else sorted(row, key=lambda i: centres[i])
    for i, j in neighbours(row) if neighbours else pairwise(row):
        holds, level = (relations(centres[i], centres[j], m) for m in (margin, 0))
        for relation in described(holds, level):
            text += f" The {objects[i]} is {relation} the {objects[j]}."

    thoughts = []
    for one, other in pairs(list(dict.fromkeys(objects)), 2):
        m, n = number_of(one), number_of(other)
        answer = "yes" if more(m, n) else "no"
        verb = "is" if m == 1 else "are"
        line = f"There {verb} {how_many(one)} and {how_many(other)}, so the answer is {answer}."
        if told:
            line = told(how_many(one), how_many(other), m, n, answer)
        thoughts.append((f"Are there more {plural(one)} than {plural(other)}?", line))
    return {"conversation": talk, "description": [("Describe the picture.", text)], "reasoning": thoughts}


def wrong(name, sentence, **options):
    """A mistake that is `instruct` with other options."""

    def answer(graph, absent=(), margin=0.1):
        return instruct(graph, absent, margin, **options)

    answer.__name__ = name
    mistake(INSTRUCT, sentence)(answer)


def mirrored_x(one, other, margin):
    return related((-one[0], one[1]), (-other[0], other[1]), margin)


def y_first(one, other, margin):
    return related(one[::-1], other[::-1], margin)


def at_least(one, other, margin):
    return related(one, other, margin - 1e-9) if margin else related(one, other, margin)


def y_before_x(one, other, margin):
    return sorted(related(one, other, margin), key=("above", "below", "left of", "right of").index)


def plainer_first(one, other, margin):
    dx, dy = abs(one[0] - other[0]), abs(one[1] - other[1])
    holds = related(one, other, margin)
    return holds if dx >= dy else holds[::-1]


def plainest_only(one, other, margin):
    return plainer_first(one, other, margin)[:1]


wrong(
    "mirrored",
    "You took left for right: a thing is left of another where its x is smaller.",
    relations=mirrored_x,
)
wrong(
    "upside_down",
    "You took above for below: y points down, so what is above has the smaller y.",
    relations=lambda one, other, margin: related(one, other, margin, y_up=True),
)
wrong("x_and_y_swapped", "You took the centres for (y, x): they are (x, y).", relations=y_first)
wrong(
    "no_margin",
    "You asked for relations of things that are next to level, too: they must be more than the margin apart.",
    relations=lambda one, other, margin: related(one, other, 0),
)
wrong(
    "twice_the_margin",
    "Your margin is twice as wide as it should be: the centres must be more than `margin` apart, not more than "
    "that on either side.",
    relations=lambda one, other, margin: related(one, other, 2 * margin),
)
wrong(
    "fixed_margin",
    "You wrote 0.1 for the margin: take the argument.",
    relations=lambda one, other, margin: related(one, other, 0.1 if margin else 0),
)
wrong(
    "at_the_margin_counts",
    "You let things that are exactly the margin apart count: they must be *more* than that apart.",
    relations=at_least,
)
wrong(
    "plainest_relation_only",
    "You asked for the axis along which two things are further apart only: a thing can be left of another and "
    "above it.",
    relations=plainest_only,
)
wrong("up_and_down_first", "Your description says above or below first: left of and right of come before them, as "
      "in RELATIONS.", relations=y_before_x)  # fmt: skip
wrong("plainer_relation_first", "Your description says the relation along the longer way: say left of where x tells, "
      "however far y is.", relations=plainer_first)  # fmt: skip
wrong(
    "level_is_no",
    "You answered no where things are too near to tell: of these nobody should be asked.",
    neither="no",
)
wrong(
    "yes_only",
    "You asked only what is true: each relation that holds also gives a question whose answer is no, with the "
    "names the other way round.",
    noes=False,
)
wrong("relations_one_way_only", "You asked of each two things in one order only: either of them comes first once.",
      relation_pairs=combinations)  # fmt: skip
wrong("everything_is_yes", "You answered yes the other way round, too: if the fox is left of the owl, the owl is not "
      "left of the fox.", backwards="yes")  # fmt: skip
wrong(
    "ambiguous_things",
    "You asked about “the fox” where there are two: leave names out that are not unique.",
    may_relate=lambda name, objects: True,
    may_ask=lambda name, objects: True,
)
wrong(
    "ambiguous_relations",
    "You asked where “the fox” is though there are two: relations are for unique names only.",
    may_relate=lambda name, objects: True,
)
wrong(
    "ambiguous_relations_of_two_names",
    "You asked where “the fox” is from the owl though there are two foxes: relations are for unique names only.",
    may_relate=lambda name, objects: True,
    to_its_own_name=False,
)
wrong(
    "ambiguous_whats",
    "You asked what is left of “the fox” though there are two: ask it of unique names only.",
    may_ask=lambda name, objects: True,
)
wrong(
    "described_ambiguous_things",
    "Your description says where “the fox” is when there are two: leave names out that are not unique.",
    describe_unique=False,
)
wrong(
    "absent_things_asked_anyway",
    "You answered no for a name of `absent` that is in the scene: pass it over.",
    pass_over=False,
)
wrong(
    "absent_things_forgotten",
    "You never asked for the absent names: without them the answer to “Is there ...?” is always yes.",
    seen=lambda name, objects: True,
)
wrong("each_thing_by_itself", "You asked for a name as often as it occurs: each name is asked for once.",
      names=list)  # fmt: skip
wrong("present_once_for_each_thing", "You asked “Is there a fox?” once for each fox: ask once for each name.",
      present=list)  # fmt: skip
wrong("absent_things_counted", "You asked how many there are of the absent names, too: count what is to be seen.",
      absent_counted=True)  # fmt: skip
wrong(
    "kinds_counted",
    "You counted names instead of things: two foxes and an owl are three things.",
    all_things=lambda objects: len(set(objects)),
)
wrong("every_name_once", "You counted every name once: two things may have the same.",
      number_of=lambda name: 1)  # fmt: skip
wrong("digits", "You wrote numbers in digits: NUMBERS has the words.", numbers=tuple("0123456"))
wrong("counted_from_zero", "Your numbers are one too low: NUMBERS[0] is “zero”.",
      numbers=("minus one", *NUMBERS))  # fmt: skip
wrong("no_plural", "You asked “How many fox”: use plural(name).", plural=lambda noun: noun)
wrong("plural_with_s", "You put an s behind every name: use plural(name), which knows “foxes” and “buses”.",
      plural=lambda noun: f"{noun}s")  # fmt: skip
wrong("always_a", "You put “a” before every name: use a(name), which knows “an owl”.",
      article=lambda noun: f"a {noun}")  # fmt: skip
wrong("no_article", "You left the article out: use a(name).", article=lambda noun: noun)
wrong(
    "nearest_of_several",
    "You asked what is left of a thing where several are, and took the nearest: ask only where there is one.",
    there=lambda beyond, plain, objects, centres, j: sorted(
        plain, key=lambda i: abs(centres[i][0] - centres[j][0]) + abs(centres[i][1] - centres[j][1])
    )[:1],
)
wrong(
    "nearest_along_the_axis",
    "You answered with the nearest of several things: ask only where a single thing is on that side.",
    there=lambda beyond, plain, objects, centres, j: plain[:1],
)
wrong(
    "nearest_if_by_the_margin",
    "You took the nearest of several things and looked at its margin alone: ask only where a single thing is on "
    "that side.",
    there=lambda beyond, plain, objects, centres, j: [i for i in beyond[:1] if i in plain],
)
wrong(
    "every_one_of_several",
    "You asked what is left of a thing where several are, and gave each of them as an answer: ask only where "
    "there is one.",
    there=lambda beyond, plain, objects, centres, j: plain,
)
wrong(
    "level_things_not_counted",
    "You asked what is left of a thing, and overlooked one that is so by less than the margin: then there are "
    "two, and nobody can tell which is meant.",
    there=lambda beyond, plain, objects, centres, j: plain if len(plain) == 1 else [],
)
wrong(
    "only_one_but_level",
    "You asked what is left of a thing where the only one is so by less than the margin.",
    there=lambda beyond, plain, objects, centres, j: beyond if len(beyond) == 1 else [],
)
wrong(
    "only_unique_answers",
    "You left out answers whose name is not unique: “What is left of the fox?” may well be “an owl”, though "
    "there is another owl elsewhere.",
    there=lambda beyond, plain, objects, centres, j: (
        plain if len(beyond) == 1 and objects.count(objects[beyond[0]]) == 1 else []
    ),
)
wrong(
    "only_unique_things_on_that_side",
    "You looked for what is on that side among unique names only: a second owl there makes it two things.",
    there=lambda beyond, plain, objects, centres, j: (
        [i for i in plain if objects.count(objects[i]) == 1]
        if len([i for i in beyond if objects.count(objects[i]) == 1]) == 1
        else []
    ),
)
wrong(
    "names_on_that_side_counted",
    "You counted names on that side, not things: two owls there are two things, and nobody can tell which is meant.",
    there=lambda beyond, plain, objects, centres, j: (
        plain[:1] if len({objects[i] for i in beyond}) == 1 else []
    ),
)
wrong(
    "never_what",
    "You left out the questions “What is left of the fox?”: ask them where a single thing is on that side.",
    there=lambda beyond, plain, objects, centres, j: [],
)
wrong("the_instead_of_a", "You answered “the owl” to “What is left of the fox?”: it is “an owl”.",
      the_answer=lambda name: f"the {name}")  # fmt: skip
wrong(
    "listed_one_by_one",
    "Your description lists two foxes as “a fox, a fox”: give amounts.",
    list_all=lambda objects: [a(name) for name in objects],
)
wrong("listed_alphabetically", "Your description lists names by the alphabet: take them as they first occur.",
      list_all=lambda objects: [a(n) if objects.count(n) == 1 else f"{NUMBERS[objects.count(n)]} {plural(n)}"
                                for n in sorted(set(objects))])  # fmt: skip
wrong(
    "listed_by_number",
    "Your description begins with what there is most of: take names as they first occur.",
    names=lambda objects: list(dict(Counter(objects).most_common())),
)
wrong("one_for_a", "You wrote “one fox”: the amount of a single thing is “a fox”.",
      amount=lambda name, n: f"{NUMBERS[n]} {name if n == 1 else plural(name)}")  # fmt: skip
wrong("no_capital", "Your description begins with a small letter.", capital=False)
wrong(
    "in_the_order_of_the_scene",
    "Your description takes things in the scene's order: go from left to right, by x.",
    order=lambda row, centres: row,
)
wrong(
    "from_top_to_bottom",
    "Your description goes from top to bottom: go from left to right, by x.",
    order=lambda row, centres: sorted(row, key=lambda i: centres[i][1]),
)
wrong(
    "from_right_to_left",
    "Your description goes from right to left: begin with the smallest x.",
    order=lambda row, centres: sorted(row, key=lambda i: -centres[i][0]),
)
wrong(
    "every_pair_described",
    "Your description relates every two things: relate each to the next only.",
    neighbours=lambda row: combinations(row, 2),
)
wrong(
    "first_pair_only",
    "Your description stops after two things: go on to the last one.",
    neighbours=lambda row: pairwise(row[:2]),
)
wrong(
    "both_relations_described",
    "Your description says two relations of a pair: above or below only where x does not tell.",
    described=lambda holds, level: holds,
)
wrong(
    "only_x_described",
    "Your description says nothing where x does not tell: then y may.",
    described=lambda holds, level: [relation for relation in holds if relation == "left of"],
)
wrong(
    "y_described_without_the_margin",
    "Your description says above or below of things that are next to level: the margin counts there, too.",
    described=lambda holds, level: holds[:1] or level[1:],
)
wrong(
    "described_without_the_margin",
    "Your description says left of where two things are next to level: the margin counts there, too.",
    described=lambda holds, level: level[:1],
)
wrong("as_many_is_more", "You answered yes where there are as many: more means more.",
      more=lambda m, n: m >= n)  # fmt: skip
wrong("fewer_is_more", "You compared the wrong way round: yes, where there are more of the first.",
      more=lambda m, n: m < n)  # fmt: skip
wrong("one_way_only", "You compared each two names in one order only: ask the other way round, too.",
      pairs=combinations)  # fmt: skip
wrong(
    "always_are",
    "You wrote “There are a fox”: “There is” stands before a single thing.",
    told=lambda one, other, m, n, answer: f"There are {one} and {other}, so the answer is {answer}.",
)
wrong(
    "always_is",
    "You wrote “There is two foxes”: “There are” stands before several.",
    told=lambda one, other, m, n, answer: f"There is {one} and {other}, so the answer is {answer}.",
)
wrong(
    "no_rationale",
    "You gave the answer without its rationale: the amounts come first.",
    told=lambda one, other, m, n, answer: answer,
)
wrong(
    "answer_first",
    "You gave the answer first: a model that writes from left to right has to count before it answers.",
    told=lambda one, other, m, n, answer: (
        f"{answer.capitalize()}, there {'is' if m == 1 else 'are'} {one} and {other}."
    ),
)
wrong(
    "larger_amount_first",
    "You gave the larger amount first: keep the question's order.",
    told=lambda one, other, m, n, answer: (
        f"There {'is' if max(m, n) == 1 else 'are'} {' and '.join([one, other] if m >= n else [other, one])}, "
        f"so the answer is {answer}."
    ),
)
