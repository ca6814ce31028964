"""What long trainings left behind: a model, and the scores of all (`make checkpoints` makes both anew)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file

from cs_vl.data.emoji_captions import load_tokenizer
from cs_vl.data.files import DamagedFile, data_file, read_json
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import make_emoji_clip


def load_emoji_clip() -> CLIP:
    """The CLIP that `data/checkpoints/train.py` trained (run "vit", seed 0), in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: its file is missing.
        DamagedFile: its file is not whole, or of another model.
    """
    path = data_file("checkpoints/emoji_clip.safetensors")
    model = make_emoji_clip(load_tokenizer())
    try:
        model.load_state_dict(load_file(path))  # float16 there, float32 here
    except (SafetensorError, RuntimeError) as error:
        raise DamagedFile(path, str(error).split("\n")[0]) from error
    return model.eval()


def stored_runs(name: str) -> list[dict[str, Any]]:
    """What a run of `data/checkpoints/train.py` gave, a dict a seed; `final` has its last scores.

    Raises:
        FileNotFoundError: there is none.
    """
    listed = read_json(data_file("checkpoints/results/runs.json"))
    if name not in listed:
        raise FileNotFoundError(f"there is no stored run {name!r}; there is {', '.join(sorted(listed))}")
    return [read_json(data_file(f"checkpoints/results/{name}-{seed}.json")) for seed in listed[name]]


def final_scores(runs: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, list[float]]:
    """{key: [its last value in each run]}."""
    return {key: [run["final"][key] for run in runs] for key in keys}


def scores_along(runs: Sequence[dict[str, Any]], styles: Sequence[str]) -> Float[np.ndarray, "runs times"]:
    """The mean accuracy on seen concepts in some styles, along training: a row a run."""
    return np.stack([np.mean([run["scores"][style] for style in styles], axis=0) for run in runs])
