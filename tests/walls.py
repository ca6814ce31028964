"""Whether walls can stand here: a mark for tests that need them."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

from autograder.sandbox import bwrap


@cache
def why_no_walls() -> str:
    """Why they can't stand here; nothing where they do.  (It starts bubblewrap, no Python in it.)"""
    try:
        done = subprocess.run(
            [*bwrap.command(Path(__file__).parent), "/bin/true"], capture_output=True, text=True, timeout=20
        )
        return done.stderr.strip()[-200:] if done.returncode else ""
    except OSError as error:
        return str(error)


needs_walls = pytest.mark.skipif(bool(why_no_walls()), reason=f"walls can't stand here: {why_no_walls()}")
