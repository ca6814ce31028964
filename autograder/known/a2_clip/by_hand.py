"""Known answers: InfoNCE in NumPy, forward and backward."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

FORWARD, BACKWARD = "info_nce_numpy", "info_nce_numpy_backward"


def logits_of(queries, keys, scale):
    return scale * (queries @ keys.T)


def log_softmax(x, axis=1):
    return x - np.logaddexp.reduce(x, axis=axis, keepdims=True)


def softmax(x, axis=1):
    return np.exp(log_softmax(x, axis))


def normalised(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cross_entropy(logits, axis=1):
    return -np.diag(log_softmax(logits, axis)).mean()


def without_diagonal(x):
    return np.where(np.eye(len(x)) == 1, -np.inf, x)


# --- forward -------------------------------------------------------------------------------------------


@alternative(FORWARD)
def query_by_query(queries, keys, scale):
    total = 0.0
    for i, query in enumerate(queries):
        row = [scale * sum(a * b for a, b in zip(query, key, strict=True)) for key in keys]
        top = max(row)
        total += top + math.log(sum(math.exp(logit - top) for logit in row)) - row[i]
    return total / len(queries)


@alternative(FORWARD)
def by_logaddexp(queries, keys, scale):
    scores = np.einsum("id,jd->ij", queries, keys) * scale
    return np.mean(np.logaddexp.reduce(scores, axis=-1) - scores.diagonal())


@alternative(FORWARD)
def by_torch(queries, keys, scale):
    scores = torch.from_numpy(queries @ keys.T) * scale
    return F.cross_entropy(scores, torch.arange(scores.size(0)))


@alternative(FORWARD)
def one_hot_in_float32(queries, keys, scale):
    scores = np.float32(scale) * np.dot(queries.astype(np.float32), np.transpose(keys.astype(np.float32)))
    scores -= np.amax(scores, 1)[:, None]
    log_p = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    return -np.sum(np.identity(queries.shape[0], dtype=np.float32) * log_p) / queries.shape[0]


@alternative(FORWARD)
def as_an_array_of_one(queries, keys, scale):
    n = queries.shape[0]
    scores = np.matmul(queries * scale, keys.swapaxes(0, 1))
    shifted = scores - np.max(scores, axis=-1).reshape(n, 1)
    nll = -shifted[range(n), range(n)] + np.log(np.exp(shifted).sum(-1))
    return np.array([nll.sum() / n])


@alternative(FORWARD)
def relative_to_the_partner(queries, keys, scale):
    """-log p_i[i] = log(sum_j exp(l_ij - l_ii)): shifted once more before exp."""
    gaps = scale * (queries @ keys.T - np.sum(queries * keys, axis=1, keepdims=True))
    c = gaps.max(1)
    return float(np.average(c + np.log(np.exp(gaps - c[:, np.newaxis]).sum(1))))


@mistake(FORWARD, "You summed over the queries: the loss is their mean, so divide by B.")
def summed(queries, keys, scale):
    return len(queries) * cross_entropy(logits_of(queries, keys, scale))


@mistake(FORWARD, "You divided by B * B: the mean is over the B queries, each of which has one term.")
def divided_by_b_squared(queries, keys, scale):
    return cross_entropy(logits_of(queries, keys, scale)) / len(queries)


@mistake(FORWARD, "The minus is missing: a logarithm of a probability is below 0, and the loss is above.")
def minus_missing(queries, keys, scale):
    return -cross_entropy(logits_of(queries, keys, scale))


@mistake(
    FORWARD,
    "Your softmax runs along the wrong axis: a query's logits are a row, and its probabilities should sum to "
    "1 over the keys (axis=1).",
)
def over_the_queries(queries, keys, scale):
    return cross_entropy(logits_of(queries, keys, scale), axis=0)


@mistake(FORWARD, "You took the mean of both directions: here only queries choose, among the keys.")
def both_directions(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return (cross_entropy(logits) + cross_entropy(logits.T)) / 2


@mistake(FORWARD, "You added the other direction's loss: here only queries choose, among the keys.")
def sum_of_both_directions(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return cross_entropy(logits) + cross_entropy(logits.T)


@mistake(
    FORWARD, "Yours is one softmax over the whole matrix: each query's row is a distribution of its own."
)
def one_softmax_for_all(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return np.mean(np.logaddexp.reduce(logits, axis=None) - np.diag(logits))


@mistake(FORWARD, "You left out `scale`: it multiplies every similarity before the softmax.")
def scale_left_out(queries, keys, scale):
    return cross_entropy(queries @ keys.T)


@mistake(FORWARD, "You divided by `scale`: it is the multiplier, 1 / temperature, not the temperature.")
def divided_by_scale(queries, keys, scale):
    return cross_entropy(queries @ keys.T / scale)


@mistake(FORWARD, "You took exp(scale): `scale` is the multiplier already, not its logarithm.")
def scale_exponentiated(queries, keys, scale):
    return cross_entropy(logits_of(queries, keys, np.exp(scale)))


@mistake(FORWARD, "You took log(scale): the multiplier itself goes into the logits.")
def log_of_scale(queries, keys, scale):
    return cross_entropy(logits_of(queries, keys, np.log(scale)))


@mistake(FORWARD, "You multiplied the loss by `scale`: it belongs into the logits, before the softmax.")
def scale_outside(queries, keys, scale):
    return scale * cross_entropy(queries @ keys.T)


@mistake(FORWARD, "You scaled both the queries and the keys: each logit then has scale ** 2; scale once.")
def scaled_twice(queries, keys, scale):
    return cross_entropy(logits_of(scale * queries, keys, scale))


@mistake(FORWARD, "You divided by sqrt(dim), as in attention: here `scale` is the only factor.")
def divided_by_root_of_dim(queries, keys, scale):
    return cross_entropy(logits_of(queries, keys, scale / math.sqrt(queries.shape[1])))


@mistake(FORWARD, "You normalised the features: take them as they come, the caller normalises them.")
def normalised_again(queries, keys, scale):
    return cross_entropy(logits_of(normalised(queries), normalised(keys), scale))


@mistake(
    FORWARD,
    "You left the partner out of the denominator: the softmax is over all keys, the right one included.",
)
def partner_not_in_the_denominator(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return np.mean(np.logaddexp.reduce(without_diagonal(logits), axis=1) - np.diag(logits))


@mistake(FORWARD, "The right key is off by one: query i's partner is key i, on the diagonal.")
def shifted_partner(queries, keys, scale):
    return cross_entropy(np.roll(logits_of(queries, keys, scale), -1, axis=1))


@mistake(FORWARD, "You averaged -log p over all pairs: only each query's own key, on the diagonal, counts.")
def all_pairs(queries, keys, scale):
    return -log_softmax(logits_of(queries, keys, scale)).mean()


@mistake(FORWARD, "You averaged the probabilities themselves: take the logarithm of each query's first.")
def logarithm_left_out(queries, keys, scale):
    return -np.diag(softmax(logits_of(queries, keys, scale))).mean()


@mistake(
    FORWARD,
    "You took the logarithm of the mean probability: the loss is the mean of the logarithms.",
)
def log_of_the_mean(queries, keys, scale):
    return -np.log(np.diag(softmax(logits_of(queries, keys, scale))).mean())


@mistake(FORWARD, "You took a logarithm to base 2: the loss is in nats, so use np.log.")
def in_bits(queries, keys, scale):
    return cross_entropy(logits_of(queries, keys, scale)) / math.log(2)


@mistake(FORWARD, "You took the softmax twice: logits go in, probabilities come out, and that is all.")
def softmax_twice(queries, keys, scale):
    return cross_entropy(softmax(logits_of(queries, keys, scale)))


@mistake(FORWARD, "You compared queries with queries: the keys are the candidates.")
def queries_with_queries(queries, keys, scale):
    return cross_entropy(logits_of(queries, queries, scale))


@mistake(
    FORWARD,
    "You asked of each pair by itself whether it belongs together (a sigmoid): here a query chooses one key "
    "among all (a softmax).",
)
def sigmoid_of_each_pair(queries, keys, scale):
    z = 2 * np.eye(len(queries)) - 1
    return np.logaddexp(0, -z * logits_of(queries, keys, scale)).sum() / len(queries)


@mistake(FORWARD, "You returned the loss of each query: return their mean, one number.")
def one_for_each_query(queries, keys, scale):
    return -np.diag(log_softmax(logits_of(queries, keys, scale)))


@mistake(
    FORWARD,
    "You subtracted each row's maximum from the columns: l.max(axis=1) has shape (B,) and lines up with the last "
    "axis; keepdims=True keeps it a column.",
)
def maximum_without_keepdims(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return cross_entropy(logits - logits.max(axis=1))


@mistake(
    FORWARD,
    "You subtracted each row's maximum, but divided by each column's sum: both belong to the row (axis=1).",
)
def row_maximum_column_sum(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return cross_entropy(logits - logits.max(axis=1, keepdims=True), axis=0)


@mistake(
    FORWARD,
    "exp overflows for large logits, and inf / inf is NaN: subtract each row's largest logit first, which "
    "leaves the softmax as it is.",
)
def overflows(queries, keys, scale):
    exp = np.exp(logits_of(queries, keys, scale))
    return -np.log(np.diag(exp) / exp.sum(axis=1)).mean()


@mistake(
    FORWARD,
    "The sum of exponentials overflows, so that its logarithm is infinite: subtract each row's largest logit "
    "first, and add it again after the logarithm.",
)
def log_of_an_overflow(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


@mistake(
    FORWARD,
    "You subtracted the largest logit of the whole matrix: a row that lies far below it becomes 0 / 0. "
    "Subtract each row's own.",
)
def largest_of_everything(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    logits = logits - logits.max()
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


@mistake(
    FORWARD,
    "A probability can be so small that it is 0 in floating point, and its logarithm infinite: compute the "
    "log-softmax, l - max - log(sum(exp(l - max))), without going through the probability.",
)
def log_of_zero(queries, keys, scale):
    return -np.log(np.diag(softmax(logits_of(queries, keys, scale)))).mean()


@mistake(
    FORWARD,
    "What you add before the logarithm (1e-8) caps the loss: compute the log-softmax without going through "
    "the probability, then it needs no such guard.",
)
def capped(queries, keys, scale):
    return -np.log(np.diag(softmax(logits_of(queries, keys, scale))) + 1e-8).mean()


@mistake(
    FORWARD,
    "You clipped the logits, which changes the loss of large ones: subtract each row's largest instead.",
)
def clipped(queries, keys, scale):
    return cross_entropy(np.clip(logits_of(queries, keys, scale), -500, 500))


# --- backward ------------------------------------------------------------------------------------------


def belief_less_truth(queries, keys, scale):
    """The right gradient of the logits."""
    return (softmax(logits_of(queries, keys, scale)) - np.eye(len(queries))) / len(queries)


def down(grad_logits, queries, keys, scale):
    """From the gradient of the logits to those of the arguments."""
    grad_scale = float((grad_logits * (queries @ keys.T)).sum())
    return scale * grad_logits @ keys, scale * grad_logits.T @ queries, grad_scale


def right(queries, keys, scale):
    return down(belief_less_truth(queries, keys, scale), queries, keys, scale)


def by_autograd(loss, queries, keys, scale):
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (queries, keys, scale)]
    of_queries, of_keys, of_scale = torch.autograd.grad(loss(*leaves), leaves)
    return of_queries.numpy(), of_keys.numpy(), of_scale.item()


def loss_of_torch(queries, keys, scale):
    return F.cross_entropy(scale * queries @ keys.T, torch.arange(len(queries)))


@alternative(BACKWARD)
def autograd_does_it(queries, keys, scale):
    return by_autograd(loss_of_torch, queries, keys, scale)


@alternative(BACKWARD)
def pair_by_pair(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = np.zeros_like(queries), np.zeros_like(keys), 0.0
    n = len(queries)
    for i in range(n):
        row = np.array([scale * queries[i].dot(keys[j]) for j in range(n)])
        odds = np.exp(row - max(row))
        odds /= sum(odds)
        for j in range(n):
            push = (odds[j] - (i == j)) / n
            grad_queries[i] += scale * push * keys[j]
            grad_keys[j] += scale * push * queries[i]
            grad_scale += push * (queries[i] @ keys[j])
    return grad_queries, grad_keys, grad_scale


@alternative(BACKWARD)
def expectations(queries, keys, scale):
    """The pull of the partner and the push of the expected key, apart from each other."""
    n = queries.shape[0]
    s = np.einsum("id,jd->ij", queries, keys)
    p = np.exp(scale * s - np.logaddexp.reduce(scale * s, axis=1)[:, None])
    grad_scale = np.mean((p * s).sum(1) - np.diagonal(s))
    return [scale / n * (p @ keys - keys), scale / n * (p.T @ queries - queries), grad_scale]


@alternative(BACKWARD)
def diagonal_in_place(queries, keys, scale):
    scores = np.float32(scale) * (queries @ keys.T).astype(np.float32)
    scores -= scores.max(-1, keepdims=True)
    d = np.exp(scores, out=np.empty_like(scores))
    d /= d.sum(-1, keepdims=True)
    d[np.arange(len(d)), np.arange(len(d))] -= 1
    d /= len(d)
    dq, dk = np.dot(d, keys) * scale, np.dot(queries.T, d).T * scale
    return dq, dk, np.array([[np.sum(dq * queries) / scale]])


@mistake(BACKWARD, "The 1/B is missing: the loss is a mean over the queries.")
def one_over_b_missing(queries, keys, scale):
    return down(len(queries) * belief_less_truth(queries, keys, scale), queries, keys, scale)


@mistake(BACKWARD, "You divided by B * B: the mean is over the B queries only.")
def gradient_divided_by_b_squared(queries, keys, scale):
    return down(belief_less_truth(queries, keys, scale) / len(queries), queries, keys, scale)


@mistake(BACKWARD, "Your gradients have the opposite sign: the gradient of the logits is p - 1[i = j].")
def opposite_sign(queries, keys, scale):
    return down(-belief_less_truth(queries, keys, scale), queries, keys, scale)


@mistake(
    BACKWARD,
    "The chain ends at the logits for you: as l = scale * (q . k), the gradients of queries and keys have a "
    "factor `scale`.",
)
def scale_missing_from_both(queries, keys, scale):
    grad_logits = belief_less_truth(queries, keys, scale)
    return grad_logits @ keys, grad_logits.T @ queries, right(queries, keys, scale)[2]


@mistake(BACKWARD, "You divided the gradients of queries and keys by `scale`: it is a factor of the logits.")
def gradients_divided_by_scale(queries, keys, scale):
    grad_logits = belief_less_truth(queries, keys, scale)
    return grad_logits @ keys / scale, grad_logits.T @ queries / scale, right(queries, keys, scale)[2]


@mistake(BACKWARD, "The factor `scale` comes twice into the gradients of queries and keys: once is right.")
def scale_twice(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = right(queries, keys, scale)
    return scale * grad_queries, scale * grad_keys, grad_scale


@mistake(
    BACKWARD,
    "Only the denominator's part is there: the right key's own logit, on the diagonal, gives a -1 as well.",
)
def only_the_denominator(queries, keys, scale):
    return down(softmax(logits_of(queries, keys, scale)) / len(queries), queries, keys, scale)


@mistake(
    BACKWARD,
    "You took the right pairs alone: the denominator holds every key, and pushes the query from each.",
)
def only_the_pairs(queries, keys, scale):
    return down(-np.eye(len(queries)) / len(queries), queries, keys, scale)


@mistake(
    BACKWARD,
    "You took the diagonal of the logits' gradient alone: the logits of wrong keys have one, too.",
)
def only_the_diagonal(queries, keys, scale):
    return down(np.diag(np.diag(belief_less_truth(queries, keys, scale))), queries, keys, scale)


@mistake(
    BACKWARD,
    "You used p (1 - p), a derivative of the probability: that of -log p_i[i] by the logits is p - 1[i = j].",
)
def derivative_of_the_probability(queries, keys, scale):
    p = softmax(logits_of(queries, keys, scale))
    return down(p * (np.eye(len(p)) - p) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "You took the gradient of p_i[i] itself: the loss is minus its logarithm, which divides by p_i[i].",
)
def logarithm_forgotten(queries, keys, scale):
    p = softmax(logits_of(queries, keys, scale))
    own = np.diag(p)[:, None]
    return down(own * (p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "The keys' gradient needs the transpose of the logits' gradient: key j is in column j, one entry for each "
    "query.",
)
def transpose_missing(queries, keys, scale):
    grad_queries, _, grad_scale = right(queries, keys, scale)
    return grad_queries, scale * belief_less_truth(queries, keys, scale) @ queries, grad_scale


@mistake(
    BACKWARD,
    "The transpose is in the wrong place: the queries' gradient takes the logits' gradient as it is, the "
    "keys' its transpose.",
)
def transposes_swapped(queries, keys, scale):
    grad_logits = belief_less_truth(queries, keys, scale)
    return scale * grad_logits.T @ keys, scale * grad_logits @ queries, right(queries, keys, scale)[2]


@mistake(
    BACKWARD,
    "A query's gradient is made of keys, and a key's of queries: you multiplied each by its own side.",
)
def own_side(queries, keys, scale):
    grad_logits = belief_less_truth(queries, keys, scale)
    return scale * grad_logits @ queries, scale * grad_logits.T @ keys, right(queries, keys, scale)[2]


@mistake(
    BACKWARD, "You returned the gradients of queries and keys in each other's place: queries come first."
)
def wrong_order(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = right(queries, keys, scale)
    return grad_keys, grad_queries, grad_scale


@mistake(BACKWARD, "You left out the gradient of the keys: they are learned as the queries are.")
def keys_are_constant(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = right(queries, keys, scale)
    return grad_queries, np.zeros_like(grad_keys), grad_scale


@mistake(
    BACKWARD,
    "The gradient of a key comes from its own query alone: every other query has it in its denominator.",
)
def only_the_own_query(queries, keys, scale):
    grad_queries, _, grad_scale = right(queries, keys, scale)
    own = np.diag(belief_less_truth(queries, keys, scale))[:, None]
    return grad_queries, scale * own * queries, grad_scale


@mistake(
    BACKWARD,
    "Your softmax runs along the wrong axis: a query's logits are a row, and its probabilities should sum to "
    "1 over the keys (axis=1).",
)
def gradient_over_the_queries(queries, keys, scale):
    p = softmax(logits_of(queries, keys, scale), axis=0)
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(BACKWARD, "Yours is one softmax over the whole matrix: each row is a distribution of its own.")
def gradient_of_one_softmax(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=None))
    return down(p - np.eye(len(p)) / len(p), queries, keys, scale)


@mistake(BACKWARD, "That is the gradient of both directions' mean: here only queries choose, among the keys.")
def gradient_of_both_directions(queries, keys, scale):
    one, other = right(queries, keys, scale), right(keys, queries, scale)
    return (one[0] + other[1]) / 2, (one[1] + other[0]) / 2, (one[2] + other[2]) / 2


@mistake(BACKWARD, "`scale` is missing from the logits of your softmax.")
def softmax_without_scale(queries, keys, scale):
    return down(belief_less_truth(queries, keys, 1.0), queries, keys, scale)


@mistake(BACKWARD, "You left out `scale` everywhere: it multiplies every logit, and so every gradient.")
def no_scale_at_all(queries, keys, scale):
    return right(queries, keys, 1.0)


@mistake(BACKWARD, "You divided the similarities by `scale`: it is the multiplier, 1 / temperature.")
def scale_as_temperature(queries, keys, scale):
    return right(queries, keys, 1 / scale)


@mistake(BACKWARD, "You took exp(scale): `scale` is the multiplier already, not its logarithm.")
def gradient_with_exp_of_scale(queries, keys, scale):
    return right(queries, keys, np.exp(scale))


@mistake(BACKWARD, "The partner is missing from your softmax: it is over all keys, the right one included.")
def gradient_without_partner(queries, keys, scale):
    p = softmax(without_diagonal(logits_of(queries, keys, scale)))
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "Your gradients go through a normalisation of the features: they are by the features as they come.",
)
def through_a_normalisation(queries, keys, scale):
    return by_autograd(lambda q, k, s: loss_of_torch(F.normalize(q), F.normalize(k), s), queries, keys, scale)


@mistake(
    BACKWARD,
    "For the gradient of scale you multiplied by the logits, which hold `scale` already: that is the "
    "gradient by the logarithm of the scale. Multiply by the similarities q . k.",
)
def by_the_logarithm_of_scale(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = right(queries, keys, scale)
    return grad_queries, grad_keys, scale * grad_scale


@mistake(BACKWARD, "You divided the gradient of scale by `scale`: the similarities q . k do not hold it.")
def gradient_of_scale_divided(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = right(queries, keys, scale)
    return grad_queries, grad_keys, grad_scale / scale


@mistake(
    BACKWARD,
    "For the gradient of scale you averaged over the B * B logits: it is their sum, as 1/B is in the logits' "
    "gradient already.",
)
def gradient_of_scale_averaged(queries, keys, scale):
    grad_queries, grad_keys, grad_scale = right(queries, keys, scale)
    return grad_queries, grad_keys, grad_scale / len(queries) ** 2


@mistake(
    BACKWARD,
    "The gradient of scale takes the diagonal only: the scale stands in the logits of wrong keys, too.",
)
def gradient_of_scale_from_pairs(queries, keys, scale):
    grad_queries, grad_keys, _ = right(queries, keys, scale)
    own = np.diag(belief_less_truth(queries, keys, scale) * (queries @ keys.T))
    return grad_queries, grad_keys, float(own.sum())


@mistake(
    BACKWARD,
    "For the gradient of scale you summed the logits' gradient alone, which is always 0: each logit "
    "changes with the scale by its similarity q . k.",
)
def similarities_left_out(queries, keys, scale):
    grad_queries, grad_keys, _ = right(queries, keys, scale)
    return grad_queries, grad_keys, float(belief_less_truth(queries, keys, scale).sum())


@mistake(BACKWARD, "The gradient of scale is one number: sum over all logits.")
def gradient_of_scale_for_each(queries, keys, scale):
    grad_queries, grad_keys, _ = right(queries, keys, scale)
    return grad_queries, grad_keys, belief_less_truth(queries, keys, scale) * (queries @ keys.T)


@mistake(
    BACKWARD,
    "You subtracted each row's maximum from the columns: l.max(axis=1) has shape (B,) and lines up with the last "
    "axis; keepdims=True keeps it a column.",
)
def gradient_maximum_without_keepdims(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    p = softmax(logits - logits.max(axis=1))
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "You divided the columns by the sums of the rows: exp.sum(axis=1) has shape (B,) and lines up with the last "
    "axis; keepdims=True keeps it a column.",
)
def gradient_sum_without_keepdims(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exp / exp.sum(axis=1)
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "Maximum and sum of a row, of shape (B,), line up with the last axis, so that yours meet the columns: "
    "keepdims=True keeps both a column.",
)
def gradient_without_keepdims(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    exp = np.exp(logits - logits.max(axis=1))
    p = exp / exp.sum(axis=1)
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "exp overflows for large logits, and inf / inf is NaN: subtract each row's largest logit first, which "
    "leaves the softmax as it is.",
)
def gradient_overflows(queries, keys, scale):
    exp = np.exp(logits_of(queries, keys, scale))
    p = exp / exp.sum(axis=1, keepdims=True)
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "You subtracted the largest logit of the whole matrix: a row that lies far below it becomes 0 / 0. "
    "Subtract each row's own.",
)
def gradient_with_one_largest(queries, keys, scale):
    logits = logits_of(queries, keys, scale)
    exp = np.exp(logits - logits.max())
    p = exp / exp.sum(axis=1, keepdims=True)
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)


@mistake(
    BACKWARD,
    "You clipped the logits, which changes the probabilities of large ones: subtract each row's largest.",
)
def gradient_clipped(queries, keys, scale):
    p = softmax(np.clip(logits_of(queries, keys, scale), -500, 500))
    return down((p - np.eye(len(p))) / len(p), queries, keys, scale)
