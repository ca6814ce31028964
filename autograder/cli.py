"""TA commands, which join `cs-vl` where the autograder is installed: grade, export, gradescope, release, build, execute, lab."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from cs_vl.checks.worker import STAGE_SECONDS
from cs_vl.cli import console, fail

if TYPE_CHECKING:  # slow to import; a command imports what it needs
    from autograder.grade import Grader
    from autograder.sandbox.preflight import Walls

app = typer.Typer()
AssignmentName = Annotated[str, typer.Argument(help="for example a1_transformer")]

HOW_TO_GET_WALLS = """\
Students' code could read your files, so nothing was graded.  What to do:
  - Linux: apt-get install bubblewrap libseccomp2 (dnf, pacman and zypper have them under the same or similar names).
    If they are there, user namespaces may be off: sysctl kernel.unprivileged_userns_clone=1 on older Debian,
    sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu 24.04.
  - macOS, Windows, and where that is not allowed: in a container, see "The walls" in the README.
  - Code that you trust: add --unsafe-no-sandbox."""


@app.command()
def grade(
    assignment: AssignmentName,
    submissions: Annotated[
        Path, typer.Argument(help="a folder, or a zip as Canvas and Gradescope export it")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="the results folder")] = Path("results"),
    roster: Annotated[
        Path | None, typer.Option(help="a CSV with a column id (and name, email, canvas_id)")
    ] = None,
    gradebook: Annotated[
        Path | None,
        typer.Option(
            help="an nbgrader course to write into, its folder or its gradebook.db; else OUT/course"
        ),
    ] = None,
    due: Annotated[str, typer.Option(help="the due date, in UTC: 2026-12-01 23:59")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="worker processes at a time, here")] = os.cpu_count() or 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="the time limit of one case")] = STAGE_SECONDS,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="go on where the walls around students' code do not stand"),
    ] = False,
    dask: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="grade on the workers of this Dask scheduler (tcp://host:8786)"),
    ] = "",
) -> None:
    """Grade a class.  Run it again and only what is new or changed is graded.

    Status 0: all that was handed in is graded.  1: some submission could not be (the report says why), or the gradebook
    could not be written.  2: bad input.
    """
    from autograder.chunks import dask_workers
    from autograder.grade import Grader, grade_class
    from autograder.gradebook import Course, GradebookError, due_date, write_gradebook
    from autograder.journal import why
    from autograder.reader import BadInput, find_submissions, read_roster
    from autograder.report import score_line, write_report
    from autograder.similar import find_similar

    try:
        spec = load_assignment(assignment)
        people = read_roster(roster) if roster else None
        rows = people.people if people else None
        until = due_date(due) if due else None
        if out.exists() and not out.is_dir():
            raise BadInput(f"{out} is a file: name a folder for the results with -o")
        found, remarks = find_submissions(submissions, assignment, out / ".unpacked", people)
        if not any(one.path for one in found):
            raise BadInput(f"{submissions} holds no notebook (.ipynb or .py)")
        with console.status("reading the assignment"):
            grader = Grader(spec, out, seconds)
        course = Course.of(out, gradebook)
        with contextlib.ExitStack() as stack:
            # Before the edition is laid out, on which another run may be grading.
            stack.enter_context(grader.journal.alone())
            with console.status("trying the walls"):
                if dask:
                    grader = _another(grader, sandbox=not unsafe)
                    executor, jobs, walls = stack.enter_context(dask_workers(dask, grader))
                else:
                    executor, (grader, tried) = None, _behind_walls(grader, unsafe)
                    walls = tried.sentences
            with _progress(len(found)) as tick:
                results = grade_class(grader, found, jobs=jobs, executor=executor, tick=tick)
            try:
                remarks += write_gradebook(course, assignment, results, found, people=rows, due=until)
                saved = True
            except GradebookError as error:  # the results are safe: the next run tries again
                remarks.append(f"nothing more was written to the gradebook: {error}")
                saved = False
    except (BadInput, ValueError, OSError, RuntimeError) as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        console.print("Stopped.  The same command goes on where it was.")
        os._exit(130)  # without waiting for students' code
    with console.status("looking for similar submissions"):
        similar = find_similar(assignment, found)
    try:
        page = write_report(spec, results, remarks, out, walls, rows, similar)
    except OSError as error:
        raise fail(
            f"the reports can't be written into {out} ({why(error)}).  Nothing is lost: all that was graded is in the "
            "journal; make room, and run the same command again"
        ) from None
    width = max(len(r.student) for r in results)
    for r in results:
        typer.echo(f"{r.student:{width}}  {r.status if r.status != 'graded' else score_line(r)}")
    for remark in remarks:
        typer.echo(f"note: {remark}")
    typer.echo(f"\nReport: {page.resolve()}\nTable:  {(out / 'grades.csv').resolve()}")
    typer.echo(f"Course: {course.folder}  (formgrader: jupyter lab in this folder)")
    failed = any(r.stale or r.status in ("unreadable", "grader error") for r in results)
    raise typer.Exit(1 if failed or not saved else 0)


def _behind_walls(grader: "Grader", unsafe: bool) -> "tuple[Grader, Walls]":
    """Try the walls; where none stands, and that is allowed, a grader without.

    Raises:
        ValueError: they do not stand.
    """
    walls = grader.try_walls()
    if walls.fell and not unsafe:
        raise ValueError(
            f"the walls around students' code do not stand: {'; '.join(walls.fell)}.\n{HOW_TO_GET_WALLS}"
        )
    if walls.fell:
        console.print(
            f"{'Some' if walls.stood else 'No'} walls stand around students' code: {'; '.join(walls.fell)}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    if not walls.stood:
        grader.close()
        grader = _another(grader, sandbox=False)
    return grader, walls


def _another(grader: "Grader", sandbox: bool) -> "Grader":
    """One for the same run, with walls or without."""
    from autograder.grade import Grader

    other = Grader(grader.assignment, grader.results, grader.seconds, sandbox=sandbox)
    other.journal = grader.journal  # which keeps other runs out
    return other


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal; in a pipe, a line for each that is done."""
    # The stream itself: while a judge's thread runs a known mistake, sys.stderr is silenced.
    stream = console.file
    if console.is_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(file=stream, force_terminal=True), transient=True) as bar:
            task = bar.add_task("drawing hidden cases", total=total)
            yield lambda result: bar.update(task, advance=1, description="grading")
        return
    count = itertools.count(1)
    yield lambda result: typer.echo(
        f"{next(count)} of {total}: {result.student}, {result.status}", file=stream
    )


class NoScore(StrEnum):
    """What canvas.csv says of whoever has no score."""

    blank = "blank"
    zero = "zero"
    omit = "omit"


@app.command()
def export(
    results: Annotated[Path, typer.Argument(help="the results folder of `cs-vl grade`")],
    column: Annotated[
        str,
        typer.Option(help="what Canvas and Moodle call it; in Canvas 'title (number)', as in its own export"),
    ] = "",
    no_score: Annotated[
        NoScore, typer.Option(help="in canvas.csv: blank; zero (for who handed in nothing); or omit the row")
    ] = NoScore.blank,
    roster: Annotated[Path | None, typer.Option(help="the CSV that was given to `cs-vl grade`")] = None,
) -> None:
    """Write the tables of a graded class again, as Canvas or Moodle needs them."""
    from autograder.exports import read_results, write_exports
    from autograder.reader import BadInput, read_roster

    try:
        spec, found = read_results(results)
        people = read_roster(roster).people if roster else {}
        write_exports(spec, found, results, people, column=column, no_score=no_score.value)
    except (BadInput, ValueError, OSError) as error:
        raise fail(str(error)) from None
    typer.echo(f"Tables: {results.resolve()}")


@app.command()
def gradescope(
    assignment: AssignmentName,
    out: Annotated[Path, typer.Option("-o", "--out", help="the zip to write")] = Path("autograder.zip"),
    seconds: Annotated[float, typer.Option(min=0.1, help="the time limit of one case")] = STAGE_SECONDS,
    minutes: Annotated[
        float, typer.Option(min=0.5, help="of a submission; below the time that Gradescope's settings allow")
    ] = 9,
) -> None:
    """Make the zip that grades on Gradescope.  It holds answers and hidden cases: for Gradescope alone.

    Made again into the same file, it keeps the hidden cases.
    """
    from autograder.gradescope.make import make_upload

    try:
        spec = load_assignment(assignment)
        kept = make_upload(spec, out, seconds=seconds, total=round(60 * minutes))
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    same = ", with the hidden cases of before" if kept else ""
    typer.echo(f"{out}  ({out.stat().st_size / 2**20:.1f} MB{same})")
    typer.echo("In Gradescope's settings of the autograder, give it 3 GB of memory.")


@app.command()
def build(
    assignments: Annotated[list[str] | None, typer.Argument(help="all, if none is named")] = None,
) -> None:
    """Make notebooks and stored references from their sources; nothing is executed."""
    from autograder.build.drift import store_references
    from autograder.build.notebooks import build_notebooks
    from autograder.build.sample_class import CLASSES, write_class

    for name in assignments or ASSIGNMENTS:
        try:
            load_assignment(name)
            store_references(name)
            build_notebooks(name)
            if name in CLASSES:
                write_class(name)
        except ValueError as error:
            raise fail(str(error)) from None
        typer.echo(f"built {name}")


@app.command()
def release(
    assignment: AssignmentName,
    out: Annotated[Path, typer.Option("-o", "--out", help="where to put the zip")] = Path("out"),
) -> None:
    """Make the zip for students: the notebook and the wheel of the student edition."""
    from autograder.build.edition import solved_exercises
    from autograder.leaks import find_leaks
    from autograder.release import release as make_zip

    try:
        spec = load_assignment(assignment)
        path = make_zip(spec, out)
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    leaks = find_leaks(path, spec)
    if leaks:
        path.unlink()
        for leak in leaks:
            typer.echo(f"leak: {leak.file}: {leak.exercise}: {leak.statement}")
        raise fail(
            "the zip would contain answers, so it was not written: run `make build` and look at the files above"
        )
    typer.echo(f"{path}  ({path.stat().st_size / 2**20:.1f} MB)")
    solved = solved_exercises(assignment)
    typer.echo(f"It contains the answers of: {', '.join(solved) if solved else 'no exercise'}.")


@app.command()
def execute(
    assignments: Annotated[list[str] | None, typer.Argument(help="all, if none is named")] = None,
) -> None:
    """Run the solved notebooks, for their figures."""
    from autograder.build.execute import execute as run

    for name in assignments or ASSIGNMENTS:
        try:
            with console.status(f"running {name}"):
                seconds = run(name)
        except OSError as error:
            raise fail(str(error)) from None
        typer.echo(f"executed {name} in {seconds:.0f} s")


@app.command()
def drift() -> None:
    """Whether all built files are current.  Status 1 when one is not."""
    from autograder.build.drift import find_drift

    try:
        found = [sentence for name in ASSIGNMENTS for sentence in find_drift(name)]
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    for sentence in found:
        typer.echo(f"drift: {sentence}")
    if not found:
        typer.echo("All built files are current.")
    raise typer.Exit(1 if found else 0)


@app.command()
def lab(
    work: Annotated[Path, typer.Option(help="the work folder")] = Path("work"),
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="lay it out, but open nothing")
    ] = False,
) -> None:
    """Open the student editions in a work folder; what is in it already stays as it is."""
    from autograder.lab import open_lab, prepare

    try:
        notebooks = prepare(work)
    except OSError as error:
        raise fail(str(error)) from None
    for notebook in notebooks:
        typer.echo(str(notebook))
    if not prepare_only:
        raise typer.Exit(open_lab(work))


@app.command()
def gate() -> None:
    """The gate's totals: exercises, mistakes named, other right answers, mutants.  (The tests assert them.)"""
    from rich.table import Table

    from autograder.gate import Gate

    table = Table("exercise", "points", "mistakes named", "alternatives", "mutants killed", "listed")
    total = [0.0] * 5
    for name in ASSIGNMENTS:
        spec = load_assignment(name)
        judge = Gate(spec)
        for exercise in spec.exercises:
            known = judge.known[exercise.name]
            named = sum(
                verdict.mistake == wrong
                for wrong, answer in known.mistakes.items()
                for verdict in judge.both(exercise, answer)[1:]
            )
            accepted = sum(
                all(verdict.passed for verdict in judge.both(exercise, answer))
                for answer in known.alternatives.values()
            )
            everyone, survivors = judge.survivors(exercise)
            row = [exercise.points, named, accepted, len(everyone) - len(survivors), len(survivors)]
            total = [a + b for a, b in zip(total, row, strict=True)]
            table.add_row(exercise.name, *(f"{x:g}" for x in row))
    table.add_row("all", *(f"{x:g}" for x in total))
    Console().print(table)
