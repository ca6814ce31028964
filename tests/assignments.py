"""Which assignments a long test goes through in `make test`; `make test-all` takes all of them.

The first one speaks for the engine, the last one is new.
"""

import pytest

from cs_vl.checks.spec import ASSIGNMENTS


def others_are_slow(*quick: str) -> list:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in ASSIGNMENTS]


FIRST = others_are_slow(ASSIGNMENTS[0])
FIRST_AND_LAST = others_are_slow(ASSIGNMENTS[0], ASSIGNMENTS[-1])
