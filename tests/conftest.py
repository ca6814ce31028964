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


# The files that take longest, in this order: begun first, so that no core waits for the other at the end.
LONGEST = ("gate", "release", "grade", "nothing_lost", "attacks", "nbgrader", "build", "lab", "independence")


def pytest_collection_modifyitems(items):
    def place(item: pytest.Item) -> int:
        name = item.path.stem.removeprefix("test_")
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)  # what is alike keeps its order


@pytest.fixture
def one(tmp_path) -> Path:
    """A class of one, whose notebook can't be read: quick to grade."""
    folder = tmp_path / "submitted"
    folder.mkdir()
    (folder / "ada.ipynb").write_text("{")
    return folder
