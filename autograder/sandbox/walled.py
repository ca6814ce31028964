"""The judge's end of one submission behind walls.

Two kinds of connections lead there: one to the process that has loaded the definitions, and for each exercise a new one to
a fork of it.  Whatever comes through either may be forged, cut short or late; it is data, with a size and a deadline.
"""

import socket
import time
from contextlib import suppress
from typing import Any

from autograder.sandbox.pool import Pool, Server
from cs_vl.checks import wire
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import Exercise
from cs_vl.checks.worker import NoWorker, StudentProcess, why_it_died

LOAD, LOAD_AT_LEAST = 3, 5.0  # times the limit of one case; seconds
END_SECONDS = 2.0  # until what is left of an exercise is gone


class Channel:
    """A socket to a student's process, as a stream with a deadline: `seconds` from each `within`."""

    def __init__(self) -> None:
        self._socket, self.theirs = socket.socketpair()
        self._until = 0.0

    def within(self, seconds: float) -> "Channel":
        self._until = time.monotonic() + seconds
        return self

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, or fewer at the end of the stream."""
        data = bytearray()
        while len(data) < size:
            self._socket.settimeout(self._left())
            try:
                part = self._socket.recv(min(size - len(data), 2**20))
            except ConnectionError:
                break
            if not part:
                break
            data += part
        return bytes(data)

    def write(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        try:
            self._socket.sendall(data)
        except ConnectionError as error:
            raise EOFError("the process died") from error

    def flush(self) -> None:
        pass

    def send_descriptor(self, other: socket.socket) -> None:
        self._socket.settimeout(self._left())
        try:
            socket.send_fds(self._socket, [b"."], [other.fileno()])
        except ConnectionError as error:
            raise EOFError("the process died") from error

    def close(self) -> None:
        self._socket.close()
        self.theirs.close()


class Walled(StudentProcess):
    """A submission's processes, in a pool's server.

    Args:
        seconds: the limit of one case.

    Raises:
        NoWorker: no server starts them: a fault of ours.
    """

    def __init__(self, pool: Pool, seconds: float):
        self.load_seconds = max(LOAD * seconds, LOAD_AT_LEAST)
        self._pool = pool
        self._main = Channel()
        self._exercise: Channel | None = None
        self._code: int | None = None  # how the exercise's process ended
        self._reason = ""
        self._lost = False
        self._server: Server | None = None
        for attempt in (1, 2):  # a server that somebody has killed is no reason to stop
            server = pool.take()
            try:
                server.begin(self._main.theirs, pool.limits, pool.seccomp)
                self._server = server
                break
            except OSError as error:
                server.close()
                if attempt == 2:
                    self._main.close()
                    raise NoWorker(f"no process for a student's code starts: {error}") from error
        self._main.theirs.close()

    def ask(self, message: dict[str, Any], seconds: float) -> Any:
        channel = self._exercise or self._main
        try:
            wire.send(channel.within(seconds), message, wire.MAX_BYTES)
            return wire.receive(channel)
        except EOFError:
            if not self._exercise or not self._hang_up():
                self.broken = True
            raise
        except (TimeoutError, wire.Refused):  # what comes next may be part of this one
            self.broken = True
            raise

    def turn_to(self, exercise: Exercise) -> None:
        over = self._exercise and self._begun != exercise.name and not self.broken
        if over and not self._hang_up():
            self.broken = True

    def begin(self, exercise: Exercise, stand_ins: str | None, seconds: float) -> None:
        self.turn_to(exercise)
        self._exercise = channel = Channel()
        try:
            self._main.within(END_SECONDS).send_descriptor(channel.theirs)
        except (TimeoutError, EOFError):
            self.broken = True
            raise
        channel.theirs.close()
        super().begin(exercise, stand_ins, seconds)

    def _hang_up(self) -> bool:
        """End the exercise's process; whether the one that has loaded the definitions says so."""
        assert self._exercise
        self._exercise.close()
        self._exercise = None
        self._code = None
        try:
            reply = wire.receive(self._main.within(END_SECONDS))
        except (TimeoutError, EOFError, wire.Refused):
            return False
        code = reply.get("ended") if isinstance(reply, dict) else None
        if not isinstance(code, int) or not -64 <= code <= 255:
            return False
        self._code = code
        return True

    def cause(self) -> Outcome:
        """What to say of a process that died.

        Raises:
            NoWorker: it is the warm process that is gone, which no student's code can reach: a fault of ours.
        """
        if self._code is None:
            self._end()
        if self._lost:
            raise NoWorker("the warm process behind the walls was killed: grade again")
        if self._reason == "memory":
            most = self._pool.limits.memory
            return Outcome(
                "out of memory", message=f"It took more than {most} MB of memory: are the sizes right?"
            )
        return Outcome("crashed", message=why_it_died(self._code))

    def _end(self) -> None:
        """End all processes of the submission and learn what they used."""
        server, self._server = self._server, None
        if server is None:
            return
        try:
            used = server.end()
        except OSError:
            server.close()
            self._lost = True
            return
        self.cpu_seconds, self.peak_mb = used.cpu_seconds, used.peak_mb
        self._reason, self._code = used.reason, used.code
        self._pool.give_back(server)
        self.broken = True

    def close(self) -> None:
        self._end()
        for channel in (self._exercise, self._main):
            if channel:
                with suppress(OSError):
                    channel.close()
