"""SigLIP for batches whose B x B logits do not fit: a slice of the texts at a time.

The loss is a sum over pairs, and no pair looks at another.  So the gradient of the whole is the sum of the
gradients of the slices, and a slice can be forgotten before the next one begins.  A softmax would not let
us: its denominator needs a whole row.  (Zhai et al. 2023, sec. 3.3, do the same across devices.)
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from cs_vl.exercise import exercise


@exercise
def siglip_chunked(
    image_features: Float[Tensor, "batch dim"],
    text_features: Float[Tensor, "batch dim"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    chunk_size: int,
) -> tuple[
    Float[Tensor, ""],
    tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"], Float[Tensor, ""], Float[Tensor, ""]],
]:
    """What `siglip_loss` gives, and its four gradients, without ever holding the B x B logits.

    All memory beyond that of the inputs and of the returned tensors is O(B * chunk_size): at no time is
    there a matrix with an entry for each of the B^2 pairs, nor a graph that keeps several chunks alive.

    Args:
        image_features, text_features: L2-normalised by the caller; image i and text i are a pair.
        scale, bias: as in `siglip_loss`; scalar tensors.
        chunk_size: how many of the texts (or of the images, as you like) to take at a time, 1 or more.  It
            need not divide B: then the last chunk is smaller.  It may exceed B.

    Returns:
        (loss, (grad_images, grad_texts, grad_scale, grad_bias)): the same numbers for every chunk_size.
        The loss is a scalar, detached.  The gradients are those by the four arguments as they come (not
        through any normalisation), each in its argument's shape.

    The arguments may require a gradient or not, and may hang on the graph of two towers: leave that graph,
    and any `.grad` of theirs, as they are.
    """
    ### BEGIN SOLUTION
    # Leaves of our own share the numbers but not the graph: backward() stops here, and adds up in .grad.
    images, texts, scale, bias = leaves = [
        x.detach().requires_grad_() for x in (image_features, text_features, scale, bias)
    ]
    total = torch.zeros_like(scale)
    for start in range(0, len(texts), chunk_size):
        logits = images @ (scale * texts[start : start + chunk_size]).T + bias  # (B, chunk)
        # -log sigmoid(z l) = softplus(-z l): negate the right pairs, text start + j with image start + j.
        logits.diagonal(-start).neg_()
        loss = F.softplus(logits).sum() / len(images)
        loss.backward()  # frees what this chunk has kept
        total += loss.detach()
    return total, tuple(x.grad for x in leaves)
    ### END SOLUTION


class SigLIPChunked(torch.autograd.Function):
    """`siglip_chunked` as one differentiable operation: gradients are ready when the loss is."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, size: int) -> Tensor:
        with torch.enable_grad():  # inside a Function it is off, and each chunk needs its own backward
            loss, gradients = siglip_chunked(images, texts, scale, bias, size)
        ctx.save_for_backward(*gradients)
        return torch.as_tensor(loss, dtype=images.dtype, device=images.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        return (*(grad_loss * gradient for gradient in ctx.saved_tensors), None)


def siglip_loss_chunked(
    image_features: Float[Tensor, "batch dim"],
    text_features: Float[Tensor, "batch dim"],
    scale: Float[Tensor, ""] | float,
    bias: Float[Tensor, ""] | float,
    chunk_size: int = 512,
) -> Float[Tensor, ""]:
    """`siglip_loss` to train with, in the memory of one chunk; arguments as in `siglip_chunked`.

    Raises:
        ValueError: chunk_size is less than 1.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be 1 or more; got {chunk_size}")
    scale, bias = (
        torch.as_tensor(x, dtype=image_features.dtype, device=image_features.device) for x in (scale, bias)
    )
    return SigLIPChunked.apply(image_features, text_features, scale, bias, chunk_size)
