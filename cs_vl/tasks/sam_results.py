"""What the trainings of `data/sam/train.py` came to."""

from typing import Any

from cs_vl.data.files import read_results


def stored_sam(run: str) -> list[dict[str, Any]]:
    """What a run gave: a dict a seed.

    Runs "sam" and "single" (one mask for each prompt): "scores", as in `ClickScores.table` and
    `everything_scores`, and "along": {"step": [...], "1 clicks": [...], "8 clicks": [...]}.  Run "engine":
    "before", the IoU after one click before the first stage, and "stages": {stage: {"masks": labels an image,
    "by_hand": clicks a label, "quality": IoU of the labels, "found": share of what is there that has a label,
    "after": the IoU after one click, after the training on all labels so far}}.

    Raises:
        FileNotFoundError: there is none.
    """
    return read_results("sam/README.md", run)
