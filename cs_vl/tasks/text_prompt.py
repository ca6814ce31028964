"""A word as a prompt: SAM finds everything, CLIP says which piece the word fits."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji_captions import TEMPLATES
from cs_vl.data.scenes import tight_boxes
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import IMAGE_SIZE, name_embeddings
from cs_vl.tasks.zero_shot import encode_images


def text_prompt(
    clip: CLIP,
    tokenizer: Tokenizer,
    image: Float[Tensor, "3 height width"],
    masks: Bool[Tensor, "masks height width"],
    texts: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    size: int = IMAGE_SIZE,
    margin: float = 0.05,
) -> Float[Tensor, "masks texts"]:
    """How well each text fits what each mask cuts out: cosines.

    This is chaining: two models that were never trained together.  SAM's own text prompts (Kirillov et al.
    2023, sec. 7.5 and app. D.5) are another thing: there SAM is trained with CLIP's embeddings of the pieces
    as prompts, and is then given those of texts in their place.

    Args:
        image: in [0, 1].
        masks: of the image, none empty; `automatic_masks` finds some.
        texts: names of things, with or without their article; each goes into the templates.
        templates: as in `prompt_ensemble`, those of the captions that CLIP has learned from.
        size, margin: as in `cut_out`; the size is CLIP's.

    Raises:
        ValueError: there is no mask or no text, or a mask is empty or of another size than the image.
    """
    if isinstance(texts, str) or not texts:
        raise ValueError(f"texts should be a list of one text or more; got {texts!r}")
    if len(masks) == 0:
        raise ValueError("there are 0 masks to choose from: give one at least, for instance with lower bars")
    pieces = [cut_out(image, mask, size, margin=margin) for mask in masks]
    return encode_images(clip, torch.stack(pieces)) @ name_embeddings(clip, tokenizer, texts, templates).T


def cut_out(
    image: Float[Tensor, "3 height width"],
    mask: Bool[Tensor, "height width"],
    size: int,
    *,
    margin: float = 0.05,
) -> Float[Tensor, "3 size size"]:
    """A mask's thing alone, in the middle of a white square.

    Args:
        size: of the square that comes out, in pixels.
        margin: white on each side of the thing, as a share of its longer side.

    Raises:
        ValueError: the mask is empty, or of another size than the image.
    """
    if mask.shape != image.shape[-2:]:
        raise ValueError(
            f"a mask should be as large as its image, {tuple(image.shape[-2:])}; got {tuple(mask.shape)}"
        )
    if not mask.any():
        raise ValueError(f"a mask should have one pixel at least; got none of {mask.numel()}")
    x0, y0, x1, y1 = tight_boxes(mask).tolist()
    height, width = y1 - y0, x1 - x0
    side = round((1 + 2 * margin) * max(height, width))
    top, left = (side - height) // 2, (side - width) // 2
    square = image.new_ones(3, side, side)
    square[:, top : top + height, left : left + width] = torch.where(mask, image, 1.0)[:, y0:y1, x0:x1]
    return F.interpolate(square[None], (size, size), mode="bilinear", antialias=True)[0]
