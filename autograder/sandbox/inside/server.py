"""A warm process: Python, torch and the student edition are imported once; then it forks for each submission.

It never runs a student's code, and no student's code can reach it: other namespaces, no memory or descriptor in common.
It takes orders from the judge through one socket, one JSON message at a time:

    judge                                            here
                                                     {"ready": true}
    {"limits": {...}, "seccomp": hex}, a descriptor  {"started": true} or {"error": sentence}
    {"end": true}                                    {"cpu_seconds": 0.3, "peak_mb": 12, "reason": "", "code": -9}

When the judge is gone, it ends, and with it whatever runs.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, NoReturn

from .limits import MB, Limits, Watch, address_space, anonymous_memory, limit
from .walls import become_nobody, drop, enter

EVERY = 0.05  # seconds between two looks at a submission's memory
MESSAGE = 2**16


def main() -> None:
    """Arguments: the descriptor of the judge's socket, the assignment, modules to import."""
    judge = socket.socket(fileno=int(sys.argv[1]))
    become_nobody()
    serving = warm(sys.argv[2], sys.argv[3:])
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    base = anonymous_memory()
    say(judge, {"ready": True})
    while True:
        message, descriptors, _, _ = socket.recv_fds(judge, MESSAGE, 1)
        if not message:
            return
        order = json.loads(message)
        child = Child(
            judge, serving, descriptors[0], Limits(**order["limits"]), bytes.fromhex(order["seccomp"])
        )
        say(judge, {"error": child.error} if child.error else {"started": True})
        if not child.error:
            supervise(judge, child, Watch(base))


def warm(assignment: str, modules: list[str]) -> Any:
    """Import all that submissions will need; returns what answers for them."""
    from cs_vl.checks.run import isolated

    from .submission import Submission  # and with it torch, which root has no need to import

    serving = Submission()
    serving.answer({"assignment": assignment})
    for name in modules:
        with suppress(ImportError):  # it is no module, or this machine lacks it: then the student is told
            importlib.import_module(name)
    with isolated():  # what every probe needs, of which torch and NumPy import some when it is first used
        pass
    first_use()
    # What is there now stays: a collection in a fork would copy all of it.
    gc.collect()
    gc.freeze()
    return serving


def first_use() -> None:
    """Do once what torch and NumPy set up when they are first used, which else each fork would do again."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    with torch.random.fork_rng(devices=[]):
        for dtype in (torch.float32, torch.float64):
            x = torch.ones(4, 3, dtype=dtype, requires_grad=True)
            block = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3), torch.nn.GELU()).to(
                dtype
            )
            images = torch.nn.Conv2d(1, 1, 3).to(dtype)(torch.ones(1, 1, 4, 4, dtype=dtype))
            scores = (F.normalize(block(x)) @ x.mT).exp().log_softmax(dim=1)
            loss = F.cross_entropy(scores, torch.arange(4)) + torch.einsum("ij,ij->", x, x) + images.mean()
            loss.backward()
            optimizer = torch.optim.AdamW(block.parameters())
            optimizer.step()
            optimizer.zero_grad()
            torch.linalg.norm(x.detach()), x.detach().topk(2), torch.randn(2), torch.randperm(3)
    for kind in (np.float32, np.float64):
        y = np.ones((4, 3), dtype=kind)
        np.exp(y @ y.T).sum(axis=1, keepdims=True), np.einsum("ij,ij->i", y, y), np.linalg.norm(y, axis=1)


class Child:
    """A submission: a process that waits, in namespaces of its own, for process 1 of these."""

    def __init__(self, judge: socket.socket, serving: Any, connection: int, limits: Limits, seccomp: bytes):
        self.limits = limits
        self.error = ""
        threads = os.listdir("/proc/self/task")
        if len(threads) != 1:  # a fork of several threads can hang
            self.error = f"the warm process has {len(threads)} threads"
            os.close(connection)
            return
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            judge.close()
            os.close(told)
            _waits(serving, connection, limits, seccomp, tell)
        os.close(connection)
        os.close(tell)
        with os.fdopen(told) as stream:
            text = stream.read()  # to its end: when the walls stand
        if text.isdigit():
            self.first = int(text)  # process 1 of its namespace; with it go all others
        else:
            self.error = text.lstrip("0123456789") or "the process that raises the walls died"
            os.waitpid(self.pid, 0)


def _waits(serving: Any, connection: int, limits: Limits, seccomp: bytes, tell: int) -> NoReturn:
    """The child that makes the namespaces and forks process 1 in them; it stays, since others can't wait for that."""
    code = 1
    try:
        taken = address_space()
        enter(limits.scratch)
        first = os.fork()
        if first == 0:
            os.chdir("/tmp")
            limit(limits, taken)
            drop(seccomp)
            os.close(tell)
            serving.serve(connection)
        os.close(connection)
        os.write(tell, str(first).encode())
        os.close(tell)
        code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    except BaseException as error:
        with suppress(OSError):
            os.write(tell, f"{type(error).__name__}: {error}".encode()[:1000])
    finally:
        os._exit(code & 0xFF)


def supervise(judge: socket.socket, child: Child, watch: Watch) -> None:
    """Watch a submission until the judge ends it; then all of it is gone, and the judge is told what it used."""
    reason, usage, code = "", None, 0
    while True:
        asked = select.select([judge], [], [], EVERY)[0]
        if usage is None:
            if watch.look(child.first) > child.limits.memory * MB:
                reason = "memory"
            if reason or asked:
                with suppress(ProcessLookupError):
                    os.kill(child.first, signal.SIGKILL)
            pid, status, used = os.wait4(child.pid, 0 if reason or asked else os.WNOHANG)
            if pid:
                usage, code = used, os.waitstatus_to_exitcode(status)
        if asked:
            break
    if not judge.recv(MESSAGE):
        os._exit(0)
    assert usage
    seconds = max(usage.ru_utime + usage.ru_stime, sum(watch.cpu.values()))
    code = code - 256 if code >= 128 else code  # a signal, as process 1's parent passes it on
    used_up = {"cpu_seconds": round(seconds, 3), "peak_mb": round(watch.peak / MB, 1)}
    say(judge, {**used_up, "reason": reason, "code": code})


def say(judge: socket.socket, message: dict[str, Any]) -> None:
    judge.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
