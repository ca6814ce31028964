"""Instruction data: true of the pictures, balanced, and silent about what only the language model may know."""

import random
import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cs_vl.data.captions import NUMBERS, a, make_captions, plural
from cs_vl.data.chat import chat
from cs_vl.data.instructions import (
    FAMILIES,
    KINDS,
    Example,
    RuleTeacher,
    SceneGraph,
    evaluation_questions,
    family_of,
    final_answer,
    knowledge_questions,
    make_instructions,
    naming_questions,
    scene_graphs,
    scene_instructions,
)
from cs_vl.data.multiple_choice import Choice, chosen_letter, make_choice
from cs_vl.data.scenes import RELATIONS, spatial_relations
from cs_vl.data.tasks_as_text import TASKS, TextTask, read_prompt, read_region, region_text, text_tasks
from cs_vl.data.world import encode_all, load_world, load_world_tokenizer, make_world_scenes
from cs_vl.data.world_text import (
    DIRECT,
    KNOWLEDGE,
    gloss_clause,
    keyword_clause,
    kind_clause,
    letter_clause,
    world_documents,
)

SCENE = SceneGraph(("owl", "fox", "owl", "bus"), ((0.5, 0.2), (0.1, 0.5), (0.6, 0.8), (0.9, 0.45)))


@pytest.fixture(scope="module")
def world():
    return load_world()


@pytest.fixture(scope="module")
def scenes():
    return make_world_scenes(1200, seed=11, size=24)


@pytest.fixture(scope="module")
def examples(world, scenes):
    return make_instructions(world, scenes, seed=0, per_scene=4)


# ---- Scene graphs ----


def test_graphs_are_what_the_scenes_hold(scenes):
    graphs = scene_graphs(scenes)
    assert len(graphs) == len(scenes)
    for i in (0, 7, 500):
        graph, present = graphs[i], scenes.present[i]
        assert list(graph.objects) == [scenes.kind_names[k] for k in scenes.kind[i][present].tolist()]
        assert torch.allclose(torch.tensor(graph.centres), scenes.centres[i][present] / scenes.size)
        assert torch.allclose(torch.tensor(graph.boxes), scenes.boxes[i][present] / scenes.size)
    assert scene_graphs(scenes[:0]) == []


def test_all_that_is_said_of_a_scene():
    said = scene_instructions(SCENE, ("ant", "fox"))
    assert said["description"] == [
        ("Describe the picture.", "Two owls, a fox and a bus. The fox is left of the bus.")
    ]
    assert dict(said["reasoning"]) == {
        "Are there more owls than foxes?": "There are two owls and a fox, so the answer is yes.",
        "Are there more owls than buses?": "There are two owls and a bus, so the answer is yes.",
        "Are there more foxes than owls?": "There is a fox and two owls, so the answer is no.",
        "Are there more foxes than buses?": "There is a fox and a bus, so the answer is no.",
        "Are there more buses than owls?": "There is a bus and two owls, so the answer is no.",
        "Are there more buses than foxes?": "There is a bus and a fox, so the answer is no.",
    }
    assert dict(said["conversation"]) == {
        "Is there an owl?": "yes",
        "Is there a fox?": "yes",
        "Is there a bus?": "yes",
        "Is there an ant?": "no",
        "How many things are there?": "four",
        "How many owls are there?": "two",
        "How many foxes are there?": "one",
        "How many buses are there?": "one",
        "Is the fox left of the bus?": "yes",
        "Is the bus left of the fox?": "no",
        "Is the bus right of the fox?": "yes",
        "Is the fox right of the bus?": "no",
        "What is below the fox?": "an owl",
        "What is above the bus?": "an owl",
    }
    assert naming_questions(SCENE) == [
        ("What is the thing on the left?", "a fox"),
        ("What is the thing on the right?", "a bus"),
        ("What is the thing at the top?", "an owl"),
        ("What is the thing at the bottom?", "an owl"),
    ]
    assert naming_questions(SceneGraph(("ant",), ((0.5, 0.5),))) == [("What is this?", "an ant")]


def test_relations_agree_with_those_of_the_scenes(scenes):
    """The answers, against `spatial_relations`, which is written otherwise."""
    some = scenes[:200]
    holds = spatial_relations(some, 0.1)
    for i, graph in enumerate(scene_graphs(some)):
        said = dict(scene_instructions(graph)["conversation"])
        for p, one in enumerate(graph.objects):
            for q, other in enumerate(graph.objects):
                if graph.objects.count(one) == graph.objects.count(other) == 1 and p != q:
                    for r, relation in enumerate(RELATIONS):
                        answer = said.get(f"Is the {one} {relation} the {other}?")
                        assert (answer == "yes") == bool(holds[i, p, q, r])
                        assert (answer == "no") == bool(holds[i, q, p, r])


coordinate = st.integers(0, 64).map(lambda i: i / 64)


@given(
    st.lists(
        st.tuples(st.sampled_from(["fox", "owl", "bus"]), coordinate, coordinate), min_size=1, max_size=6
    )
)
def test_mirrored_scenes_have_mirrored_answers(things):
    def said(sign):
        centres = tuple((0.5 + sign * (x - 0.5), y) for _, x, y in things)
        graph = SceneGraph(tuple(name for name, _, _ in things), centres)
        return scene_instructions(graph, (), 0.125)

    swap = {"left": "right", "right": "left"}
    mirrored = [
        (re.sub(r"\b(left|right)(?= of)", lambda m: swap[m[0]], question), answer)
        for question, answer in said(-1)["conversation"]
    ]
    assert sorted(mirrored) == sorted(said(1)["conversation"])
    assert len(set(mirrored)) == len(mirrored)


# ---- Training data ----


def test_data_depend_on_the_seed_alone(world, scenes, examples):
    state = random.getstate()
    assert make_instructions(world, scenes, seed=0, per_scene=4) == examples
    assert random.getstate() == state
    assert make_instructions(world, scenes, seed=1, per_scene=4) != examples


def test_every_kind_and_family_is_there(scenes, examples):
    kinds = Counter(example.kind for example in examples)
    assert set(kinds) == set(KINDS)
    per_scene = Counter(example.scene for example in examples)
    assert max(per_scene.values()) <= 4 and set(per_scene) == set(range(len(scenes)))
    talk = [example for example in examples if example.kind == "conversation"]
    assert {family_of(q) for example in talk for q, _ in example.turns} == set(FAMILIES)
    assert Counter(len(example.turns) for example in talk)[3] > 0.9 * len(talk)
    assert all(len(example.turns) == 1 for example in examples if example.kind != "conversation")
    for example in talk:
        families = [family_of(q) for q, _ in example.turns]
        assert len(set(families)) == len(families)


def test_answers_are_true(world, scenes, examples):
    graphs = scene_graphs(scenes)
    for example in examples:
        graph = graphs[example.scene]
        here = Counter(graph.objects)
        for question, answer in example.turns:
            if match := re.fullmatch(r"Is there an? (.*)\?", question):
                assert answer == ("yes" if match[1] in here else "no")
            elif question == "How many things are there?":
                assert answer == NUMBERS[len(graph.objects)]
            elif match := re.fullmatch(r"How many (.*) are there\?", question):
                assert answer in [NUMBERS[n] for name, n in here.items() if plural(name) == match[1]]
            elif question.startswith(("What is", "Describe")):
                assert any(
                    re.search(rf"\b({re.escape(name)}|{plural(name)})\b", answer.lower()) for name in here
                )
            elif example.kind in ("knowledge", "choice", "direct"):
                (i,) = map(world.index, graph.objects)
                assert world.taught[i]
                value = {
                    "kind of": world.kinds[i],
                    "letter": world.letters[i],
                    "keyword": (*world.keywords[i], None)[0],
                }[family_of(question)]
                final = final_answer(answer)
                if example.kind == "choice":
                    final = re.search(rf"\({final}\) ([^(]*?)(?: \(|$)", question)[1]
                assert final == value


def test_answers_are_balanced(examples):
    given = Counter((family_of(q), answer) for e in examples for q, answer in e.turns)
    for family in ("presence", "relation"):
        yes, no = given[family, "yes"], given[family, "no"]
        assert yes + no > 150 and abs(yes - no) < 0.1 * (yes + no)
    counts = [given["count", number] for number in ("one", "two", "three", "four")]
    assert min(counts) > 0.4 * max(counts)


def test_a_teacher_can_be_put_in(world, scenes):
    class Teacher:
        def instruct(self, graph, absent):
            assert absent and not set(absent) & set(graph.objects)
            return {"description": [("What do you see?", " ".join(graph.objects))]}

    made = make_instructions(world, scenes[:9], seed=0, teacher=Teacher(), kinds=("description",))
    assert [e.turns[0][1] for e in made] == [" ".join(graph.objects) for graph in scene_graphs(scenes[:9])]


@pytest.mark.parametrize("kinds", [(), "reasoning", ("poem",)])
def test_kinds_that_there_are_not(world, scenes, kinds):
    with pytest.raises(ValueError, match="kinds should be some of conversation"):
        make_instructions(world, scenes[:2], seed=0, kinds=kinds)


def test_examples_are_short(examples):
    encoded = encode_all(load_world_tokenizer(), [chat(example.turns) for example in examples])
    assert max(map(len, encoded)) <= 64


# ---- What no picture may be told with ----


def test_facts_of_untaught_things_stand_in_the_text_only(world):
    """The phrases of their facts are in what the language model reads, and nowhere beside a picture."""
    scenes = make_world_scenes(4000, seed=23, size=16)
    kinds = [("knowledge", "choice", "direct"), KINDS]
    made = [make_instructions(world, scenes, seed=seed, per_scene=6, kinds=k) for seed, k in enumerate(kinds)]
    paired = [chat(example.turns) for part in made for example in part]
    for style in ("objects", "relation"):
        paired += make_captions(scenes, style)
    graphs = scene_graphs(scenes)
    rng = random.Random(0)
    paired += [f"{t.prompt()} {t.target}" for graph in graphs for t in text_tasks(graph, ("ox",), rng)]
    beside = "\n".join(paired).lower()
    read = "\n".join(world_documents(world, seed=0, n=40_000)).lower()

    seen = {name for graph in graphs for name in graph.objects}
    assert seen == set(world.names)
    told = 0
    for i, name in enumerate(world.names):
        clauses = [kind_clause(world, i), letter_clause(world, i), gloss_clause(world, i)]
        clauses += [keyword_clause(world, i)] if world.keywords[i] else []
        for phrase in map(str.lower, clauses):
            assert phrase in read
            assert world.taught[i] or phrase not in beside
        for phrase in (
            f" {name} is a kind of",
            f" {name} begins with",
            f" {name} goes with",
            world.glosses[i].lower(),
        ):
            assert world.taught[i] or phrase not in beside, phrase
        told += world.taught[i] and kind_clause(world, i) in beside
    assert told == sum(world.taught)

    # The short form and the choice name no thing: no picture of an untaught one is asked about at all.
    asked = (*KNOWLEDGE.values(), *DIRECT.values())
    for part in made:
        for example in part:
            if example.turns[0][0].startswith(asked):
                (name,) = graphs[example.scene].objects
                assert world.taught[world.index(name)]


# ---- Evaluation ----


@pytest.mark.parametrize("family", (*FAMILIES, "reasoning"))
def test_evaluation_questions(world, scenes, family):
    examples = evaluation_questions(world, scenes, seed=0, family=family, n=120)
    assert len(examples) == 120
    assert examples == evaluation_questions(world, scenes, seed=0, family=family, n=120)
    assert {family_of(example.turns[0][0]) for example in examples} == {family}
    assert all(len(example.turns) == 1 and example.kind == family for example in examples)
    graphs = scene_graphs(scenes)
    for example in examples:
        ((question, answer),) = example.turns
        if answer != "no" or family != "presence":
            said = RuleTeacher().instruct(graphs[example.scene], ())
            assert (question, answer) in said["conversation"] + said["reasoning"]
    answers = Counter(final_answer(example.turns[0][1]) for example in examples)
    if family in ("presence", "relation", "reasoning"):
        assert abs(answers["yes"] - answers["no"]) <= 8 and len(answers) == 2
    elif family == "count":
        assert set(answers) == {"one", "two", "three", "four"} and max(answers.values()) <= 42
    else:
        assert max(answers.values()) <= 4


def test_words_alone_are_near_chance(world, scenes):
    """Who answers with what is right most often for a form of question, names left out, is little better."""
    for family, most in (("presence", 0.52), ("relation", 0.52), ("reasoning", 0.52), ("count", 0.35)):
        examples = evaluation_questions(world, scenes, seed=1, family=family, n=200)
        given = {}
        for example in examples:
            ((question, answer),) = example.turns
            form = re.search(r"left of|right of|above|below|things|$", question)[0]
            given.setdefault(form, Counter())[final_answer(answer)] += 1
        assert sum(max(each.values()) for each in given.values()) / len(examples) <= most, family


@pytest.mark.parametrize("taught", [True, False])
@pytest.mark.parametrize("form", ["knowledge", "choice", "direct"])
def test_knowledge_questions(world, scenes, taught, form):
    graphs = scene_graphs(scenes)
    for fact in KNOWLEDGE:
        examples = knowledge_questions(world, scenes, taught=taught, fact=fact, form=form)
        assert len(examples) > 80
        for example in examples:
            (i,) = map(world.index, graphs[example.scene].objects)
            assert world.taught[i] == taught
            ((question, answer),) = example.turns
            value = {"kind": world.kinds, "letter": world.letters}.get(fact, world.keywords)[i]
            if form == "direct":
                assert (question, answer) == (DIRECT[fact], value if fact != "keyword" else value[0])
            else:
                assert question.startswith(KNOWLEDGE[fact])
                assert answer.startswith(f"This is {a(world.names[i])}, and ")
    some = knowledge_questions(world, scenes, taught=taught, n=60)
    assert len(some) == 60 and max(Counter(final_answer(e.turns[0][1]) for e in some).values()) <= 3


def test_final_answers():
    assert final_answer("This is a fox, and a fox is a kind of canine.") == "canine"
    assert final_answer("This is a fox, and the word fox begins with f.") == "f"
    assert final_answer("This is a cow, and a cow goes with the word moo.") == "moo"
    assert final_answer("This is a fox, and a fox is a kind of canine. The answer is (b).") == "b"
    assert final_answer("There are two foxes and an owl, so the answer is yes.") == "yes"
    assert final_answer("a fox") == "a fox"
    assert family_of("Why?") == "other"


# ---- Formats ----


def test_multiple_choice():
    choice = Choice("What is it?", ("ant", "fox", "owl"), "This is a fox.", 1)
    assert choice.prompt() == "What is it? (a) ant (b) fox (c) owl"
    assert choice.reply() == "This is a fox. The answer is (b)."
    assert choice.reply(rationale=False) == "The answer is (b)."
    assert chosen_letter(choice.reply()) == "b" and chosen_letter("a fox") is None
    drawn = [
        make_choice("What?", "fox", ["ant", "owl", "fox", "bus"], "", random.Random(i)) for i in range(60)
    ]
    assert all(each.choices[each.answer] == "fox" for each in drawn)
    assert set(Counter(each.answer for each in drawn)) == {0, 1, 2}
    with pytest.raises(ValueError, match="different texts"):
        Choice("What?", ("ant", "ant"), "", 0)
    with pytest.raises(ValueError, match="one of the 2 choices"):
        Choice("What?", ("ant", "fox"), "", 2)


def test_tasks_as_text_and_back(scenes):
    rng = random.Random(0)
    made = Counter()
    for graph in scene_graphs(scenes[:300]):
        for task in text_tasks(graph, ("ox",), rng):
            made[task.task] += 1
            assert TextTask(*read_prompt(task.prompt()), task.target) == task
            if task.task == "grounding":
                assert task.source == f"the {graph.objects[read_region(task.target)]}"
            if task.task == "region":
                assert task.target == a(graph.objects[read_region(task.source)])
            if task.task == "match":
                assert ("an ox" in task.source) == (task.target == "no")
    assert set(made) == set(TASKS)
    assert [read_region(region_text(i)) for i in range(12)] == list(range(12))
    assert read_region("region 0") is read_region("a region 2") is None
    with pytest.raises(ValueError, match="begins with one of vqa"):
        read_prompt("poem: a fox")
    with pytest.raises(ValueError, match="task should be one of vqa"):
        TextTask("poem", "", "")


def test_an_example_is_a_value():
    assert Example(1, (("What?", "a fox"),), "kind") == Example(1, (("What?", "a fox"),), "kind")
