"""TA commands, which join `cs-vl` where the autograder is installed: grade, release, build, execute, lab."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from cs_vl.checks.worker import STAGE_SECONDS
from cs_vl.cli import console, fail

app = typer.Typer()
AssignmentName = Annotated[str, typer.Argument(help="for example a1_transformer")]

WALLS = "a process for each submission, without the answers; no sandbox: grade code that you trust"


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
    jobs: Annotated[int, typer.Option(help="worker processes at a time")] = os.cpu_count() or 1,
    seconds: Annotated[float, typer.Option(help="the time limit of one case")] = STAGE_SECONDS,
) -> None:
    """Grade a class.  Run it again and only what is new or changed is graded.

    Status 0: all that was handed in is graded.  1: some submission could not be (the report says why).  2: bad input.
    """
    from autograder.grade import Grader, grade_class
    from autograder.reader import BadInput, find_submissions, read_roster
    from autograder.report import score_line, write_report

    try:
        spec = load_assignment(assignment)
        people = read_roster(roster) if roster else None
        out.mkdir(parents=True, exist_ok=True)
        found, remarks = find_submissions(submissions, assignment, out / ".unpacked", people)
        if not found:
            raise BadInput(f"{submissions} holds no notebook (.ipynb or .py)")
        with console.status("drawing the hidden cases"):
            grader = Grader(spec, out, seconds)
    except (BadInput, ValueError, OSError) as error:
        raise fail(str(error)) from None
    bar = Progress(
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("grading", total=len(found))
        results = grade_class(grader, found, jobs=jobs, tick=lambda result: bar.advance(task))
    page = write_report(spec, results, remarks, out, WALLS)
    width = max(len(r.student) for r in results)
    for r in results:
        typer.echo(f"{r.student:{width}}  {r.status if r.status != 'graded' else score_line(r)}")
    for remark in remarks:
        typer.echo(f"note: {remark}")
    typer.echo(f"\nReport: {page.resolve()}\nTable:  {(out / 'grades.csv').resolve()}")
    raise typer.Exit(1 if any(r.status in ("unreadable", "grader error") for r in results) else 0)


@app.command()
def build(
    assignments: Annotated[list[str] | None, typer.Argument(help="all, if none is named")] = None,
) -> None:
    """Make notebooks and stored references from their sources; nothing is executed."""
    from autograder.build.notebooks import build_notebooks
    from autograder.build.sample_class import ASSIGNMENT, write_class
    from autograder.references import build_visible
    from cs_vl.checks.visible import FOLDER

    for name in assignments or ASSIGNMENTS:
        build_visible(name, FOLDER)
        build_notebooks(name)
        if name == ASSIGNMENT:
            write_class()
        typer.echo(f"built {name}")


@app.command()
def release(
    assignment: AssignmentName,
    out: Annotated[Path, typer.Option("-o", "--out", help="where to put the zip")] = Path("out"),
) -> None:
    """Make the zip for students: the notebook and the wheel of the student edition."""
    import tempfile

    from autograder.build.edition import solved_exercises
    from autograder.leaks import find_leaks
    from autograder.release import release as make_zip

    try:
        spec = load_assignment(assignment)
        path = make_zip(spec, out)
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    with tempfile.TemporaryDirectory() as scratch:
        leaks = find_leaks(path, spec, Path(scratch))
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
        with console.status(f"running {name}"):
            seconds = run(name)
        typer.echo(f"executed {name} in {seconds:.0f} s")


@app.command()
def drift() -> None:
    """Whether all built files are current.  Status 1 when one is not."""
    from autograder.build.drift import find_drift

    found = [sentence for name in ASSIGNMENTS for sentence in find_drift(name)]
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
    """Open the student edition in a work folder; what is in it already stays as it is."""
    from autograder.lab import open_lab, prepare

    for notebook in prepare(work):
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
