"""What the trainings of `data/sam/train.py` came to."""

from typing import Any

from cs_vl.data.files import data_file, read_json


def stored_sam(run: str) -> list[dict[str, Any]]:
    """What a run of `data/sam/train.py` gave: a dict a seed; `scores` holds how good its masks are.

    Raises:
        FileNotFoundError: there is none.
    """
    folder = data_file("sam/README.md").parent / "results"
    found = sorted(folder.glob(f"{run}-[0-9].json"))
    if not found:
        there = sorted({path.stem.rpartition("-")[0] for path in folder.glob("*.json")})
        raise FileNotFoundError(f"there is no stored run {run!r}; there is {', '.join(there)}")
    return [read_json(path) for path in found]
