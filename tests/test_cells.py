"""Reading a file that somebody handed in: any bytes at all give cells and notes, or one sentence."""

import json
import os
import socket
import time
import tracemalloc
from pathlib import Path

import jupytext
import nbformat
import pytest

from autograder.build.sample_class import FOLDER
from autograder.grade import Grader
from autograder.reader import Found
from cs_vl.checks import cells as cells_module
from cs_vl.checks.cells import MAX_CELLS, MAX_VALUES, Submission, Unreadable, read_submission
from cs_vl.checks.load import load
from cs_vl.checks.spec import load_assignment

A2 = load_assignment("a2_clip")
NAMES = [exercise.name for exercise in A2.exercises]
TEXT = (FOLDER / "submitted" / "ada" / A2.name / f"{A2.name}.ipynb").read_text(encoding="utf-8")


def tree() -> dict:
    """Ada's notebook, all of whose answers are right."""
    return json.loads(TEXT)


@pytest.fixture
def read(tmp_path):
    def read_bytes(data: bytes | str | dict, name: str = "a2_clip.ipynb") -> Submission:
        path = tmp_path / name
        data = json.dumps(data) if isinstance(data, dict) else data
        path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
        return read_submission(path)

    return read_bytes


def answers(submission: Submission) -> list[str]:
    """The exercises whose answers load, in the assignment's order."""
    return list(load(submission.cells, NAMES).answers)


def code_of(notebook: dict, name: str) -> dict:
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)


# --- the answers are there: full credit --------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_encodings(read, encoding, ascii_only):
    submission = read(json.dumps(tree(), ensure_ascii=ascii_only).encode(encoding))
    assert answers(submission) == NAMES and submission.notes == []


@pytest.mark.parametrize("minor", range(6))
def test_nbformat_4(read, minor):
    notebook = tree() | {"nbformat_minor": minor}
    assert answers(read(notebook)) == NAMES


@pytest.mark.parametrize("version", [(3, 0), (5, 0), (99, "x"), (None, None)])
def test_other_versions_of_the_format(read, version):
    notebook = tree() | {"nbformat": version[0], "nbformat_minor": version[1]}
    assert answers(read(notebook)) == NAMES


@pytest.mark.filterwarnings("ignore")
def test_nbformat_3_as_it_was_written(read):
    old = nbformat.convert(nbformat.reads(TEXT, as_version=4), 3)
    assert "worksheets" in old
    assert answers(read(dict(old))) == NAMES


def test_markers_zeros_and_blanks_around_it(read):
    assert answers(read("\ufeff\n\n  \t" + TEXT + "\n\n\n")) == NAMES
    assert answers(read(TEXT.encode() + b"\0" * 5000)) == NAMES
    assert answers(read(b"\xef\xbb\xbf" * 2 + TEXT.encode())) == NAMES


def edited(change) -> dict:
    notebook = tree()
    for cell in notebook["cells"]:
        change(cell)
    return notebook


def as_string(cell):
    cell["source"] = "".join(cell["source"])


def as_lines_of_windows(cell):
    cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")


def as_lines_of_an_old_mac(cell):
    cell["source"] = "".join(cell["source"]).replace("\n", "\r")


def without_metadata(cell):
    del cell["metadata"]


def as_colab(cell):
    cell["metadata"] = {"id": "x1", "colab": {"base_uri": "https://localhost:8080/"}, "outputId": "1"}
    cell.pop("id", None)


def as_vs_code(cell):
    cell["metadata"]["vscode"] = {"languageId": "python"}


def with_odd_metadata(cell):
    cell["metadata"] = [None, 3, "nbgrader", {"nbgrader": None}, {"nbgrader": {"grade_id": 3}}][
        len(cell["source"]) % 5
    ]


def with_the_same_id(cell):
    cell["id"] = "same"


def without_id(cell):
    cell.pop("id", None)


def with_nonsense(cell):
    cell |= {"execution_count": "NaN", "outputs": {"a": float("nan")}, "id": [], "attachments": 3}


def with_nul_and_halves(cell):
    cell["source"] = [
        "\ufeff",
        *(part.replace("return ", "return \0") for part in cell["source"]),
        "\n# \ud800",
        3,
        None,
    ]


def more_points(cell):
    if "points" in cell["metadata"].get("nbgrader", {}):
        cell["metadata"]["nbgrader"]["points"] = 10**6


def no_check(cell):
    if cell["metadata"].get("nbgrader", {}).get("grade"):
        cell["source"] = "check = None"


@pytest.mark.parametrize(
    "change",
    [
        as_string, as_lines_of_windows, as_lines_of_an_old_mac, without_metadata, as_colab, as_vs_code, with_odd_metadata,
        with_the_same_id, without_id, with_nonsense, with_nul_and_halves, more_points, no_check,
    ],
)  # fmt: skip
def test_cells_as_programs_and_students_leave_them(read, change):
    assert answers(read(edited(change))) == NAMES


@pytest.mark.parametrize(
    "order", ["checks deleted", "checks copied", "all twice", "checks first", "imports deleted"]
)
def test_deleted_copied_and_moved_cells(read, order):
    notebook = tree()
    cells = notebook["cells"]
    ids = [c["metadata"].get("nbgrader", {}).get("grade_id", "") for c in cells]
    checks = [c for c, i in zip(cells, ids, strict=True) if i.startswith("check-")]
    others = [c for c in cells if c not in checks]
    notebook["cells"] = {
        "checks deleted": others,
        "checks copied": cells + checks,
        "all twice": cells + cells,
        "checks first": checks + others,
        "imports deleted": [c for c, i in zip(cells, ids, strict=True) if not i.startswith("imports-")],
    }[order]
    submission = read(notebook)
    setup = read(tree()).cells
    imports = [c for c in setup if c.grade_id.startswith("imports-")]
    loaded = load(submission.cells, NAMES, imports)
    assert list(loaded.answers) == NAMES and not [n for n in loaded.notes if "defined in" in n]


def test_an_answer_that_is_gone_costs_itself_only(read):
    notebook = tree()
    notebook["cells"].remove(code_of(notebook, "CLIP"))
    assert answers(read(notebook)) == [name for name in NAMES if name != "CLIP"]


def test_the_last_of_duplicate_keys_counts(read):
    twice = '{"cells": [], ' + TEXT.lstrip().removeprefix("{")
    assert answers(read(twice)) == NAMES


@pytest.mark.parametrize(
    "numbers", ["1" * 5000, "-" + "9" * 10**6, "1e999999", "NaN", "-Infinity", "1" * 10**6 + ".5e-7"]
)
def test_numbers_that_no_int_holds(read, numbers):
    assert answers(read('{"metadata": [' + numbers + "]," + TEXT.lstrip().removeprefix("{"))) == NAMES


# --- scripts -----------------------------------------------------------------------------------------------


def script() -> str:
    return jupytext.writes(nbformat.reads(TEXT, as_version=4), "py:percent")


def plain_script() -> str:
    code = ["".join(c["source"]) for c in tree()["cells"] if c["cell_type"] == "code"]
    return "\n\n".join(source for source in code if "%" not in source)


SCRIPTS = {
    "percent": script,
    "commented magics": lambda: "# %matplotlib inline\n# !pip install x\n# %%\n" + script(),
    "spyder": lambda: script().replace("# %%", "#%%"),
    "in[1]": lambda: script().replace("# %% ", "# In[1]: "),
    "no cells": plain_script,
    "windows": lambda: script().replace("\n", "\r\n"),
    "latin-1 cookie": lambda: "# -*- coding: latin-1 -*-\n# é\n" + script(),
    "unknown cookie": lambda: "# -*- coding: nonsense -*-\n" + script(),
    "utf-16 cookie": lambda: "# -*- coding: utf-16 -*-\n" + script(),
    "header that is no YAML": lambda: "# ---\n# {]: *x\n#  y: [\n# ---\n" + script(),
    "cell metadata that is no JSON": lambda: script().replace("# %% ", '# %% {"a": ['),
    "many cells": lambda: "# %%\n" * 4000 + script(),
    "marker": lambda: "\ufeff" + script(),
}


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("name", ["ada.py", "ADA.PY", "ada.ipynb"])
def test_scripts(read, kind, name):
    submission = read(SCRIPTS[kind](), name)
    assert answers(submission) == NAMES
    assert ("by what it holds" in " ".join(submission.notes)) == (name == "ada.ipynb")


def test_a_script_in_latin_1_is_read(read):
    assert answers(read(b"# -*- coding: latin-1 -*-\n# \xe9\xe8\n" + script().encode())) == NAMES


def test_a_notebook_that_calls_itself_a_script_is_read(read):
    submission = read(TEXT, "a2_clip.py")
    assert answers(submission) == NAMES and submission.notes == [
        "a2_clip.py is a notebook by what it holds, and was read as one"
    ]


def test_a_syntax_error_in_a_script_without_cells_costs_one_answer(read):
    broken = plain_script().replace("def clamp_logit_scale(", "def clamp_logit_scale((")
    assert answers(read(broken, "ada.py")) == [name for name in NAMES if name != "clamp_logit_scale"]


# --- damaged: the credit that can be given -----------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 1])
def test_what_is_whole_of_a_cut_notebook_counts(read, indent):
    text = json.dumps(tree(), indent=indent)
    end = text.index("class CLIP(")
    submission = read(text[:end])
    assert answers(submission) == NAMES[: NAMES.index("CLIP")]
    assert "breaks off or is damaged" in submission.notes[0] and "were read" in submission.notes[0]


def test_damage_in_one_cell_costs_that_cell(read):
    text = json.dumps(tree())
    at = text.index("class CLIP(")
    for damage in ("\\q", '"', '", [', "\\u12"):
        assert answers(read(text[:at] + damage + text[at:])) == [n for n in NAMES if n != "CLIP"], damage
    at = text.index("def info_nce(") - 3
    conflict = '\n<<<<<<< HEAD\n"x",\n=======\n"y",\n>>>>>>> main\n'
    assert answers(read(text[:at] + conflict + text[at:])) == [n for n in NAMES if n != "info_nce"]


def test_a_few_damaged_bytes_in_a_text_cost_nothing(read):
    data = TEXT.encode().replace(b"CLIP.", b"CL\xffIP.")
    assert answers(read(data)) == NAMES


def test_raw_control_characters_cost_nothing(read):
    assert (
        answers(
            read(TEXT.replace("return ", "return \t\x0b".replace("\x0b", "")).replace("CLIP.", "CLIP\x01."))
        )
        == NAMES
    )


def test_a_deep_output_costs_itself_only(read):
    notebook = tree()
    notebook["cells"][1]["metadata"] = {"deep": "DEEP"}
    text = json.dumps(notebook).replace('"DEEP"', "[" * 10**5 + "]" * 10**5)
    assert answers(read(text)) == NAMES


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b" \r\n\t ", "empty"),
        (b"\0" * 5000, "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\xff\xfe", "empty"),
        (b"%PDF-1.7\n\xff\xfe\0\0", "is a PDF"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + b"\xff\x00" * 50, "is a zip file"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n<html>", "web page"),
        (b"{\\rtf1}", "text document"),
        (b"\x89PNG\r\n\x1a\n" + b"\x80\x00" * 50, "not text"),
        (b"\x1f\x8b\x08" + bytes(range(128, 256)), "not text"),
        (bytes(range(256)) * 9, "not"),
        (b"\xed\xa0\x80" * 100, "not text"),
        (b"hello", "not a whole notebook"),
        (b"3", "not a notebook"),
        (b"null", "not a notebook"),
        (b'"cells"', "not a notebook"),
        (b"{}", "not a notebook"),
        (b'{"cells": null}', "not a notebook"),
        (b'{"cells": {"a": 1}}', "not a notebook"),
        (b'{"worksheets": null}', "not a notebook"),
        (b'{"worksheets": [3, null, {"cells": 3}, {"cells": null}, {}]}', "not a notebook"),
        (b"{" * 10**6, "not a whole notebook"),
        (b'{"a":' * 10**5, "not a whole notebook"),
        (b'{"cell_type":' * 10**5, "not a whole notebook"),
    ],
)
def test_what_is_no_notebook_gets_one_sentence(read, data, said):
    with pytest.raises(Unreadable, match=said) as caught:
        read(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("cell", [None, 3, "x", [], {}, {"source": {"a": 1}}, {"source": None}, {"source": [[["x"]]]},
                                  {"cell_type": ["code"], "source": "x"}, {"cell_type": "code", "source": "x", "metadata": {"nbgrader": {"grade_id": "g" * 10**6}}}])  # fmt: skip
def test_odd_cells_are_cells(read, cell):
    submission = read({"cells": [cell, {"cell_type": "code", "source": "a = 1"}]})
    assert [c.number for c in submission.cells] == [1, 2] and submission.cells[1].source == "a = 1"
    assert all(c.kind in ("code", "markdown", "raw") and len(c.grade_id) <= 200 for c in submission.cells)


# --- no plain file -----------------------------------------------------------------------------------------


def test_links_pipes_sockets_and_folders_are_not_read(tmp_path):
    secret = tmp_path / "secret.ipynb"
    secret.write_text(TEXT)
    made = {
        name: tmp_path / f"{name}.ipynb"
        for name in ("link", "loop", "dangling", "passwd", "pipe", "socket", "folder")
    }
    made["link"].symlink_to(secret)
    made["loop"].symlink_to(made["loop"])
    made["dangling"].symlink_to(tmp_path / "nothing")
    made["passwd"].symlink_to("/etc/passwd")
    made["folder"].mkdir()
    os.mkfifo(made["pipe"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(made["socket"]))
        for path in [
            *made.values(),
            tmp_path / "none.ipynb",
            tmp_path / ("n" * 300),
            Path("/dev/zero"),
            Path("a\0b.ipynb"),
        ]:
            with pytest.raises(Unreadable, match=r"no such file|can't be opened"):
                read_submission(path)


@pytest.mark.parametrize("name", [b"a\nb.ipynb", b"\xff\xfe.ipynb", "\u202eipynb.gpj.ipynb".encode(), "💥.ipynb".encode(), b"-rf.ipynb", b"n" * 249 + b".ipynb", b"CON.ipynb", b" .ipynb", b"\x1b[2J.ipynb"])  # fmt: skip
def test_odd_names_are_shown_as_such(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_text(TEXT)
    assert answers(read_submission(path)) == NAMES
    path.write_text("{")
    with pytest.raises(Unreadable) as caught:
        read_submission(path)
    assert str(caught.value).isprintable()


# --- bounds ------------------------------------------------------------------------------------------------


def measured(function) -> tuple[float, float, object]:
    """Seconds, the largest number of MB taken, and what came of it."""
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return seconds, peak, result


def test_100k_cells(read):
    notebook = tree()
    notebook["cells"][:0] = [{"cell_type": "code", "source": "", "metadata": {}, "outputs": []}] * 50_000
    notebook["cells"] += [{"cell_type": "code", "source": f"x = {i}", "metadata": {}} for i in range(50_000)]
    start = time.perf_counter()
    submission = read(notebook)
    assert time.perf_counter() - start < 5
    assert len(submission.cells) == MAX_CELLS and "5,000 of 100,1" in submission.notes[0]
    assert answers(submission) == NAMES


@pytest.mark.parametrize("kind", ["one picture", "many lines", "numbers", "text with commas"])
def test_60_mb_of_outputs(read, kind):
    notebook = tree()
    output = {
        "one picture": lambda: {"image/png": "A" * 60 * 2**20},
        "many lines": lambda: {"text/plain": ["a line of text\n"] * 2_800_000},
        "numbers": lambda: {"application/json": [0.5] * 10_100_000},
        "text with commas": lambda: {"text/html": "1,[2],{3}" * 6_600_000},
    }[kind]()
    notebook["cells"][4]["outputs"] = [{"output_type": "display_data", "data": output}]
    text = json.dumps(notebook)
    start = time.perf_counter()
    if kind == "numbers":
        with pytest.raises(Unreadable, match="10,000,000 values: clear all outputs"):
            read(text)
    else:
        assert answers(read(text)) == NAMES
    assert time.perf_counter() - start < 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "[],",
        '{"a":0},',
        '"ab",',
        '"\\"',
        '{"cell_type":',
        "0.1,",
        '{"cell_type":"code"},',
        "[[[[[]]]]],",
        '"é",',
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_of_the_largest_size_takes_bounded_time_and_memory(tmp_path, piece, whole):
    path = tmp_path / "a.ipynb"
    body = piece * ((cells_module.MAX_FILE_BYTES - 200) // len(piece.encode()))
    path.write_text('{"cells": [' + body + ("0]}" if whole else ""))

    def attempt() -> object:
        try:
            return len(read_submission(path).cells)
        except Unreadable as error:
            return str(error)

    start = time.perf_counter()
    attempt()
    assert time.perf_counter() - start < 20


def test_the_number_of_values_bounds_the_memory(read, monkeypatch):
    monkeypatch.setattr(cells_module, "MAX_VALUES", MAX_VALUES // 40)
    body = '{"cells": [' + '{"a":0},' * (MAX_VALUES // 200 - 10) + "0]}"
    _, megabytes, submission = measured(lambda: read(body))
    assert len(submission.cells) <= MAX_CELLS and megabytes < 100  # so for 40 times as many 4 GB at the most
    with pytest.raises(Unreadable, match="values"):
        read(body.replace("0]}", "[]," * MAX_VALUES + "0]}"))


def test_long_cells_and_many_of_them(read):
    long = {"cell_type": "code", "source": "x = 1\n" * 50_000, "metadata": {}}
    notebook = tree()
    notebook["cells"][:0] = [long]
    submission = read(notebook)
    assert answers(submission) == NAMES and submission.notes == ["cell 1 is too long: it was not read"]
    notebook["cells"][:0] = [{**long, "source": "x = 1" * 30_000}] * 100
    submission = read(notebook)
    assert answers(submission) == NAMES
    assert sum(len(c.source) for c in submission.cells) <= cells_module.MAX_CHARACTERS


def test_a_picture_pasted_into_a_written_answer_leaves_its_text(read):
    notebook = tree()
    written = next(
        c
        for c in notebook["cells"]
        if c["metadata"].get("nbgrader", {}).get("grade_id", "").startswith("written-")
    )
    written["source"] = "My answer.\n![](data:image/png;base64," + "A" * 300_000 + ")"
    submission = read(notebook)
    cell = next(c for c in submission.cells if c.grade_id.startswith("written-"))
    assert cell.source.startswith("My answer.") and "only its first 200,000 characters" in submission.notes[0]


# --- graded for real ---------------------------------------------------------------------------------------


def in_markdown(notebook: dict) -> dict:
    code_of(notebook, "siglip_loss")["cell_type"] = "markdown"
    return notebook


def pasted_elsewhere(notebook: dict) -> dict:
    """The answer in a cell of its own, at the end, without its decorator; the blank is still there."""
    cell = code_of(notebook, "recall_at_k")
    answer = "".join(cell["source"])
    cell["source"] = "@exercise\ndef recall_at_k(similarity, relevant, k):\n    raise NotImplementedError()"
    notebook["cells"].append(
        {"cell_type": "code", "source": answer.replace("@exercise\n", ""), "metadata": {}}
    )
    return notebook


def with_a_story(notebook: dict) -> dict:
    """Loops, magics and other uses of the answers' own names, all around."""
    story = [
        "%%bash\nrm -rf /", "!pip install x \\\n  y", "%%time\nwhile True:\n    pass", "F = 5\nnp = None\nmath = torch = 3",
        "model = CLIP(input('which?'))\nawait model", "recall_at_k = recall_at_k(1, 2, 3)", "x = [f for f in iter(int, 1)]",
        "def helper(:", "from nothing import everything", "class A:\n    raise SystemExit",
    ]  # fmt: skip
    cells = [{"cell_type": "code", "source": source, "metadata": {}} for source in story]
    notebook["cells"] = cells + notebook["cells"] + cells
    return notebook


GRADED = {
    "utf-16": lambda: json.dumps(tree()).encode("utf-16"),
    "nbformat 3": lambda: json.dumps(nbformat.convert(nbformat.reads(TEXT, as_version=4), 3)),
    "no metadata": lambda: json.dumps(edited(without_metadata)),
    "all twice": lambda: json.dumps(tree() | {"cells": tree()["cells"] * 2}),
    "backwards": lambda: json.dumps(tree() | {"cells": tree()["cells"][::-1]}),
    "markdown": lambda: json.dumps(in_markdown(tree())),
    "elsewhere": lambda: json.dumps(pasted_elsewhere(tree())),
    "story": lambda: json.dumps(with_a_story(tree())),
    "percent script": script,
    "script without cells": plain_script,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", GRADED)
def test_full_points(what, tmp_path, results):
    path = tmp_path / "handed_in.ipynb"
    data = GRADED[what]()
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    result = results.grade(Found("ada", path))
    assert [(v.exercise, v.sentence) for v in result.verdicts if not v.passed] == [], result.notes
    assert result.points == A2.points


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Grader:
    return Grader(A2, tmp_path_factory.mktemp("results"))
