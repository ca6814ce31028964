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
"""

from cs_vl.losses.by_hand import info_nce_numpy, info_nce_numpy_backward
from cs_vl.losses.captioning import bag_of_words_loss, caption_log_likelihood, captioning_loss
from cs_vl.losses.distributed import distributed_info_nce, distributed_siglip
from cs_vl.losses.info_nce import info_nce
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
    "caption_log_likelihood",
    "captioning_loss",
    "clamp_logit_scale",
    "distributed_info_nce",
    "distributed_siglip",
    "info_nce",
    "info_nce_numpy",
    "info_nce_numpy_backward",
    "next_token_loss",
    "nt_xent",
    "siglip_chunked",
    "siglip_loss",
    "siglip_loss_chunked",
    "siglip_numpy",
    "siglip_numpy_backward",
]
