"""For `nbgrader autograde`: grade with this engine in place of running the notebook in the student's own process.

In the course's nbgrader_config.py:

    c.Autograde.autograde_preprocessors = [
        "autograder.gradebook.plugin.CsVlGrade", "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata"]
"""

import atexit
from functools import cache
from pathlib import Path

import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Float, Unicode

from autograder.build.notebooks import grade_id_of
from autograder.grade import Grader
from autograder.gradebook.course import source_notebook
from autograder.gradebook.database import Database
from autograder.gradebook.notebook import answers, autograded, pictures_in
from autograder.reader import Found
from cs_vl.checks.cells import Cell
from cs_vl.checks.spec import load_assignment
from cs_vl.checks.worker import STAGE_SECONDS


class CsVlGrade(NbGraderPreprocessor):
    """Grade a submission as `cs-vl grade` does: the same scores and comments, and the verdicts in the notebook.

    Before it nbgrader has overwritten the locked cells; after it nbgrader's own step looks at late submissions.
    """

    results = Unicode(
        ".cs_vl", help="The folder of the secret that hidden cases are drawn from, seen from the course's."
    ).tag(config=True)
    sandbox = Bool(
        True, help="Whether students' code runs behind walls; without, it can read what you can."
    ).tag(config=True)
    seconds = Float(STAGE_SECONDS, help="The time limit of one case.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        """Raises an error where there is a fault of ours: nbgrader then lists the submission as one that failed."""
        known = resources["nbgrader"]
        student, assignment = known["student"], known["assignment"]
        path = Path(resources["metadata"]["path"]) / f"{resources['metadata']['name']}.ipynb"
        result = _grader(assignment, Path(self.results).resolve(), self.seconds, self.sandbox).grade(
            Found(student, path)
        )
        if result.status != "graded":
            raise RuntimeError(f"{student}: {result.status}: {' '.join(result.notes)}")
        cells = [
            Cell(n, cell.cell_type, cell.source, grade_id_of(cell)) for n, cell in enumerate(nb.cells, 1)
        ]
        shown = autograded(source_notebook(assignment), cells, result, pictures_in(nb.cells))
        with Database(known["db_url"], assignment) as database:
            # What formgrader showed before is gone: all that was graded by hand is to be looked at again.
            database.record(student, result, None, changed=set(answers(shown)))
        return nbformat.from_dict(shown), resources


@cache
def _grader(assignment: str, results: Path, seconds: float, sandbox: bool) -> Grader:
    """One a process: it draws the hidden cases and tries the walls once."""
    grader = Grader(load_assignment(assignment), results, seconds, sandbox=sandbox)
    atexit.register(grader.close)
    if sandbox and (fell := grader.try_walls().fell):
        raise RuntimeError(f"the walls around students' code do not stand: {'; '.join(fell)}")
    return grader
