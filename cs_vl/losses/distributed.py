"""The losses of one large batch that is spread over several processes (`torch.distributed`).

Every process calls the loss with the features of its own pairs, as many as each of the others has, and gets
a loss of its own.  The *mean* of these over the processes is the loss of the whole batch.  DDP averages
gradients over the processes, so every parameter (`scale` and `bias` included) gets the whole batch's, too:
the gradients that other processes have for our features come back to us.

In a single process, with or without `torch.distributed`, they are the plain losses.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from cs_vl.losses.siglip import siglip_loss


def distributed_info_nce(
    image_features: Float[Tensor, "local_batch dim"],
    text_features: Float[Tensor, "local_batch dim"],
    scale: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """`info_nce`, both directions, of the batch of all processes.

    A softmax needs its whole row, so all features are gathered; but a process computes only the rows of its
    own images and the columns of its own texts: 2 * local_batch * batch logits.

    Args:
        image_features, text_features: L2-normalised by the caller; image i and text i are a pair.
        scale: the multiplier itself (1 / temperature), not its logarithm.
    """
    ### BEGIN SOLUTION
    own = scale * (image_features * text_features).sum(dim=1)  # right pairs: both sides are here
    among_texts = torch.logsumexp(scale * image_features @ _gather(text_features).T, dim=1)
    among_images = torch.logsumexp(scale * text_features @ _gather(image_features).T, dim=1)
    return ((among_texts + among_images) / 2 - own).mean()
    ### END SOLUTION


def distributed_siglip(
    image_features: Float[Tensor, "local_batch dim"],
    text_features: Float[Tensor, "local_batch dim"],
    scale: Float[Tensor, ""] | float,
    bias: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """`siglip_loss` of the batch of all processes   (Zhai et al. 2023, sec. 3.3 and fig. 1).

    No pair looks at another, so nothing is gathered: images stay, and texts go round a ring of processes, one
    process's share at a time.

    Args:
        image_features, text_features: L2-normalised by the caller; image i and text i are a pair.
        scale: the multiplier itself (1 / temperature), not its logarithm.
        bias: added to every logit.
    """
    ### BEGIN SOLUTION
    loss = siglip_loss(image_features, text_features, scale, bias)
    visitors = text_features
    for _ in range(_processes() - 1):
        visitors = _PassOn.apply(visitors)
        wrong = scale * image_features @ visitors.T + bias  # no visiting text belongs to an image of ours
        loss = loss + F.softplus(wrong).sum() / len(image_features)
    return loss
    ### END SOLUTION


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _gather(features: Tensor) -> Tensor:
    return _Gather.apply(features) if _processes() > 1 else features


class _Gather(torch.autograd.Function):
    """The features of all processes, in the order of their ranks."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        features = features.contiguous()
        parts = [torch.empty_like(features) for _ in range(_processes())]
        dist.all_gather(parts, features)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # All processes' losses looked at our features: add up what they all have for them.
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad.chunk(_processes())[dist.get_rank()]


class _PassOn(torch.autograd.Function):
    """Our features to the next process of the ring, those of the one before to us; gradients go back."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return _exchange(features, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _exchange(grad, -1)


def _exchange(ours: Tensor, step: int) -> Tensor:
    """Send to the process `step` places on, and receive from the one as many places before."""
    rank, processes = dist.get_rank(), _processes()
    ours = ours.contiguous()
    theirs = torch.empty_like(ours)
    both = [
        dist.P2POp(dist.isend, ours, (rank + step) % processes),
        dist.P2POp(dist.irecv, theirs, (rank - step) % processes),
    ]
    for work in dist.batch_isend_irecv(both):
        work.wait()
    return theirs
