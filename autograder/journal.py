"""The journal: one line a finished submission, appended and synced, so that a killed run goes on where it was."""

import hashlib
import json
import os
import secrets
import threading
from functools import cache
from pathlib import Path
from typing import Any

import cs_vl


class Journal:
    """`journal.jsonl` and the `secret` in a results folder.

    The secret is drawn once per folder, so that a regrade uses the same hidden cases.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "journal.jsonl"
        self._lock = threading.Lock()
        secret_file = folder / "secret"
        if not secret_file.exists():
            secret_file.write_text(str(secrets.randbits(48) + 1))
            secret_file.chmod(0o600)
        self.secret = int(secret_file.read_text())

    def finished(self) -> dict[str, dict[str, Any]]:
        """The entries so far by key; a line that a kill cut short is left out."""
        entries: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text(errors="replace").split("\n"):
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
        with self._lock, self.path.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def key_of(student: str, data: bytes, assignment: str, secret: int) -> str:
    """What a result depends on: who, the submission, the assignment, the hidden cases and the grader."""
    parts = [student.encode(), data, assignment.encode(), str(secret).encode(), grader_version().encode()]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


@cache
def grader_version() -> str:
    """The version and a hash of all code that can change a score."""
    digest = hashlib.sha256()
    for root in (Path(cs_vl.__file__).parent, Path(__file__).parent):
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
    return f"{cs_vl.__version__}+{digest.hexdigest()[:12]}"
