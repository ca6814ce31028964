"""Training: one loop for all models.

Read in this order: `schedule` (the learning rate), `loop` (`fit`), `checkpoint`, `device`, `history`.
"""

from cs_vl.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cs_vl.train.device import pick_device
from cs_vl.train.history import History
from cs_vl.train.loop import fit, make_optimizer, step_seed
from cs_vl.train.schedule import warmup_cosine

__all__ = [
    "CheckpointError",
    "History",
    "fit",
    "load_checkpoint",
    "make_optimizer",
    "pick_device",
    "save_checkpoint",
    "step_seed",
    "warmup_cosine",
]
