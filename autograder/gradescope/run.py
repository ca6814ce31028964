"""Grade the one submission that Gradescope has laid into its folder, and write results.json.

    python -m autograder.gradescope.run a2_clip

A fault of ours ends in a traceback, which staff see; run_autograder has written a results.json without a score before.
"""

import argparse
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import yaml

from autograder.exports import gradescope_results
from autograder.grade import Grader, Result
from autograder.gradescope.other_user import OtherUser, try_other_user
from autograder.reader import METADATA, Found, find_submissions
from autograder.report.text import shown
from autograder.sandbox.preflight import Walls
from cs_vl.checks.spec import Assignment, load_assignment
from cs_vl.checks.worker import STAGE_SECONDS


def grade_submission(root: Path, assignment: Assignment, seconds: float = STAGE_SECONDS) -> dict[str, Any]:
    """What results.json should say.

    Args:
        root: Gradescope's folder: source/secret, submission/ and submission_metadata.json are in it.
        seconds: the limit of one case of one stage.
    """
    with tempfile.TemporaryDirectory(prefix="grading_", ignore_cleanup_errors=True) as scratch:
        results = Path(scratch) / "results"
        results.mkdir()
        Path(scratch).chmod(0o711)
        shutil.copy(root / "source" / "secret", results / "secret")
        (results / "secret").chmod(0o600)
        grader, walls = _behind_walls(Grader(assignment, results, seconds), root / "results" / "results.json")
        try:
            found, remarks = find(root, assignment, Path(scratch) / "class")
            result = grader.grade(found) if found.path else _no_notebook(found, assignment)
        finally:
            grader.close()
    result.notes = [*found.notes, *remarks, *result.notes]
    stood = [*walls.sentences, *([] if walls.stood else walls.fell)]
    # What is printed is for staff.
    print(*stood, f"{found.student}: {result.status}", *result.notes, sep="\n")
    tree = gradescope_results(result)
    if result.points is not None:  # without a score, they are there already
        tree["output"] = "\n".join([tree["output"], *map(shown, result.notes)])
    if "tests" in tree:  # without a score there must be none: see gradescope_results
        tree["tests"].append(_for_staff("walls around the student's code", stood))
    return tree


def find(root: Path, assignment: Assignment, scratch: Path) -> tuple[Found, list[str]]:
    """The submission, and remarks on what was left out.

    It is laid out as in a class that Gradescope exports, which the reader knows: so the same file is chosen, and the same is
    said of it.
    """
    data = json.loads((root / "submission_metadata.json").read_text(encoding="utf-8"))
    name = f"submission_{data['id']}"
    # Links, pipes and devices stay behind.
    shutil.copytree(root / "submission", scratch / name, ignore=_special)
    people = [
        {f":{key}": str(user[key]) for key in ("name", "email", "sid") if user.get(key)}
        for user in data.get("users") or []
    ]
    (scratch / METADATA).write_text(yaml.safe_dump({name: {":submitters": people}}), encoding="utf-8")
    found, remarks = find_submissions(scratch, assignment.name, scratch.with_name("unpacked"))
    return found[0], remarks  # of a group all have the same


def _special(folder: str, names: list[str]) -> list[str]:
    modes = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    return [name for name, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))]


def _no_notebook(found: Found, assignment: Assignment) -> Result:
    """Something was handed in, so that it is no fault of ours, and no missing submission."""
    total = assignment.points
    note = f"There is no notebook in it: hand in {assignment.name}.ipynb."
    return Result(found.student, found.name, "unreadable", out_of=total, notes=[note])


def _behind_walls(grader: Grader, results: Path) -> tuple[Grader, Walls]:
    """The grader with the best walls that this container allows, and which those are."""
    walls = grader.try_walls()
    if walls.stood:
        return grader, walls
    grader.close()
    fallen = [f"namespaces: {why}" for why in walls.fell]
    other = OtherUser(grader.assignment, grader.results, grader.seconds)
    walls = try_other_user(other, results)
    walls.fell = [*fallen, *walls.fell]
    if walls.stood:
        return other, walls
    return Grader(grader.assignment, grader.results, grader.seconds, sandbox=False), walls


def _for_staff(name: str, lines: list[str]) -> dict[str, Any]:
    """A test without points that students do not see."""
    return {"name": name, "output": "\n".join(lines), "output_format": "text", "visibility": "hidden"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assignment")
    parser.add_argument("--seconds", type=float, default=STAGE_SECONDS)
    given = parser.parse_args()
    root = Path(os.environ.get("AUTOGRADER", "/autograder"))
    tree = grade_submission(root, load_assignment(given.assignment), given.seconds)
    target = root / "results" / "results.json"
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(tree, indent=1), encoding="utf-8")
    draft.replace(target)


if __name__ == "__main__":
    main()
