"""nbgrader's gradebook: scores, what a person gave, runs that are killed, and formgrader itself."""

import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbgrader.api import Gradebook
from nbgrader.nbgraderformat import MetadataValidator
from typer.testing import CliRunner

import autograder.cli
import autograder.grade
from autograder.build.notebooks import grade_id_of, student_path
from autograder.build.sample_class import FOLDER, fill
from autograder.grade import Result, Written
from autograder.gradebook import Course, GradebookError, due_date, write, write_gradebook
from autograder.gradebook.course import source_notebook, student_id
from autograder.gradebook.notebook import answers, autograded
from autograder.reader import BadInput, Found, find_submissions, read_roster
from autograder.sandbox.preflight import Walls
from cs_vl.checks.cells import Cell, read_submission
from cs_vl.checks.judge import StageVerdict, Verdict
from cs_vl.checks.spec import load_assignment

NAME = "a2_clip"
SPEC = load_assignment(NAME)
EXERCISES = [exercise.name for exercise in SPEC.exercises]
POINTS = {exercise.name: exercise.points for exercise in SPEC.exercises}
WRITTEN = ["robustness", "unseen_things"]
FULL = sum(POINTS.values())
BLANK_TEXT = student_path(NAME).read_text()
BLANK = nbformat.reads(BLANK_TEXT, as_version=4)
SOURCE = source_notebook(NAME)
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def hand_in(folder: Path, student: str = "ada", **cells: str) -> Found:
    """A submission in nbgrader's layout, with some cells filled in."""
    path = folder / "handed_in" / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    by_id = {f"written-{name}" if name in WRITTEN else name: text for name, text in cells.items()}
    notebook = json.loads(BLANK_TEXT)
    for cell in notebook["cells"]:
        cell["source"] = by_id.get(cell["metadata"].get("nbgrader", {}).get("grade_id"), cell["source"])
    path.write_text(json.dumps(notebook))
    return Found(student, path, student.title())


def result(found: Found, wrong: tuple[str, ...] = (), answered: bool = True, **changes) -> Result:
    """What the engine would say: all right but for some exercises."""
    verdicts = [
        Verdict(name, "failed", 1.0, POINTS[name], "You forgot the scale.", stages=[StageVerdict("value", "failed", 1, 2)])
        if name in wrong
        else Verdict(name, "passed", POINTS[name], POINTS[name])
        for name in EXERCISES
    ]  # fmt: skip
    written = [Written(name, "awaiting grading" if answered else "unanswered", 5.0) for name in WRITTEN]
    return replace(Result(found.student, found.name, "graded", "x.ipynb", FULL, verdicts, written), **changes)


def record(root: Path, *graded: tuple[Found, Result], **options) -> list[str]:
    """Write a run of some submissions."""
    found, results = [one for one, _ in graded], [one for _, one in graded]
    return write_gradebook(Course.of(root / "results", None), NAME, results, found, **options)


@contextmanager
def database(root: Path):
    with Gradebook(f"sqlite:///{root}/results/course/gradebook.db") as gradebook:
        yield gradebook


def grades(root: Path, student: str = "ada") -> dict[str, tuple]:
    """{cell: (the machine's score, a person's, extra credit, whether it waits for a person)}."""
    with database(root) as gradebook:
        return {
            g.name: (g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade)
            for g in gradebook.find_submission_notebook(NAME, NAME, student).grades
        }


def comments(root: Path, student: str = "ada") -> dict[str, tuple]:
    with database(root) as gradebook:
        found = gradebook.find_submission_notebook(NAME, NAME, student).comments
        return {c.name: (c.auto_comment, c.manual_comment) for c in found}


def by_hand(root: Path, cell: str, score: float | None = None, *, extra=None, comment=None, student="ada"):
    """What formgrader does when a TA types something."""
    with database(root) as gradebook:
        grade = gradebook.find_grade(cell, NAME, NAME, student)
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = score, extra, False
        if comment:
            gradebook.find_comment(cell.removeprefix("check-"), NAME, NAME, student).manual_comment = comment
        gradebook.db.commit()


# --- what stands there --------------------------------------------------------------------------------------


def test_scores_maxima_comments_and_people(tmp_path):
    (tmp_path / "roster.csv").write_text(
        'id,name,email,Sortable_Name\nada,Ada Augusta King,ada@x.org,"King, Ada Augusta"\n'
        'bob,"Builder, Bob",,\nzoe,Zoe von Z,,\n'
    )
    one, two = hand_in(tmp_path), hand_in(tmp_path, "bob", robustness="Because.")
    roster = read_roster(tmp_path / "roster.csv")
    found, _ = find_submissions(tmp_path / "handed_in", NAME, tmp_path / "scratch", roster)
    assert [one.student for one in found] == ["ada", "bob", "zoe"]
    absent = Result("zoe", found[2].name, "no file", notes=found[2].notes)  # as grade_class makes it
    results = [result(found[0], answered=False), result(found[1], wrong=("info_nce",)), absent]
    assert record(tmp_path, *zip(found, results, strict=True), people=roster.people) == []
    assert one.path == found[0].path and two.path == found[1].path
    ada, bob = grades(tmp_path), grades(tmp_path, "bob")
    assert set(ada) == {f"check-{name}" for name in EXERCISES} | {f"written-{name}" for name in WRITTEN}
    assert ada["written-robustness"] == (0.0, None, None, False)
    assert bob["written-robustness"] == (None, None, None, True)
    assert bob["check-info_nce"] == (1.0, None, None, False)
    assert comments(tmp_path)["written-robustness"] == ("No response.", None)
    assert "You forgot the scale." in comments(tmp_path, "bob")["info_nce"][0]
    with database(tmp_path) as gradebook:
        people = {s.id: (s.first_name, s.last_name, s.email) for s in gradebook.students}
        assert people == {
            "ada": ("Ada Augusta", "King", "ada@x.org"), "bob": ("Bob", "Builder", None), "zoe": ("Zoe von", "Z", None),
        }  # fmt: skip
        assert gradebook.find_assignment(NAME).max_score == FULL + 10
        assert gradebook.find_notebook(NAME, NAME).max_written_score == 10
        submissions = {s.student.id: s for s in gradebook.assignment_submissions(NAME)}
        assert set(submissions) == {"ada", "bob"}  # who is absent has none
        assert submissions["ada"].score == FULL and not submissions["ada"].needs_manual_grade
        assert submissions["bob"].needs_manual_grade


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "unreadable", "notes": ["x.ipynb is empty"]}, "x.ipynb is empty"),
        ({"status": "no file", "notes": ["there is no notebook in its folder"]}, "no notebook in its folder"),
        ({"status": "grader error", "notes": ["KeyError in judge.py"]}, "a fault of ours"),
    ],
    ids=["unreadable", "no file", "grader error"],
)
def test_what_could_not_be_graded_is_no_silent_zero(tmp_path, changes, said):
    found = hand_in(tmp_path)
    record(tmp_path, (found, result(found, verdicts=[], written=[], **changes)))
    assert set(grades(tmp_path).values()) == {(None, None, None, True)}
    assert all(said in auto for auto, _ in comments(tmp_path).values())
    shown = Course.of(tmp_path / "results", None).notebook("ada", NAME)
    first = json.loads(shown.read_text())["cells"][0]
    assert first["cell_type"] == "markdown" and said in first["source"]


def test_a_grader_error_in_one_exercise_leaves_the_others_scores(tmp_path):
    found = hand_in(tmp_path)
    broken = result(found, status="grader error")
    broken.verdicts[0] = replace(broken.verdicts[0], status="grader error", points=0.0)
    record(tmp_path, (found, broken))
    assert grades(tmp_path)[f"check-{EXERCISES[0]}"] == (None, None, None, True)
    assert grades(tmp_path)[f"check-{EXERCISES[1]}"] == (POINTS[EXERCISES[1]], None, None, True)


def test_half_characters_and_tags_of_a_student_do_no_harm(tmp_path):
    found = replace(hand_in(tmp_path, robustness="\ud800 Because."), name="Ada <script>x</script>\ud800")
    bad = result(found, wrong=("info_nce",), notes=["\udcff"])
    bad.verdicts[EXERCISES.index("info_nce")].sentence = "line 3: s = '</p><script>\ud800'"
    record(tmp_path, (found, bad))
    assert "< /p>< script>\\ud800" in comments(tmp_path)["info_nce"][0]
    shown = Course.of(tmp_path / "results", None).notebook("ada", NAME)
    nbformat.read(shown, as_version=4)
    with database(tmp_path) as gradebook:
        assert "<s" not in str(gradebook.find_student("ada").to_dict())


def test_a_former_score_that_was_left_standing_is_marked(tmp_path):
    found = hand_in(tmp_path)
    former = result(found, wrong=("info_nce",), answered=False)
    former.stale = True
    record(tmp_path, (found, former))
    assert grades(tmp_path)["check-info_nce"] == (1.0, None, None, True)
    assert grades(tmp_path)["written-robustness"] == (0.0, None, None, True)
    said = comments(tmp_path)["info_nce"][0]
    assert "of an earlier run" in said and "You forgot the scale." in said


def test_whoever_handed_in_before_and_is_gone_now_is_marked(tmp_path):
    found = hand_in(tmp_path)
    record(tmp_path, (found, result(found)))
    by_hand(tmp_path, "written-robustness", 4.0)
    gone = Found("ada", None)
    record(tmp_path, (gone, Result("ada", "Ada", "no file", notes=list(write.ABSENT))))
    assert grades(tmp_path)["check-info_nce"] == (None, None, None, True)
    assert grades(tmp_path)["written-robustness"] == (None, 4.0, None, True)


# --- what a person gave ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", ["nothing", "this answer", "another answer", "the machine's score", "file lost"]
)
def test_what_a_person_gave_is_kept(tmp_path, change):
    found = hand_in(tmp_path, robustness="Because.", info_nce="def info_nce(): ...")
    record(tmp_path, (found, result(found)))
    by_hand(tmp_path, "written-robustness", 3.5, extra=1.0, comment="Say more.")
    by_hand(tmp_path, "check-info_nce", 2.0, comment="Partly by hand.")
    by_hand(tmp_path, "check-nt_xent", None, extra=2.0)
    again = {"robustness": "Because.", "info_nce": "def info_nce(): ..."}
    if change == "this answer":
        again = {"robustness": "No, since.", "info_nce": "def info_nce(): pass"}
    if change == "another answer":
        again |= {"siglip_loss": "def siglip_loss(): ...", "unseen_things": "Hm."}
    if change == "file lost":
        Course.of(tmp_path / "results", None).notebook("ada", NAME).unlink()
    found = hand_in(tmp_path, **again)
    wrong = ("info_nce",) if change == "the machine's score" else ()
    for _ in range(2):  # what is to be looked at again stays so until somebody has
        record(tmp_path, (found, result(found, wrong)))
        after = grades(tmp_path)
        score = 1.0 if wrong else POINTS["info_nce"]
        written = change in ("this answer", "file lost")
        assert after["written-robustness"] == (None, 3.5, 1.0, written)
        assert after["check-info_nce"] == (score, 2.0, None, written or bool(wrong))
        assert after["check-nt_xent"] == (POINTS["nt_xent"], None, 2.0, False)
        assert comments(tmp_path)["written-robustness"] == (None, "Say more.")
        assert comments(tmp_path)["info_nce"][1] == "Partly by hand."
    by_hand(tmp_path, "written-robustness", 5.0)
    record(tmp_path, (found, result(found, wrong)))
    assert grades(tmp_path)["written-robustness"] == (None, 5.0, None, False)


WORDS = st.sampled_from(["Because.", "No, since."])
STEPS = st.one_of(
    st.tuples(st.just("run"), WORDS, st.booleans(), st.sampled_from(["graded", "unreadable", "grader error"])),
    st.tuples(st.just("hand"), st.sampled_from(["written-robustness", "check-info_nce"]), st.sampled_from([0.0, 2.5])),
)  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=7))
def test_whatever_comes_a_score_by_hand_stands_and_is_flagged_when_it_should_be(tmp_path_factory, steps):
    """Against a model: a score by hand is settled until the answer, or the machine's score, has changed."""
    root = tmp_path_factory.mktemp("steps")
    given_by_hand: dict[str, float] = {}
    unsettled: set[str] = set()
    before: dict[str, tuple] = {}
    for step in [("run", "Because.", False, "graded"), *steps]:
        if step[0] == "hand":
            by_hand(root, step[1], step[2])
            given_by_hand[step[1]] = step[2]
            unsettled.discard(step[1])
            continue
        _, words, wrong, status = step
        found = hand_in(root, robustness=words)
        changes = {} if status == "graded" else {"status": status, "verdicts": [], "written": []}
        record(root, (found, result(found, ("info_nce",) if wrong else (), **changes)))
        now = {name: (grade[0], words * name.startswith("written")) for name, grade in grades(root).items()}
        unsettled |= {name for name in given_by_hand if now[name] != before[name]}
        before = now
        for name, (auto, manual, _, waits) in grades(root).items():
            assert manual == given_by_hand.get(name)
            expected = name in unsettled if manual is not None else auto is None
            assert waits == expected, name


def test_a_score_of_zero_by_hand_is_a_score(tmp_path):
    found = hand_in(tmp_path, robustness="Because.")
    record(tmp_path, (found, result(found)))
    by_hand(tmp_path, "written-robustness", 0.0)
    record(tmp_path, (found, result(found)))
    assert grades(tmp_path)["written-robustness"] == (None, 0.0, None, False)


def test_names_and_extensions_that_a_person_gave_are_kept(tmp_path):
    found = hand_in(tmp_path)
    record(tmp_path, (found, result(found)), due=due_date("2020-01-01"))
    with database(tmp_path) as gradebook:
        gradebook.update_or_create_student("ada", first_name="Ada A.", last_name="K.")
        gradebook.grant_extension(NAME, "ada", days=2)
    record(tmp_path, (found, result(found)))
    with database(tmp_path) as gradebook:
        assert gradebook.find_student("ada").last_name == "K."
        submission = gradebook.find_submission(NAME, "ada")
        assert submission.extension == timedelta(days=2)
        assert submission.duedate == datetime(2020, 1, 3)  # no --due this time: it stays


# --- killed, changed, locked ----------------------------------------------------------------------------------


def everything(root: Path) -> tuple[dict, dict]:
    """All that a TA sees, without the database's random ids."""
    students = ["ada", "bob", "eve"]
    course = Course.of(root / "results", None)
    shown = {s: course.notebook(s, NAME).read_text() for s in students}
    return {s: (grades(root, s), comments(root, s)) for s in students}, shown


@pytest.mark.parametrize("at", range(6))
def test_a_run_that_is_killed_is_completed_by_the_next(tmp_path, monkeypatch, at):
    """Killed at a commit or before a notebook is put in its place."""

    def graded(root: Path, text: str) -> list:
        found = [hand_in(root, student, robustness=text) for student in ("ada", "bob", "eve")]
        return [(one, result(one)) for one in found]

    count = iter(range(100))

    def mortal(real):
        def call(*args, **kwargs):
            if next(count) == at:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return call

    def prepare(root: Path) -> list:
        record(root, *graded(root, "Because.")[:2])
        by_hand(root, "written-robustness", 3.0, comment="Well.")
        return graded(root, "No, since.")

    killed, calm = tmp_path / "killed", tmp_path / "calm"
    again = prepare(killed)
    with monkeypatch.context() as patch:
        patch.setattr(write.Database, "record", mortal(write.Database.record))
        patch.setattr(Path, "replace", mortal(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            record(killed, *again)
    record(killed, *again)
    record(calm, *prepare(calm))
    assert everything(killed) == everything(calm)
    assert grades(killed)["written-robustness"] == (None, 3.0, None, True)


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_loses_nothing(tmp_path):
    """kill -9, five times, while 40 submissions are written; then the same as an undisturbed run."""
    script = (
        "import sys; from pathlib import Path; from tests.test_gradebook import *\n"
        "root = Path(sys.argv[1]); print('ready', flush=True)\n"
        "found = [hand_in(root, f's{n}', robustness=str(n)) for n in range(40)]\n"
        "record(root, *((one, result(one, (EXERCISES[n % 15],))) for n, one in enumerate(found)))\n"
    )

    def start(root: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", script, str(root)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"ready\n"
        return process

    whole = {}
    for root in (tmp_path / "killed", tmp_path / "calm"):
        for wait in (0.2, 0.5, 0.7, 0.9, 1.1) if root.name == "killed" else ():
            process = start(root)
            time.sleep(wait)
            process.kill()
            process.wait()
        assert start(root).wait() == 0
        students = [f"s{n}" for n in range(40)]
        shown = {s: Course.of(root / "results", None).notebook(s, NAME).read_text() for s in students}
        whole[root.name] = {s: (grades(root, s), comments(root, s)) for s in students}, shown
    assert whole["killed"] == whole["calm"]


def test_the_assignments_cells_may_change(tmp_path, monkeypatch):
    found = hand_in(tmp_path)
    less = nbformat.from_dict(SOURCE)
    less.cells = [cell for cell in less.cells if not grade_id_of(cell).endswith(("info_nce", "CLIP"))]
    monkeypatch.setattr(write, "source_notebook", lambda name: less)
    record(tmp_path, (found, result(found)))
    assert "check-info_nce" not in grades(tmp_path)
    monkeypatch.undo()
    assert record(tmp_path, (found, result(found))) == []
    assert grades(tmp_path)["check-info_nce"] == (POINTS["info_nce"], None, None, False)
    with database(tmp_path) as gradebook:
        assert gradebook.find_assignment(NAME).max_score == FULL + 10
    by_hand(tmp_path, "check-info_nce", 2.0)
    monkeypatch.setattr(write, "source_notebook", lambda name: less)
    (remark,) = record(tmp_path, (found, result(found)))
    assert "check-info_nce" in remark
    assert "check-CLIP" not in grades(tmp_path)
    assert grades(tmp_path)["check-info_nce"][1] == 2.0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("locked", "another program is writing to it"),
        ("old", "nbgrader db upgrade"),
        ("rubbish", "put a copy of it back"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(tmp_path, damage, said, monkeypatch):
    found = hand_in(tmp_path)
    record(tmp_path, (found, result(found)))
    path = tmp_path / "results" / "course" / "gradebook.db"
    holder = sqlite3.connect(path, timeout=0)
    if damage == "locked":
        real = autograder.gradebook.database.create_engine
        impatient = lambda url, **more: real(url, connect_args={"timeout": 0.1}, **more)  # noqa: E731
        monkeypatch.setattr("nbgrader.api.create_engine", impatient)
        holder.execute("BEGIN IMMEDIATE")
    elif damage == "old":
        holder.execute("ALTER TABLE submitted_notebook RENAME COLUMN late_submission_penalty TO penalty")
        holder.commit()
    else:
        holder.close()
        path.write_bytes(b"not a database" * 1000)
    with pytest.raises(GradebookError, match=said):
        record(tmp_path, (found, result(found, wrong=("info_nce",))))
    holder.close()


# --- where things lie -----------------------------------------------------------------------------------------


def test_time_of_handing_in_and_late_policy(tmp_path):
    early, late, own = hand_in(tmp_path, "ada"), hand_in(tmp_path, "bob"), hand_in(tmp_path, "eve")
    os.utime(early.path, (1_600_000_000, 1_600_000_000))  # 2020-09-13 12:26:40 UTC
    (late.path.parent / "timestamp.txt").write_text("2020-09-14 10:00:00 +0200")
    (own.path.parent / "timestamp.txt").write_text("yesterday, really")
    graded = [(one, result(one)) for one in (early, late, own)]
    record(tmp_path, *graded, due=due_date("2020-09-14 00:00"))

    def times_and_penalties():
        with database(tmp_path) as gradebook:
            return {
                s.student.id: (s.timestamp, s.notebooks[0].late_submission_penalty)
                for s in gradebook.assignment_submissions(NAME)
            }

    assert times_and_penalties()["ada"] == (datetime(2020, 9, 13, 12, 26, 40), None)
    assert times_and_penalties()["bob"] == (datetime(2020, 9, 14, 8), None)  # nbgrader's policy "none"
    settings = tmp_path / "results" / "course" / "nbgrader_config.py"
    settings.write_text(settings.read_text().replace('penalty_method = "none"', 'penalty_method = "zero"'))
    record(tmp_path, *graded)
    assert times_and_penalties()["ada"][1] is None
    assert times_and_penalties()["bob"][1] == FULL
    (settings.parent / "gentle.py").write_text(
        "from nbgrader.plugins import BasePlugin\n\n\nclass Gentle(BasePlugin):\n"
        "    def late_submission_penalty(self, student_id, score, total_seconds_late):\n"
        "        return total_seconds_late / 3600\n"
    )
    with settings.open("a") as file:
        file.write('\nc.AssignLatePenalties.plugin_class = "gentle.Gentle"\n')
    record(tmp_path, *graded)
    assert times_and_penalties()["bob"][1] == 8
    assert times_and_penalties()["eve"][1] == FULL  # no more than there is


def test_a_time_that_a_student_wrote_into_their_own_folder_does_not_count(tmp_path):
    path = tmp_path / "handed_in" / "ada" / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(BLANK_TEXT)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    (path.parent / "timestamp.txt").write_text("2001-01-01 00:00:00 UTC")
    record(tmp_path, (Found("ada", path), result(Found("ada", path))))
    with database(tmp_path) as gradebook:
        assert gradebook.find_submission(NAME, "ada").timestamp == datetime(2020, 9, 13, 12, 26, 40)


@pytest.mark.parametrize("what", ["a pipe", "a link", "text without an end", "numbers", "another year"])
def test_whatever_timestamp_txt_is_it_stops_nobody(tmp_path, what):
    found = hand_in(tmp_path)
    os.utime(found.path, (1_600_000_000, 1_600_000_000))
    path = found.path.parent / "timestamp.txt"
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a link":
        path.symlink_to("/dev/zero")
    else:
        path.write_text(
            {"numbers": "1" * 99, "another year": "9999-12-31 23:59 -1200"}.get(what, "2020 " * 1_000_000)
        )
    record(tmp_path, (found, result(found)))
    with database(tmp_path) as gradebook:
        assert gradebook.find_submission(NAME, "ada").timestamp == datetime(2020, 9, 13, 12, 26, 40)


def test_a_file_that_cannot_be_read_stops_nobody(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("not yours")

    found = hand_in(tmp_path)
    monkeypatch.setattr("shutil.copy2", refuse)
    record(tmp_path, (found, result(found)))
    assert grades(tmp_path)["check-info_nce"][0] == POINTS["info_nce"]


def test_what_is_graded_where_it_was_copied_to_stays_there(tmp_path):
    found = hand_in(tmp_path)
    record(tmp_path, (found, result(found)))
    copy = tmp_path / "results" / "course" / "submitted" / "ada" / NAME / f"{NAME}.ipynb"
    assert copy.read_text() == found.path.read_text()
    again = Found("ada", copy)
    record(tmp_path, (again, result(again, wrong=("info_nce",))))
    assert copy.read_text() == found.path.read_text()
    assert grades(tmp_path)["check-info_nce"][0] == 1.0


def test_settings_that_cannot_be_read_are_one_sentence(tmp_path):
    Course.of(tmp_path, None)
    (tmp_path / "course" / "nbgrader_config.py").write_text("c = get_config(\n")
    with pytest.raises(BadInput, match="nbgrader_config"):
        Course.of(tmp_path, None)
    (tmp_path / "course" / "nbgrader_config.py").write_text(
        "get_config().AssignLatePenalties.plugin_class = 'no.Such'\n"
    )
    with pytest.raises(BadInput, match="late policy"):
        Course.of(tmp_path, None)


@pytest.mark.parametrize("text", ["tomorrow-ish", "2026-13-45", "", "2026-01-01 10:00 XYZ"])
def test_a_due_date_that_is_none_is_one_sentence(text):
    with pytest.raises(BadInput, match="is no date"):
        due_date(text)


@pytest.mark.parametrize(
    "student", ["../../etc", "a/b", "..", ".hidden", "a*", "x" * 300, "", "ada\n", "{student_id}"]
)
def test_a_strange_id_stays_inside_its_folder(tmp_path, student):
    found = replace(hand_in(tmp_path), student=student)
    record(tmp_path, (found, result(found)))
    name = student_id(student)
    assert re.fullmatch(r"[\w.@+ -]+", name) and not name.startswith(".")
    assert {p.name for p in (tmp_path / "results" / "course" / "autograded").iterdir()} == {name}
    assert grades(tmp_path, name)["check-info_nce"][0] == POINTS["info_nce"]
    assert student_id(student + "!") != name


@pytest.mark.parametrize("student", ["ada", "Ada Lovelace", "ada.l@x-y.org", "12345", "Łukasz"])
def test_an_ordinary_id_is_kept(student):
    assert student_id(student) == student


def test_an_existing_course_is_written_into_and_nothing_of_it_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])  # a new gradebook of nbgrader's starts alembic
    course = tmp_path / "course"
    for place, text in (("source", "theirs"), ("submitted/ada", "their copy")):
        path = course / place / NAME / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (course / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.autograded_directory = 'marked'\n"
    )
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.add_assignment("older")
        gradebook.add_student("ada", first_name="Ada", last_name="L.")
    found = hand_in(tmp_path)
    for existing in (course, course / "gradebook.db"):
        write_gradebook(Course.of(tmp_path, existing), NAME, [result(found)], [found])
    assert (course / "source" / NAME / f"{NAME}.ipynb").read_text() == "theirs"
    assert (course / "submitted" / "ada" / NAME / f"{NAME}.ipynb").read_text() == "their copy"
    assert (course / "marked" / "ada" / NAME / f"{NAME}.ipynb").is_file()
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        assert [a.name for a in gradebook.assignments] == [NAME, "older"]
        assert gradebook.find_student("ada").last_name == "L."
        assert gradebook.find_submission(NAME, "ada").score == FULL


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of nbgrader's own add_submission
def test_an_assignment_may_have_other_notebooks(tmp_path):
    """Each submission has rows for all of them, as nbgrader expects."""
    found, other = hand_in(tmp_path), hand_in(tmp_path, "bob")
    Course.of(tmp_path / "results", None)
    with write.Database(f"sqlite:///{tmp_path}/results/course/gradebook.db", NAME):
        pass
    with database(tmp_path) as gradebook:
        gradebook.remove_notebook(NAME, NAME)
        gradebook.add_notebook("theirs", NAME)
        gradebook.add_grade_cell("q1", "theirs", NAME, max_score=1, cell_type="code")
        gradebook.add_student("ada")
        gradebook.add_submission(NAME, "ada")
    record(tmp_path, (found, result(found)), (other, result(other)))
    for student in ("ada", "bob"):
        assert grades(tmp_path, student)["check-info_nce"][0] == POINTS["info_nce"]
        with database(tmp_path) as gradebook:
            assert gradebook.find_grade("q1", "theirs", NAME, student).needs_manual_grade


def test_what_is_no_course_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no nbgrader course"):
        Course.of(tmp_path, tmp_path)
    with pytest.raises(BadInput, match="no nbgrader course"):
        Course.of(tmp_path, tmp_path / "gradebok.db")


# --- the notebook that formgrader shows -------------------------------------------------------------------------


def shown_of(cells: list[Cell], found: Result | None = None) -> dict[str, list]:
    """{grade id: its cells} of what formgrader shows; checked as nbgrader and nbformat do."""
    data = autograded(SOURCE, cells, found or result(Found("ada", None)))
    notebook = nbformat.from_dict(data)
    nbformat.validate(notebook)
    MetadataValidator().validate_nb(notebook)
    by_id: dict[str, list] = {}
    for cell in notebook.cells:
        by_id.setdefault(grade_id_of(cell), []).append(cell)
    graded = [name for name in by_id if name and not name.startswith("imports-")]
    assert sorted(graded) == sorted(
        {*EXERCISES, *(f"check-{name}" for name in EXERCISES), *(f"written-{name}" for name in WRITTEN)}
    )
    assert all(len(by_id[name]) == 1 for name in graded)
    return by_id


def cells_of(**answers: str) -> list[Cell]:
    filled = fill(BLANK, answers)
    return [Cell(n, cell.cell_type, cell.source, grade_id_of(cell)) for n, cell in enumerate(filled.cells, 1)]


def test_the_students_cells_stand_there_with_the_verdicts():
    cells = cells_of(info_nce="def info_nce(): return 1")
    cells[3].source = "my own words"
    shown = shown_of(cells, result(Found("ada", None), wrong=("info_nce",)))
    assert shown["info_nce"][0].source == "def info_nce(): return 1"
    assert "my own words" in [cell.source for cell in shown[""]]
    card, points = shown["check-info_nce"][0].outputs
    assert "You forgot the scale." in card.data["text/plain"]
    assert points.data["text/plain"] == "1.0"
    assert shown["check-info_nce"][0].metadata.nbgrader.points == POINTS["info_nce"]


def test_edited_checks_and_points_are_the_sources():
    cells = cells_of(**{"check-info_nce": "print('full marks')"})
    assert "print" not in shown_of(cells)["check-info_nce"][0].source


@pytest.mark.parametrize("what", ["check", "answer", "everything", "ids"])
def test_what_was_deleted_is_added_and_what_was_moved_is_found(what):
    cells = cells_of(info_nce="def info_nce(): return 1")
    if what == "check":
        cells = [c for c in cells if c.grade_id != "check-info_nce"]
        shown = shown_of(cells)
        ids = [
            grade_id_of(nbformat.from_dict(c))
            for c in autograded(SOURCE, cells, result(Found("", None)))["cells"]
        ]
        assert ids.index("check-info_nce") == ids.index("info_nce") + 1
    elif what == "answer":
        cells = [c for c in cells if c.grade_id != "info_nce"]
        shown = shown_of(cells)
        assert "No cell of its own" in shown["info_nce"][0].source
        cells.append(Cell(99, "code", "x = 1\ndef info_nce(): return 2"))
        assert "return 2" in shown_of(cells)["info_nce"][0].source
    elif what == "everything":
        shown_of([])
    else:
        shown = shown_of([replace(cell, grade_id="") for cell in cells])
        assert "return 1" in shown["info_nce"][0].source


def test_ids_that_stand_twice_and_answers_that_share_a_cell():
    both = "def info_nce(): ...\ndef siglip_loss(): ..."
    cells = [c for c in cells_of(info_nce=both) if c.grade_id != "siglip_loss"]
    cells.append(Cell(99, "markdown", "copied", "written-robustness"))
    cells.append(Cell(100, "code", "# only a copy of the id", "info_nce"))
    shown = shown_of(cells)
    assert shown["info_nce"][0].source == both
    assert shown["written-robustness"][0].source == "copied"


def test_pasted_pictures_are_shown_and_nothing_else_that_was_attached(tmp_path):
    found = hand_in(tmp_path, robustness="See ![p](attachment:p.png)")
    data = json.loads(found.path.read_text())
    (cell,) = [c for c in data["cells"] if "attachment:" in "".join(c["source"])]
    cell["attachments"] = {"p.png": {"image/png": "iVBORw0KGgo="}, "e": {"text/html": "<script>"}, "f": 3}
    found.path.write_text(json.dumps(data))
    record(tmp_path, (found, result(found)))
    shown = json.loads(Course.of(tmp_path / "results", None).notebook("ada", NAME).read_text())
    assert [c["attachments"] for c in shown["cells"] if "attachments" in c] == [
        {"p.png": {"image/png": "iVBORw0KGgo="}}
    ]


@pytest.mark.parametrize(
    "source", ["\n" * 200_000, " " * 200_000, "def " * 50_000, "<" * 200_000, "`" * 200_000]
)
def test_no_text_of_a_students_takes_long(source):
    cells = [Cell(n, "code", source) for n in range(1, 6)]
    start = time.process_time()
    autograded(SOURCE, cells, result(Found("ada", None), status="unreadable", notes=[source]))
    assert time.process_time() - start < 2


def test_a_script_becomes_a_notebook(tmp_path):
    import jupytext

    path = tmp_path / f"{NAME}.py"
    path.write_text(jupytext.writes(fill(BLANK, {"info_nce": "def info_nce(): return 1"}), fmt="py:percent"))
    shown = shown_of(read_submission(path).cells)
    assert "return 1" in shown["info_nce"][0].source


def test_answers_are_read_back():
    data = autograded(SOURCE, cells_of(info_nce="def info_nce(): return 1 "), result(Found("ada", None)))
    found = answers(data)
    assert set(found) == {*EXERCISES, *(f"written-{name}" for name in WRITTEN)}
    assert found["info_nce"] == "def info_nce(): return 1"


# --- through the command line, nbgrader and formgrader --------------------------------------------------------


@pytest.fixture
def no_engine(monkeypatch):
    """`cs-vl grade` with results that are given, so that only what follows is tested."""
    given: dict[str, Result] = {}

    class Grader:
        journal = SimpleNamespace(alone=contextlib.nullcontext)

        def __init__(self, *_, **__):
            pass

    def grade_class(grader, found, **_):
        return [given.get(one.student) or result(one, notes=list(one.notes)) for one in found]

    monkeypatch.setattr(autograder.cli, "_behind_walls", lambda grader, unsafe: (grader, Walls()))
    monkeypatch.setattr(autograder.grade, "Grader", Grader)
    monkeypatch.setattr(autograder.grade, "grade_class", grade_class)
    return given


def test_the_command_line_writes_the_gradebook(tmp_path, no_engine):
    hand_in(tmp_path)
    arguments = ["grade", NAME, str(tmp_path / "handed_in"), "-o", str(tmp_path / "results")]
    done = CliRunner().invoke(autograder.cli.app, [*arguments, "--due", "2020-01-01 10:00 +0200"])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "results" / "course") in done.output
    with database(tmp_path) as gradebook:
        assert gradebook.find_assignment(NAME).duedate == datetime(2020, 1, 1, 8)
        assert gradebook.find_submission(NAME, "ada").score == FULL
    for more in (["--due", "soon"], ["--gradebook", str(tmp_path / "nowhere")]):
        done = CliRunner().invoke(autograder.cli.app, [*arguments, *more])
        assert done.exit_code == 2 and "Traceback" not in done.output


def test_a_gradebook_that_fails_loses_no_report(tmp_path, no_engine):
    hand_in(tmp_path)
    (tmp_path / "results" / "course").mkdir(parents=True)
    (tmp_path / "results" / "course" / "gradebook.db").write_bytes(b"not a database" * 1000)
    arguments = ["grade", NAME, str(tmp_path / "handed_in"), "-o", str(tmp_path / "results")]
    done = CliRunner().invoke(autograder.cli.app, arguments)
    assert done.exit_code == 1 and "put a copy of it back" in done.output
    assert f"{FULL:g}" in (tmp_path / "results" / "grades.csv").read_text()


EVIL = "Because 1 < 2.\n\n<script>alert(1)</script><img src=x onerror=alert(2)>"


def class_of_three(root: Path, evil: str = EVIL) -> list:
    found = [hand_in(root, "ada", robustness=evil), hand_in(root, "bob"), hand_in(root, "eve")]
    return [
        (found[0], result(found[0], wrong=("info_nce",))), (found[1], result(found[1], answered=False)),
        (found[2], result(found[2], status="unreadable", verdicts=[], written=[], notes=["it is <b>damaged</b>"])),
    ]  # fmt: skip


def test_a_fault_of_ours_loses_no_report(tmp_path, no_engine, monkeypatch):
    hand_in(tmp_path)
    monkeypatch.setattr(write, "autograded", lambda *_: {}["no such key"])
    arguments = ["grade", NAME, str(tmp_path / "handed_in"), "-o", str(tmp_path / "results")]
    done = CliRunner().invoke(autograder.cli.app, arguments)
    assert done.exit_code == 1 and "a fault of the grader's (KeyError in test_gradebook.py" in done.output
    assert f"{FULL:g}" in (tmp_path / "results" / "grades.csv").read_text()


def test_nbgraders_own_commands_work_in_the_course(tmp_path):
    record(tmp_path, *class_of_three(tmp_path))
    by_hand(tmp_path, "written-robustness", 3.5, comment="Say more.")
    course = tmp_path / "results" / "course"
    for command in (["export"], ["generate_feedback", NAME]):
        command = [sys.executable, "-m", "nbgrader", *command]
        done = subprocess.run(
            command, cwd=course, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
    table = (course / "grades.csv").read_text()
    score = FULL - POINTS["info_nce"] + 1 + 3.5
    assert re.search(rf"(?m)^{NAME},.*,ada,.*,{score},0.0,{score},{FULL + 10}", table), table
    page = (course / "feedback" / "ada" / NAME / f"{NAME}.html").read_text()
    assert "You forgot the scale." in page and "Say more." in page and "Because 1" in page
    assert "alert(1)</script>" not in page and "<img src=x" not in page
    assert "could not be read" in (course / "feedback" / "eve" / NAME / f"{NAME}.html").read_text()


class Formgrader:
    """A Jupyter server with nbgrader's extension, as a TA would start it in the course."""

    def __init__(self, course: Path, home: Path):
        with socket.create_server(("localhost", 0)) as free:
            self.port = free.getsockname()[1]
        self.token = "secret"
        extensions = "{'nbgrader.server_extensions.formgrader': True}"
        options = {"port": self.port, "ServerApp.port_retries": 0, "ServerApp.jpserver_extensions": extensions, "ServerApp.open_browser": False,
                   "IdentityProvider.token": self.token, "ServerApp.root_dir": course}  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "jupyter",
            "server",
            "--allow-root",
            "--ServerApp.disable_check_xsrf=True",
        ]
        self.log = (home / "server.log").open("w")
        self.process = subprocess.Popen(
            [*command, *(f"--{key}={value}" for key, value in options.items())],
            cwd=course, env={**ENVIRONMENT, "HOME": str(home)}, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def __enter__(self) -> "Formgrader":
        for _ in range(120):
            try:
                self.get("/formgrader/api/status")
                return self
            except OSError:
                time.sleep(0.5)
                assert self.process.poll() is None, Path(self.log.name).read_text()
        raise AssertionError(Path(self.log.name).read_text())

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def get(self, path: str, body: dict | None = None) -> str:
        """A page; with a body, what a PUT of it answers."""
        request = urllib.request.Request(
            f"http://localhost:{self.port}{path}", headers={"Authorization": f"token {self.token}"},
            data=None if body is None else json.dumps(body).encode(), method="GET" if body is None else "PUT",
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def data(self, path: str, body: dict | None = None):
        return json.loads(self.get(f"/formgrader/api/{path}", body))


def test_formgrader_opens_the_course_and_grades_by_hand(tmp_path):
    graded = class_of_three(tmp_path)
    record(tmp_path, *graded)
    with Formgrader(tmp_path / "results" / "course", tmp_path) as server:
        for page in (
            "manage_assignments",
            f"manage_submissions/{NAME}",
            "gradebook",
            f"gradebook/{NAME}/{NAME}",
            "manage_students",
        ):
            assert "nbgrader" in server.get(f"/formgrader/{page}").lower()
        (assignment,) = server.data("assignments")
        assert (assignment["name"], assignment["num_submissions"], assignment["max_score"]) == (
            NAME,
            3,
            FULL + 10,
        )
        listed = {s["student"]: s for s in server.data(f"submissions/{NAME}")}
        assert all(s["autograded"] for s in listed.values())
        assert {s: one["needs_manual_grade"] for s, one in listed.items()} == {
            "ada": True,
            "bob": False,
            "eve": True,
        }
        notebooks = {n["student"]: n for n in server.data(f"submitted_notebooks/{NAME}/{NAME}")}
        assert set(notebooks) == {"ada", "bob", "eve"}  # a page is there for the unreadable one, too
        page = server.get(f"/formgrader/submissions/{notebooks['ada']['id']}/")
        assert "Because 1" in page and "You forgot the scale." in page
        assert "alert(1)</script>" not in page and "<img src=x" not in page
        assert 'id="written-robustness-comment"' in page
        assert "could not be read" in server.get(f"/formgrader/submissions/{notebooks['eve']['id']}/")

        rows = {g["name"]: g for g in server.data(f"grades?submission_id={notebooks['ada']['id']}")}
        said = {c["name"]: c for c in server.data(f"comments?submission_id={notebooks['ada']['id']}")}
        assert rows["written-robustness"]["needs_manual_grade"]
        for name, score in (("written-robustness", 4.5), ("written-unseen_things", 2)):
            server.data(f"grade/{rows[name]['id']}", {"manual_score": score, "extra_credit": 1})
        server.data(f"comment/{said['written-robustness']['id']}", {"manual_comment": "Well said."})
        record(tmp_path, *graded)  # while the server is up
        ada = server.data(f"submission/{NAME}/ada")
        assert not ada["needs_manual_grade"] and ada["written_score"] == 8.5
    assert grades(tmp_path)["written-robustness"] == (None, 4.5, 1.0, False)
    assert comments(tmp_path)["written-robustness"] == (None, "Well said.")
    record(tmp_path, *class_of_three(tmp_path, "No, since."))
    assert grades(tmp_path)["written-robustness"] == (None, 4.5, 1.0, True)
    assert grades(tmp_path)["written-unseen_things"] == (None, 2.0, 1.0, False)


def test_it_costs_little(tmp_path):
    """The engine's budget is half a second a submission, all together."""
    found = [Found(f"s{n}", FOLDER / "submitted" / "ada" / NAME / f"{NAME}.ipynb") for n in range(60)]
    record(tmp_path, *((one, result(one)) for one in found))  # also what is done once
    before = time.process_time()
    record(tmp_path, *((one, result(one, wrong=("info_nce",))) for one in found))
    assert (time.process_time() - before) / len(found) < 0.05
