"""SigLIP by hand, in NumPy: B^2 questions, "do these two belong together?", and their gradients.

Compare with InfoNCE in `by_hand`: both gradients are "what the model believes, less the truth"; only here
each pair's belief is its own sigmoid, where InfoNCE's is a softmax that ties a whole row together.
"""

import numpy as np
from jaxtyping import Float


def siglip_numpy(
    images: Float[np.ndarray, "batch dim"], texts: Float[np.ndarray, "batch dim"], scale: float, bias: float
) -> float:
    """-(1/B) sum_ij log sigmoid(z_ij l_ij), l = scale * images texts^T + bias   (Zhai et al. 2023, sec. 3.2).

    Args:
        images, texts: image i belongs to text i (z_ii = 1) and to no other (z_ij = -1).
        scale: the multiplier itself, 1 / temperature; not its logarithm.
        bias: added to every logit.

    Returns:
        A number, 0 or more, finite for logits of any size: the sum over all pairs divided by B, not by B^2.
    """
    ### BEGIN SOLUTION
    z = 2 * np.eye(len(images)) - 1
    margins = z * (scale * images @ texts.T + bias)  # (B, B): how far each answer is on the right side
    # -log sigmoid(m) = log(1 + exp(-m)): logaddexp computes log(e^0 + e^-m) without overflow.
    return float(np.logaddexp(0, -margins).sum() / len(images))
    ### END SOLUTION


def siglip_numpy_backward(
    images: Float[np.ndarray, "batch dim"], texts: Float[np.ndarray, "batch dim"], scale: float, bias: float
) -> tuple[Float[np.ndarray, "batch dim"], Float[np.ndarray, "batch dim"], float, float]:
    """(grad_images, grad_texts, grad_scale, grad_bias) of `siglip_numpy`, in its arguments' shapes."""
    ### BEGIN SOLUTION
    similarities = images @ texts.T
    # sigmoid(l) = (1 + tanh(l / 2)) / 2, which saturates where 1 / (1 + exp(-l)) would overflow.
    belief = (1 + np.tanh((scale * similarities + bias) / 2)) / 2  # P(i and j belong together)
    # d(-log sigmoid(z l))/dl = -z sigmoid(-z l), which is sigmoid(l) - 1 where z = 1, and sigmoid(l) where
    # z = -1: belief less truth.
    grad_logits = (belief - np.eye(len(images))) / len(images)
    # l = scale * s + bias, s = images texts^T; the bias is added to each logit, so its gradient is their sum.
    grad_similarities = scale * grad_logits
    return (
        grad_similarities @ texts,
        grad_similarities.T @ images,
        float((grad_logits * similarities).sum()),
        float(grad_logits.sum()),
    )
    ### END SOLUTION
