"""Try every wall from inside, with code such as a student could hand in: what is not tried does not count as standing.

Each wall has attempts, cells that raise what became of them; a cell that gets through is a wall that does not stand.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import autograder
import cs_vl
from autograder.build.regions import find_region
from autograder.sandbox.bwrap import EDITION
from autograder.sandbox.pool import NoWalls, Pool
from autograder.sandbox.walled import Walled
from cs_vl.checks.cells import Cell
from cs_vl.checks.spec import Assignment
from cs_vl.checks.visible import VISIBLE_SEED
from cs_vl.checks.worker import NoWorker

SECONDS = 10.0


@dataclass
class Walls:
    """Which walls stood when they were tried and which did not, a sentence each."""

    stood: list[str] = field(default_factory=list)
    fell: list[str] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """For the report."""
        if not self.stood:
            return [
                "No walls: each submission ran in a process of its own, without the answers, that could read files, "
                "use the network and stay behind."
            ]
        return [
            *(f"{text}: tried, and it held" for text in self.stood),
            *(f"NOT STANDING: {text}" for text in self.fell),
        ]


# The first cell: `@attempt` runs a function at once, in a process of its own, and raises what came of it.
TOOLS = """
import ctypes, mmap, os, signal, socket, threading, time
from ctypes import pythonapi as libc
class Through(Exception): pass
class Held(Exception): pass
def attempt(function):
    child = os.fork()
    if child == 0:
        try:
            os._exit(1 if function() else 0)
        except (OSError, MemoryError, RuntimeError):  # RuntimeError: a thread that can't start
            os._exit(0)
        finally:
            os._exit(2)  # the attempt is at fault, and has shown nothing
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    raise (Held if code == 0 else Through)(function.__name__)
"""

# {what stands: cells that try to get through}
ATTEMPTS = {
    "no network": """
@attempt
def reach_a_server(): return socket.create_connection(("127.0.0.1", PORT), 2)
@attempt
def reach_a_local_socket(): return socket.socket(socket.AF_UNIX).connect("\\0" + NAME) is None
@attempt
def look_up_a_name(): return socket.getaddrinfo("example.org", 80)
""",
    "no files but Python's, the system's programs and the student edition": """
@attempt
def read_files(): return any(os.path.exists(path) for path in CANARIES)
@attempt
def list_folders(): return any(os.path.isdir(path) and os.listdir(path) for path in FOLDERS)
""",
    "nothing can be written but a capped scratch folder": """
@attempt
def write_files():
    for folder in ("/", "/usr", "/dev", "/dev/shm", "/proc", "/etc", "/var/tmp", EDITION, os.path.dirname(os.__file__)):
        try:
            open(folder + "/new", "w")
            return True
        except OSError:
            pass
@attempt
def fill_the_scratch():
    with open("/tmp/big", "wb") as file:
        for _ in range(SCRATCH + 1):
            file.write(bytes(2**20))
    return True
@attempt
def fill_the_scratch_with_many():
    for number in range(3):
        with open(f"/tmp/part{number}", "wb") as file:
            file.write(bytes(SCRATCH * 2**19))
    return True
""",
    "no other process is seen, and there are no more than allowed": """
@attempt
def see_others(): return os.getppid() != 1 or os.listdir("/proc")
@attempt
def start_without_end():
    for _ in range(PROCESSES + 1):  # the kernel counts threads as it does processes
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return True
@attempt
def open_without_end(): return [os.open("/dev/null", 0) for _ in range(FILES + 1)]
""",
    "no more memory than allowed, in one process": """
@attempt
def take_memory(): return bytearray(MEMORY * 2**20 * 5 // 4)
@attempt
def share_memory(): return mmap.mmap(-1, MEMORY * 2**20 * 5 // 4)
""",
    "no root, no capabilities, no way to new ones": """
@attempt
def be_root(): return os.getuid() == 0 or os.setuid(0) is None
@attempt
def have_capabilities():
    held = (ctypes.c_uint32 * 6)()
    return libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), held) != 0 or any(held) or libc.prctl(23, 21, 0, 0, 0)
@attempt
def gain_privileges(): return libc.prctl(39, 0, 0, 0, 0) != 1
""",
    "a filter of system calls": """
@attempt
def run_without_a_filter(): return libc.prctl(21, 0, 0, 0, 0) != 2
@attempt
def make_hidden_memory(): return os.memfd_create("x") >= 0
@attempt
def trace(): return libc.ptrace(0, 0, 0, 0) == 0
@attempt
def make_namespaces(): return libc.unshare(0x10000000) == 0
@attempt
def make_a_socket(): return socket.socket()
""",
}

# Its own submission, since it does not come back: more than is allowed, but not in one process.
HOARD = """
children = []
class Hoard:
    for _ in range(3):
        if os.fork() == 0:
            held = bytearray(b"x") * (MEMORY * 2**20 // 2)
            time.sleep(60)
    time.sleep(60)
"""
# What one submission leaves, and the next must not find.
LEAVE = """
class Leave:
    open("/tmp/left", "w").close()
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
"""
FIND = """
@attempt
def find_what_was_left(): return os.listdir("/tmp")
"""
TOGETHER = "no more memory than allowed, in all processes together"
GONE = "nothing of a submission is left for the next"


def preflight(pool: Pool, assignment: Assignment, results: Path) -> Walls:
    """Try all walls.

    Args:
        results: the results folder, whose secret must not be seen.

    Raises:
        NoWalls: nothing runs behind them, not even a right answer.
    """
    walls = Walls()
    try:
        _run_an_answer(pool, assignment)
        with _known(pool, results) as known:
            found = _load(
                pool, [TOOLS, known, *(cell for text in ATTEMPTS.values() for cell in _cells(text))]
            )
            _load(pool, [TOOLS, LEAVE])
            found |= _load(pool, [TOOLS, FIND])
            hoard = Walled(pool, SECONDS)
            with hoard, contextlib.suppress(EOFError, TimeoutError):
                hoard.load([Cell(i, "code", text) for i, text in enumerate([TOOLS, known, HOARD])])
            capped = hoard.cause().status == "out of memory"
    except NoWorker as error:
        raise NoWalls(str(error)) from error
    for sentence, text in {**ATTEMPTS, GONE: FIND}.items():
        names = [cell.partition("def ")[2].partition("(")[0] for cell in _cells(text)]
        through = [name.replace("_", " ") for name in names if not found.get(name)]
        if through:
            walls.fell.append(f"{sentence} (it could {', '.join(through)})")
        else:
            walls.stood.append(sentence)
    (walls.stood if capped else walls.fell).append(TOGETHER)
    return walls


def _cells(text: str) -> list[str]:
    """An attempt a cell: of each cell, one exception is told."""
    return ["@attempt" + part for part in text.split("@attempt")[1:]]


def _run_an_answer(pool: Pool, assignment: Assignment) -> None:
    """A right answer must run there, or no zero could be believed."""
    exercise = assignment.exercises[0]
    region, stage = find_region(exercise), exercise.stages[0]
    cells = [Cell(1, "code", region.imports), Cell(2, "code", region.source, exercise.name)]
    with Walled(pool, SECONDS) as process:
        try:
            loaded = process.load(cells)
        except (EOFError, ValueError, TimeoutError) as error:
            raise NoWalls(f"a right answer does not load there ({type(error).__name__})") from error
        outcome = process.run(
            exercise, stage, exercise.draw(stage, VISIBLE_SEED)[0], SECONDS, "STAND_INS = {}"
        )
    if outcome.status != "ok":
        raise NoWalls(f"a right answer does not run there: {outcome.message or loaded}")


@contextlib.contextmanager
def _known(pool: Pool, results: Path) -> Iterator[str]:
    """A cell with what attempts need: a server that listens, files that are there, the limits."""
    folders = [Path(module.__file__).parent for module in (cs_vl, autograder) if module.__file__]
    files = [results / "secret", *(folder / "__init__.py" for folder in folders)]
    with contextlib.suppress(OSError, RuntimeError):  # there may be none
        files += [path for path in Path.home().iterdir() if path.is_file()][:5]
    name = f"cs_vl-preflight-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{name}")
        local.listen()
        yield "\n".join(
            f"{key} = {value!r}"
            for key, value in {
                "PORT": server.getsockname()[1],
                "NAME": name,
                "CANARIES": [str(path.absolute()) for path in files],
                "FOLDERS": [str(path.absolute()) for path in (*folders, results)],
                "EDITION": str(EDITION),
                **{key.upper(): value for key, value in vars(pool.limits).items()},
            }.items()
        )


def _load(pool: Pool, cells: list[str]) -> dict[str, bool]:
    """Load cells as a submission; returns for each attempt whether it was held."""
    with Walled(pool, SECONDS) as process:
        try:
            loaded = process.load([Cell(number, "code", text) for number, text in enumerate(cells)])
        except (EOFError, ValueError, TimeoutError) as error:
            raise NoWalls(f"the walls can't be tried ({type(error).__name__}: {error})") from error
    found = {}
    for note in loaded["notes"]:
        kind, _, name = note.partition(": ")[2].partition(": ")
        found[name] = kind == "Held"
    return found
