"""The checks of a4, "Language models that see", in the notebook's order."""

from cs_vl.checks.a4_vlm import (
    cached_attention,
    few_shot,
    flamingo,
    instructions,
    llava,
    rms_norm,
    rotary,
    sampling,
)
from cs_vl.checks.spec import Assignment, in_order

ORDER = (
    "rms_norm_numpy", "rms_norm_numpy_backward", "rotary_embed", "CachedAttention",
    "next_token_probabilities", "Projector", "splice_images", "answer_labels", "set_phase",
    "scene_instructions", "PerceiverResampler", "GatedCrossAttention", "media_mask", "few_shot_scores",
)  # fmt: skip

ASSIGNMENT = Assignment(
    name="a4_vlm",
    title="Language models that see",
    exercises=in_order(
        ORDER, rms_norm, rotary, cached_attention, sampling, llava, instructions, flamingo, few_shot
    ),
    preload=("torch.fx.experimental.symbolic_shapes",),  # torch.autograd.grad with a gradient of its own
)
