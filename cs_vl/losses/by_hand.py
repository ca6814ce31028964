"""InfoNCE by hand, in NumPy: the loss of one direction, and where its gradients push.

CLIP's loss is two of these, one for each direction (see `info_nce`); SigLIP's is in `siglip_by_hand`.
"""

import numpy as np
from jaxtyping import Float

from cs_vl.exercise import exercise


@exercise
def info_nce_numpy(
    queries: Float[np.ndarray, "batch dim"], keys: Float[np.ndarray, "batch dim"], scale: float
) -> float:
    """The mean over i of -log p_i[i], where p_i is the softmax of query i's logits over all keys   (InfoNCE).

    Query i's logit for key j is scale * (query_i . key_j).  Key i is its partner, the right choice; all other
    keys of the batch are wrong ones  (van den Oord et al. 2018, eq. 4; with images as queries and texts
    as keys it is one half of CLIP's loss: Radford et al. 2021, fig. 3).

    Args:
        queries, keys: row i of either belongs to row i of the other.  CLIP L2-normalises them before;
            here they are taken as they come, of any length.
        scale: the multiplier itself, 1 / temperature (CLIP: up to 100); not its logarithm.

    Returns:
        The loss, one number, 0 or more.  It is finite for all finite inputs: logits such as 1e4 or -1e4, and
        a partner with a probability too small for floating point, do no harm.
    """
    ### BEGIN SOLUTION
    logits = scale * queries @ keys.T  # (B, B): a row for each query
    # -log(exp(l_i) / sum_j exp(l_j)) = log(sum_j exp(l_j - c)) - (l_i - c) for every c; with a row's maximum,
    # exp cannot overflow, and no logarithm of 0 is taken.
    logits = logits - logits.max(axis=1, keepdims=True)
    log_normaliser = np.log(np.exp(logits).sum(axis=1))
    return float((log_normaliser - np.diag(logits)).mean())
    ### END SOLUTION


@exercise
def info_nce_numpy_backward(
    queries: Float[np.ndarray, "batch dim"], keys: Float[np.ndarray, "batch dim"], scale: float
) -> tuple[Float[np.ndarray, "batch dim"], Float[np.ndarray, "batch dim"], float]:
    """The gradients of the loss L = info_nce_numpy(queries, keys, scale) by its three arguments.

    L is the mean over i of -log p_i[i], where p_i is the softmax over j of scale * (query_i . key_j).
    There is no cache: compute again what you need of the forward pass.

    Args:
        queries, keys: as they come: their gradients do not go through any normalisation.
        scale: the multiplier itself, 1 / temperature, not its logarithm: its gradient is by itself, too.

    Returns:
        (grad_queries, grad_keys, grad_scale): two arrays in the shapes of `queries` and `keys`, and a number.
        They are finite for logits of any size, 1e4 or -1e4, too.
    """
    ### BEGIN SOLUTION
    similarities = queries @ keys.T
    logits = scale * similarities
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exp / exp.sum(axis=1, keepdims=True)
    # -log p_i[i] = log(sum_j exp(l_ij)) - l_ii, so dL/dl_ij = (p_i[j] - 1[i = j]) / B: a query is pulled
    # towards its partner, and pushed from every key as much as it mistakes that key for its partner.
    grad_logits = (p - np.eye(len(p))) / len(p)
    # l = scale * (q k^T): for y = a b (matrices), dL/da = dL/dy b^T and dL/db = a^T dL/dy.
    grad_queries = scale * grad_logits @ keys
    grad_keys = scale * grad_logits.T @ queries
    return grad_queries, grad_keys, float((grad_logits * similarities).sum())
    ### END SOLUTION
