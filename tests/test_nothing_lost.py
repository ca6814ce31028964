"""Nothing is lost: runs that are killed at any moment, disks that are full, and scores that a new attempt could not replace."""

import ast
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import autograder
import autograder.cli
from autograder import journal
from autograder.build.notebooks import student_path
from autograder.build.sample_class import answers, fill
from autograder.grade import Grader, Result, grade_class
from autograder.journal import SCORING, grader_version, scoring_files
from autograder.reader import Found
from autograder.report import write_report
from autograder.report.looks import standing
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from tests.commands import invoke
from tests.walls import needs_walls

A1 = load_assignment(ASSIGNMENTS[0])
MEASURED = {"seconds": 0.0, "cpu_seconds": 0.0, "peak_mb": 0.0}


# --- a score that stands -----------------------------------------------------------------------------------


class Class:
    """Submissions whose text says what grading them gives: a number of points, "unreadable" or "grader error"."""

    def __init__(self, folder: Path):
        self.folder, self.graded = folder, []

    def hand_in(self, **texts: str) -> None:
        for student, text in texts.items():
            (self.folder / f"{student}.ipynb").write_text(text)

    def grade(self, found: Found) -> Result:
        self.graded.append(found.student)
        if found.path is None:
            return Result(found.student, found.name, "no file")
        text = found.path.read_text()
        status = text if text in ("unreadable", "grader error") else "graded"
        verdicts = []
        if status == "graded":
            data = {
                "exercise": "softmax",
                "status": "passed",
                "points": float(text),
                "out_of": 9.0,
                "stages": [],
            }
            verdicts = [autograder.grade.Verdict.from_json(data)]
        notes = [] if status == "graded" else [f"why it is {status}"]
        return Result(found.student, found.name, status, found.path.name, 9.0, verdicts, notes=notes)

    def again(self, assignment=A1, without=()) -> dict[str, Result]:
        grader = Grader(assignment, self.folder / "results")
        grader.grade, grader.prepare = self.grade, lambda: None  # type: ignore[method-assign]
        self.graded.clear()
        found = [Found(p.stem, p) for p in sorted(self.folder.glob("*.ipynb")) if p.stem not in without]
        found += [Found(student, None) for student in without]
        self.results = grade_class(grader, found, jobs=1)
        return {r.student: r for r in self.results}


@pytest.fixture
def class_(tmp_path) -> Class:
    return Class(tmp_path)


@pytest.mark.parametrize(
    ("fails", "said"), [("unreadable", "can't be read"), ("grader error", "a fault of the grader")]
)
def test_a_failed_regrade_leaves_the_former_score_marked(class_, fails, said, tmp_path):
    class_.hand_in(ada="7", ben="5")
    class_.again()
    class_.hand_in(ada=fails)
    for graded in (
        ["ada"],
        ["ada"] if fails == "grader error" else [],
    ):  # also when it is taken from the journal
        ada = class_.again()["ada"]
        assert class_.graded == graded
        assert (ada.points, ada.status, ada.stale, ada.needs_a_person) == (7, "graded", True, True)
        assert ada.notes[0] == (
            f"This score is a former one, of ada.ipynb: the newest submission, ada.ipynb, "
            f"{'could not be graded, ' if fails == 'grader error' else ''}{said}."
        )
        assert ada.notes[1] == f"why it is {fails}"
        assert standing(ada) == "stale"
    write_report(A1, class_.results, [], tmp_path / "report", [])
    assert "former score stands" in (tmp_path / "report" / "index.html").read_text()
    assert "former score stands" in (tmp_path / "report" / "grades.csv").read_text()
    class_.hand_in(ada="3")
    ada, ben = class_.again().values()
    assert (ada.points, ada.stale, ada.notes) == (3, False, []) and (ben.points, ben.stale) == (5, False)


def test_who_never_had_a_score_has_none(class_):
    class_.hand_in(ada="unreadable", ben="grader error")
    for result in class_.again().values():
        assert (result.points, result.stale) == (None, False)


def test_the_score_that_stands_is_the_last_one_shown(class_):
    for text in ("7", "5", "7", "unreadable"):  # the older file is handed in again, then a damaged one
        class_.hand_in(ada=text)
        class_.again()
    assert class_.graded == ["ada"] and (class_.results[0].points, class_.results[0].stale) == (7, True)


def test_a_score_of_another_assignment_does_not_stand(class_):
    class_.hand_in(ada="7")
    class_.again()
    class_.hand_in(ada="unreadable")
    ada = class_.again(load_assignment(ASSIGNMENTS[1]))["ada"]
    assert (ada.points, ada.stale) == (None, False)


def test_a_file_that_is_gone_is_told_and_gets_no_score(class_):
    class_.hand_in(ada="7", ben="5")
    class_.again()
    ada = class_.again(without=["ada"])["ada"]
    assert (ada.status, ada.points, ada.stale) == ("no file", None, False)
    assert ada.notes == ["A former run graded ada.ipynb (7 of 9), which is not there any more."]


def test_a_file_that_changes_while_it_is_graded_gets_no_score_yet(class_, monkeypatch):
    grade = class_.grade

    def and_change(found):
        result = grade(found)
        class_.hand_in(ada="8")
        return result

    class_.hand_in(ada="7")
    monkeypatch.setattr(class_, "grade", and_change)
    ada = class_.again()["ada"]
    assert (ada.status, ada.points) == ("grader error", None) and "changed while it was graded" in ada.notes[
        0
    ]
    monkeypatch.undo()
    assert class_.again()["ada"].points == 8


# --- what a score depends on -------------------------------------------------------------------------------

# What grading imports and no score comes from.
NO_SCORE = {
    "autograder.journal": "keeps results",
    "autograder.reader": "finds files, whose name and bytes are in the key",
    "autograder.chunks": "carries files and results",
}


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = path.parent.joinpath(*[".."] * (node.level - 1)).resolve()
            base = ".".join(folder.relative_to(ROOT.parent).parts) + "." if node.level else ""
            name = (base + (node.module or "")).rstrip(".")
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


ROOT = Path(autograder.__file__).parent


def file_of(module: str) -> Path | None:
    path = ROOT.parent.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def test_all_that_grading_imports_counts_for_the_grader_version():
    covered = {path.resolve() for path in scoring_files()}
    missing = {
        f"{path.relative_to(ROOT.parent)} imports {module}"
        for path in covered
        for module in imported(path)
        if module.startswith("autograder.") and module not in NO_SCORE
        for file in [file_of(module)]
        if file and file.resolve() not in covered
    }
    assert not missing, (
        f"add to SCORING in autograder/journal.py, or to NO_SCORE here with the reason: {missing}"
    )
    assert all((ROOT / name).exists() for name in SCORING)
    for name in ("cs_vl/checks/judge.py", "autograder/grade.py", "autograder/known/a2_clip/clip.py"):
        assert (ROOT.parent / name).resolve() in covered or not (ROOT.parent / name).exists()


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("autograder/grade.py", True),
        ("autograder/references.py", True),
        ("autograder/sandbox/inside/limits.py", True),
        ("cs_vl/checks/judge.py", True),
        ("autograder/report/summary.py", False),
        ("autograder/exports.py", False),
        ("autograder/cli.py", False),
    ],
)
def test_what_a_report_looks_like_regrades_nobody(file, counts, tmp_path, monkeypatch):
    for folder in ("autograder", "cs_vl"):
        shutil.copytree(
            ROOT.parent / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.safetensors", "*.ipynb")
        )
    monkeypatch.setattr(journal, "__file__", str(tmp_path / "autograder" / "journal.py"))
    monkeypatch.setattr(journal.cs_vl, "__file__", str(tmp_path / "cs_vl" / "__init__.py"))
    version = grader_version.__wrapped__
    before = version()
    assert before == grader_version()
    with (tmp_path / file).open("a") as stream:
        stream.write("\n# changed\n")
    assert (version() != before) == counts


# --- disks -------------------------------------------------------------------------------------------------


def test_a_results_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    class_, file = tmp_path / "submitted", tmp_path / "file"
    class_.mkdir()
    (class_ / "ada.ipynb").write_text("{")
    file.write_text("")
    for out in (file / "results", Path("/proc/results")):  # root may write anywhere else
        result = invoke(A1.name, class_, "-o", out)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1 and "choose another folder with -o" in result.stderr


def test_a_full_disk_stops_the_run_with_a_sentence_and_costs_nothing(class_, monkeypatch):
    class_.hand_in(ada="1", ben="2", cleo="3", dan="4")
    sync, synced = os.fsync, []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) > 2:  # the secret, one submission
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - 40)  # a part was written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"journal.jsonl can't be written \(No space left on device\)"):
        class_.again()
    before = len(class_.graded)
    monkeypatch.undo()
    results = class_.again()
    assert [r.points for r in results.values()] == [1, 2, 3, 4]
    assert len(class_.graded) == 3 and 1 <= before <= 4  # the one that was written is not graded again
    class_.again()
    assert class_.graded == []


def test_a_second_run_lays_out_no_edition_under_the_first(tmp_path):
    """It would take away the library on which submissions run."""
    (tmp_path / "ada.ipynb").write_text("{")
    results = tmp_path / "results"
    with journal.Journal(results).alone():
        result = invoke(A1.name, tmp_path, "-o", results)
    assert result.exit_code == 2 and "another run is grading into" in result.stderr
    assert not (results / ".edition").exists()


@pytest.fixture
def no_walls(monkeypatch):
    """Unreadable files need none, and trying them takes its time."""
    from autograder.sandbox import preflight

    monkeypatch.setattr(preflight, "preflight", lambda *_: preflight.Walls(stood=["not tried"]))


def test_reports_that_do_not_fit_on_the_disk_are_a_sentence(tmp_path, monkeypatch, no_walls):
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "ada.ipynb").write_text("{")
    write = Path.write_text

    def full(path, *arguments, **options):
        if path.suffix == ".html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = invoke(A1.name, tmp_path / "submitted", "-o", tmp_path / "results")
    assert result.exit_code == 2
    assert "can't be written" in result.stderr and "No space left on device" in result.stderr
    monkeypatch.setattr(Path, "write_text", write)
    result = invoke(A1.name, tmp_path / "submitted", "-o", tmp_path / "results")
    assert result.exit_code == 1 and (tmp_path / "results" / "index.html").is_file()
    assert len((tmp_path / "results" / "journal.jsonl").read_text().split()) > 0


# --- the same again ----------------------------------------------------------------------------------------


@needs_walls
@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_the_same_submission_gets_the_same_score(tmp_path, times):
    """With answers that draw random numbers, and one that is right for about half of all draws."""
    blank = nbformat.read(student_path(A1.name), as_version=4)
    right = answers(A1)
    chance = (
        right["layer_norm"]
        .replace("@exercise\n", "import random\n@exercise\n", 1)
        .replace("    return ", "    x = x + (random.random() < 0.5)\n    return ", 1)
    )
    some = {name: right[name] for name in ("softmax", "attention", "MultiHeadAttention", "bpe_encode")}
    path = tmp_path / f"{A1.name}.ipynb"
    nbformat.write(fill(blank, {**some, "layer_norm": chance}), path)
    grader = Grader(A1, tmp_path / "results")
    found = Found("ada", path)
    first = {**grader.grade(found).to_json(), **MEASURED}
    assert (
        first["status"] == "graded"
        and {v["exercise"]: v["points"] for v in first["verdicts"]}["attention"] > 0
    )
    for _ in range(times - 1):
        assert {**grader.grade(found).to_json(), **MEASURED} == first
    grader.close()


# --- killed at any moment ----------------------------------------------------------------------------------


def hand_in(folder: Path, n: int) -> None:
    """A class of n: each has written a few exercises, some with mistakes, an endless loop, a crash; some files are damaged."""
    blank, right = nbformat.read(student_path(A1.name), as_version=4), answers(A1)
    names = list(right)
    loop = "@exercise\ndef softmax(x, axis=-1):\n    while True:\n        pass"
    crash = "@exercise\ndef softmax(x, axis=-1):\n    import os\n    os.abort()"
    wrong = right["softmax"].replace("x - x.max(axis=axis, keepdims=True)", "x")
    for i in range(n):
        cells = {name: right[name] for name in names[i % 7 : i % 7 + 2]}
        cells |= {3: {"softmax": wrong}, 5: {"softmax": loop}, 6: {"softmax": crash}}.get(i % 20, {})
        student = folder / f"student{i:02}" / A1.name
        student.mkdir(parents=True)
        path = student / f"{A1.name}.ipynb"
        nbformat.write(fill(blank, cells), path)
        if i % 10 == 4:
            path.write_bytes(b"%PDF-1.7 " + bytes(900))


def command(submissions: Path, results: Path) -> list[str]:
    grade = [sys.executable, "-m", "cs_vl.cli", "grade", A1.name, str(submissions), "-o", str(results)]
    # Where no walls stand, it is killed without.
    return [*grade, "--jobs", "2", "--seconds", "2", "--unsafe-no-sandbox"]


def run(arguments: list[str], results: Path) -> float:
    """Undisturbed; returns the seconds until the first submission was in the journal."""
    began, first = time.monotonic(), 0.0
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        assert time.monotonic() - began < 1200
        first = first or (time.monotonic() - began if lines_of(results) else 0.0)
        time.sleep(0.1)
    assert process.returncode == 1, process.communicate()[1][-3000:]  # since some files are unreadable
    return first


def lines_of(results: Path) -> int:
    path = results / "journal.jsonl"
    return path.read_text().count("}\n") + path.read_text().endswith("}") if path.exists() else 0


def killed(arguments: list[str], results: Path, moment: str, amount: float) -> bool:
    """Run, and kill its whole group: so many seconds after the start, or after a submission more is in the journal, or
    after the first page is written.  Returns whether it was still running."""
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    before, began, page = lines_of(results), time.time(), results / "students"
    give_up = time.monotonic() + 600
    while process.poll() is None:
        assert time.monotonic() < give_up
        if (
            moment == "start"
            or (moment == "grading" and lines_of(results) > before)
            or (moment == "pages" and page.exists() and page.stat().st_mtime > began)
        ):
            break
        time.sleep(0.002)
    time.sleep(amount)
    running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL) if running else None
    process.wait()
    return running


def tear(results: Path) -> None:
    """Cut the journal's last line short, again, as a kill in the midst of writing it does."""
    path = results / "journal.jsonl"
    if path.exists():
        with path.open("a") as file:
            file.write("\n" + path.read_text().split("\n")[-1][:200])


def processes_of(results: Path) -> list[str]:
    """Processes that know of the results folder: by their command, or since the student edition is mounted there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "mountinfo"):  # the second, as far as we may read it
            try:
                if str(results) in (process / file).read_text(errors="replace"):
                    found.append(f"{process.name} {(process / 'cmdline').read_text(errors='replace')[:80]}")
            except OSError:
                continue
    return found


def settled(results: Path) -> dict[str, str]:
    """All pages and tables that the journal gives, with its measurements set to nothing."""
    path = results / "journal.jsonl"
    entries = list(journal.Journal(results).finished().values())
    for entry in entries:
        entry["result"] |= MEASURED
    path.write_text("\n".join(map(json.dumps, entries)))
    return {
        str(file.relative_to(results)): file.read_text(encoding="utf-8-sig")
        for pattern in ("*.html", "*.csv", "*.json", "students/*", "similar/*", "gradescope/*")
        for file in sorted(results.glob(pattern))
    }


def scores(results: Path) -> dict:
    tree = json.loads((results / "grades.json").read_text())
    return {**tree, "results": [{**result, **MEASURED} for result in tree["results"]]}


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="looks for processes in Linux' /proc")
@pytest.mark.parametrize(
    ("n", "kills", "seed"),
    [(5, 3, 1), pytest.param(40, 20, 4, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
def test_a_run_killed_again_and_again_gives_what_an_undisturbed_run_gives(tmp_path, n, kills, seed):
    class_, whole, torn = tmp_path / "class", tmp_path / "whole", tmp_path / "torn"
    hand_in(class_, n)
    for results in (whole, torn):
        results.mkdir()
        (results / "secret").write_text("4711")
    start = run(command(class_, whole), whole)
    draw, seen = random.Random(seed), []
    plan = [*draw.choices(["start", "grading", "grading"], k=kills - 3), "start", "grading", "pages"]
    for moment in plan:
        if lines_of(torn) == n:
            moment = "pages"
        amount = draw.uniform(0, {"start": start, "grading": 1, "pages": 0.3}[moment])
        running = killed(command(class_, torn), torn, moment, amount)
        give_up = time.monotonic() + 10
        while others := processes_of(torn):
            assert time.monotonic() < give_up, others
            time.sleep(0.05)
        tear(torn)
        seen.append((moment, round(amount, 2), running, lines_of(torn)))
    print(*seen, sep="\n")
    assert sum(running for _, _, running, _ in seen) >= 0.8 * kills  # the others were done before
    assert any(0 < lines < n for *_, lines in seen)
    run(command(class_, torn), torn)
    students = [entry["result"]["student"] for entry in journal.Journal(torn).finished().values()]
    text = (torn / "journal.jsonl").read_text()
    assert sorted(students) == [f"student{i:02}" for i in range(n)]
    assert len([line for line in text.split("\n") if line[-1:] == "}"]) == n  # nobody twice
    assert scores(torn) == scores(whole)
    if kills < 10:
        return
    # Every page and table byte for byte, once what was measured is left out.
    for results in (torn, whole):
        settled(results)
        run(command(class_, results), results)
    ours, theirs = settled(torn), settled(whole)
    assert len(theirs) > 2 * n and ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name] != theirs[name]] == []
