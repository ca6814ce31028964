"""Known answers: balancing."""

from collections import Counter, defaultdict

import numpy as np
import torch

from autograder.known import alternative, mistake

KEEP = "keep_probability"


def counts(matches):
    return Counter(entry for entries in matches for entry in entries)


def coin(count, limit):
    """The probability of one entry."""
    return limit / max(limit, count)


def any_coin(coins):
    return 1 - np.prod([1 - p for p in coins])


def probabilities(matches, limit, *, coin=coin, together=any_coin):
    """Right as it stands; most mistakes change one of the two steps."""
    count = counts(matches)
    return np.array(
        [together([coin(count[entry], limit) for entry in entries]) for entries in matches], float
    )


@alternative(KEEP)
def by_loops(matches, limit):
    count = defaultdict(int)
    for entries in matches:
        for entry in entries:
            count[entry] += 1
    kept = np.zeros(len(matches))
    for i, entries in enumerate(matches):
        for entry in entries:
            p = 1.0 if count[entry] <= limit else limit / count[entry]
            kept[i] += (1 - kept[i]) * p  # kept already, or kept by this coin
    return kept


@alternative(KEEP)
def by_bincount(matches, limit):
    flat = np.concatenate([np.asarray(entries, dtype=int) for entries in matches])
    text = np.repeat(np.arange(len(matches)), [len(entries) for entries in matches])
    p = limit / np.maximum(np.bincount(flat), limit)
    dropped = np.ones(len(matches))
    np.multiply.at(dropped, text, 1 - p[flat])
    return 1 - dropped


@alternative(KEEP)
def by_logarithms(matches, limit):
    entries, count = np.unique(np.concatenate([*matches, []]), return_counts=True)
    p = dict(zip(entries.tolist(), np.minimum(1, limit / count), strict=True))
    with np.errstate(divide="ignore"):
        return np.array([-np.expm1(sum(np.log1p(-p[entry]) for entry in text)) for text in matches])


@alternative(KEEP)
def by_a_matrix_in_torch(matches, limit):
    matched = torch.zeros(len(matches), 1 + max(max(entries, default=-1) for entries in matches))
    for text, entries in enumerate(matches):
        for entry in entries:
            matched[text, entry] = 1
    drop = 1 - limit / matched.sum(0).clamp(min=limit)
    return (1 - torch.where(matched > 0, drop, 1.0).prod(1)).numpy()


@alternative(KEEP)
def as_metaclip_sets_its_array(matches, limit):
    entry_count = np.zeros(1 + max((entry for entries in matches for entry in entries), default=0))
    for entries in matches:
        for entry in entries:
            entry_count[entry] += 1
    entry_count[entry_count < limit] = limit
    entry_prob = limit / entry_count
    return [float(1 - np.prod(1 - entry_prob[entries])) if entries else 0.0 for entries in matches]


@mistake(KEEP, "You took the largest of the entries' probabilities: several coins together keep a text more "
         "often than the best of them alone.")  # fmt: skip
def largest(matches, limit):
    return probabilities(matches, limit, together=lambda coins: max(coins, default=0))


@mistake(KEEP, "You took the smallest of the entries' probabilities: one coin that says so is enough.")
def smallest(matches, limit):
    return probabilities(matches, limit, together=lambda coins: min(coins, default=0))


@mistake(
    KEEP, "You averaged the entries' probabilities: the text is kept if at least one of the coins says so."
)
def average(matches, limit):
    return probabilities(matches, limit, together=lambda coins: np.mean(coins) if coins else 0)


@mistake(KEEP, "You multiplied the entries' probabilities: that is how likely all coins are to say so, and one "
         "is enough.")  # fmt: skip
def all_coins(matches, limit):
    return probabilities(matches, limit, together=lambda coins: np.prod(coins) if coins else 0)


@mistake(
    KEEP, "You added the entries' probabilities: two coins can both say so, and the sum counts that twice."
)
def added(matches, limit):
    return probabilities(matches, limit, together=sum)


@mistake(KEEP, "You added the entries' probabilities, and cut off at 1: coins are independent, so multiply the "
         "probabilities that each says no.")  # fmt: skip
def added_and_cut_off(matches, limit):
    return probabilities(matches, limit, together=lambda coins: min(1.0, sum(coins)))


@mistake(KEEP, "You looked at the first entry of each text alone: every entry tosses a coin.")
def first_entry_only(matches, limit):
    return probabilities(matches, limit, together=lambda coins: coins[0] if coins else 0)


@mistake(KEEP, "You returned how likely a text is to be dropped: subtract it from 1.")
def dropped(matches, limit):
    return 1 - probabilities(matches, limit)


@mistake(
    KEEP,
    "You took the probability that exactly one coin says so: it is at least one, so two or more count, too.",
)
def exactly_one_coin(matches, limit):
    def together(coins):
        others = [np.prod([1 - q for j, q in enumerate(coins) if j != i]) for i in range(len(coins))]
        return sum(p * q for p, q in zip(coins, others, strict=True))

    return probabilities(matches, limit, together=together)


@mistake(KEEP, "A text that no entry matches is kept in yours: it has no coin, so its probability is 0.")
def kept_without_a_match(matches, limit):
    kept = probabilities(matches, limit)
    return np.where([len(entries) == 0 for entries in matches], 1.0, kept)


@mistake(KEEP, "Your p is limit / count, which exceeds 1 for rare entries: divide by max(limit, count).")
def not_clipped(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: limit / count)


@mistake(KEEP, "Your p is turned round, count / limit: the more texts an entry matches, the smaller its p.")
def turned_round(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: min(1, count / limit))


@mistake(KEEP, "You divided by min(limit, count): divide by the larger of the two, so that p is at most 1.")
def the_smaller_of_the_two(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: limit / min(limit, count))


@mistake(KEEP, "You divided 1, not the limit, by max(limit, count): rare entries must get p = 1.")
def one_over(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: 1 / max(limit, count))


@mistake(KEEP, "Your p is 1 / count, whatever the limit: it is limit / max(limit, count).")
def without_limit(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: 1 / count)


@mistake(
    KEEP,
    "You drop every text of a frequent entry (is it // for /?): it keeps a share of them, limit / count.",
)
def none_of_the_frequent(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: float(count <= limit))


@mistake(KEEP, "Your p is limit / (limit + count): it is limit / max(limit, count), so rare entries get 1.")
def sum_for_maximum(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: limit / (limit + count))


@mistake(
    KEEP, "Your p has a square root, as in word2vec's subsampling: MetaCLIP's is limit / max(limit, count)."
)
def square_root(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: (limit / max(limit, count)) ** 0.5)


@mistake(KEEP, "You divided by the number of texts: each entry has a count of its own.")
def number_of_texts_for_count(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: limit / max(limit, len(matches)))


@mistake(
    KEEP, "You compare the limit with an entry's share of the texts: it is to be compared with the count."
)
def share_for_count(matches, limit):
    return probabilities(matches, limit, coin=lambda count, limit: limit / max(limit, count / len(matches)))


@mistake(KEEP, "You counted how many entries a text has: count how many texts each entry matches.")
def entries_of_the_text_counted(matches, limit):
    return np.array([any_coin([coin(len(entries), limit) for _ in entries]) for entries in matches], float)


@mistake(
    KEEP, "You return the entries' probabilities, in the order of their numbers: return one for each text."
)
def of_each_entry(matches, limit):
    return np.array([coin(count, limit) for _, count in sorted(counts(matches).items())])
