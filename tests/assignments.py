"""Which assignments a test goes through.

`make test` takes the first, which speaks for the engine, and the last, which is new; `make test-all` takes all.
"""

import pytest

from cs_vl.checks.spec import ASSIGNMENTS

FIRST_AND_LAST = [
    pytest.param(name, marks=() if name in (ASSIGNMENTS[0], ASSIGNMENTS[-1]) else pytest.mark.slow)
    for name in ASSIGNMENTS
]
