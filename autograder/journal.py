"""The journal: one line a finished submission, appended and synced, so that a killed run goes on where it was."""

import contextlib
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cs_vl

# Of this package, all that a score comes from, beside cs_vl as a whole.  Not: who handed in what (reader.py: the file's name
# and bytes are in the key themselves), this module, reports and tables, and what builds, releases and tests the course.
SCORING = (
    "grade.py", "references.py", "stand_ins.py", "known", "sandbox",
    "build/edition.py", "build/notebooks.py", "build/regions.py",
)  # fmt: skip


class Journal:
    """`journal.jsonl` and the `secret` in a results folder.

    The secret is drawn once per folder, so that a regrade uses the same hidden cases.

    Raises:
        ValueError: the secret is no number, or nothing can be written there.
    """

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / "journal.jsonl"
        self._lock = threading.Lock()
        self._alone = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.secret = _secret(folder / "secret")
        except OSError as error:
            raise ValueError(
                f"{folder} can't be used for results ({why(error)}): choose another folder with -o"
            ) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder, until the outermost of these ends; however this process ends, it does.

        Raises:
            ValueError: another run is at work there.
        """
        if self._alone or os.name != "posix":  # Windows has no such lock
            yield
            return
        import fcntl

        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(
                    f"another run is grading into {self.folder}: wait for it, or choose another folder with -o"
                ) from None
            if _secret(self.folder / "secret") != self.secret:  # two first runs at once have drawn one each
                raise ValueError(f"another run has begun in {self.folder} at the same time: start again")
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def finished(self) -> dict[str, dict[str, Any]]:
        """The entries so far by key, the newest last; a line that a kill cut short is left out."""
        entries: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    entry = json.loads(line)
                    entries.pop(entry["key"], None)
                    entries[entry["key"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue
        return entries

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line, on disk when this returns.

        Raises:
            OSError: it can't be written; the message says what to do.
        """
        # The newline before heals a line that a kill, or a full disk, cut short.
        line = "\n" + json.dumps(entry, sort_keys=True)
        try:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                f"{self.path} can't be written ({why(error)}).  Nothing is lost: make room, and run the same command "
                "again; what is in the journal is not graded twice"
            ) from error


def why(error: OSError) -> str:
    """What the system says: "No space left on device"."""
    return error.strerror or str(error)


def _secret(path: Path) -> int:
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    if not text:  # an empty file is what a kill leaves of a first run
        text = str(secrets.randbits(48) + 1)
        draft = path.with_name("secret.draft")
        draft.touch(mode=0o600)
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # all scores hang on it
        draft.replace(path)
    if not (text.isascii() and text.isdigit()):
        raise ValueError(
            f"{path} should hold a number, the seed of the hidden cases: put it back, or delete it"
        )
    return int(text)


def key_of(*parts: str | bytes) -> str:
    """The hash of all that a result depends on: who, the submission, the assignment, hidden cases, the grader."""
    data = [part if isinstance(part, bytes) else part.encode(errors="backslashreplace") for part in parts]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in data)).hexdigest()


@cache
def grader_version() -> str:
    """The version and a hash of all code that can change a score: of cs_vl, and of what SCORING lists here."""
    digest = hashlib.sha256()
    for path in scoring_files():
        digest.update(path.read_bytes())
    return f"{cs_vl.__version__}+{digest.hexdigest()[:12]}"


def scoring_files() -> list[Path]:
    here = Path(__file__).parent
    roots = [Path(cs_vl.__file__).parent, *(here / name for name in SCORING)]
    return [path for root in roots for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))]
