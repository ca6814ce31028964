"""Limits of one submission: what the kernel holds each process to, and what is watched of all of them together."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

MB = 2**20


@dataclass(frozen=True)
class Limits:
    """
    Args:
        memory: MB, beyond what Python and torch take: of each process's address space, and of what all take together.
        scratch: MB of files in /tmp, which is also the largest size of one.
        processes: processes and threads at a time.
        files: open files of one process.
        cpu: seconds of one process; the limits of wall time, which the judge keeps, are lower.
    """

    memory: int = 1024
    scratch: int = 64
    processes: int = 32
    files: int = 128
    cpu: int = 600


def address_space() -> int:
    """The bytes of address space that this process takes."""
    return _words("/proc/self/statm")[0] * os.sysconf("SC_PAGE_SIZE")


def limit(limits: Limits, taken: int) -> None:
    """Hold this process and its children to the limits, for good.

    Args:
        taken: the address space that it has from the warm process.
    """
    import resource  # Windows, where `Limits` alone is of use, has none

    # Not RLIMIT_DATA, which does not count memory that is shared.
    space = taken + limits.memory * MB
    for what, most in (
        (resource.RLIMIT_AS, space),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_FSIZE, limits.scratch * MB),
        (resource.RLIMIT_CPU, limits.cpu),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (most, most))


@dataclass
class Watch:
    """Counts, from outside, what a submission's processes use.

    What counts as memory is what each has beyond the warm process that it was forked from, and all shared memory.

    Args:
        base: the anonymous memory of the warm process, in bytes.
    """

    base: int
    peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict)  # of each process that was seen

    def look(self, root: int) -> int:
        """The bytes that `root` and its descendants take at this moment."""
        total = 0
        for pid in descendants(root):
            try:
                fields = _status(pid)
                words = _words_of_stat(pid)
            except (OSError, ValueError, IndexError):  # it has just ended
                continue
            total += max(0, fields.get("RssAnon", 0) - self.base) + fields.get("RssShmem", 0)
            self.cpu[pid] = (words[11] + words[12]) / os.sysconf("SC_CLK_TCK")
        self.peak = max(self.peak, total)
        return total


def anonymous_memory(pid: int | str = "self") -> int:
    """Bytes of memory that is no file's."""
    return _status(pid).get("RssAnon", 0)


def descendants(root: int) -> Iterator[int]:
    """A process and all below it, as /proc tells them."""
    yield root
    try:
        threads = os.listdir(f"/proc/{root}/task")
        children = [_words(f"/proc/{root}/task/{thread}/children") for thread in threads]
    except OSError:
        return
    for child in (pid for of_thread in children for pid in of_thread):
        yield from descendants(child)


def _status(pid: int | str) -> dict[str, int]:
    """The sizes in /proc/<pid>/status, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        lines = [line.split() for line in file if line.startswith("Rss")]
    return {words[0][:-1]: int(words[1]) * 1024 for words in lines}


def _words(path: str) -> list[int]:
    with open(path, encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def _words_of_stat(pid: int) -> list[int]:
    """/proc/<pid>/stat after the name, which may hold anything: state, then numbers."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return [0, *map(int, file.read().rpartition(")")[2].split()[1:])]
