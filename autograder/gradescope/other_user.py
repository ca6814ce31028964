"""Where a container allows no namespaces, root can still give a student's code to another user, with a filter and limits.

That user can't read the course, the secret or the judge's memory, can't write results.json, and can't open a socket.  It can
see that other processes run, and read what the container shows to everybody.
"""

import os
import subprocess
import sys
from pathlib import Path

from autograder.grade import Grader
from autograder.sandbox.bwrap import INSIDE, site_packages
from autograder.sandbox.inside.limits import address_space
from autograder.sandbox.inside.walls import NOBODY
from autograder.sandbox.preflight import Walls
from autograder.sandbox.seccomp import NoFilter, program
from cs_vl.checks.spec import Assignment
from cs_vl.checks.worker import StudentProcess, Worker

# Becomes what it is given to run.  The kernel may count a user's processes over all containers: so many may be others'.
LAUNCH = """
import os, sys
grader, taken, filter, *command = sys.argv[1:]
sys.path.insert(0, grader)
from inside.limits import Limits, limit
from inside.walls import become_nobody, drop
limit(Limits(processes=1024), int(taken))
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")  # if the container runs out of memory, it is this that goes
become_nobody()
drop(bytes.fromhex(filter))
os.execv(command[0], command)
"""
# Tries what a student's code should not be able to do, and says of each whether it held; then, that it is through.
ATTEMPTS = """
import os, resource, socket, sys
secret, results, library, course = sys.argv[1:]
def attempt(what, function):
    try:
        function()
        print("through:", what)
    except (OSError, MemoryError):
        print("held:", what)
attempt("no root", lambda: os.setuid(0))
attempt("no reading of the secret", lambda: open(secret))
attempt("no reading of the course", lambda: os.listdir(course))
attempt("no writing of results.json", lambda: open(results, "a"))
attempt("no other results.json in its place", lambda: open(results + ".new", "w"))
attempt("no writing of the library", lambda: open(library + "/new", "w"))
attempt("no network", socket.socket)
attempt("no more memory than allowed, in one process", lambda: bytearray(max(0, resource.getrlimit(resource.RLIMIT_AS)[0])))
os.listdir(library)
print("end")
"""
OPEN = "namespaces: it can see other processes and leave files, and what stays behind ends with the container"


class OtherUser(Grader):
    """A grader whose students' processes are another user's; only root can have one."""

    def __init__(self, assignment: Assignment, results: Path, seconds: float):
        super().__init__(assignment, results, seconds, sandbox=False)
        results.chmod(0o711)  # the student edition in it can be reached, but not listed

    def start(self) -> StudentProcess:
        return _Other(self.assignment.name, [self.edition, *site_packages()], launch())


class _Other(Worker):
    def __init__(self, assignment: str, path: list[Path], prefix: list[str]):
        super().__init__(assignment, path, prefix)
        os.chown(self._scratch.name, NOBODY, NOBODY)  # before it is sent anything


def launch() -> list[str]:
    """A command that starts another as that user; it needs the whole path of that one's program."""
    try:
        calls = program().hex()
    except NoFilter:
        calls = ""  # the attempts say so
    # The judge has imported what a student's process will: so much is taken before its code is there.
    return [sys.executable, "-I", "-S", "-c", LAUNCH, str(INSIDE.parent), str(address_space()), calls]


def try_other_user(grader: OtherUser, results: Path) -> Walls:
    """Try all this; no wall stands where that user can't run Python or reach the library.

    Args:
        results: results.json.
    """
    if os.getuid() != 0:
        return Walls(fell=["another user's rights: the grader is not root"])
    paths = [grader.results / "secret", results, grader.edition / "cs_vl", Path(__file__).parent]
    command = [*launch(), sys.executable, "-I", "-S", "-c", ATTEMPTS, *map(str, paths)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    if said[-1:] != ["end"]:
        last = (done.stderr.strip() or "no reason").splitlines()[-1]
        return Walls(fell=[f"another user's rights: that user can't run Python here ({last})"])
    walls = Walls(fell=[OPEN])
    for line in said[:-1]:
        kind, _, what = line.partition(": ")
        (walls.stood if kind == "held" else walls.fell).append(what)
    return walls
