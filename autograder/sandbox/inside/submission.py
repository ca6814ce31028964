"""Process 1 of a submission: it loads the student's definitions, then forks for each exercise.

From loading on this process is the student's, too: what it says may be forged, and the judge takes it as such.  A fork an
exercise keeps accidents apart: a crash, a patched function or a thread of one exercise is not there in the next.
"""

import os
import random
import shutil
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy
import torch

from cs_vl.checks import wire
from cs_vl.checks.worker import Serving

SCRATCH = Path("/tmp")


class Submission(Serving):
    """What answers for a submission; made, with all that it imports, in the warm process."""

    def serve(self, connection: int) -> NoReturn:
        """First the cells; then, for each exercise, a descriptor to talk to a fork of this process through.

        When an exercise is over, the judge is told how its process ended: {"ended": exit code, or minus the signal}.
        """
        # Python's handler would let a fork interrupt this process; without one the kernel keeps signals off process 1.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            sock = socket.socket(fileno=connection)
            stream = sock.makefile("rwb")
            random.seed(0)  # a fork has seeded it anew
            numpy.random.seed(0)
            torch.default_generator.manual_seed(0)
            self.reply(stream, wire.receive(stream, wire.MAX_BYTES))
            while True:
                _, (descriptor, *_), _, _ = socket.recv_fds(sock, 1, 1)
                child = os.fork()
                if child == 0:
                    os.close(connection)
                    self.run(descriptor)
                os.close(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                clean_up()
                wire.send(stream, {"ended": code})
        finally:
            os._exit(1)

    def run(self, connection: int) -> NoReturn:
        """Answer for one exercise until the judge hangs up."""
        try:
            stream = socket.socket(fileno=connection).makefile("rwb")
            while True:
                self.reply(stream, wire.receive(stream, wire.MAX_BYTES))
        finally:
            os._exit(0)


def clean_up() -> None:
    """Nothing that an exercise started or wrote is there in the next."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # all but process 1, which this is
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    for path in SCRATCH.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
