"""The gate over every exercise of every assignment (autograder/gate.py says what must hold)."""

from functools import cache

import pytest

from autograder.build.regions import find_region
from autograder.gate import MIN_ALTERNATIVES, MIN_MISTAKES, Gate, distinct
from autograder.mutants import equivalents, mutants
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, Exercise, load_assignment

EVERY = [(a, e) for a in map(load_assignment, ASSIGNMENTS) for e in a.exercises]
every_exercise = pytest.mark.parametrize(("assignment", "exercise"), EVERY, ids=[e.name for _, e in EVERY])


@cache
def gate_of(assignment: Assignment) -> Gate:
    return Gate(assignment)


def test_names_are_unique():
    names = [e.name for _, e in EVERY]
    assert len(set(names)) == len(names)


@every_exercise
def test_the_answer_and_its_alternatives_pass(assignment: Assignment, exercise: Exercise, record_property):
    gate = gate_of(assignment)
    alternatives = gate.known[exercise.name].alternatives
    assert len(alternatives) >= MIN_ALTERNATIVES
    record_property("exercises", 1)
    record_property("alternatives accepted", len(alternatives))
    for name, answer in {"the answer": exercise.answer, **alternatives}.items():
        for verdict in gate.both(exercise, answer):
            assert verdict.passed, (name, verdict)
            assert verdict.points == exercise.points


@every_exercise
def test_each_mistake_fails_and_is_named(assignment: Assignment, exercise: Exercise, record_property):
    gate = gate_of(assignment)
    known = gate.known[exercise.name]
    assert len(known.mistakes) >= MIN_MISTAKES
    record_property("misconceptions named", len(known.mistakes))
    for name, wrong in known.mistakes.items():
        for verdict in gate.both(exercise, wrong):
            assert not verdict.passed, name
            assert verdict.points < exercise.points
            assert verdict.mistake == name, (name, verdict)
            assert verdict.sentence == known.sentences[name]
    assert distinct(gate, exercise) == []
    assert len(set(known.sentences.values())) == len(known.sentences)


@every_exercise
def test_the_blank_and_fakes_score_nothing(assignment: Assignment, exercise: Exercise):
    gate = gate_of(assignment)
    for verdict in gate.both(exercise, gate.stub(exercise)):
        assert (verdict.status, verdict.points) == ("missing", 0), verdict
    for name, run in gate.fakes(exercise).items():
        assert gate.on_hidden(exercise, run).points == 0, name


@every_exercise
def test_a_sample_of_mutants_fails(assignment: Assignment, exercise: Exercise):
    """Every eighth mutant; all of them, and those that are listed as equal: the slow test below."""
    gate = gate_of(assignment)
    listed = gate.listed(exercise)
    everyone = mutants(exercise)
    assert len(everyone) >= 3
    assert set(listed) <= {m.key for m in everyone}, "listed, but there is no such mutant"
    survivors = [m.key for m in everyone[::8] if m.key not in listed and not gate.kills(exercise, m)]
    assert survivors == []


@pytest.mark.slow
@every_exercise
def test_mutants_of_the_answer_fail(assignment: Assignment, exercise: Exercise, record_property):
    gate = gate_of(assignment)
    everyone, survivors = gate.survivors(exercise)
    listed = gate.listed(exercise)
    record_property("mutants killed", len(everyone) - len(survivors))
    record_property("mutants listed as equal", len(survivors))
    assert len(everyone) >= 3
    assert {m.key for m in survivors} == set(listed), "unlisted, or listed although they fail"
    for mutant in survivors:
        assert gate.equal_on(exercise, mutant, 1000), mutant.key


def test_few_mutants_are_listed_as_equal():
    total = listed = 0
    for assignment, exercise in EVERY:
        total += len(mutants(exercise))
        listed += len(equivalents(assignment.name).get(exercise.name, {}))
    assert listed <= 0.03 * total, (listed, total)


@every_exercise
def test_a_pulled_cell_runs_after_its_import_cell_alone(assignment: Assignment, exercise: Exercise):
    region = find_region(exercise)
    namespace: dict = {"__name__": "cs_vl.nobody"}
    exec(region.imports, namespace)
    exec(region.source, namespace)
    verdict = gate_of(assignment).on_visible(exercise, namespace[exercise.name])
    assert verdict.passed, verdict
