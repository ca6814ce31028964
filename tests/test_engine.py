"""The engine around an exercise: loading without running the story, the worker, the judge, the card."""

import json
import textwrap
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.checks import wire
from cs_vl.checks.card import html, text
from cs_vl.checks.cells import Cell, Unreadable, read_submission
from cs_vl.checks.compare import compare
from cs_vl.checks.judge import StageCases, judge
from cs_vl.checks.keep import keeps
from cs_vl.checks.load import load
from cs_vl.checks.probes import number
from cs_vl.checks.run import Outcome, isolated, run_probe
from cs_vl.checks.source import parse
from cs_vl.checks.spec import Assignment, Exercise, Stage, load_assignment
from cs_vl.checks.submission import Submitted
from cs_vl.checks.visible import judge_here
from cs_vl.checks.worker import Worker
from cs_vl.exercise import MissingExercise

A1 = load_assignment("a1_transformer")
SDPA = A1["scaled_dot_product_attention"]
ANSWER = """
    import torch
    from cs_vl.checks import exercise

    @exercise
    def scaled_dot_product_attention(q, k, v, mask=None):
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        weights = scores.softmax(-1)
        return weights @ v, weights
"""


def cell(source: str, number: int = 1, grade_id: str = "") -> Cell:
    return Cell(number, "code", textwrap.dedent(source).strip(), grade_id)


# --- wire ------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
trees = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)
)


@settings(max_examples=100, deadline=None)
@given(trees)
def test_the_wire_gives_back_what_it_was_given(tree):
    skeleton, arrays = wire.pack(tree)
    again = wire.unpack(json.loads(json.dumps(skeleton)), arrays)
    assert again == tree
    assert type(again) is type(tree)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.uint8])
def test_the_wire_keeps_tensors_and_arrays(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    again = wire.copy(
        {"t": tensor, "n": tensor.numpy(), "empty": torch.empty(0, 3), "scalar": torch.tensor(2.0)}
    )
    assert torch.equal(again["t"], tensor) and again["t"].dtype == dtype
    assert isinstance(again["n"], np.ndarray) and (again["n"] == tensor.numpy()).all()
    assert again["empty"].shape == (0, 3) and again["scalar"].shape == ()


@pytest.mark.parametrize(
    "thing",
    [
        object(),
        lambda: None,
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        np.array(["a"]),
    ],
)
def test_the_wire_refuses_what_is_no_data(thing):
    with pytest.raises(wire.Refused):
        wire.pack({"x": thing})


# --- compare ---------------------------------------------------------------------------------------------


def test_compare_says_what_differs_and_where():
    want = {"output": torch.zeros(2, 3)}
    assert compare({"output": np.zeros((2, 3))}, want, 1e-4, 1e-5) is None
    assert "missing" in compare({}, want, 1e-4, 1e-5).sentence
    assert compare({"output": torch.zeros(3, 2)}, want, 0, 0).reached == "shape"
    got = torch.zeros(2, 3)
    got[1, 2] = 0.5
    difference = compare({"output": got}, want, 1e-4, 1e-5)
    assert (difference.reached, difference.largest) == ("value", 0.5)
    assert "output[1, 2]" in difference.detail
    assert "NaN" in compare({"output": got * torch.nan}, want, 1e-4, 1e-5).sentence
    assert "type" in compare({"output": got > 0}, want, 1e-4, 1e-5).sentence
    no_gradient = compare({"gradient of q": None}, {"gradient of q": got}, 0, 0)
    assert no_gradient.sentence == "No gradient reaches q."


def test_compare_tells_numbers_of_other_sorts():
    labels = {"labels": torch.tensor([3, -100])}
    assert compare({"labels": torch.tensor([3, -100], dtype=torch.int32)}, labels, 0, 0) is None
    assert (
        "int64; yours is float32" in compare({"labels": torch.tensor([3.0, -100.0])}, labels, 0, 0).sentence
    )
    assert compare({"p": torch.tensor([0, 1])}, {"p": torch.tensor([0.0, 1.0])}, 0, 0).reached == "shape"
    assert compare({"p": np.array([0, 1])}, {"p": np.array([0.0, 1.0])}, 0, 0) is None
    assert compare({"i": np.array([0, 1])}, {"i": torch.tensor([0, 1])}, 0, 0) is None


def test_compare_does_not_look_into_what_is_far_too_much():
    """Each of the numbers as Python's own would take minutes, and gigabytes."""
    huge = [np.zeros(60_000_000, np.int8)]
    for expected in ([1, 2, 3], [[1, 2]], "text", None):
        assert compare({"ids": huge}, {"ids": expected}, 0, 0)
    assert "a list of 60,000,000 entries" in compare({"ids": huge}, {"ids": [1]}, 0, 0).detail


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(), st.integers())))
def test_compare_takes_lists_and_tuples_for_the_same(pairs):
    assert compare({"x": [list(p) for p in pairs]}, {"x": pairs}, 0, 0) is None
    assert compare({"x": [*pairs, (0, 1)]}, {"x": pairs}, 0, 0) is not None


@pytest.mark.parametrize(
    "one", [3, 3.0, np.float32(3), np.array([[3]]), torch.tensor([3.0], requires_grad=True)]
)
def test_one_number_of_any_kind_compares(one):
    assert compare({"x": number(one)}, {"x": number(3.0)}, 0, 0) is None
    assert compare({"x": number(one)}, {"x": number(4.0)}, 0, 0).reached == "value"
    for other in ("3", None, [3], np.zeros(2), torch.zeros(2)):
        assert compare({"x": number(other)}, {"x": number(3.0)}, 0, 0).reached == "shape"


# --- load ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("import torch", True),
        ("def f(): ...", True),
        ("EPS = 1e-5", True),
        ("NEG = float('-inf')", True),
        ("N = 2 * len([1, 2])", True),
        ("f = lambda x: x + 1", True),
        ("MultiHeadAttention.forward = forward", True),
        ("try:\n    import a\nexcept ImportError:\n    a = None", True),
        ("for i in range(3): print(i)", False),
        ("while True: pass", False),
        ("model = train(model)", False),
        ("x = [i for i in range(10)]", False),
        ("X = 10 ** 10 ** 10", False),
        ("X = [0] * 10 ** 12", False),
        ("print(1)", False),
        ("from autograder.hidden import check_hidden", False),
    ],
)
def test_only_definitions_run(source, runs):
    assert keeps(parse(source).body[0]) == runs


def test_magics_do_not_spoil_a_cell():
    loaded = load(
        [cell("%matplotlib inline\n!rm -rf x\ndef f():\n    return 1"), cell("%%bash\nrm -rf /")], ["f"]
    )
    assert loaded.answers["f"]() == 1


def test_a_broken_cell_costs_only_itself():
    cells = [
        cell("def softmax(x) return x", 1, "softmax"),
        cell("import nothing_of_this_name", 2),
        cell(ANSWER, 3, "scaled_dot_product_attention"),
    ]
    loaded = load(cells, [e.name for e in A1.exercises])
    assert set(loaded.answers) == {"scaled_dot_product_attention"}
    assert "Cell 1, line 1 is not Python" in loaded.problems["softmax"]
    assert any("nothing_of_this_name" in note for note in loaded.notes)


def test_the_answer_cell_speaks_before_a_later_redefinition():
    cells = [cell("def softmax(x):\n    return 1", 1, "softmax"), cell("def softmax(x):\n    return 2", 2)]
    assert load(cells, ["softmax"]).answers["softmax"](0) == 1
    assert load(cells[1:], ["softmax"]).answers["softmax"](0) == 2


def test_names_of_the_library_are_no_answers():
    imports = cell("from cs_vl.nn.attention import scaled_dot_product_attention")
    assert load([imports], ["scaled_dot_product_attention"]).answers == {}
    assert load([], ["scaled_dot_product_attention"], setup=[imports]).answers == {}


# --- reader ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"{", "not a whole notebook"),
        (b"[]", "not a notebook"),
        (b'{"cells": 3}', "not a notebook"),
        (b"\xff\x00\xfe\x80", "not text"),
    ],
)
def test_a_file_that_is_no_notebook_gets_a_sentence(tmp_path, data, said):
    path = tmp_path / "a.ipynb"
    path.write_bytes(data)
    with pytest.raises(Unreadable, match=said):
        read_submission(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_odd_notebooks_are_read(tmp_path, encoding):
    notebook = {
        "cells": [
            {"cell_type": "code", "source": ["a = ", "1"], "metadata": {"nbgrader": {"grade_id": "x"}}},
            {"cell_type": "code"},
            "not a cell",
            {"cell_type": "markdown", "source": 3, "metadata": None},
        ]
    }
    path = tmp_path / "a.ipynb"
    path.write_bytes(json.dumps(notebook).encode(encoding))
    cells = read_submission(path).cells
    assert [c.source for c in cells] == ["a = 1", "", "", ""]
    assert cells[0].grade_id == "x"


def test_a_percent_script_is_read(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('# %% [markdown]\n# hello\n\n# %% nbgrader={"grade_id": "x"}\na = 1\n')
    cells = read_submission(path).cells
    assert [(c.kind, c.source, c.grade_id) for c in cells] == [
        ("markdown", "hello", ""),
        ("code", "a = 1", "x"),
    ]


# --- judge -----------------------------------------------------------------------------------------------


def number_exercise(*stages: Stage) -> tuple[Assignment, Exercise]:
    exercise = Exercise(name="double", module="none", stages=stages)
    return Assignment(name="x", title="X", exercises=(exercise,)), exercise


def test_a_property_earns_nothing_before_the_value_passes():
    value = Stage(name="value", points=2, cases=1, case=lambda rng: {}, probe=lambda fn, inputs: {"y": fn(3)})
    sign = Stage(
        name="sign", kind="property", points=1, cases=1, case=lambda rng: {}, probe=lambda fn, i: {"y": fn(0)}
    )
    assignment, exercise = number_exercise(value, sign)
    cases = {"value": StageCases([{}], [{"y": 6}]), "sign": StageCases([{}], [{"y": 0}])}

    def verdict(fn):
        return judge(
            exercise, lambda s, i: run_probe(assignment, exercise, s, i, fn), lambda s: cases[s.name], {}
        )

    assert verdict(lambda x: 2 * x).points == 3
    assert verdict(lambda x: 0).points == 0
    assert verdict(lambda x: 2 * x or 1).points == 2


def test_an_exception_shows_the_line_of_the_student_and_hidden_cases_hide_its_message():
    source = cell("def double(x):\n    y = x + 1\n    raise ValueError(f'secret {x}')", 4)
    fn = load([source], ["double"]).answers["double"]
    stage = Stage(name="value", points=2, case=lambda rng: {}, probe=lambda f, inputs: {"y": f(3)}, cases=1)
    assignment, exercise = number_exercise(stage)
    for hidden in (False, True):
        verdict = judge(
            exercise,
            lambda s, i: run_probe(assignment, exercise, s, i, fn),
            lambda s: StageCases([{}], [{"y": 6}]),
            {},
            hidden=hidden,
        )
        assert verdict.status == "error"
        assert "ValueError" in verdict.sentence and "cell 4, line 3: raise ValueError" in verdict.sentence
        assert ("secret 3" in verdict.sentence) != hidden


def test_a_known_mistake_is_named_only_if_all_cases_agree():
    stage = Stage(name="value", points=1, case=lambda rng: {}, probe=lambda f, i: {"y": f(i["x"])}, cases=2)
    assignment, exercise = number_exercise(stage)
    cases = StageCases([{"x": 2}, {"x": 3}], [{"y": 4}, {"y": 6}], {"square": [{"y": 4}, {"y": 9}]})

    def mistake(fn):
        run = lambda s, i: run_probe(assignment, exercise, s, i, fn)  # noqa: E731
        return judge(exercise, run, lambda s: cases, {"square": "You squared it."}).mistake

    assert mistake(lambda x: x * x) == "square"
    assert mistake(lambda x: x + 2) == ""


def test_a_mistake_that_explains_little_is_not_named():
    """It gives what the student's code gives on one of three stages; the sentence would mislead."""
    stages = [
        Stage(name=name, points=1, case=lambda rng: {}, probe=lambda f, i: {"y": f(i["x"])}, cases=1)
        for name in "abc"
    ]
    assignment, exercise = number_exercise(*stages)
    known = {
        stage.name: StageCases([{"x": x}], [{"y": 0}], {"square": [{"y": x * x}]})
        for stage, x in zip(stages, (3, 4, 5), strict=True)
    }

    def mistake(fn):
        run = lambda s, i: run_probe(assignment, exercise, s, i, fn)  # noqa: E731
        return judge(exercise, run, lambda stage: known[stage.name], {"square": "You squared it."}).mistake

    assert mistake(lambda x: x * x) == "square"
    assert mistake(lambda x: x * x if x > 3 else -1) == "square"  # there is a second mistake
    assert mistake(lambda x: x * x if x > 4 else -1) == ""


def test_only_a_blank_is_not_written_yet():
    stage = Stage(name="v", points=1, case=lambda rng: {}, probe=lambda f, i: {"y": f(i["x"])})
    assignment, exercise = number_exercise(stage)

    def blank(x):
        raise NotImplementedError

    def with_a_module_that_cannot(x):
        return torch.nn.Module()(x)

    assert run_probe(assignment, exercise, stage, {"x": 1}, blank).status == "missing"
    outcome = run_probe(assignment, exercise, stage, {"x": 1}, with_a_module_that_cannot)
    assert (outcome.status, outcome.error) == (
        "error",
        "NotImplementedError",
    ) and "forward" in outcome.message


def test_a_check_leaves_the_notebook_as_it_was():
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        assert judge_here(A1, SDPA, SDPA.answer).passed
        assert torch.get_default_dtype() == torch.float64 and not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert (torch.rand(1), np.random.rand()) == expected


def test_inputs_are_copied_for_each_call():
    stage = Stage(name="v", points=1, case=lambda rng: {}, probe=lambda f, i: {"y": f(i["x"])})
    assignment, exercise = number_exercise(stage)
    inputs = {"x": torch.ones(2)}
    run_probe(assignment, exercise, stage, inputs, lambda x: x.zero_())
    assert inputs["x"].sum() == 2


def test_checks_run_on_the_cpu_whatever_the_default_device_is_or_becomes():
    try:
        torch.set_default_device("meta")
        with isolated():
            assert torch.zeros(1).device.type == "cpu"
        assert torch.zeros(1).device.type == "meta"
        torch.set_default_device(None)
        with isolated():
            torch.set_default_device("meta")  # as a student's code may
        assert torch.zeros(1).device.type == "cpu"
    finally:
        torch.set_default_device(None)


def test_isolated_hides_warnings_and_stderr(capsys):
    import sys
    import warnings

    with isolated():
        warnings.warn("look", stacklevel=1)
        print("look", file=sys.stderr)
    assert capsys.readouterr().err == ""


# --- card ------------------------------------------------------------------------------------------------


def test_the_card_shows_the_stage_the_numbers_and_the_sentence():
    verdict = judge_here(A1, SDPA, lambda q, k, v, mask=None: (torch.softmax(q @ k.mT, -1) @ v, q @ k.mT))
    for card in (text(verdict), html(verdict)):
        assert "0 of 6 points" in card
        assert "no mask" in card and "largest difference" in card
    assert "<script" not in html(verdict) and "http" not in html(verdict)


def test_the_card_escapes_what_a_student_wrote():
    def answer(*_):
        raise ValueError("<script>alert(1)</script>")

    assert "<script>" not in html(judge_here(A1, SDPA, answer))


# --- worker ----------------------------------------------------------------------------------------------


def verdicts_of(cells, **options):
    from cs_vl.checks.visible import references

    stored = references("a1_transformer")
    with Submitted(A1, cells, **options) as submitted:
        found = submitted.verdicts(
            lambda e: lambda s: stored[e.name]["stages"][s.name],
            lambda e: stored[e.name]["sentences"],
            hidden=True,
        )
        return {v.exercise: v for v in found}


def test_a_submission_is_judged_in_a_process_of_its_own():
    endless = "while True:\n    pass"
    verdicts = verdicts_of([cell(endless, 1), cell(ANSWER, 2)])
    assert verdicts["scaled_dot_product_attention"].passed
    assert verdicts["MultiHeadAttention"].status == "missing"


def test_loops_and_crashes_cost_only_their_exercise():
    cells = [
        cell("def softmax(x, axis=-1):\n    while True:\n        pass", 1),
        cell("import os\ndef layer_norm(*args, **kwargs):\n    os._exit(3)", 2),
        cell("def softmax_backward(grad_y, y, axis=-1):\n    return [object()]", 3),
        cell(ANSWER, 4),
    ]
    start = time.perf_counter()
    verdicts = verdicts_of(cells, seconds=1.0)
    assert verdicts["softmax"].status == "timeout" and "endless loop" in verdicts["softmax"].sentence
    assert verdicts["layer_norm"].status == "crashed"
    assert verdicts["softmax_backward"].status == "refused"
    assert verdicts["scaled_dot_product_attention"].passed
    assert time.perf_counter() - start < 120


def test_a_worker_on_the_student_edition_can_reach_no_answer(tmp_path):
    import sysconfig
    from pathlib import Path

    from autograder.build.edition import build_edition

    build_edition("a1_transformer", tmp_path)
    path = [tmp_path, Path(sysconfig.get_path("purelib"))]
    thief = """
        import importlib
        def scaled_dot_product_attention(q, k, v, mask=None):
            try:
                importlib.import_module("autograder.known")
            except ImportError:
                import cs_vl.nn.attention as library
                return library.MultiHeadAttention(4, 2)(q[0, :, :, :4])
            return 1
    """
    with Worker(A1.name, path) as worker:
        worker.load([cell(thief)])
        outcome = worker.run(SDPA, SDPA.stages[0], SDPA.draw(SDPA.stages[0], 1)[0])
    assert outcome.status in ("missing", "error"), outcome


def test_a_stub_of_the_library_says_which_exercise_is_missing():
    assert "softmax is an exercise that is not written yet" in str(MissingExercise("softmax"))
    assert Outcome("missing").status == "missing"


def test_helper_methods_of_a_students_class_are_lent_to_the_library(tmp_path):
    import subprocess
    import sys
    import sysconfig

    from autograder.build.edition import build_edition

    build_edition("a1_transformer", tmp_path)
    code = """
        import torch
        from torch import nn
        from cs_vl.exercise import exercise
        from cs_vl.nn.patch_embed import PatchEmbed as Given

        @exercise
        class PatchEmbed(nn.Module):
            def cut(self, images):
                return images.flatten(1)[:, None, : self.proj.in_features]
            def forward(self, images):
                return self.proj(self.cut(images))

        assert Given(2, 3, 5)(torch.zeros(1, 3, 2, 2)).shape == (1, 1, 5)
    """
    boot = f"import sys; sys.path[:0] = {[str(tmp_path), sysconfig.get_path('purelib')]!r}\n"
    command = [sys.executable, "-S", "-P", "-c", boot + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
