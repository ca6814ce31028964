"""Find the submissions in a folder or zip, and whose they are.

Understood: nbgrader's layout (<student>/<assignment>/<notebook>), a folder a student, loose files, the zip that Canvas
exports (name_[LATE_]id_number_file) and the one that Gradescope exports (submission_metadata.yml).  Whatever does not
fit becomes a remark; nobody is dropped.
"""

import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

import yaml

from cs_vl.checks.cells import MAX_FILE_BYTES, printable
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment

SUFFIXES = (".ipynb", ".py")
NO_NOTEBOOK = "no notebook"  # in the notes of somebody who has handed in something else
METADATA = "submission_metadata.yml"
MAX_FILES, MAX_BYTES, MAX_TOTAL = 200_000, MAX_FILE_BYTES, 4 * 2**30
MAX_FILES_OF_STUDENT = 2_000  # in a zip that a student handed in; together they may have MAX_BYTES
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
class Candidate:
    """What may be somebody's submission.

    `keys` are what it says of its owner, the most telling first; `newest` orders several of one owner.
    """

    keys: list[str]
    path: Path | None
    name: str = ""
    notes: list[str] = field(default_factory=list)
    newest: float = 0.0

    @property
    def file(self) -> str:
        return printable(self.path.name) if self.path else "nothing"


# --- who ---------------------------------------------------------------------------------------------------


@dataclass
class Roster:
    """Who is in the class: {student id: name}, {other name: the ids that it may mean}, and {id: all columns}."""

    names: dict[str, str]
    aliases: dict[str, set[str]]
    people: dict[str, dict[str, str]] = field(default_factory=dict)  # columns in lower case

    def find(self, keys: list[str]) -> list[str]:
        """The students that the keys mean, each key by itself; one that may mean several means nobody."""
        found: dict[str, None] = {}
        for key in keys:
            several = self.aliases.get(_plain(key), set())
            if key in self.names:
                found[key] = None
            elif len(several) == 1:
                found |= dict.fromkeys(several)
        return list(found)


def _plain(text: str) -> str:
    """Letters and digits alone, without case and accents: how exports spell a name."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[\W_]", "", "".join(c for c in letters if not unicodedata.combining(c)))


def read_roster(path: Path) -> Roster:
    """Read a CSV with a header; a column `id` (or student_id, username, sid ...) is needed.

    Columns name, email and canvas_id help to recognise files.

    Raises:
        BadInput: the file is missing, is no CSV, lacks the column, or lists nobody.
    """
    if not path.is_file():
        raise BadInput(f"there is no roster {path}: a CSV file with a column `id` is expected")
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=header.count)
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"the roster {path} can't be read: save it as CSV in UTF-8") from error
    columns = {c.strip().lower(): c for c in (rows[0] if rows else header.split(delimiter)) if c}
    key = next((columns[c] for c in ID_COLUMNS if c in columns), None)
    if key is None:
        seen = ", ".join(printable(c)[:40] for c in list(columns)[:10] if c) or "nothing"
        raise BadInput(f"the roster {path} needs a header with a column `id`; its first line has {seen}")
    names: dict[str, str] = {}
    aliases: dict[str, set[str]] = {}
    people: dict[str, dict[str, str]] = {}
    for row in rows:
        student = printable((row.get(key) or "").strip())
        if not student:
            continue
        names[student] = printable((row.get(columns.get("name", "")) or "").strip())
        people[student] = {c: printable((row.get(name) or "").strip()) for c, name in columns.items()}
        # Canvas writes "lastnamefirstname".
        words = names[student].replace(",", " ").split()
        spellings = ["".join(order) for order in (words, words[::-1], words[-1:] + words[:-1])]
        spellings += [row.get(columns.get(c, "")) or "" for c in (*ID_COLUMNS, *OTHER_COLUMNS)]
        for alias in filter(None, map(_plain, spellings)):
            aliases.setdefault(alias, set()).add(student)
    if not names:
        raise BadInput(f"the roster {path} lists nobody")
    return Roster(names, aliases, people)


# --- what --------------------------------------------------------------------------------------------------


def find_submissions(
    source: Path, assignment: str, scratch: Path, roster: Roster | None = None
) -> tuple[list[Found], list[str]]:
    """All submissions of an assignment in a folder or zip, a student once; and remarks about what does not fit.

    Args:
        scratch: a folder to unpack a zip into.

    Raises:
        BadInput: there is no such folder or zip, or it can't be read.
    """
    remarks: list[str] = []
    if source.is_dir():
        folder = source
    elif not source.exists():
        raise BadInput(f"there is no {source}: a folder of submissions or a zip file is expected")
    elif source.is_file() and zipfile.is_zipfile(source):
        folder = _unpack(source, scratch / source.stem, remarks)
    else:
        raise BadInput(f"{source} is neither a folder of submissions nor a zip file")
    folder = _class_folder(folder, assignment)
    metadata = folder / METADATA
    reading = _gradescope if metadata.is_file() else _folders
    by_student: dict[str, list[Candidate]] = {}
    for candidate in reading(folder, assignment, scratch, remarks):
        by_student.setdefault(_whose(candidate, roster, remarks), []).append(candidate)
    for student in roster.names if roster else ():
        by_student.setdefault(student, [Candidate([student], None, notes=["nothing was handed in"])])
    return [_one(by_student[s], s, assignment, roster, remarks) for s in sorted(by_student)], remarks


def _whose(candidate: Candidate, roster: Roster | None, remarks: list[str]) -> str:
    """The student's id; what nobody on the roster answers to keeps its own name."""
    shown = printable(candidate.keys[0])
    if roster is None:
        return shown
    students = roster.find(candidate.keys)
    who = ", ".join(printable(key) for key in [*candidate.keys, candidate.name] if key)
    if not students:
        remarks.append(f"{candidate.file} ({who}) matches nobody on the roster: it stands under that name")
        candidate.notes.append("not on the roster")
        return shown
    if len(students) > 1:
        remarks.append(
            f"{candidate.file} ({who}) matches {' and '.join(students)}: it is taken for {students[0]}'s"
        )
    return students[0]


def _one(
    candidates: list[Candidate], student: str, assignment: str, roster: Roster | None, remarks: list[str]
) -> Found:
    """The newest of what a student handed in; a notebook named like the assignment before other files."""
    best = max(candidates, key=lambda c: (*_rank(c.path, assignment), c.newest, c.file))
    notes = list(best.notes)
    others = [candidate.file for candidate in candidates if candidate is not best and candidate.path]
    if others:
        notes.append(f"handed in more than once: {best.file} is graded, {_some(others)} not")
        remarks.append(f"{student}: {notes[-1]}")
    name = roster.names.get(student, "") if roster else ""
    return Found(student, best.path, name or printable(best.name), notes)


def _rank(path: Path | None, assignment: str) -> tuple[bool, bool, bool]:
    if path is None:
        return False, False, False
    return True, kind_of(path.name) == ".ipynb", assignment in path.stem


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# --- layouts -----------------------------------------------------------------------------------------------


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX")))


def _class_folder(folder: Path, assignment: str) -> Path:
    """Past folders that only wrap the class: `submitted` in a course of nbgrader's, the one folder of many a zip."""
    while True:
        if (folder / "submitted").is_dir() and not (folder / "submitted").is_symlink():
            folder = folder / "submitted"
            continue
        entries = _visible(folder)
        if len(entries) != 1 or not _is_folder(entries[0]) or (entries[0] / assignment).is_dir():
            return folder
        inside = _visible(entries[0])
        folders = [p for p in inside if p.is_dir()]
        files = [p.name for p in inside if kind_of(p.name) and p.is_file()]
        several = len(folders) > 1 and not files
        if not (
            METADATA in (p.name for p in inside)
            or several
            or any((p / assignment).is_dir() for p in folders)
            or any(map(CANVAS.match, files))
        ):
            return folder
        folder = entries[0]


def _folders(folder: Path, assignment: str, scratch: Path, remarks: list[str]) -> Iterator[Candidate]:
    """nbgrader's layout, a folder a student, or loose files, Canvas's among them."""
    entries = _visible(folder)
    nbgrader = any(os.path.isdir(entry / assignment) for entry in entries)
    left_out = []
    for entry in entries:
        if entry.is_symlink():
            remarks.append(f"{printable(entry.name)} is a link, and was not followed")
        elif entry.is_dir():
            inner = entry / assignment
            own = _is_folder(inner)
            # In nbgrader's layout other folders inside are other assignments.
            files = _handed_in(inner if own else entry, scratch, remarks, deep=own or not nbgrader)
            if not files and ((nbgrader and not own) or not any(p.is_file() for p in entry.rglob("*"))):
                yield Candidate([entry.name], None, notes=["nothing was handed in"])
            else:
                yield _chosen([entry.name], files, assignment)
        elif match := CANVAS.match(entry.name):
            notes = ["handed in late (Canvas)"] if match["late"] else []
            path = entry if kind_of(entry.name) else None
            if entry.suffix.lower() == ".zip" and (inside := _notebooks_of_zip(entry, scratch, remarks)):
                path, more = choose(inside, assignment)
                notes += more
            elif not path:
                a_zip = entry.suffix.lower() == ".zip"
                what = f"holds {NO_NOTEBOOK} that can be read" if a_zip else f"is {NO_NOTEBOOK}"
                notes.append(f"{printable(match['file'])} {what}")
            yield Candidate([match["id"], match["name"]], path, match["name"], notes, float(match["number"]))
        elif kind := kind_of(entry.name):
            name, stem = re.escape(assignment), entry.name[: entry.name.lower().rindex(kind)]
            student = re.sub(rf"^{name}[_\-. ]*|[_\-. ]*{name}$", "", stem)
            yield Candidate([student or stem or entry.name], entry, newest=entry.stat().st_mtime)
        else:
            left_out.append(printable(entry.name))
    if left_out:
        remarks.append(f"left out, as no notebook: {_some(left_out)}")


def _gradescope(folder: Path, assignment: str, scratch: Path, remarks: list[str]) -> Iterator[Candidate]:
    """Gradescope's export: a folder a submission, and a file that tells whose each is."""
    try:
        entries = yaml.load((folder / METADATA).read_text(encoding="utf-8"), _Plain)
        if not isinstance(entries, dict):
            raise yaml.YAMLError
    except (OSError, ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{METADATA} of the Gradescope export can't be read: export it again") from error
    for inside in _visible(folder):
        if inside.name != METADATA and inside.name not in map(str, entries):
            remarks.append(f"{printable(inside.name)} is not in {METADATA}")
            entries[inside.name] = {}
    for name, entry in entries.items():
        inside = folder / str(name)
        plain = inside.name == str(name) and inside.is_dir() and not inside.is_symlink()
        files = _handed_in(inside, scratch, remarks) if plain else []
        if inside.name == str(name) and inside.is_file() and kind_of(inside.name):
            files = [inside]
        submitters = entry.get(":submitters") if isinstance(entry, dict) else None
        people = [_texts(p) for p in submitters] if isinstance(submitters, list) else []
        people = [person for person in people if person]
        group = [person.get(":name") or person.get(":sid") or person[":email"] for person in people]
        for person in people or [{}]:
            keys = list(person.values())
            found = _chosen(keys or [str(name)], files, assignment)
            found.name = person.get(":name", "")
            found.newest = float(re.sub(r"\D", "", str(name))[:15] or 0)  # the submission's number
            if len(people) > 1:
                found.notes.append(printable(f"handed in by a group: {', '.join(group)}"))
            yield found


def _texts(person: object) -> dict[str, str]:
    """What the metadata say of a person; anything but texts and numbers is passed over."""
    keys = (":sid", ":email", ":name") if isinstance(person, dict) else ()
    said = {key: person.get(key) for key in keys}  # type: ignore[attr-defined]
    return {key: str(value)[:200] for key, value in said.items() if value and isinstance(value, str | int)}


class _Plain(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads data only; what is tagged as an object of some other program's is None."""


_Plain.add_multi_constructor("", lambda loader, suffix, node: None)


def _chosen(keys: list[str], files: list[Path], assignment: str) -> Candidate:
    path, notes = choose(files, assignment)
    return Candidate(keys, path, "", notes, path.stat().st_mtime if path else 0.0)


def kind_of(name: str) -> str:
    """A file's kind by its name: .ipynb, .py or nothing; browsers add .txt or .json to what they download."""
    name = re.sub(r"(?<=\.ipynb)\.(txt|json)$", "", name.lower())
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _handed_in(folder: Path, scratch: Path, remarks: list[str], deep: bool = True) -> list[Path]:
    """A student's notebooks; if there are none, those in their zips."""
    found = _notebooks(folder, deep)
    zips = [] if found else [p for p in _visible(folder) if p.suffix.lower() == ".zip" and not p.is_symlink()]
    return found or [path for file in zips for path in _notebooks_of_zip(file, scratch, remarks)]


def _notebooks_of_zip(file: Path, scratch: Path, remarks: list[str]) -> list[Path]:
    """The notebooks in a zip that a student handed in; zips inside of it stay closed."""
    inside = scratch / ".zips" / hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
    try:
        return _notebooks(_unpack(file, inside, remarks, of_student=True)) if file.is_file() else []
    except BadInput as error:
        remarks.append(printable(str(error)))
        return []


def _notebooks(folder: Path, deep: bool = True) -> list[Path]:
    found = []
    for path in folder.rglob("*") if deep else folder.glob("*"):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if kind_of(path.name) and not hidden and not path.is_symlink() and path.is_file():
            found.append(path)
    return sorted(found)


def choose(files: list[Path], assignment: str) -> tuple[Path | None, list[str]]:
    """The one to grade of a student's files: with answers, named like the assignment, a notebook, the newest."""
    if len(files) < 2:
        return (files[0], []) if files else (None, [f"there is {NO_NOTEBOOK} in what was handed in"])

    def rank(path: Path) -> tuple[bool, bool, bool, bool, float]:
        return (
            _has_answers(path, assignment),
            path.stem == assignment,
            assignment in path.stem,
            kind_of(path.name) == ".ipynb",
            path.stat().st_mtime,
        )

    best = max(files, key=rank)
    others = [printable(path.name) for path in files if path != best]
    return best, [
        f"several files: {printable(best.name)} is graded, {_some(others)} left out"
    ] if others else []


def _has_answers(path: Path, assignment: str) -> bool:
    """Whether a file seems to define some exercise: neither a blank copy nor something else."""
    if assignment not in ASSIGNMENTS or path.stat().st_size > MAX_BYTES:
        return False
    data = path.read_bytes()
    names = {exercise.name.encode() for exercise in load_assignment(assignment).exercises}
    defined = names.intersection(re.findall(rb"(?:def|class) (\w+)", data))
    return len(defined) > data.count(b"raise NotImplementedError")


# --- zips --------------------------------------------------------------------------------------------------


def _unpack(source: Path, target: Path, remarks: list[str], of_student: bool = False) -> Path:
    """Unpack the notebooks of a zip, and the zips in that of a class; no path leaves the folder.

    Raises:
        BadInput: no zip after all, or one with too many files.
    """
    most_files, most_bytes = (MAX_FILES_OF_STUDENT, MAX_BYTES) if of_student else (MAX_FILES, MAX_TOTAL)
    name = printable(f"{source.parent.name}/{source.name}" if of_student else source.name)
    shutil.rmtree(target, ignore_errors=True)  # what another export left there
    target.mkdir(parents=True)
    try:
        with zipfile.ZipFile(source) as archive:
            members: dict[PurePosixPath, zipfile.ZipInfo] = {}
            for member in archive.infolist():
                inside = PurePosixPath(member.filename.replace("\\", "/"))
                if inside in members:
                    remarks.append(f"{printable(str(inside))} is in {name} twice: the last one counts")
                if not member.is_dir():
                    members[inside] = member
            if len(members) > most_files:
                raise BadInput(f"{name} holds more than {most_files:,} files")
            total = 0
            # Small ones first, so that a huge one takes no room from others.
            for inside, member in sorted(members.items(), key=lambda item: item[1].file_size):
                if any(part.startswith((".", "__MACOSX")) and part != ".." for part in inside.parts):
                    continue
                total += member.file_size
                fits = member.file_size <= MAX_BYTES and total <= most_bytes
                wanted = bool(kind_of(inside.name)) or inside.name == METADATA
                if inside.suffix.lower() == ".zip":
                    wanted = fits and not of_student
                    if not wanted:
                        remarks.append(f"{printable(str(inside))} in {name} stays closed: unpack it by hand")
                problem = _unpack_one(archive, member, inside, target, wanted, fits)
                if problem:
                    remarks.append(f"{printable(str(inside))} in {name} {problem}")
    except BadInput:
        raise
    except Exception as error:  # zipfile raises a dozen kinds over a damaged file
        raise BadInput(f"{source} can't be read as a zip file: download it again") from error
    return target


def _unpack_one(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    inside: PurePosixPath,
    target: Path,
    wanted: bool,
    fits: bool,
) -> str:
    """Write one file; returns what is wrong with it, or nothing.

    A notebook that can't be unpacked leaves an empty file, or one that is too large to be read, so that its owner is
    not taken for somebody who handed in nothing.
    """
    if inside.is_absolute() or ".." in inside.parts or PureWindowsPath(str(inside)).drive:
        return "leads out of the folder, and was left out"
    path = target.joinpath(*inside.parts)
    try:
        if not wanted:
            # Its place is kept, so that whoever handed in nothing else is listed.
            target.joinpath(*inside.parts[:-1][:3]).mkdir(parents=True, exist_ok=True)
            if len(inside.parts) == 1 or CANVAS.match(inside.name):
                path.touch()
            return ""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if not fits:
                file.truncate(MAX_BYTES + 1)  # takes no room on the disk
                return "is too large, and was not unpacked"
            with archive.open(member) as stream:
                shutil.copyfileobj(stream, file)
        with contextlib.suppress(ValueError, OverflowError, OSError):
            when = time.mktime((*member.date_time, 0, 0, -1))
            os.utime(path, (when, when))
    except Exception:  # zlib's, lzma's, zipfile's own, no memory for what is announced ...
        return "is damaged or encrypted, and could not be unpacked"
    return ""
