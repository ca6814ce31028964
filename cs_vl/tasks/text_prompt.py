"""Masks by text: SAM finds everything, and CLIP, which has the words, says what fits them."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji_captions import TEMPLATES
from cs_vl.models.clip import CLIP
from cs_vl.tasks.clicks import mask_boxes
from cs_vl.tasks.emoji_clip import IMAGE_SIZE
from cs_vl.tasks.zero_shot import encode_images, encode_texts, prompt_ensemble

MARGIN = 0.1  # around what is cut out, of its larger side


def text_prompt(
    clip: CLIP,
    tokenizer: Tokenizer,
    image: Float[Tensor, "3 height width"],
    masks: Bool[Tensor, "m height width"],
    texts: Sequence[str],
) -> Float[Tensor, "m texts"]:
    """How well what each mask cuts out fits each text: cosines, by CLIP with an ensemble of prompts.

    This chains two finished models.  The paper's own text prompt (Kirillov et al. 2023, sec. 7.5) is another
    one: there SAM was trained with CLIP's embedding of what is in the mask as a prompt.

    Args:
        image: in [0, 1].
        masks: in the image, one at least, none empty.
        texts: nouns with their articles, "a cat", as in CLIP's training.
    """
    crops = torch.stack([cut_out(image, mask) for mask in masks])
    classes = prompt_ensemble(partial(encode_texts, clip, tokenizer), texts, TEMPLATES)
    return encode_images(clip, crops) @ classes.T


def cut_out(
    image: Float[Tensor, "3 height width"], mask: Bool[Tensor, "height width"], size: int = IMAGE_SIZE
) -> Float[Tensor, "3 size size"]:
    """What a mask shows, on white, in the middle of a square."""
    x0, y0, x1, y1 = mask_boxes(mask).tolist()
    white = torch.where(mask, image, 1.0)[:, y0 : y1 + 1, x0 : x1 + 1]
    height, width = white.shape[-2:]
    side = max(height, width) + 2 * round(MARGIN * max(height, width))
    left, top = (side - width) // 2, (side - height) // 2
    square = F.pad(white, (left, side - width - left, top, side - height - top), value=1.0)
    return F.interpolate(square[None], (size, size), mode="bilinear", align_corners=False, antialias=True)[0]
