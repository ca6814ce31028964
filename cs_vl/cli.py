"""The command line: `cs-vl check` for students; TA commands join where the autograder is installed."""

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from cs_vl.checks.card import text
from cs_vl.checks.cells import Unreadable, read_submission
from cs_vl.checks.judge import Verdict
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, load_assignment
from cs_vl.checks.submission import Submitted
from cs_vl.checks.visible import note_own, visible_cases, visible_sentences
from cs_vl.exercise import EDITION_OF

app = typer.Typer(
    help="Vision + language foundation models from scratch: check your answers, grade a class.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)


def fail(message: str) -> typer.Exit:
    """Say one sentence and end with status 2."""
    console.print(f"[bold red]cs-vl:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(2)


@app.callback()
def _main() -> None:
    """Keeps `check` a command of its own even where it is the only one."""


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="a notebook (.ipynb) or percent script (.py)")],
    assignment: Annotated[str, typer.Option(help="its assignment, where the file name does not tell")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="check again on every save")] = False,
) -> None:
    """Check every exercise of a notebook, loaded as it will be for grading.  Status 1 when one fails."""
    try:
        spec = load_assignment(assignment or guess_assignment(notebook))
        passed = check_file(notebook, spec)
        if watch:
            passed = check_again_and_again(notebook, spec)
    except (Unreadable, ValueError, OSError) as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        passed = False
    raise typer.Exit(0 if passed else 1)


def check_again_and_again(notebook: Path, assignment: Assignment) -> bool:
    """Check on every save until Ctrl-C; whether all exercises passed the last time."""
    try:
        from watchfiles import watch
    except ModuleNotFoundError:
        raise ValueError("--watch needs one more package: pip install watchfiles") from None
    typer.echo(f"Watching {notebook}; stop with Ctrl-C.")
    passed = False
    for _ in watch(
        notebook.parent, recursive=False, watch_filter=lambda _, path: Path(path).name == notebook.name
    ):
        try:
            passed = check_file(notebook, assignment)
        except Unreadable as error:  # saved half-way: the next save will do
            typer.echo(str(error))
    return passed


def guess_assignment(path: Path) -> str:
    """The assignment whose name the file name holds.

    Raises:
        ValueError: none.
    """
    for name in ASSIGNMENTS:
        if name in path.stem:
            return name
    raise ValueError(
        f"the name {path.name} does not tell its assignment: "
        f"add --assignment with one of {', '.join(ASSIGNMENTS)}"
    )


def check_file(path: Path, assignment: Assignment) -> bool:
    """Check a file on the visible cases and print its cards; whether all exercises passed."""
    submission = read_submission(path)
    if EDITION_OF in ASSIGNMENTS[: ASSIGNMENTS.index(assignment.name)]:
        submission.notes.append(
            f"the cs_vl that is installed here is the one of {EDITION_OF}: "
            f"install the wheel that came with {assignment.name}"
        )
    for exercise in assignment.exercises:
        visible_cases(exercise)  # a file that is missing or damaged is told before anything runs
    verdicts: dict[str, Verdict] = {}
    with Submitted(assignment, submission.cells) as submitted:
        judged = submitted.verdicts(visible_cases, visible_sentences, hidden=False)
        total = len(assignment.exercises)
        for verdict in track(judged, "checking", total, console=console, transient=True):
            verdicts[verdict.exercise] = verdict
            # What an exercise builds on comes before it, so that its verdict is there.
            note_own(
                assignment, assignment[verdict.exercise], verdict, lambda other: verdicts[other.name].passed
            )
            typer.echo(text(verdict))
        for note in submission.notes + submitted.loaded["notes"]:
            typer.echo(f"note: {note}")
    points, out_of = sum(v.points for v in verdicts.values()), sum(v.out_of for v in verdicts.values())
    passed = sum(v.passed for v in verdicts.values())
    typer.echo(
        f"\n{passed} of {total} exercises pass: {points:g} of {out_of:g} points on the visible cases "
        "(grading uses others, and written answers are graded by a person)."
    )
    return passed == total


def main() -> None:
    """The console script."""
    for point in entry_points(group="cs_vl.commands"):
        app.add_typer(point.load())
    try:
        app()
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
