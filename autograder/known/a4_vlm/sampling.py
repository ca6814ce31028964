"""Known answers: the probabilities that the next token is drawn with."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

NEXT = "next_token_probabilities"


@alternative(NEXT)
def logits_masked_in_turn(logits, temperature=1.0, top_k=None, top_p=None):
    """As transformers' warpers do it: what goes gets the logit -inf."""
    if temperature == 0:
        return torch.zeros_like(logits).scatter(1, logits.argmax(1, keepdim=True), 1.0)
    scores = logits / temperature
    if top_k is not None:
        top_k = min(top_k, scores.size(-1))
        scores = scores.masked_fill(scores < torch.topk(scores, top_k)[0][..., -1, None], -float("inf"))
    if top_p is not None and top_p < 1.0:
        sorted_logits, sorted_indices = torch.sort(scores, descending=False)
        remove = sorted_logits.softmax(dim=-1).cumsum(dim=-1) <= (1 - top_p)
        remove[..., -1:] = 0
        scores = scores.masked_fill(remove.scatter(1, sorted_indices, remove), -float("inf"))
    return scores.softmax(-1)


@alternative(NEXT)
def shifted_to_the_right(logits, temperature=1.0, top_k=None, top_p=None):
    """The well-known gist: remove what stands behind the one that crosses."""
    if temperature == 0.0:
        return F.one_hot(torch.argmax(logits, dim=-1), num_classes=logits.size(-1)).float()
    logits = logits.clone() / temperature
    if top_k:
        kth = torch.topk(logits, min(top_k, logits.size(-1)), dim=-1).values[:, [-1]]
        logits[logits < kth] = -float("Inf")
    if top_p:
        sorted_logits, order = torch.sort(logits, descending=True)
        remove = torch.cumsum(F.softmax(sorted_logits, dim=-1), dim=-1) > top_p
        remove[..., 1:] = remove[..., :-1].clone()
        remove[..., 0] = False
        for row in range(len(logits)):
            logits[row, order[row][remove[row]]] = -float("Inf")
    return F.softmax(logits, dim=-1)


@alternative(NEXT)
def descending_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """As Llama's sample_top_p: what was there before the token is less than top_p."""
    if temperature == 0:
        temperature, top_k = 1.0, 1
    sorted_p, index = torch.sort(torch.softmax(logits / temperature, dim=-1), dim=-1, descending=True)
    if top_k is not None:
        sorted_p[:, top_k:] = 0.0
        sorted_p.div_(sorted_p.sum(dim=-1, keepdim=True))
    if top_p is not None:
        sorted_p[torch.cumsum(sorted_p, dim=-1) - sorted_p > top_p] = 0.0
        sorted_p.div_(sorted_p.sum(dim=-1, keepdim=True))
    return torch.gather(sorted_p, -1, index.argsort(dim=-1))


@alternative(NEXT)
def row_by_row(logits, temperature=1.0, top_k=None, top_p=None):
    rows = []
    for row in logits:
        p = torch.zeros(len(row))
        if temperature == 0:
            p[row.argmax()] = 1
            rows.append(p)
            continue
        full = torch.softmax(row / temperature, dim=0)
        likely = sorted(range(len(row)), key=lambda i, full=full: -full[i].item())
        if top_k is not None:
            likely = likely[:top_k]
        total = sum(full[i].item() for i in likely)
        kept, so_far = [], 0.0
        for i in likely:
            kept.append(i)
            so_far += full[i].item() / total
            if top_p is not None and so_far >= top_p:
                break
        p[kept] = full[kept] / full[kept].sum()
        rows.append(p)
    return torch.stack(rows)


@alternative(NEXT)
def in_numpy(logits, temperature=1.0, top_k=None, top_p=None):
    x = logits.detach().numpy().astype(np.float64)
    if temperature == 0:
        return torch.from_numpy(np.eye(x.shape[1])[x.argmax(1)])
    p = np.exp((x - x.max(1, keepdims=True)) / temperature)
    p /= p.sum(1, keepdims=True)
    if top_k is not None and top_k < x.shape[1]:
        p[p < np.partition(p, -top_k, axis=1)[:, [-top_k]]] = 0
        p /= p.sum(1, keepdims=True)
    if top_p is not None:
        # what all that are likelier than it add up to
        before = np.where(p[:, None] > p[:, :, None], p[:, None], 0).sum(-1)
        p[before >= top_p] = 0
        p /= p.sum(1, keepdims=True)
    return torch.from_numpy(p)


@alternative(NEXT)
def nearly_zero_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    logits = logits / max(temperature, 1e-5)
    if top_k is not None:
        values, index = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
        logits = torch.full_like(logits, float("-inf")).scatter_(-1, index, values)
    p = logits.softmax(dim=-1)
    if top_p is not None and top_p != 1:
        values, _ = p.sort(dim=-1, descending=True)
        needed = (values.cumsum(dim=-1) < top_p).sum(dim=-1, keepdim=True)
        p = p * (p >= values.gather(-1, needed.clamp(max=p.shape[-1] - 1)))
    return p / p.sum(dim=-1, keepdim=True)


# --- mistakes: variations of one plain answer -----------------------------------------------------------


def rank(p):
    """0 for the likeliest of a row, 1 for the next, ..."""
    return p.argsort(dim=-1, descending=True).argsort(dim=-1)


def normalised(p):
    return p / p.sum(dim=-1, keepdim=True)


def k_likeliest(p, top_k):
    return p if top_k is None else normalised(p * (rank(p) < top_k))


def before(p):
    """What the likelier tokens of the row add up to, for each token."""
    return torch.where(p[:, None] > p[:, :, None], p[:, None], 0).sum(dim=-1)


def nucleus(p, top_p):
    return p if top_p is None else normalised(p * (before(p) < top_p))


def one_hot(logits):
    return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float()


def answer(logits, temperature, top_k, top_p, *, soften=None, cut_k=k_likeliest, cut_p=nucleus, zero=one_hot):
    """The right answer, with one of its steps in place of another."""
    if temperature == 0:
        return zero(logits)
    p = soften(logits, temperature) if soften else (logits / temperature).softmax(dim=-1)
    return cut_p(cut_k(p, top_k), top_p)


@mistake(
    NEXT, "You multiplied by the temperature: divide the logits by it, so that a high one makes all alike."
)
def multiplied_by_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, soften=lambda x, t: (x * t).softmax(dim=-1))


@mistake(NEXT, "You left out the temperature: divide the logits by it before the softmax.")
def no_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, soften=lambda x, t: x.softmax(dim=-1))


@mistake(NEXT, "You divided probabilities by the temperature: divide the logits, before the softmax.")
def temperature_after_softmax(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, soften=lambda x, t: x.softmax(dim=-1) / t)


@mistake(
    NEXT,
    "You took a softmax of probabilities once more, to bring the temperature in: divide the logits by it, and take "
    "one softmax.",
)
def softmax_of_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    def soften(x, t):
        return (x.softmax(dim=-1) / t).softmax(dim=-1)

    return answer(logits, temperature, top_k, top_p, soften=soften)


@mistake(
    NEXT, "You applied the temperature last: who stays is decided among probabilities that it has changed."
)
def temperature_last(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return one_hot(logits)
    p = nucleus(k_likeliest(logits.softmax(dim=-1), top_k), top_p)
    return normalised(p ** (1 / temperature))


@mistake(NEXT, "Temperature 0 divides by zero: at 0 give the largest logit all probability.")
def nan_at_zero(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, zero=lambda x: torch.full_like(x, torch.nan))


@mistake(NEXT, "At temperature 0 you drew as at temperature 1: give the largest logit all probability.")
def zero_is_one(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature or 1.0, top_k, top_p)


@mistake(
    NEXT,
    "At temperature 0 you left the top-k and top-p steps out, but not the softmax: the largest logit gets 1.",
)
def zero_is_a_plain_softmax(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, zero=lambda x: x.softmax(dim=-1))


@mistake(
    NEXT, "At temperature 0 you returned the likeliest token's id: return probabilities, 1 for it and 0 else."
)
def zero_is_an_id(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, zero=lambda x: x.argmax(dim=-1))


@mistake(
    NEXT, "At temperature 0 you made all tokens equally likely, as an infinite temperature does: 0 is greedy."
)
def zero_is_uniform(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, zero=lambda x: torch.full_like(x, 1 / x.shape[-1]))


@mistake(NEXT, "At temperature 0 you took the largest logit of the whole batch: each row has its own.")
def zero_is_greedy_once(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, zero=lambda x: (x == x.max()).float())


@mistake(NEXT, "You always gave all probability to the likeliest token: that is for temperature 0 alone.")
def always_greedy(logits, temperature=1.0, top_k=None, top_p=None):
    return one_hot(logits)


@mistake(NEXT, "You left out top_k: only the k likeliest tokens stay.")
def no_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, None, top_p)


@mistake(NEXT, "You left out top_p: only as many of the likeliest tokens stay as are needed to reach it.")
def no_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, None)


@mistake(NEXT, "You cut neither by top_k nor by top_p: yours is the whole softmax.")
def softmax_only(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, None, None)


@mistake(NEXT, "Your top_k does not work beside top_p (is it an `elif`?): where both are given, both cut.")
def top_p_in_place_of_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k if top_p is None else None, top_p)


@mistake(NEXT, "Your top_p does not work beside top_k (is it an `elif`?): where both are given, both cut.")
def top_k_in_place_of_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p if top_k is None else None)


@mistake(
    NEXT,
    "You cut by top_p before top_k, or forgot to divide by the sum between them: top_p is a share of what top_k left.",
)
def top_p_first(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return one_hot(logits)
    p = (logits / temperature).softmax(dim=-1)
    return k_likeliest(nucleus(p, top_p), top_k)


@mistake(NEXT, "You kept one token too few by top_k: the k-th likeliest itself stays (>=, not >).")
def kth_dropped(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        return k_likeliest(p, k if k is None or k > p.shape[-1] else k - 1)

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k)


@mistake(NEXT, "You kept one token too many by top_k: counting from 0, the k-th likeliest stands at k - 1.")
def one_more_than_k(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, None if top_k is None else top_k + 1, top_p)


@mistake(NEXT, "Your top_k keeps the *least* likely tokens: torch.sort begins with the smallest.")
def k_least_likely(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        return p if k is None else normalised(p * (rank(-p) < k))

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k)


@mistake(NEXT, "Your top_k keeps the first k ids of the vocabulary: it is the k *likeliest* that stay.")
def first_k_ids(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        return p if k is None else normalised(p * (torch.arange(p.shape[-1]) < k))

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k)


@mistake(NEXT, "You used the first row's k-th probability for all rows: each text has its own.")
def threshold_of_the_first_row(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        if k is None or k >= p.shape[-1]:
            return p
        return normalised(p * (p >= p[0].sort(descending=True).values[k - 1]))

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k)


@mistake(NEXT, "You took the k likeliest of the whole batch: each row keeps its own k.")
def k_of_the_batch(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        if k is None or k >= p.shape[-1]:
            return p
        kept = p * (p >= p.flatten().sort(descending=True).values[k - 1])
        return kept / kept.sum(dim=-1, keepdim=True).clamp(min=1e-9)

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k)


@mistake(
    NEXT,
    "You dropped the token that reaches top_p (and kept the likeliest where it alone reaches it): what stays should "
    "add up to at least top_p.",
)
def crossing_dropped(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * ((before(p) + p <= top) | (rank(p) == 0)))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(
    NEXT,
    "You dropped the token that reaches top_p, so that nothing is left where the likeliest alone reaches it: what "
    "stays should add up to at least top_p.",
)
def nothing_left(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * (before(p) + p <= top))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "You kept one token too many by top_p: the one that reaches it is the last to stay.")
def one_after_the_crossing(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        if top is None:
            return p
        needed = (before(p) < top).sum(dim=-1, keepdim=True)
        return normalised(p * (rank(p) <= needed))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "Your top_p adds up from the *least* likely token: sort with descending=True.")
def from_the_least_likely(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        if top is None or top == 1:
            return p
        p_sorted, order = p.sort(dim=-1)
        kept = p_sorted * (p_sorted.cumsum(dim=-1) - p_sorted < top)
        return normalised(torch.zeros_like(p).scatter(-1, order, kept))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "Your top_p adds up in the order of the ids: sort by probability first.")
def not_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * (p.cumsum(dim=-1) - p < top))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(
    NEXT,
    "You compared each probability itself with top_p: it is the *sum* of the likeliest ones that has to reach it.",
)
def each_against_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * ((p >= top) | (rank(p) == 0)))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(
    NEXT, "You kept what is above 1 - top_p: it is the *sum* of the likeliest ones that has to reach top_p."
)
def each_against_the_rest(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * ((p > 1 - top) | (rank(p) == 0)))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(
    NEXT,
    "You kept what is at least top_p times the likeliest (that is min-p): top_p is a sum of probabilities.",
)
def min_p(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * (p >= top * p.amax(dim=-1, keepdim=True)))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "Your top_p keeps as many tokens in every row as in the first: each row needs its own number.")
def needed_by_the_first_row(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * (rank(p) < (before(p)[0] < top).sum()))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "Your top_p removes those that are needed and keeps the rest: the mask is turned round.")
def the_rest_kept(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else normalised(p * ((before(p) >= top) | (rank(p) == 0)))

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "You did not divide what stays by its sum: each row should sum to 1.")
def not_normalised(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        return p if k is None else p * (rank(p) < k)

    def cut_p(p, top):
        return p if top is None else p * (before(p) / p.sum(dim=-1, keepdim=True) < top)

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k, cut_p=cut_p)


@mistake(NEXT, "You divided by the sum after top_k, but not after top_p: each row should sum to 1.")
def not_normalised_at_the_end(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None else p * (before(p) < top)

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "You divided by the sum after top_p, but not after top_k: each step's rows sum to 1.")
def not_normalised_in_between(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_k(p, k):
        return p if k is None else p * (rank(p) < k)

    return answer(logits, temperature, top_k, top_p, cut_k=cut_k)


@mistake(NEXT, "You filled cut logits with 0, and exp(0) is 1: fill with -inf.")
def logits_behind_top_k_are_0(logits, temperature=1.0, top_k=None, top_p=None):
    def soften(x, t):
        return (x / t if top_k is None else x / t * (rank(x) < top_k)).softmax(dim=-1)

    return answer(logits, temperature, None, top_p, soften=soften)


@mistake(
    NEXT,
    "You gave the others the logit 0: e^0 is 1, so they can still be drawn. Give them -inf (or make the probability 0).",
)
def logits_masked_by_zero(logits, temperature=1.0, top_k=None, top_p=None):
    right = answer(logits, temperature, top_k, top_p)
    return right if temperature == 0 else torch.where(right > 0, logits / temperature, 0).softmax(dim=-1)


@mistake(
    NEXT,
    "You took a softmax of the probabilities that are left, where e^0 = 1 brings the others back: divide by the sum.",
)
def softmax_twice(logits, temperature=1.0, top_k=None, top_p=None):
    right = answer(logits, temperature, top_k, top_p)
    return right if temperature == 0 or (top_k is None and top_p is None) else right.softmax(dim=-1)


@mistake(NEXT, "You made those that stay equally likely: they keep their shares.")
def uniform_over_those_that_stay(logits, temperature=1.0, top_k=None, top_p=None):
    right = answer(logits, temperature, top_k, top_p)
    return right if top_k is None and top_p is None else normalised((right > 0).float())


@mistake(NEXT, "Your softmax runs over the batch: each row's probabilities sum to 1 over the vocabulary.")
def over_the_batch(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, soften=lambda x, t: (x / t).softmax(dim=0))


@mistake(NEXT, "You returned the probabilities in the order of their size: put them back to their ids.")
def left_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    right = answer(logits, temperature, top_k, top_p)
    untouched = temperature == 0 or (top_k is None and top_p is None)
    return right if untouched else right.sort(dim=-1, descending=True).values


@mistake(
    NEXT,
    "You put the sorted probabilities back by `gather` with the sort's indices, which sorts once more: scatter them.",
)
def gathered_back(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return one_hot(logits)
    right = answer(logits, temperature, top_k, top_p)
    p, order = right.sort(dim=-1, descending=True)
    return right if top_k is None and top_p is None else p.gather(-1, order)


def nucleus_by(put_back):
    """top_p with a mask in the order of the sorted tokens; `put_back` says whom it is used on."""

    def cut_p(p, top):
        if top is None or top == 1:
            return p
        p_sorted, order = p.sort(dim=-1, descending=True)
        return normalised(p * put_back(p_sorted.cumsum(dim=-1) - p_sorted < top, order))

    return cut_p


@mistake(
    NEXT,
    "Your mask is in the order of the sorted tokens, but you used it on the unsorted ones: scatter it back to their ids.",
)
def mask_left_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, cut_p=nucleus_by(lambda keep, order: keep))


@mistake(
    NEXT,
    "You put your mask back by `gather` with the sort's indices, which sorts it once more: scatter it back to the ids.",
)
def mask_gathered_back(logits, temperature=1.0, top_k=None, top_p=None):
    cut_p = nucleus_by(lambda keep, order: keep.gather(-1, order))
    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(NEXT, "You returned logarithms: probabilities are asked for.")
def log_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p).log()


@mistake(NEXT, "You returned the logits that are left: take their softmax.")
def logits_returned(logits, temperature=1.0, top_k=None, top_p=None):
    right = answer(logits, temperature, top_k, top_p)
    return torch.where(right > 0, logits / (temperature or 1.0), -torch.inf)


@mistake(NEXT, "You drew a token already: the probabilities to draw with are asked for.")
def drawn(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p).multinomial(1)[:, 0]


@mistake(NEXT, "You gave the likeliest token 0: it always stays.")
def likeliest_removed(logits, temperature=1.0, top_k=None, top_p=None):
    def cut_p(p, top):
        return p if top is None or top == 1 else p * (before(p) < top) * (rank(p) > 0)

    return answer(logits, temperature, top_k, top_p, cut_p=cut_p)


@mistake(
    NEXT,
    "Your own softmax takes exponentials of the logits as they are, and e^120 is more than float32 can hold: subtract "
    "each row's largest logit first, or use torch's softmax.",
)
def overflow(logits, temperature=1.0, top_k=None, top_p=None):
    return answer(logits, temperature, top_k, top_p, soften=lambda x, t: normalised((x / t).exp()))
