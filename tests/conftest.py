"""A fixture of several files; and the gate's totals at the end of a run."""

from collections import Counter
from pathlib import Path

import pytest

WHAT = (
    "exercises",
    "misconceptions named",
    "alternatives accepted",
    "mutants killed",
    "mutants listed as equal",
)


def pytest_terminal_summary(terminalreporter):
    totals: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        if report.when == "call":
            for name, value in report.user_properties:
                totals[name] += value
    if totals["exercises"]:
        terminalreporter.write_line(
            "the gate: " + ", ".join(f"{totals[name]} {name}" for name in WHAT if name in totals)
        )


@pytest.fixture
def one(tmp_path) -> Path:
    """A class of one, whose notebook can't be read: quick to grade."""
    folder = tmp_path / "submitted"
    folder.mkdir()
    (folder / "ada.ipynb").write_text("{")
    return folder
