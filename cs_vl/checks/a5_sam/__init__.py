"""The checks of a5, "Segment anything", in the notebook's order."""

from cs_vl.checks.a5_sam import best_of, decoder, engine, losses, masks, prompts
from cs_vl.checks.spec import Assignment, in_order

ORDER = (
    "fourier_positions", "PointEncoder", "MaskEncoder", "TwoWayBlock", "MaskDecoder", "mask_iou",
    "focal_loss_numpy", "focal_loss_numpy_backward", "dice_loss_numpy", "dice_loss_numpy_backward",
    "best_of_masks_loss", "sample_error_points", "stability_score", "nms", "point_grid", "data_engine",
)  # fmt: skip

ASSIGNMENT = Assignment(
    name="a5_sam",
    title="Segment anything",
    exercises=in_order(ORDER, prompts, decoder, losses, best_of, masks, engine),
    preload=("torch.fx.experimental.symbolic_shapes",),  # torch.broadcast_shapes
)
