"""Checks: how an answer is judged, in a notebook, in the terminal, in tests and while grading.

Read in this order: `spec` (exercise, stage, case, probe), `probes`, `run`, `compare`, `judge`, `card`,
`visible` (`check` in a notebook), then `cells`, `load`, `worker` and `submission` (how a notebook is judged
without running its story), and the modules named after assignments.
"""

from cs_vl.checks.visible import check
from cs_vl.exercise import exercise

__all__ = ["check", "exercise"]
