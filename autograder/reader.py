"""Find the submissions in a folder or zip, and whose they are.

Understood: nbgrader's layout (<student>/<assignment>/<notebook>), a folder a student, loose files, the zip that Canvas
exports (name_[LATE_]id_number_file) and the one that Gradescope exports (submission_metadata.yml).
"""

import csv
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

SUFFIXES = (".ipynb", ".py")
MAX_FILES, MAX_BYTES, MAX_TOTAL = 20_000, 64 * 2**20, 4 * 2**30
CANVAS = re.compile(r"^(?P<name>[^_]+)_(?P<late>LATE_)?(?P<id>\d+)_(?P<number>\d+)_(?P<file>.+)$")
ID_COLUMNS = ("id", "student_id", "student", "username", "sid", "login")
OTHER_COLUMNS = ("canvas_id", "email", "name", "sis_id", "sortable_name")


class BadInput(ValueError):
    """What the TA gave can't be used; the message is one sentence."""


@dataclass
class Found:
    """A student's submission: the file to grade, None where there is none, and remarks for the TA."""

    student: str
    path: Path | None
    name: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class Roster:
    """Who is in the class: {student id: name}, and other names that files may give them."""

    names: dict[str, str]
    aliases: dict[str, str]

    def find(self, *candidates: str) -> str | None:
        for candidate in candidates:
            if candidate in self.names:
                return candidate
            if _plain(candidate) in self.aliases:
                return self.aliases[_plain(candidate)]
        return None


def _plain(text: str) -> str:
    return re.sub(r"[^\w]", "", text).lower()


def read_roster(path: Path) -> Roster:
    """Read a CSV with a header; a column `id` (or student_id, username, sid ...) is needed.

    Columns name, email and canvas_id help to recognise files.

    Raises:
        BadInput: the file is missing, is no CSV, or lacks the column.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(
            f"the roster {path} can't be read ({type(error).__name__}): a CSV file is expected"
        ) from error
    columns = {(c or "").strip().lower(): c for c in (rows[0] if rows else {})}
    key = next((columns[c] for c in ID_COLUMNS if c in columns), None)
    if key is None:
        raise BadInput(
            f"the roster {path} needs a header with a column `id`; it has {', '.join(columns) or 'nothing'}"
        )
    names: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for row in rows:
        student = (row.get(key) or "").strip()
        if not student:
            continue
        names[student] = (row.get(columns.get("name", "")) or "").strip()
        for column in (*ID_COLUMNS, *OTHER_COLUMNS):
            alias = _plain(row.get(columns.get(column, "")) or "")
            if alias:
                aliases.setdefault(alias, student)
        # Canvas writes "lastnamefirstname".
        words = names[student].replace(",", " ").split()
        for order in (words, words[::-1], words[-1:] + words[:-1]):
            aliases.setdefault(_plain("".join(order)), student)
    return Roster(names, aliases)


def find_submissions(
    source: Path, assignment: str, scratch: Path, roster: Roster | None = None
) -> tuple[list[Found], list[str]]:
    """All submissions of an assignment in a folder or zip, a student once; and remarks about what does not fit.

    Args:
        scratch: a folder to unpack a zip into.

    Raises:
        BadInput: there is no such folder or zip.
    """
    if zipfile.is_zipfile(source):
        folder = _unpack(source, scratch)
    elif source.is_dir():
        folder = source
    else:
        raise BadInput(f"{source} should be a folder of submissions or a zip file; there is no such thing")
    remarks: list[str] = []
    by_student: dict[str, Found] = {}
    metadata = sorted(folder.rglob("submission_metadata.yml"))
    candidates = _gradescope(metadata[0]) if metadata else _folders(folder, assignment)
    for names, path, notes in candidates:
        student = names[0] if roster is None else roster.find(*names)
        if student is None:
            remarks.append(
                f"{path.name} ({names[0]}) matches nobody on the roster: it is graded under that name"
            )
            student = names[0]
        if student in by_student:
            remarks.append(
                f"{student} handed in more than once: {path.name} is graded, {_name(by_student[student])} is not"
            )
        by_student[student] = Found(student, path, (roster.names.get(student, "") if roster else ""), notes)
    for student, name in roster.names.items() if roster else ():
        if student not in by_student:
            by_student[student] = Found(student, None, name, ["nothing was handed in"])
    return [by_student[student] for student in sorted(by_student)], remarks


def _name(found: Found) -> str:
    return found.path.name if found.path else "nothing"


Candidate = tuple[list[str], Path, list[str]]


def _folders(folder: Path, assignment: str) -> Iterator[Candidate]:
    """nbgrader's layout, a folder a student, or loose files (Canvas names among them, oldest first)."""
    loose: list[tuple[int, list[str], Path, list[str]]] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            inner = entry / assignment
            files = sorted(_notebooks(inner if inner.is_dir() else entry))
            if files:
                path, notes = choose(files, assignment)
                yield [entry.name], path, notes
        elif entry.suffix in SUFFIXES:
            match = CANVAS.match(entry.name)
            if match:
                notes = ["handed in late (Canvas)"] if match["late"] else []
                loose.append((int(match["number"]), [match["name"], match["id"]], entry, notes))
            else:
                student = entry.stem.removesuffix(assignment).rstrip("_-. ") or entry.stem
                loose.append((0, [student], entry, []))
    for _, names, path, notes in sorted(loose, key=lambda item: (item[0], item[2].name)):
        yield names, path, notes


def _gradescope(metadata: Path) -> Iterator[Candidate]:
    try:
        entries = yaml.safe_load(metadata.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"{metadata.name} of the Gradescope export can't be read: export it again") from error
    for folder_name, entry in sorted(entries.items() if isinstance(entries, dict) else ()):
        folder = metadata.parent / str(folder_name)
        people = (entry or {}).get(":submitters") or []
        files = sorted(_notebooks(folder)) if folder.is_dir() else []
        for person in people:
            names = [str(person[key]) for key in (":sid", ":email", ":name") if person.get(key)]
            if names and files:
                path, notes = choose(files, metadata.parent.name)
                yield names, path, notes


def _notebooks(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink() and not hidden:
            yield path


def choose(files: list[Path], assignment: str) -> tuple[Path, list[str]]:
    """The one to grade of a student's files: named like the assignment, a notebook, the newest."""

    def rank(path: Path) -> tuple[bool, bool, bool, float]:
        return path.stem == assignment, assignment in path.stem, path.suffix == ".ipynb", path.stat().st_mtime

    best = max(files, key=rank)
    others = ", ".join(path.name for path in files if path != best)
    return best, [f"several files: {best.name} is graded, {others} left out"] if others else []


def _unpack(source: Path, scratch: Path) -> Path:
    """Unpack the notebooks of a zip, and nothing else of it; no path leaves the folder.

    Raises:
        BadInput: too many or too large files.
    """
    target = scratch / source.stem
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    with zipfile.ZipFile(source) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) > MAX_FILES:
            raise BadInput(f"{source.name} holds more than {MAX_FILES} files")
        for member in members:
            inside = PurePosixPath(member.filename.replace("\\", "/"))
            wanted = inside.suffix in SUFFIXES or inside.name == "submission_metadata.yml"
            if not wanted or inside.is_absolute() or ".." in inside.parts or "__MACOSX" in inside.parts:
                continue
            path = target.joinpath(*inside.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as stream:
                data = stream.read(MAX_BYTES + 1)
            total += len(data)
            if total > MAX_TOTAL:
                raise BadInput(f"{source.name} unpacks to more than {MAX_TOTAL // 2**30} GB")
            path.write_bytes(data)
    return target
