"""Every figure that the notebooks show.

Each function returns a matplotlib `Figure`: shown where it is the last expression of a notebook's cell (or
given to `display`), saved by `figure.savefig("name.png")`.  None changes matplotlib's settings, and all
colours can be told apart by colour-blind readers.
"""

from cs_vl.plots.attention import attention_maps, mask_grid, position_similarity
from cs_vl.plots.comparisons import long_tail, memory_bars, seed_curves
from cs_vl.plots.curves import bars, learning_curves
from cs_vl.plots.pictures import show_scenes
from cs_vl.plots.record import attention_weights
from cs_vl.plots.robustness import accuracy_by_style, effective_robustness
from cs_vl.plots.sam import (
    confidence_against_truth,
    engine_stages,
    everything_sheet,
    mask_sheet,
    picture_rows,
    place_similarity,
)
from cs_vl.plots.scale import attention_sharpness
from cs_vl.plots.sheets import nearest_neighbours, retrieval_sheet, style_sheet, zero_shot_predictions
from cs_vl.plots.similarity import similarity_matrix, softmax_temperatures
from cs_vl.plots.vlm import (
    answer_sheet,
    few_shot_sheet,
    hallucination_bars,
    interleaved_mask,
    next_token_bars,
    scene_sheet,
    scores_by_distance,
    scores_with_controls,
    spliced_sequence,
)

__all__ = [
    "accuracy_by_style",
    "answer_sheet",
    "attention_maps",
    "attention_sharpness",
    "attention_weights",
    "bars",
    "confidence_against_truth",
    "effective_robustness",
    "engine_stages",
    "everything_sheet",
    "few_shot_sheet",
    "hallucination_bars",
    "interleaved_mask",
    "learning_curves",
    "long_tail",
    "mask_grid",
    "mask_sheet",
    "memory_bars",
    "nearest_neighbours",
    "next_token_bars",
    "picture_rows",
    "place_similarity",
    "position_similarity",
    "retrieval_sheet",
    "scene_sheet",
    "scores_by_distance",
    "scores_with_controls",
    "seed_curves",
    "show_scenes",
    "similarity_matrix",
    "softmax_temperatures",
    "spliced_sequence",
    "style_sheet",
    "zero_shot_predictions",
]
