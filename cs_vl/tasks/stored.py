"""What long trainings left behind: a model, and the scores of all (`make checkpoints` makes both anew)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cs_vl.data.emoji_captions import load_tokenizer
from cs_vl.data.files import DamagedFile, data_file, read_json, read_tensors
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import make_emoji_clip

WEIGHTS = "checkpoints/emoji_clip.safetensors"


def load_emoji_clip() -> CLIP:
    """The CLIP that `data/checkpoints/train.py` trained (run "vit", seed 0), in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: its file is missing.
        DamagedFile: its file is not whole, or of another model.
    """
    path = data_file(WEIGHTS)
    model = make_emoji_clip(load_tokenizer())
    try:
        model.load_state_dict(read_tensors(path))  # float16 there, float32 here
    except RuntimeError as error:  # names or shapes
        raise DamagedFile(path, str(error).split("\n")[0]) from error
    return model.eval()


def stored_runs(name: str) -> list[dict[str, Any]]:
    """What a run of `data/checkpoints/train.py` gave, a dict a seed; `final` has its last scores.

    Raises:
        FileNotFoundError: there is none.
    """
    folder = data_file(WEIGHTS).parent / "results"
    runs = sorted(folder.glob(f"{name}-[0-9].json"))
    if not runs:
        there = sorted({path.stem.rpartition("-")[0] for path in folder.glob("*.json")})
        raise FileNotFoundError(f"there is no stored run {name!r}; there is {', '.join(there)}")
    return [read_json(path) for path in runs]


def final_scores(runs: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, list[float]]:
    """{key: [its last value in each run]}."""
    return {key: [run["final"][key] for run in runs] for key in keys}


def scores_along(runs: Sequence[dict[str, Any]], styles: Sequence[str]) -> Float[np.ndarray, "runs times"]:
    """The mean accuracy on seen concepts in some styles, along training: a row a run."""
    return np.stack([np.mean([run["scores"][style] for style in styles], axis=0) for run in runs])
