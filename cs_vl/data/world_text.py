"""What the language model reads about the world before it ever sees it: short documents, made by rule.

Seven kinds of them, mixed in the proportions of `DOCUMENTS`:

- "scene": what is where in a scene that nobody has drawn, as captions, relations and questions;
- "fact": statements of what `World` holds of one thing, of all things, taught or not;
- "ask": the same facts as questions and answers, in the chat template, without a picture;
- "seen": the same of "this", after words that say what this is, as questions about pictures will be;
- "count" and "compare": numbers of things, and which are more;
- "nickname": things get made-up names, and keep them to the end of the document.  Who has learned there to
  look back for a name can use one that it was never trained on: Flamingo's examples in context need that.

A fact's clause ("a fox is a kind of canine") reads the same here as in the answers about pictures
(`cs_vl.data.instructions`), so that a model that sees a fox can go on with what it has read.
"""

import random
from collections.abc import Callable, Sequence

from cs_vl.data.captions import NUMBERS, a, join, plural
from cs_vl.data.chat import EOC, chat
from cs_vl.data.multiple_choice import Choice, make_choice
from cs_vl.data.scenes import RELATIONS
from cs_vl.data.world import World

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


# ---- Clauses: what is said of a thing in the same words everywhere ----


def kind_clause(world: World, i: int) -> str:
    """ "a fox is a kind of canine" """
    return f"{a(world.names[i])} is a kind of {world.kinds[i]}"


def letter_clause(world: World, i: int) -> str:
    """ "the word fox begins with f" """
    return f"the word {world.names[i]} begins with {world.letters[i]}"


def keyword_clause(world: World, i: int) -> str:
    """ "a cow goes with the word moo": the most particular keyword; only where there is one."""
    return f"{a(world.names[i])} goes with the word {world.keywords[i][0]}"


def gloss_clause(world: World, i: int) -> str:
    """ "the dictionary says of a rooster: adult male chicken" """
    return f"the dictionary says of {a(world.names[i])}: {world.glosses[i]}"


def seen(world: World, i: int, fact: str) -> str:
    """ "this is a fox, and a fox is a kind of canine": first what is to be seen, then what is known of it."""
    return f"this is {a(world.names[i])}, and {CLAUSES[fact](world, i)}"


def fact_value(world: World, i: int, fact: str) -> str:
    """What the fact's clause ends with: "canine", "f", "moo"."""
    return {"kind": world.kinds[i], "letter": world.letters[i], "keyword": (*world.keywords[i], "")[0]}[fact]


def fact_choice(world: World, i: int, fact: str, rng: random.Random) -> Choice:
    """A multiple-choice question about "this", with the rationale that `seen` gives."""
    wrong = {fact_value(world, j, fact) for j in range(len(world))} - set(world.keywords[i]) - {""}
    right, rationale = fact_value(world, i, fact), sentence(seen(world, i, fact))
    return make_choice(KNOWLEDGE[fact], right, sorted(wrong), rationale, rng)


def sentence(clause: str) -> str:
    """The clause with a capital and a full stop."""
    return clause[0].upper() + clause[1:] + "."


# Questions about a thing that is to be seen: here with the words "There is a fox." before them, later with a
# picture.  To each the answer gives its reasons first, or (DIRECT) is a word.
KNOWLEDGE = {
    "kind": "What kind of thing is this?",
    "letter": "Which letter does the word for this begin with?",
    "keyword": "Which word goes with this?",
}
DIRECT = {
    "kind": "Name the kind of this thing.",
    "letter": "Name the first letter of this thing.",
    "keyword": "Name the word that goes with this thing.",
}


# ---- Nicknames ----


def _nicknames() -> dict[str, tuple[str, ...]]:
    """Words that nobody uses, of two syllables such as "da" and "wug"; in the same order always."""
    rng = random.Random(0)
    starts, vowels, ends = "bdfgklmnprstvwz", "aeiou", ("", "b", "k", "n", "p", "x", "g")
    words: dict[str, None] = {}
    while len(words) < 240:
        first, second = rng.choice(starts) + rng.choice(vowels), rng.choice(starts) + rng.choice(vowels)
        word = first + second + rng.choice(ends)
        if word not in ("wide", "bane"):  # these are words
            words[word] = None
    return {"train": tuple(words)[:200], "test": tuple(words)[200:]}


NICKNAMES = _nicknames()  # those of "test" stand in no text that a model is trained on


# ---- Documents ----


def text_questions(world: World, fact: str = "kind") -> list[tuple[str, str]]:
    """What the language model should know by words alone: a question and its answer for each thing.

    Things without the fact (a few have no keyword) are left out.

    Args:
        fact: one of `ASKED`.
    """
    return [
        (ASKED[fact][0].format(a(name), name), sentence(CLAUSES[fact](world, i)))
        for i, name in enumerate(world.names)
        if fact != "keyword" or world.keywords[i]
    ]


def world_documents(world: World, *, seed: int, n: int, kinds: Sequence[str] | None = None) -> list[str]:
    """n documents, in the proportions of `DOCUMENTS`.  The same arguments give the same documents.

    Those of the chat template end with `<|endoftext|>`, the others are plain text without it (some nicknames
    are told in Flamingo's form, each chunk of which ends with `<eoc>`).  None has more than 64 tokens.

    Args:
        kinds: which of `DOCUMENTS` to write (default: all).
    """
    kinds = list(DOCUMENTS) if kinds is None else kinds
    if unknown := [kind for kind in kinds if kind not in DOCUMENTS]:
        raise ValueError(f"kinds should be some of {', '.join(DOCUMENTS)}; got {unknown}")
    rng = random.Random(seed)
    drawn = rng.choices(kinds, [DOCUMENTS[kind][1] for kind in kinds], k=n)
    return [DOCUMENTS[kind][0](world, rng) for kind in drawn]


def _scene(world: World, rng: random.Random) -> str:
    """One to four things with places; some sentences that are true of them."""
    things = rng.sample(world.names, rng.randint(2, 4))
    xs, ys = rng.sample(range(4), len(things)), rng.sample(range(4), len(things))

    def related() -> tuple[str, str, str]:
        i, j = rng.sample(range(len(things)), 2)
        if rng.random() < 0.5:
            return things[i], RELATIONS[xs[i] > xs[j]], things[j]
        return things[i], RELATIONS[2 + (ys[i] > ys[j])], things[j]

    caption = join([a(thing) for thing in things])
    form = rng.randrange(5)
    if form == 0:
        return f"{sentence(caption)} {_relations(related, rng.randint(1, 3))}"
    if form == 1:
        return chat([("Describe the picture.", f"{caption}. {_relations(related, 2)}")], image=False)
    first, relation, second = related()
    story = f"There are {caption}. " if rng.random() < 0.5 else ""
    if form == 2:
        return f"{story}{sentence(f'the {first} is {relation} the {second}')} " + sentence(
            f"so the {second} is {OPPOSITE[relation]} the {first}"
        )
    fact = sentence(f"the {first} is {relation} the {second}")
    if form == 3:
        asked, answer = (relation, "yes") if rng.random() < 0.5 else (OPPOSITE[relation], "no")
        return chat([(f"{fact} Is the {first} {asked} the {second}?", answer)], image=False)
    if rng.random() < 0.5:
        return chat([(f"{fact} What is {relation} the {second}?", a(first))], image=False)
    here = rng.random() < 0.5
    thing = rng.choice(things) if here else rng.choice([x for x in world.names if x not in things])
    return chat([(f"{sentence(caption)} Is there {a(thing)}?", "yes" if here else "no")], image=False)


def _relations(related: Callable[[], tuple[str, str, str]], n: int) -> str:
    told = dict.fromkeys(related() for _ in range(n))
    return " ".join(sentence(f"the {first} is {relation} the {second}") for first, relation, second in told)


def _fact(world: World, rng: random.Random) -> str:
    """Two or three of a thing's facts, or one fact of several things."""
    i = rng.randrange(len(world))
    clauses = [CLAUSES[fact] for fact in CLAUSES if fact != "keyword" or world.keywords[i]]
    form = rng.randrange(6)
    if form == 0:
        return " ".join(sentence(clause(world, i)) for clause in rng.sample(clauses, 2))
    if form == 1:
        return sentence(kind_clause(world, i))
    if form == 2:
        alike = [name for name, kind in zip(world.names, world.kinds, strict=True) if kind == world.kinds[i]]
        listed = join([a(name) for name in rng.sample(alike, min(len(alike), 4))])
        return f"{sentence(listed)} " + sentence(f"each of them is a kind of {world.kinds[i]}")
    if form == 3:
        words = rng.sample(world.keywords[i], len(world.keywords[i]))
        return f"{sentence(a(world.names[i]))} {sentence(join([*words, world.kinds[i]]))}"
    if form == 4:
        j = rng.randrange(len(world))
        same = world.kinds[i] == world.kinds[j]
        both = f"{kind_clause(world, i)}, and {kind_clause(world, j)}"
        end = "they are of the same kind" if same else "they are of different kinds"
        return f"{sentence(both)} {sentence(end)}"
    return sentence(rng.choice(clauses)(world, i))


def _ask(world: World, rng: random.Random) -> str:
    """One question about a thing, or two, as a conversation."""
    i = rng.randrange(len(world))
    facts = [fact for fact in ASKED if fact != "keyword" or world.keywords[i]]
    asked = rng.sample(facts, 1)
    if asked != ["gloss"] and rng.random() < 0.3:  # a gloss is long enough by itself
        asked.append(rng.choice([fact for fact in facts if fact not in ("gloss", *asked)]))
    turns = []
    for fact in asked:
        question = rng.choice(ASKED[fact]).format(a(world.names[i]), world.names[i])
        turns.append((question, sentence(CLAUSES[fact](world, i))))
    if rng.random() < 0.15:  # which of two is it?
        kinds = [world.kinds[i], rng.choice([kind for kind in world.kinds if kind != world.kinds[i]])]
        rng.shuffle(kinds)
        question = f"Is {a(world.names[i])} a kind of {kinds[0]} or a kind of {kinds[1]}?"
        return chat([(question, sentence(kind_clause(world, i)))], image=False)
    return chat(turns, image=False)


def _seen(world: World, rng: random.Random) -> str:
    """A thing is named, and then asked about as if it were to be seen."""
    i = rng.randrange(len(world))
    fact = rng.choice([fact for fact in KNOWLEDGE if fact_value(world, i, fact)])
    form = rng.randrange(4)
    if form == 0:
        choice = fact_choice(world, i, fact, rng)
        question, answer = choice.prompt(), choice.reply()
    elif form == 1:
        question, answer = DIRECT[fact], fact_value(world, i, fact)
    else:
        question, answer = KNOWLEDGE[fact], sentence(seen(world, i, fact))
    return chat([(f"There is {a(world.names[i])}. {question}", answer)], image=False)


def _count(world: World, rng: random.Random) -> str:
    """Things with numbers, and how many there are of one, or in all."""
    things, numbers = rng.sample(world.names, 2), [rng.randint(1, 3), rng.randint(1, 3)]
    listed = join([amount(n, thing) for n, thing in zip(numbers, things, strict=True)])
    form = rng.randrange(4)
    if form == 0:
        return sentence(listed)
    if form == 1:
        return f"{sentence(listed)} There are {NUMBERS[sum(numbers)]} things in all."
    told = f"There {'is' if numbers[0] == 1 else 'are'} {listed}."
    if form == 2:
        which = rng.randrange(2)
        question = f"{told} How many {plural(things[which])} are there?"
        return chat([(question, NUMBERS[numbers[which]])], image=False)
    return chat([(f"{told} How many things are there?", NUMBERS[sum(numbers)])], image=False)


def _compare(world: World, rng: random.Random) -> str:
    """Are there more of these than of those?  The rationale first."""
    things, numbers = rng.sample(world.names, 2), [rng.randint(1, 3), rng.randint(1, 3)]
    listed = join([amount(n, thing) for n, thing in zip(numbers, things, strict=True)])
    question = f"Are there more {plural(things[0])} than {plural(things[1])}?"
    answer = "yes" if numbers[0] > numbers[1] else "no"
    rationale = f"There {'is' if numbers[0] == 1 else 'are'} {listed}, so the answer is {answer}."
    return chat([(question, rationale)], image=False)


def _nickname(world: World, rng: random.Random) -> str:
    """A few things get nicknames; then some of them come up again, under the same ones."""
    form = rng.randrange(6)  # 4 and 5 are the same
    most, length = [(3, 4), (4, 7), (2, 3), (3, 3), (3, 4), (3, 4)][form]  # things, and sentences
    things = rng.sample(world.names, rng.randint(2, most))
    called = dict(zip(things, rng.sample(NICKNAMES["train"], len(things)), strict=True))
    again = rng.choices(things, k=rng.randint(1, max(1, length - len(things))))
    if form >= 4:  # as Flamingo reads it, with words where its pictures will be
        name = a if rng.random() < 0.3 else called.__getitem__
        return "".join(f"{a(thing)}: This is {name(thing)}{EOC}" for thing in [*things, *again])
    if form == 0:
        return " ".join(f"the {thing} is called {called[thing]}." for thing in [*things, *again])
    if form == 1:
        return " ".join(f"{thing}: {called[thing]}." for thing in [*things, *again])
    if form == 2:
        turns = [("What is this?", f"{a(thing)}, {called[thing]}") for thing in [*things, *again]]
        return chat(turns, image=False)
    story = " ".join(f"the {thing} is called {called[thing]}." for thing in things)
    if rng.random() < 0.5:
        return chat([(f"{story} What is the {again[0]} called?", called[again[0]])], image=False)
    return chat([(f"{story} Which one is {called[again[0]]}?", f"the {again[0]}")], image=False)


def amount(n: int, thing: str) -> str:
    """ "a fox", "two foxes" """
    return a(thing) if n == 1 else f"{NUMBERS[n]} {plural(thing)}"


CLAUSES: dict[str, Callable[[World, int], str]] = {
    "kind": kind_clause,
    "letter": letter_clause,
    "keyword": keyword_clause,
    "gloss": gloss_clause,
}

# {0} is the noun with its article, {1} without.
ASKED = {
    "kind": ("What kind of thing is {0}?", "What is {0} a kind of?", "To which kind does {0} belong?"),
    "letter": ("Which letter does the word {1} begin with?", "How does the word {1} begin?"),
    "keyword": ("Which word goes with {0}?", "What does one think of with {0}?"),
    "gloss": ("What does the dictionary say of {0}?", "What is {0}?"),
}

DOCUMENTS: dict[str, tuple[Callable[[World, random.Random], str], float]] = {
    "scene": (_scene, 0.15),
    "fact": (_fact, 0.15),
    "ask": (_ask, 0.2),
    "seen": (_seen, 0.2),
    "count": (_count, 0.07),
    "compare": (_compare, 0.05),
    "nickname": (_nickname, 0.18),
}
OF_FACTS = ("fact", "ask", "seen")  # the kinds that tell what `World` holds of a thing
