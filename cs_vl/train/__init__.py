"""Training: one loop for all models.

Read in this order: `schedule` (the learning rate), `loop` (`fit`), `checkpoint`, `device`, `history`; and
`clip_step`, a step of CLIP's training written out; `runs`, what the scripts in `data/` share that train the
committed models.
"""

from cs_vl.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cs_vl.train.clip_step import clip_train_step
from cs_vl.train.device import device_name, pick_device
from cs_vl.train.history import History
from cs_vl.train.loop import fit, make_optimizer, step_seed, to_device
from cs_vl.train.schedule import warmup_cosine

__all__ = [
    "CheckpointError",
    "History",
    "clip_train_step",
    "device_name",
    "fit",
    "load_checkpoint",
    "make_optimizer",
    "pick_device",
    "save_checkpoint",
    "step_seed",
    "to_device",
    "warmup_cosine",
]
