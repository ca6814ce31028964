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


class Journal:
    """`journal.jsonl` and the `secret` in a results folder.

    The secret is drawn once per folder, so that a regrade uses the same hidden cases.

    Raises:
        ValueError: the secret is no number.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / "journal.jsonl"
        self._lock = threading.Lock()
        self.secret = _secret(folder / "secret")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder.  However this process ends, the lock goes with it.

        Raises:
            ValueError: another run is at work there.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(
                    f"another run is grading into {self.folder}: wait for it, or choose another folder with -o"
                ) from None
            yield

    def finished(self) -> dict[str, dict[str, Any]]:
        """The entries so far by key; a line that a kill cut short is left out."""
        entries: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    entry = json.loads(line)
                    entries[entry["key"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue
        return entries

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line, on disk when this returns."""
        # The newline before heals a line that a kill cut short.
        line = "\n" + json.dumps(entry, sort_keys=True)
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _secret(path: Path) -> int:
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
    if not text:  # an empty file is what a kill leaves of a first run
        text = str(secrets.randbits(48) + 1)
        draft = path.with_name("secret.draft")
        draft.touch(mode=0o600)
        draft.write_text(text)
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
    """The version and a hash of all code that can change a score."""
    digest = hashlib.sha256()
    for root in (Path(cs_vl.__file__).parent, Path(__file__).parent):
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
    return f"{cs_vl.__version__}+{digest.hexdigest()[:12]}"
