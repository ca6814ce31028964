"""The checks of a2, "CLIP", in the notebook's order."""

from cs_vl.checks.a2_clip import (
    balance,
    by_hand,
    clip,
    contrastive,
    nt_xent,
    probes,
    retrieval,
    siglip,
    zero_shot,
)
from cs_vl.checks.spec import Assignment, in_order

ORDER = (
    "info_nce_numpy", "info_nce_numpy_backward", "info_nce", "clamp_logit_scale", "CLIP", "clip_train_step",
    "zero_shot_classify", "prompt_ensemble", "linear_probe", "knn_classify", "recall_at_k",
    "siglip_loss", "siglip_chunked", "nt_xent", "keep_probability",
)  # fmt: skip

ASSIGNMENT = Assignment(
    name="a2_clip",
    title="CLIP",
    exercises=in_order(
        ORDER, by_hand, contrastive, siglip, nt_xent, clip, zero_shot, probes, retrieval, balance
    ),
    preload=("torch._dynamo",),
)
