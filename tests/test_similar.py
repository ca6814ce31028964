"""Similar submissions: found whatever the variables are called; those who wrote on their own are left in peace."""

import random
import re

import nbformat
import pytest
from classes import EVIL, result

from autograder.build.notebooks import student_path
from autograder.build.sample_class import FOLDER, _as_student, answers, differently, fill
from autograder.known import load_known
from autograder.reader import Found, find_submissions
from autograder.report import write_report
from autograder.report.pairs import side_by_side
from autograder.similar import Code, definitions, find_similar, groups
from cs_vl.checks.spec import load_assignment

A2 = load_assignment("a2_clip")


@pytest.fixture(scope="module")
def blank():
    return nbformat.read(student_path(A2.name), as_version=4)


@pytest.fixture
def similar(blank, tmp_path):
    """The groups among submissions, each given as {exercise: source}."""

    def find(**submissions: dict[str, str]):
        found = []
        for student, sources in submissions.items():
            path = tmp_path / f"{student}.ipynb"
            nbformat.write(fill(blank, sources), path)
            found.append(Found(student, path))
        return find_similar(A2.name, found)

    return find


def disguised(source: str) -> str:
    """Other names, comments and layout, and a line that does nothing: what a copy may look like."""
    words = {
        "logits": "zz",
        "images": "pictures",
        "texts": "words",
        "scale": "factor",
        "labels": "targets",
        "loss": "cost",
    }
    for old, new in words.items():
        source = re.sub(rf"(?<![.\w\"]){old}\b(?!=)", new, source)
    return re.sub(r"(?m)^(    return)", r"    # my own idea\n    unused = 0\n\1", source)


def test_a_disguised_copy_is_found(similar):
    right = answers(A2)
    copy = {name: disguised(source) for name, source in right.items()}
    assert sum(copy[name] != right[name] for name in right) > 10
    (group,) = similar(ada=right, eve=copy, nobody={})
    assert group.students == ["ada", "eve"]
    assert group.pairs[0].share > 0.8


def test_the_sample_class_without_the_copies(tmp_path):
    """Most of it is Ada's notebook with a mistake each; Barbara wrote all of hers differently, Maryam nothing."""
    found, _ = find_submissions(FOLDER / "submitted", A2.name, tmp_path)
    (group,) = find_similar(A2.name, found)
    assert "barbara" not in group.students and "maryam" not in group.students
    assert {"ada", "edsger", "goran"} <= set(group.students)


def test_those_who_wrote_on_their_own_are_left_in_peace(similar):
    """Nine and then thirty who choose at random among the known right ways, exercise by exercise."""
    draw, right = random.Random(0), answers(A2)
    ways = {e.name: [right[e.name]] for e in A2.exercises}
    for exercise in A2.exercises:
        others = load_known(A2.name)[exercise.name].alternatives.values()
        ways[exercise.name] += filter(None, (_as_student(exercise, other) for other in others))
    assert sum(map(len, ways.values())) > 3 * len(ways)
    for n in (9, 30):
        assert (
            similar(**{f"s{i}": {name: draw.choice(each) for name, each in ways.items()} for i in range(n)})
            == []
        )


def test_what_is_given_and_what_is_short_is_no_evidence(similar):
    right = answers(A2)
    assert similar(a={}, b={}, c={}) == []  # the starter code alone
    short = {"clamp_logit_scale": right["clamp_logit_scale"]}
    assert similar(a=short, b=short) == []  # three lines say nothing


def test_a_solution_that_half_of_the_class_hands_in_is_one_group(similar):
    right, mine = answers(A2), differently(A2)
    (group,) = similar(barbara=mine, **{f"s{i:02}": right for i in range(12)})
    assert group.students == [f"s{i:02}" for i in range(12)] and len(group.pairs) == 66


def test_what_a_group_hands_in_together_is_not_held_against_it(tmp_path, blank):
    nbformat.write(fill(blank, answers(A2)), path := tmp_path / "ours.ipynb")
    assert find_similar(A2.name, [Found("ada", path), Found("bob", path)]) == []


def test_hostile_cells_stop_nothing(tmp_path, blank):
    found = []
    for i, source in enumerate(
        [
            "(" * 5000,
            "-" * 100_000 + "1",
            "x = " + "1+" * 50_000 + "1",
            "def f(",
            "\x00",
            "y = 1\n" * 100_000,
            "def f():\n  '\\d'\n" * 9,
        ]
    ):
        path = tmp_path / f"s{i}.ipynb"
        notebook = fill(blank, answers(A2))
        notebook.cells.insert(0, nbformat.v4.new_code_cell(source))
        nbformat.write(notebook, path)
        found.append(Found(f"s{i}", path))
    (tmp_path / "no.ipynb").write_text("{")
    found += [Found("no", tmp_path / "no.ipynb"), Found("none", None), Found("gone", tmp_path / "gone.ipynb")]
    (group,) = find_similar(A2.name, found)
    assert group.students == [f"s{i}" for i in range(7)]


def test_names_comments_docstrings_types_and_layout_make_no_difference():
    def prints(source: str) -> set[bytes]:
        (one,) = definitions([source], window=1)
        return set(one.prints)

    plain = "def f(a, b):\n    c = a.exp() / b.sum(-1, keepdim=True)\n    return c * 2 + max(a.norm(), 1) - b.mean(0)\n"
    same = (
        'def g(x: "Float", y: int) -> int:\n    """Says."""\n    # why\n    z: int = (x.exp()\n        / y.sum(-1, keepdim=True))\n'
        "    return z * 2 + max(x.norm(), 1) - y.mean(0)\n"
    )
    assert prints(plain) == prints(same) != set()
    for change in (
        ("* 2", "* 3"),
        ("exp", "log"),
        ("max", "min"),
        ("- b", "+ b"),
        ("keepdim=True", "dtype=True"),
    ):
        assert prints(plain.replace(*change)) != prints(plain), change


def test_the_pages_show_both_and_warn(tmp_path, similar):
    right = answers(A2)
    evil = {name: f"{source}\n# {EVIL}\n" for name, source in right.items()}
    found = similar(ada=right, eve=evil)
    rows = side_by_side(found[0].pairs[0])
    assert [row.name for row in rows] == [row.other_name for row in rows] and len(rows) > 10
    assert sum(marked for row in rows for _, marked in row.lines) > 40
    assert '"""' not in "".join(text for row in rows for text, _ in row.lines)  # docstrings are given
    write_report(A2, [result(A2, "ada"), result(A2, "eve")], [], tmp_path, [], None, found)
    index, page = ((tmp_path / name).read_text() for name in ("index.html", "similar/1.html"))
    assert 'href="similar/1.html"' in index and "Similar is not copied" in index
    assert "Similar is not copied" in page and "<mark>" in page and "<script" not in page
    write_report(A2, [result(A2, "ada")], [], tmp_path, [])
    assert not list((tmp_path / "similar").iterdir())


def test_everybody_similar_to_one_of_a_group_belongs_to_it():
    calls = [
        f"def f{i}(x):\n    return {''.join(f'x.{c}{i}(' for c in 'abcdefghijkl')}x{')' * 12}\n"
        for i in range(80)
    ]
    spans = {"a": (0, 40), "b": (5, 75), "c": (40, 80), "d": (0, 3)}
    (group,) = groups([Code(name, definitions(calls[i:j])) for name, (i, j) in spans.items()], [])
    assert group.students == ["a", "b", "c"]
    assert {(p.one.student, p.other.student) for p in group.pairs} == {("a", "b"), ("b", "c")}
