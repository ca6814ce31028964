"""Warm processes behind walls: started when they are needed, lent to one submission at a time."""

import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autograder.sandbox import bwrap
from autograder.sandbox.inside.limits import Limits
from autograder.sandbox.seccomp import NoFilter, program
from cs_vl.checks.worker import ENVIRONMENT

WARM_SECONDS = 120.0  # until Python, torch and the student edition are imported
ORDER_SECONDS = 20.0  # until an order of ours is carried out
MESSAGE = 2**16

# Huge pages for all of the warm process's memory: a fork of 220 MB takes 3 ms instead of 15.
MEMORY = {
    "PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MALLOC_TOP_PAD_": str(64 * 2**20),
}  # fmt: skip


class NoWalls(OSError):
    """The walls do not stand; the message is one sentence that says why."""


@dataclass(frozen=True)
class Used:
    """What a submission's processes took, and how they ended.

    `reason`: "memory" where that was why they were ended, else "".  `code`: the exit code of the process that had loaded
    the definitions, or minus the signal that ended it.
    """

    cpu_seconds: float
    peak_mb: float
    reason: str
    code: int


class Server:
    """One warm process, in bubblewrap; see inside/server.py for what is said between the two.

    Raises:
        NoWalls: it does not start.
    """

    def __init__(self, assignment: str, edition: Path, modules: Sequence[str], hidden: Sequence[Path]):
        try:
            walls = bwrap.command(edition, hidden)
        except OSError as error:
            raise NoWalls(str(error)) from error
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115  (as long as this)
        program = [bwrap.interpreter(), "-S", "-s", "-P", "-B", "-m", f"{bwrap.INSIDE.name}.server"]
        home = {
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            "MPLCONFIGDIR": "/tmp",
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }
        try:
            self._process = subprocess.Popen(
                [*walls, *program, str(theirs.fileno()), assignment, *modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
                env={**ENVIRONMENT, **MEMORY, **home, "PYTHONPATH": os.pathsep.join(bwrap.import_path())},
            )
        finally:
            theirs.close()
        try:
            self._hear(WARM_SECONDS)
        except OSError as error:
            self.close()
            raise NoWalls(self._why()) from error

    def begin(self, connection: socket.socket, limits: Limits, seccomp: bytes) -> None:
        """Start a submission's process, which talks through `connection`.

        Raises:
            OSError: it does not start, and this server is of no more use.
        """
        order = json.dumps({"limits": asdict(limits), "seccomp": seccomp.hex()}).encode()
        socket.send_fds(self._socket, [order], [connection.fileno()])
        reply = self._hear(ORDER_SECONDS)
        if "error" in reply:
            raise OSError(reply["error"])

    def end(self) -> Used:
        """End the submission's processes, all of them.

        Raises:
            OSError: the server itself is gone.
        """
        self._socket.send(json.dumps({"end": True}).encode())
        return Used(**self._hear(ORDER_SECONDS))

    def close(self) -> None:
        """End it, and whatever runs in it."""
        self._socket.close()
        self._process.kill()  # bubblewrap; what runs in it goes with it
        self._process.wait()

    def _hear(self, seconds: float) -> dict[str, Any]:
        self._socket.settimeout(seconds)
        text = self._socket.recv(MESSAGE)
        if not text:
            raise ConnectionError("the warm process is gone")
        return json.loads(text)

    def _why(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "the warm process did not start, and said nothing"


class Pool:
    """As many servers as are in use at a time.  May be used from several threads.

    Args:
        edition: the folder that holds the student edition's `cs_vl`.
        modules: what to import beforehand beside the assignment's own.
        hidden: folders that must not be seen from inside.
    """

    def __init__(
        self, assignment: str, edition: Path, modules: Sequence[str] = (), hidden: Sequence[Path] = ()
    ):
        if hasattr(os, "getuid") and os.getuid() == 0:  # then it is nobody who reads it
            for path in (edition, *edition.rglob("*")):
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        self._new = lambda: Server(assignment, edition, modules, hidden)
        self._idle: list[Server] = []
        self._lock = threading.Lock()
        # --die-with-parent means the thread that has started it: one that lives as long as the pool.
        self._starter = ThreadPoolExecutor(1, "starts warm processes")
        self.limits = Limits()
        try:
            self.seccomp = program()
        except NoFilter:
            self.seccomp = b""  # the preflight says so

    def take(self) -> Server:
        """A server for one submission: give it back, or close it.

        Raises:
            NoWalls: none starts.
        """
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._starter.submit(self._new).result()

    def give_back(self, server: Server) -> None:
        with self._lock:
            self._idle.append(server)

    def close(self) -> None:
        """End all that are not in use."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()
