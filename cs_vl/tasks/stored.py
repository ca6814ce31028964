"""What long trainings left behind: a model, and the scores of all (`make checkpoints` makes both anew)."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cs_vl.data.emoji_captions import load_tokenizer
from cs_vl.data.files import data_file, load_weights, read_json, read_results
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import make_emoji_clip

WEIGHTS = "checkpoints/emoji_clip.safetensors"


def load_emoji_clip() -> CLIP:
    """The CLIP that `data/checkpoints/train.py` trained (run "vit", seed 0), in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: its file is missing.
        DamagedFile: its file is not whole, or of another model.
    """
    return load_weights(make_emoji_clip(load_tokenizer()), WEIGHTS)


def stored_runs(name: str) -> list[dict[str, Any]]:
    """What a run of `data/checkpoints/train.py` gave, a dict a seed; `final` has its last scores.

    Raises:
        FileNotFoundError: there is none.
    """
    return read_results(WEIGHTS, name)


def stored_experiment(name: str) -> dict[str, list[dict[str, Any]]]:
    """What an experiment of `data/experiments/run.py` gave: {setting: [the record of each seed]}.

    A record has, besides its setting: "scores" as of `emoji_scores` and `level_scores`, "teraflops" (10^12
    operations in all), and "along": what was measured on the way, with "images" and "teraflops" until then.

    Raises:
        FileNotFoundError: there is none.
    """
    settings: dict[str, list[dict[str, Any]]] = {}
    for record in read_json(data_file(f"experiments/{name}.json"))["runs"]:
        settings.setdefault(record["setting"], []).append(record)
    return settings


def along(records: Sequence[dict[str, Any]], key: str) -> Float[np.ndarray, "seeds times"]:
    """A score along the training of one setting: a row a seed."""
    return np.array([record["along"][key] for record in records])


def final_scores(
    runs: Sequence[dict[str, Any]], keys: Sequence[str], of: str = "final"
) -> dict[str, list[float]]:
    """{key: [its last value in each run]}; of "final" in runs, of "scores" in an experiment's records."""
    return {key: [run[of][key] for run in runs] for key in keys}


def score_table(
    labels: Sequence[str],
    rows: Iterable[tuple[Sequence[str], Sequence[dict[str, float]]]],
    columns: dict[str, str],
    counts: Collection[str] = (),
) -> str:
    """Scores in percent, the mean over the seeds and from the lowest to the highest, as a Markdown table.

    Args:
        labels: headings of the first columns.
        rows: (what stands in the first columns, the scores of each seed); a score may be missing.
        columns: {score: heading}.
        counts: those scores that are no shares: they stand as they are.
    """
    headings = [*labels, "seeds", *columns.values()]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for first, seeds in rows:
        cells = [*first, str(len(seeds))]
        for key in columns:
            scale, digits = (1, 1) if key in counts else (100, 0)
            values = [scale * scores[key] for scores in seeds if key in scores]
            spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
            cells.append(f"{sum(values) / len(values):.1f}{spread}" if values else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def scores_along(runs: Sequence[dict[str, Any]], styles: Sequence[str]) -> Float[np.ndarray, "runs times"]:
    """The mean accuracy on seen concepts in some styles, along training: a row a run."""
    return np.stack([np.mean([run["scores"][style] for style in styles], axis=0) for run in runs])
