"""An nbgrader course on the disk: its folders, its settings, and when something was handed in."""

import contextlib
import filecmp
import hashlib
import os
import re
import shutil
import sys
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import dateutil.parser
import dateutil.tz
import nbformat
from nbformat import NotebookNode
from nbgrader import preprocessors as nbg
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from autograder.build.notebooks import solved_path
from autograder.reader import BadInput, Found
from cs_vl.checks.cells import MAX_FILE_BYTES

SETTINGS = """\
# nbgrader's settings for this course.  Yours to edit: `cs-vl grade` writes this file once and never again.
c = get_config()

# What students wrote is shown in your browser, where no script of theirs may run.
c.HTMLExporter.preprocessors = ["nbconvert.preprocessors.sanitize.SanitizeHTML"]

# `nbgrader autograde`, and formgrader's button, grade as `cs-vl grade` does, on the same hidden cases.
c.Autograde.autograde_preprocessors = [
    "autograder.gradebook.plugin.CsVlGrade",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.CsVlGrade.results = ".."  # the folder of the secret that hidden cases are drawn from

# Late work (after the due date: `cs-vl grade --due`, or formgrader) loses all its points with "zero".  For a policy of
# your own see "late submission plugin" in nbgrader's documentation.
c.LateSubmissionPlugin.penalty_method = "none"
"""
TIME = "%Y-%m-%d %H:%M:%S UTC"  # as nbgrader writes timestamp.txt


class Course:
    """A course of nbgrader's.

    Args:
        folder: made where it is missing.
        database: of an existing course, where it is not the one that the settings name.
        own: the course stands in a results folder of ours, so its files may be written anew.

    Raises:
        BadInput: the course's nbgrader_config.py can't be read, or its late policy can't be loaded.
    """

    def __init__(self, folder: Path, *, database: Path | None = None, own: bool = False):
        self.folder, self.own = folder.resolve(), own
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "nbgrader_config.py"
        if own and not settings.exists():
            settings.write_text(SETTINGS, encoding="utf-8")
        self.config = _read_settings(settings)
        if database:
            self.config.CourseDirectory.db_url = f"sqlite:///{database.resolve()}"
        if "root" not in self.config.CourseDirectory:
            self.config.CourseDirectory.root = str(self.folder)
        self.directory = CourseDirectory(config=self.config)
        try:
            self.late = nbg.AssignLatePenalties(config=self.config)
            self.late.init_plugin()
        except Exception as error:
            raise BadInput(f"the late policy that {settings} names can't be loaded ({error})") from error

    @classmethod
    def of(cls, results: Path, existing: Path | None) -> "Course":
        """The course of a results folder, or an existing one, given by its folder or its database.

        Raises:
            BadInput: there is no such course.
        """
        if existing is None:
            return cls(results / "course", own=True)
        if existing.is_file():
            return cls(existing.parent, database=existing)
        if any((existing / name).is_file() for name in ("gradebook.db", "nbgrader_config.py")):
            return cls(existing)
        raise BadInput(
            f"{existing} is no nbgrader course: a gradebook.db is expected, or a folder with one or with an nbgrader_config.py"
        )

    @property
    def database(self) -> str:
        """The database's URL."""
        return str(self.directory.db_url)

    def place(self, step: str, student: str, assignment: str) -> Path:
        """The folder of a step ("source", "submitted", "autograded"); the source's student is "."."""
        named = getattr(self.directory, f"{step}_directory")
        return Path(self.directory.format_path(named, student, assignment))

    def notebook(self, student: str, assignment: str) -> Path:
        """The notebook that formgrader shows."""
        return self.place("autograded", student, assignment) / f"{assignment}.ipynb"

    def add_source(self, assignment: str) -> None:
        """Put the solved notebook where nbgrader looks for the source."""
        path = self.place("source", ".", assignment) / f"{assignment}.ipynb"
        if self.own or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(solved_path(assignment), path)

    def add_submitted(self, found: Found, student: str, assignment: str, when: datetime | None) -> None:
        """Copy what was handed in, unless the course has it: formgrader counts these, and nbgrader can regrade them."""
        place, path = self.place("submitted", student, assignment), found.path
        if path is None or path.is_symlink() or not path.is_file() or (place.exists() and not self.own):
            return
        with contextlib.suppress(OSError):  # a file that can't be read stops nobody else's
            if path.stat().st_size > MAX_FILE_BYTES:
                return
            place.mkdir(parents=True, exist_ok=True)
            copy = place / f"{assignment}{path.suffix.lower()}"
            if not _inside(path, place) and not (copy.exists() and filecmp.cmp(path, copy)):
                for old in place.glob(f"{assignment}.*"):
                    old.unlink()
                shutil.copy2(path, copy)
            if when:
                (place / "timestamp.txt").write_text(when.strftime(TIME), encoding="utf-8")

    def handed_in(self, found: Found, student: str, assignment: str) -> datetime | None:
        """When, in UTC: as timestamp.txt in nbgrader's layout says, else the file's time."""
        if found.path is None:
            return None
        stamp = found.path.parent / "timestamp.txt"
        # Elsewhere a student can have put it there, and may have put anything there.
        if stamp.parent.name == assignment and stamp.is_file() and not stamp.is_symlink():
            with contextlib.suppress(Exception), stamp.open(encoding="utf-8") as file:
                text = file.read(100).strip()
                # Formgrader compares with its own reading of the file, which ours puts right and leaves theirs.
                return (_utc if self.own else parse_utc)(text).replace(microsecond=0)
        if not self.own and _inside(found.path, self.place("submitted", student, assignment)):
            return None  # formgrader compares with timestamp.txt: without it nbgrader knows no time
        with contextlib.suppress(OSError, ValueError, OverflowError):
            return datetime.fromtimestamp(int(found.path.stat().st_mtime), UTC).replace(tzinfo=None)
        return None


def student_id(student: str) -> str:
    """A student's id in the course: it names a folder too, so odd characters are replaced."""
    if re.fullmatch(r"[\w@+-][\w.@+ -]{0,98}(?<![. ])", student):
        return student
    plain = re.sub(r"^\.|[^\w.@+-]", "_", student)[:40]
    return f"{plain}-{hashlib.sha256(student.encode(errors='surrogatepass')).hexdigest()[:8]}"


def source_notebook(assignment: str) -> NotebookNode:
    """The source as nbgrader's database holds it: without answers, with hidden tests and checksums."""
    notebook = nbformat.read(solved_path(assignment), as_version=4)
    resources: dict = {"metadata": {}, "nbgrader": {}}
    for step in (nbg.LockCells, nbg.ClearSolutions, nbg.ClearOutput, nbg.ComputeChecksums):
        notebook, resources = step().preprocess(notebook, resources)
    return notebook


def due_date(text: str) -> datetime:
    """A date and time, in UTC.

    Raises:
        BadInput: it is none.
    """
    try:
        return _utc(text)
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"{text!r} is no date: write 2026-12-01 23:59 for UTC, or 2026-12-01 23:59 +0100"
        ) from error


def _utc(text: str) -> datetime:
    """Like nbgrader's parse_utc, which takes +0200 for two hundred seconds.

    Raises:
        ValueError: no date, or an unknown time zone.
    """

    def zone(name: str | None, seconds: int | None) -> tzinfo:
        found = dateutil.tz.gettz(name) if seconds is None else dateutil.tz.tzoffset(name, seconds)
        if found is None:
            raise ValueError(f"there is no time zone {name}")
        return found

    when = dateutil.parser.parse(text, tzinfos=zone)
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def _read_settings(path: Path) -> Config:
    if not path.is_file():
        return Config()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # a late policy of the TA's own stands there
    try:
        return PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except Exception as error:
        raise BadInput(f"{path} can't be read ({type(error).__name__}: {error}): correct it") from error


def _inside(path: Path, folder: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
