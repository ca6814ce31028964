"""Fuzzing: mutated notebooks, scripts, zips and random bytes meet a sentence or are read; nothing hangs or runs.

Each example has a number, which is its seed: `python tests/test_reader_fuzz.py 1234` runs one again and shows it.
The long run, of 10,000 notebooks and more, is marked slow.
"""

import copy
import io
import json
import random
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from autograder.build.sample_class import FOLDER
from autograder.reader import BadInput, find_submissions
from cs_vl.checks.cells import (
    KINDS,
    MAX_CELL_CHARACTERS,
    MAX_CELLS,
    MAX_CHARACTERS,
    Cell,
    Unreadable,
    read_submission,
)
from cs_vl.checks.load import load
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment

SECONDS = 10.0  # the most that any example may take, on a busy machine
SAMPLES = sorted(FOLDER.glob("submitted/*/*/*.ipynb"))
NAMES = {name: [exercise.name for exercise in load_assignment(name).exercises] for name in ASSIGNMENTS}

# --- mutations ---------------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    None, True, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\ud800", "\0", "\x1b[2J", "é💥\u202e", "a" * 10**5,
    [], {}, [[]], [None], [["x"]], [{}], {"": None}, {"nbgrader": []}, {"nbgrader": {"grade_id": 3}}, "code", "markdown", "raw",
]  # fmt: skip
ODD_LINES = [
    "%matplotlib inline", "%%bash", "!rm -rf x", "?len", "x = !ls", "while True:", "    pass", "def f(:", "'''", '"""', "(", "]",
    "\\", "\t", "\x0c", "\r", "\0", "\ufeff", "import os", "from __future__ import annotations", "from . import x", "x = 1", "@",
    "class A:", "    x = y = z", "return", "await x", "yield", "lambda: 0", "raise NotImplementedError()", "*a, b = c",
    "x = [i for i in y]", "print(x", "# %%", "# %% [markdown]", "# ---", "-" * 3000 + "1", "(" * 300, "x = " + "[" * 90 + "]" * 90,
    "é = 1", "async def f(): pass", "global x", "if 1: pass", "else: pass", "try: import a", "except ImportError: pass",
]  # fmt: skip


def mutate_tree(rng: random.Random, tree: Any) -> None:
    """Change one thing in a notebook."""
    cells = tree.get("cells") if isinstance(tree, dict) else None
    if isinstance(cells, list) and cells and rng.random() < 0.7:
        i, j = rng.randrange(len(cells)), rng.randrange(len(cells))
        cell = cells[i]
        match rng.randrange(9):
            case 0:
                del cells[i]
            case 1:
                cells.insert(j, copy.deepcopy(cell))
            case 2:
                cells[i], cells[j] = cells[j], cells[i]
            case 3:
                cells[i] = rng.choice(ODD_VALUES)
            case 4:
                rng.shuffle(cells)
            case 5 if isinstance(cell, dict):
                cell["cell_type"] = rng.choice(["code", "markdown", "raw", "heading", None])
            case 6 if isinstance(cell, dict):
                cell["metadata"] = (
                    copy.deepcopy(cells[j].get("metadata")) if isinstance(cells[j], dict) else None
                )
            case _ if isinstance(cell, dict) and isinstance(cell.get("source"), list):
                lines = cell["source"]
                at = rng.randrange(len(lines) + 1)
                lines[at:at] = rng.choice(
                    [[rng.choice(ODD_LINES) + "\n"], [rng.choice(ODD_VALUES)], lines[:at]]
                )
                if len(lines) > 1 and rng.random() < 0.3:
                    del lines[rng.randrange(len(lines))]
        return
    # Anywhere in the tree.
    parent, key = None, None
    here = tree
    while isinstance(here, dict | list) and here and (parent is None or rng.random() < 0.8):
        parent, key = here, rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
        here = here[key]
    if parent is None:
        return
    match rng.randrange(3):
        case 0:
            del parent[key]
        case 1:
            parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        case 2 if isinstance(parent, dict):
            parent[rng.choice(["cells", "worksheets", "source", "input", "x"])] = parent.pop(key)


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Damage a file."""
    at, size = rng.randrange(len(data) + 1), rng.choice([1, 2, 10, 1000])
    match rng.randrange(7):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.randbytes(size) + data[at + size :]
        case 2:
            return data[:at] + data[at + size :]
        case 3:
            return data[:at] + data[at : at + size] * 3 + data[at:]
        case 4:
            return (
                data[:at]
                + rng.choice(
                    [b'"', b"\\", b"{", b"]", b",", b"\0", b"\xff", b"\n", b"\r", b"NaN", b"<<<<<<< HEAD\n"]
                )
                + data[at:]
            )
        case 5:
            return (
                rng.choice(
                    [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"PK\x03\x04", b"%PDF", b"<html>"]
                )
                + data
            )
    return rng.randbytes(size)


ENCODINGS = ["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


def example(seed: int) -> tuple[str, bytes, str]:
    """A file's name, its bytes, and its assignment."""
    rng = random.Random(seed)
    path = rng.choice(SAMPLES)
    assignment = path.stem
    tree = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(rng.choice([0, 1, 1, 2, 4, 10])):
        mutate_tree(rng, tree)
    if rng.random() < 0.15:
        lines = _as_script(path).split("\n")
        for _ in range(rng.choice([1, 2, 5])):
            lines.insert(rng.randrange(len(lines)), rng.choice(ODD_LINES))
        name, text = "x.py", "\n".join(lines)
    else:
        name = "x.ipynb"
        text = json.dumps(tree, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
    encoding = rng.choice(ENCODINGS)
    data = text.encode(encoding, "surrogatepass")
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        data = mutate_bytes(rng, data)
    return name, data, assignment


_scripts: dict[Path, str] = {}


def _as_script(path: Path) -> str:
    if path not in _scripts:
        _scripts[path] = jupytext.writes(nbformat.read(path, as_version=4), "py:percent")
    return _scripts[path]


# --- what must hold ----------------------------------------------------------------------------------------


def attempt(seed: int, folder: Path) -> str:
    """Read and load an example; what came of it.  Anything that must not be raises."""
    name, data, assignment = example(seed)
    path = folder / name
    path.write_bytes(data)
    start = time.monotonic()
    try:
        submission = read_submission(path)
    except Unreadable as error:
        assert str(error).isprintable() and len(str(error)) < 300
        return "unreadable"
    finally:
        assert time.monotonic() - start < SECONDS, "reading took too long"
    cells = submission.cells
    assert len(cells) <= MAX_CELLS and sum(len(c.source) for c in cells) <= MAX_CHARACTERS
    for cell in cells:
        assert (
            cell.kind in KINDS and len(cell.source) <= MAX_CELL_CHARACTERS and isinstance(cell.grade_id, str)
        )
        cell.source.encode()  # no halves of characters
    assert [c.number for c in cells] == sorted({c.number for c in cells})
    assert all(note.isprintable() and len(note) < 300 for note in submission.notes)
    start = time.monotonic()
    loaded = load(cells, NAMES[assignment])
    assert time.monotonic() - start < SECONDS, "loading took too long"
    assert set(loaded.answers) | set(loaded.problems) <= set(NAMES[assignment])
    assert not set(loaded.answers) & set(loaded.problems)
    assert all(
        isinstance(text, str) and len(text) < 500 for text in [*loaded.notes, *loaded.problems.values()]
    )
    for answer in loaded.answers:
        assert callable(loaded.answer(answer))
    return (
        "whole"
        if len(loaded.answers) == len(NAMES[assignment])
        else "in part"
        if loaded.answers
        else "nothing"
    )


def run(seeds: range, folder: Path, one: Callable[[int, Path], str]) -> Counter[str]:
    came: Counter[str] = Counter()
    for seed in seeds:
        try:
            came[one(seed, folder)] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}: run `python {Path(__file__).name} {seed}`")
            raise
    return came


def test_a_few_hundred_mutated_files(tmp_path):
    came = run(range(150), tmp_path, attempt)
    assert (
        came["whole"] > 15 and came["in part"] > 15 and came["unreadable"] > 3
    )  # the mutations are neither mild nor wild


@pytest.mark.slow
def test_12000_mutated_files(tmp_path):
    start = time.monotonic()
    came = run(range(1000, 13_000), tmp_path, attempt)
    print(f"{came.total()} files in {time.monotonic() - start:.0f} s: {dict(came)}")


def random_file(seed: int, folder: Path) -> str:
    rng = random.Random(seed)
    alphabet = rng.choice(
        [bytes(range(256)), b'{}[]",:\\ \n0aecls', b"# %\n\r\t=x'\"()", b"\0\xff\xfe\xef\xbb\xbf{"]
    )
    path = folder / rng.choice(["x.ipynb", "x.py"])
    path.write_bytes(bytes(rng.choices(alphabet, k=rng.choice([0, 1, 2, 3, 4, 30, 3000]))))
    try:
        read_submission(path)
    except Unreadable as error:
        assert str(error).isprintable()
        return "unreadable"
    return "read"


@pytest.mark.parametrize("count", [1000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_random_bytes(tmp_path, count):
    start = time.monotonic()
    came = run(range(count), tmp_path, random_file)
    print(f"{count} files in {time.monotonic() - start:.0f} s: {dict(came)}")
    assert set(came) == {"unreadable", "read"}


# --- zips --------------------------------------------------------------------------------------------------

ZIP_NAMES = [
    "ada/x.ipynb", "ada_1_2_x.ipynb", "a_LATE_3_4_x.py", "submission_metadata.yml", "e/submission_1/x.ipynb", "../x.ipynb",
    "/x.ipynb", "a/../../x.ipynb", "C:\\x.ipynb", "\\\\h\\s\\x.ipynb", "", ".", "/", "//", "a//b.ipynb", "a\nb.ipynb", "\u202ex.ipynb",
    "💥.ipynb", "-x.ipynb", "n" * 255, "n" * 300 + ".ipynb", "CON.ipynb", "aux", "x.ipynb.", "x.ipynb ", "x.ipynb/", "x.ipynb/y.ipynb",
    ".hidden/x.ipynb", "__MACOSX/._x.ipynb", "submitted/ada/a2_clip/a2_clip.ipynb", "x.ipynb.txt", "x.zip",
]  # fmt: skip
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
YAML = ["{}", "[", "a: *b", "e: !!python/object/apply:os.system [touch x]", "submission_1: {':submitters': [{':name': Ada}]}",
        "2026-99-99: 2026-13-45", "submission_1:\n  :created_at: 2026-02-31", "1: [1]", "x: " + "9" * 5000, "{[]: 1}", "&a [*a]"]  # fmt: skip


def mutated_zip(seed: int, folder: Path) -> str:
    rng = random.Random(seed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for _ in range(rng.randrange(6)):
            info = zipfile.ZipInfo(rng.choice(ZIP_NAMES) or "x")
            info.compress_type = rng.choice(METHODS)
            info.external_attr = rng.choice([0, 0o120777 << 16, 0o040755 << 16, 0o010644 << 16])
            archive.writestr(
                info, rng.choice(YAML) if rng.random() < 0.5 else rng.randbytes(rng.choice([0, 9, 900]))
            )
    data = bytearray(buffer.getvalue())
    for _ in range(rng.choice([0, 1, 1, 3, 10])):
        if rng.random() < 0.3:
            heads = [i for i in range(len(data) - 4) if data[i : i + 2] == b"PK"]
            at = min(rng.choice(heads or [0]) + rng.randrange(46), len(data) - 1)
        else:
            at = rng.randrange(len(data))
        data[at] = rng.choice([0, 1, 255, rng.randrange(256)])
    source, scratch = folder / "z.zip", folder / "scratch"
    source.write_bytes(bytes(data[: rng.choice([len(data), rng.randrange(len(data) + 1)])]))
    outside = set(folder.iterdir())
    start = time.monotonic()
    try:
        found, remarks = find_submissions(source, "a2_clip", scratch)
    except BadInput as error:
        assert "\n" not in str(error)
        return "bad input"
    finally:
        assert time.monotonic() - start < SECONDS and set(folder.iterdir()) <= outside | {scratch}
    assert all(remark.isprintable() for remark in remarks)
    for one in found:
        assert one.student.isprintable() and all(note.isprintable() for note in one.notes)
        assert one.path is None or (one.path.is_relative_to(scratch) and not one.path.is_symlink())
        if one.path:
            try:
                read_submission(one.path)
            except Unreadable as error:
                assert str(error).isprintable()
    return "found" if found else "nothing"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_zips(tmp_path, count):
    start = time.monotonic()
    came = run(range(count), tmp_path, mutated_zip)
    print(f"{count} zips in {time.monotonic() - start:.0f} s: {dict(came)}")
    assert {"found", "bad input"} <= set(came)


# --- nothing of the story runs -----------------------------------------------------------------------------

# {} takes another expression of the kind, or in the end `trip()`.
EXPRESSIONS = [
    "{} + 1", "2 ** {}", "-{}", "not {}", "{} and x", "x or {}", "{} < 1 < 2", "1 < {}", "({}, 1)", "[1, {}]", "{{1, {}}}", "{{1: {}}}",
    "{{{}: 1}}", "{{**{}}}", "[*{}]", "{}.a", "{}[0]", "x[{}]", "x[{}:]", "x[:{}:2]", "x[1, {}]", "{} if x else y", "x if {} else y",
    "x if y else {}", "lambda a={}: a", "lambda *, a={}: a", "(n := {})", "f'{{{}}}'", "f'{{1:{{{}}}}}'", "float({})", "{}.sqrt()",
    "partial(x, a={})", "len(*{})", "dict(**{})", "torch.tensor({})", "float(int({}))", "g({})", "{}()", "{}.float().log", "[{} for a in x]",
    "[a for a in {}]", "[a for a in x if {}]", "{{a: {} for a in x}}", "list(a for a in {})", "(await {})", "'%s' % {}", "[0] * {}",
]  # fmt: skip
STATEMENTS = [
    "{}", "y1 = {}", "y1 = y2 = {}", "y1, *y2 = {}", "y1: int = {}", "y1: {} = 1", "y1: {}", "y1 += {}", "{}.a = 1", "x[{}] = 1", "y1[0] = {}",
    "x.a = {}", "x.{{}} = 1".replace("{{}}", "a") + "; {}", "for y1 in {}: pass", "while {}: pass", "with {}: pass", "with x as {}.a: pass",
    "if {}: y1 = 1", "if x: {}", "if x: y1 = 1\nelse: {}", "if True:\n    if True:\n        y1 = {}", "try: {}\nexcept Exception: pass",
    "try: raise\nexcept {}: pass", "try: y1 = 1\nfinally: {}", "try: import torch\nexcept ImportError: y1 = {}\nelse: y1 = {}", "del {}.a",
    "assert {}", "raise {}", "match {}:\n    case _: y1 = 1", "return {}", "match x:\n    case _ if {}: pass", "(y1 := {})",
    "if __name__ == '__main__':\n    y1 = {}", "global y1; y1 = {}", "for y1 in [1]:\n    y2 = {}",
]  # fmt: skip

TRIP = Cell(
    0,
    "code",
    "import torch\nfrom functools import partial\ntripped = []\ndef trip(*a, **k):\n    tripped.append(1)\n    return 1",
)


def story(seed: int) -> str:
    rng = random.Random(seed)
    expression = "trip()"
    for _ in range(rng.randrange(4)):
        expression = f"({rng.choice(EXPRESSIONS).format(expression)})"
    return rng.choice(STATEMENTS).replace("{}", expression)


def no_trip(seed: int, folder: Path) -> str:
    source = story(seed)
    cells = [
        Cell(1, "code", "x = y = [1]\ndef g(*a):\n    return a"),
        Cell(2, "code", source),
        Cell(3, "code", "def f():\n    return 3"),
    ]
    loaded = load(cells, ["f"], [TRIP])
    assert not loaded.namespace["tripped"], source
    assert "f" in loaded.answers, source
    return "kept out"


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_no_statement_of_the_story_calls_anything(tmp_path, count):
    start = time.monotonic()
    run(range(count), tmp_path, no_trip)
    print(f"{count} statements in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    import tempfile

    for seed in map(int, sys.argv[1:]):
        name, data, assignment = example(seed)
        print(name, assignment, len(data), data[:300], "\nstory:", story(seed))
        with tempfile.TemporaryDirectory() as folder:
            for one in (attempt, random_file, mutated_zip, no_trip):
                print(one.__name__, one(seed, Path(folder)))
