"""Every figure that the notebooks show.

Each function returns a matplotlib `Figure`: shown where it is the last expression of a notebook's cell (or
given to `display`), saved by `figure.savefig("name.png")`.  None changes matplotlib's settings, and all
colours can be told apart by colour-blind readers.
"""

from cs_vl.plots.attention import attention_maps, mask_grid, position_similarity
from cs_vl.plots.curves import bars, learning_curves
from cs_vl.plots.pictures import show_scenes
from cs_vl.plots.record import attention_weights
from cs_vl.plots.scale import attention_sharpness

__all__ = [
    "attention_maps",
    "attention_sharpness",
    "attention_weights",
    "bars",
    "learning_curves",
    "mask_grid",
    "position_similarity",
    "show_scenes",
]
