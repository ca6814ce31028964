"""CLIP's loss: each image picks its text among the batch's, and each text its image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def info_nce(
    image_features: Float[Tensor, "batch dim"],
    text_features: Float[Tensor, "batch dim"],
    scale: Float[Tensor, ""] | float,
    direction: str = "both",
) -> Float[Tensor, ""]:
    """CLIP's symmetric InfoNCE   (Radford et al. 2021, sec. 2.3 and fig. 3).

    logits[i, j] = scale * (image_i . text_j).  Image i and text i are a pair; all other texts of the batch
    are wrong for image i, and all other images are wrong for text i.

    Args:
        image_features, text_features: L2-normalised by the caller; here they are taken as they come.
        scale: the multiplier itself, exp(logit_scale) = 1 / temperature, not its logarithm; a scalar tensor,
            which gets a gradient, or a number.
        direction: "image": each image picks its text: -log softmax over the texts, at text i, and the mean
            of that over the images.
            "text": each text picks its image: the same with the two sides in each other's place.
            "both": the mean of these two.

    Returns:
        The loss, a scalar tensor.  It is finite for all finite inputs: logits such as 1e4 or -1e4 do no harm.

    Raises:
        ValueError: an unknown direction, or features of different shapes.
    """
    if direction not in ("image", "text", "both"):
        raise ValueError(f"direction must be 'image', 'text' or 'both'; got {direction!r}")
    if image_features.shape != text_features.shape:
        shapes = f"{tuple(image_features.shape)} and {tuple(text_features.shape)}"
        raise ValueError(f"image i and text i are a pair, so both must have the same shape; got {shapes}")
    ### BEGIN SOLUTION
    logits = scale * image_features @ text_features.T  # (B, B): a row for each image
    partner = torch.arange(len(logits)).to(logits.device)
    of_images = F.cross_entropy(logits, partner)
    of_texts = F.cross_entropy(logits.T, partner)
    return {"image": of_images, "text": of_texts, "both": (of_images + of_texts) / 2}[direction]
    ### END SOLUTION
