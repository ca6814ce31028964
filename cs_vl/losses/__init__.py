"""Losses, one idea a file.

Read in this order:

1. `by_hand`: InfoNCE in NumPy, one direction, with the gradient derived by hand.
2. `info_nce`: the same in torch, in both directions: CLIP's loss.
3. `temperature`: what keeps CLIP's learned temperature within bounds.
4. `siglip_by_hand`, `siglip`: a sigmoid for each pair where CLIP has a softmax for each row.
5. `siglip_chunked`: SigLIP without the whole matrix of logits in memory.
6. `nt_xent`: one modality, two views: SimCLR.
7. `captioning`: predict the caption in place of picking it: what CLIP was compared with.
8. `distributed`: InfoNCE and SigLIP of a batch that is spread over several processes.
9. `next_token`: a language model's loss over the tokens that count.
10. `mask_iou`, `mask_losses_by_hand`, `mask_losses`: how good a mask is, and what it learns from.
11. `best_of_masks`: several masks for what may mean several things: SAM's loss.
"""

from cs_vl.losses.best_of_masks import best_of_masks_loss
from cs_vl.losses.by_hand import info_nce_numpy, info_nce_numpy_backward
from cs_vl.losses.captioning import bag_of_words_loss, caption_log_likelihood, captioning_loss
from cs_vl.losses.distributed import distributed_info_nce, distributed_siglip
from cs_vl.losses.info_nce import info_nce
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.losses.mask_losses import dice_loss, focal_loss
from cs_vl.losses.mask_losses_by_hand import (
    dice_loss_numpy,
    dice_loss_numpy_backward,
    focal_loss_numpy,
    focal_loss_numpy_backward,
)
from cs_vl.losses.next_token import IGNORED, next_token_loss
from cs_vl.losses.nt_xent import nt_xent
from cs_vl.losses.siglip import siglip_loss
from cs_vl.losses.siglip_by_hand import siglip_numpy, siglip_numpy_backward
from cs_vl.losses.siglip_chunked import SigLIPChunked, siglip_chunked, siglip_loss_chunked
from cs_vl.losses.temperature import clamp_logit_scale

__all__ = [
    "IGNORED",
    "SigLIPChunked",
    "bag_of_words_loss",
    "best_of_masks_loss",
    "caption_log_likelihood",
    "captioning_loss",
    "clamp_logit_scale",
    "dice_loss",
    "dice_loss_numpy",
    "dice_loss_numpy_backward",
    "distributed_info_nce",
    "distributed_siglip",
    "focal_loss",
    "focal_loss_numpy",
    "focal_loss_numpy_backward",
    "info_nce",
    "info_nce_numpy",
    "info_nce_numpy_backward",
    "mask_iou",
    "next_token_loss",
    "nt_xent",
    "siglip_chunked",
    "siglip_loss",
    "siglip_loss_chunked",
    "siglip_numpy",
    "siglip_numpy_backward",
]
