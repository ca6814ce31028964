"""What the trainings of `data/vlm/train.py` came to, in the shape that figures take.

All scores are shares in [0, 1], a list with one value a seed.  The questions are about scenes that no model
was trained on; an answer counts where what it comes to (`final_answer`) is exactly right.
"""

from typing import Any

from cs_vl.data.files import read_results
from cs_vl.data.instructions import FAMILIES
from cs_vl.data.world_text import KNOWLEDGE

FACTS = tuple(KNOWLEDGE)
CONTROLS = {"picture": "with its picture", "text only": "no picture", "shuffled": "another picture"}
SHOTS = (0, 1, 2, 4, 8)

Bars = dict[str, dict[str, list[float]]]  # {what is compared: {kind of question: [a value a seed]}}


def stored_vlm(run: str) -> list[dict[str, Any]]:
    """What a run of `data/vlm/train.py` gave: a dict a seed; `scores` holds how well it answers.

    Raises:
        FileNotFoundError: there is none.
    """
    return read_results("vlm/README.md", run)


def with_controls(run: str = "llava") -> Bars:
    """LLaVA after phase 2: with the picture that a question belongs to, with none, with another one's."""
    return {name: by_family(run, control) for control, name in CONTROLS.items()}


def by_family(run: str, control: str = "picture") -> dict[str, list[float]]:
    """A run's scores after phase 2 for each of `FAMILIES`."""
    return {family: _scores(run, family, control) for family in FAMILIES}


def compared(**runs: str) -> Bars:
    """Runs beside one another: `compared(matrix="llava-linear", MLP="llava-short")`."""
    return {name.replace("_", " "): by_family(run) for name, run in runs.items()}


def knowledge_with_controls(run: str = "llava") -> Bars:
    """Facts about things of which they stand in the language model's text alone."""
    return {
        name: {fact: _scores(run, f"knowledge: {fact}, others", control) for fact in FACTS}
        for control, name in CONTROLS.items()
    }


def few_shots() -> dict[str, list[list[float]]]:
    """Flamingo on words that it was never trained on: a row a seed, the share of right ones for `SHOTS`."""
    runs = [run["scores"] for run in stored_vlm("flamingo")]
    shown = {"examples as they are": "", "pictures of other examples": ", shuffled"}
    return {
        name: [
            [run.get(f"test words, {n} shots{end}", run["test words, 0 shots"]) for n in SHOTS]
            for run in runs
        ]
        for name, end in shown.items()
    }


def _scores(run: str, family: str, control: str) -> list[float]:
    return [one["scores"]["phase 2"][family][control] for one in stored_vlm(run)]
