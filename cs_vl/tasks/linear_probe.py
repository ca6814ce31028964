"""The linear probe: how much a line can read out of frozen features.

No image tower is trained, so all images are encoded once, and fitting takes seconds.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cs_vl.exercise import exercise


def minimise(loss: Callable[[], Float[Tensor, ""]], parameters: Sequence[Tensor]) -> None:
    """Move `parameters`, in place, to where a smooth convex loss is least: L-BFGS until it falls no further.

    L-BFGS (Liu & Nocedal 1989) learns the loss's curvature from its last gradients: tens of steps where
    plain gradient descent needs thousands, and no learning rate to choose.

    Args:
        loss: the loss as the parameters stand, a scalar that autograd can follow back to them.
        parameters: leaves with requires_grad, best in float64: float32's rounding hides the last steps.

    Raises:
        RuntimeError: the loss falls on and on, or is not finite.
    """
    optimizer = torch.optim.LBFGS(
        parameters, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )

    def loss_with_gradients() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.detach()

    before = math.inf
    for _ in range(200):
        # This is up to 20 steps of L-BFGS's own, and returns the loss in front of them.
        now = optimizer.step(loss_with_gradients).item()
        if not math.isfinite(now):
            break
        if now >= before:
            return
        before = now
    raise RuntimeError(
        f"the loss came to {now:.4g}, and to no minimum: is every feature finite?  Without a penalty, or "
        "with one of the wrong sign, it may have none"
    )


@exercise
def linear_probe(
    features: Float[Tensor, "images dim"], labels: Int[Tensor, " images"], num_classes: int, l2: float
) -> tuple[Float[Tensor, "num_classes dim"], Float[Tensor, " num_classes"]]:
    """The softmax regression that fits frozen features best   (Radford et al. 2021, app. A.3).

    It is the minimum, over weight and bias, of

        mean over the images of cross_entropy(features weight^T + bias, labels) + l2 / 2 * ||weight||^2

    where ||weight||^2 is the sum of the squares of all entries; the bias is not penalised.  The loss is
    convex: any way to the minimum will do, `minimise(loss, parameters)` from this file for one.  Go all the
    way: the answer is compared with the true minimum to about three digits.

    Args:
        features: used as they are: neither normalised nor centred here.
        labels: 0 to num_classes - 1; each class occurs.
        l2: strength of the penalty, above 0.

    Returns:
        (weight, bias), in the dtype of the features, without gradients.  (The same number added to all
        biases changes no probability, so any of those is right.)
    """
    ### BEGIN SOLUTION
    x = features.detach().double()
    weight = x.new_zeros(num_classes, x.shape[1]).requires_grad_()
    bias = x.new_zeros(num_classes).requires_grad_()

    def loss():
        return F.cross_entropy(x @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()

    minimise(loss, [weight, bias])
    return weight.detach().to(features.dtype), bias.detach().to(features.dtype)
    ### END SOLUTION
