"""Two similar submissions side by side, for a person to compare."""

from dataclasses import dataclass

from autograder.report.text import shown
from autograder.similar import Definition, Group, Pair

MOST_PAIRS, MOST_PAGES = 30, 300  # of a group; in all
MOST_LINES, LONGEST_LINE = 300, 200  # of a definition; characters

Line = tuple[str, bool]  # its text, and whether the other one has it, too


@dataclass
class Beside:
    """A definition of one, and the other one's that has most in common with it."""

    name: str
    lines: list[Line]
    other_name: str
    other_lines: list[Line]


def chosen_pairs(groups: list[Group]) -> list[Pair]:
    """The pairs that get a page: of each group the most similar ones."""
    return [pair for group in groups for pair in group.pairs[:MOST_PAIRS]][:MOST_PAGES]


def side_by_side(pair: Pair) -> list[Beside]:
    """The definitions that have something in common, in the order of the first submission."""
    found = []
    for definition in pair.one.definitions:
        if not definition.prints.keys() & pair.common:
            continue

        def in_common(other: Definition, mine: Definition = definition) -> int:
            return len(mine.prints.keys() & other.prints.keys() & pair.common)

        other = max(pair.other.definitions, key=in_common)
        found.append(Beside(definition.name, _lines(definition, pair), other.name, _lines(other, pair)))
    return found


def _lines(definition: Definition, pair: Pair) -> list[Line]:
    marked = {line for one in pair.common for line in definition.prints.get(one, ())}
    first = list(definition.lines.items())[:MOST_LINES]
    lines = [(_indented(text), number in marked) for number, text in first]
    left = len(definition.lines) - MOST_LINES
    return [*lines, (f"… and {left} more lines", False)] if left > 0 else lines


def _indented(line: str) -> str:
    text = line.expandtabs(4)
    return " " * min(len(text) - len(text.lstrip()), 40) + shown(text, LONGEST_LINE)
