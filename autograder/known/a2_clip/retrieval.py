"""Known answers: retrieval."""

import numpy as np
import torch

from autograder.known import alternative, mistake

RECALL = "recall_at_k"


def hits(similarity, relevant, k):
    """Whether each of the k most similar candidates is relevant."""
    return relevant.gather(1, similarity.topk(k, dim=1).indices)


@alternative(RECALL)
def query_by_query(similarity, relevant, k):
    found = 0
    for scores, right in zip(similarity.tolist(), relevant.tolist(), strict=True):
        order = sorted(range(len(scores)), key=lambda j: -scores[j])
        if any(right[j] for j in order[:k]):
            found += 1
    return found / len(similarity)


@alternative(RECALL)
def by_sorting(similarity, relevant, k):
    order = torch.argsort(similarity, dim=-1, descending=True)
    sorted_relevance = torch.take_along_dim(relevant.float(), order, dim=-1)
    return sorted_relevance[:, :k].amax(dim=-1).mean()


@alternative(RECALL)
def by_the_best_rank(similarity, relevant, k):
    """A query's best relevant candidate has fewer than k candidates above it."""
    best = similarity.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
    return ((similarity > best).sum(dim=1) < k).double().mean().item()


@alternative(RECALL)
def in_numpy(similarity, relevant, k):
    nearest = np.argpartition(-similarity.numpy(), k - 1, axis=1)[:, :k]
    return np.mean(np.take_along_axis(relevant.numpy(), nearest, axis=1).any(axis=1))


@alternative(RECALL)
def by_the_kth_similarity(similarity, relevant, k):
    threshold = similarity.sort(dim=1).values[:, -k, None]
    return float(((similarity >= threshold) & relevant).sum(1).clamp(max=1).sum()) / relevant.shape[0]


@alternative(RECALL)
def by_pairs_of_indices(similarity, relevant, k):
    queries = torch.arange(similarity.size(0)).repeat_interleave(k)
    nearest = torch.topk(similarity, k, sorted=False)[1].flatten()
    return (relevant[queries, nearest].view(-1, k).sum(-1) > 0).float().mean()


@mistake(RECALL, "You took the share of the relevant candidates that are found: "
         "a query counts 1 as soon as one of them is among its k.")  # fmt: skip
def share_of_relevant_found(similarity, relevant, k):
    return (hits(similarity, relevant, k).sum(1) / relevant.sum(1)).mean().item()


@mistake(RECALL, "You took the share of the k that are relevant (precision): "
         "ask of each query whether any of its k is, then average over queries.")  # fmt: skip
def precision(similarity, relevant, k):
    return hits(similarity, relevant, k).float().mean().item()


@mistake(
    RECALL, "You count every relevant candidate among the k: a query counts once, however many it finds."
)
def counted_more_than_once(similarity, relevant, k):
    return hits(similarity, relevant, k).sum().item() / len(similarity)


@mistake(RECALL, "You took candidate i as the right one for query i: look up in `relevant` which ones are.")
def diagonal_only(similarity, relevant, k):
    own = torch.arange(len(similarity))[:, None]
    return (similarity.topk(k, dim=1).indices == own).any(1).float().mean().item()


@mistake(RECALL, "You look at the least similar candidates: sort in descending order.")
def least_similar(similarity, relevant, k):
    return hits(-similarity, relevant, k).any(1).float().mean().item()


@mistake(RECALL, "Each of your candidates looks for queries: a query is a row, so rank along dim=1.")
def columns_search(similarity, relevant, k):
    return hits(similarity.T, relevant.T, k).any(1).float().mean().item()


@mistake(RECALL, "You look at k + 1 candidates: where counting starts at 0, the last rank is k - 1.")
def one_too_many(similarity, relevant, k):
    return hits(similarity, relevant, min(k + 1, similarity.shape[1])).any(1).float().mean().item()


@mistake(RECALL, "You look at k - 1 candidates: the first k are [:, :k].")
def one_too_few(similarity, relevant, k):
    return hits(similarity, relevant, k - 1).any(1).float().mean().item()


@mistake(RECALL, "You look at the most similar candidate alone, whatever k is.")
def top_one_only(similarity, relevant, k):
    return hits(similarity, relevant, 1).any(1).float().mean().item()


@mistake(RECALL, "You look at the k-th candidate alone: all of the first k count.")
def kth_only(similarity, relevant, k):
    return hits(similarity, relevant, k)[:, -1].float().mean().item()


@mistake(RECALL, "You ask that all k candidates be relevant: one is enough (any, not all).")
def all_of_the_k(similarity, relevant, k):
    return hits(similarity, relevant, k).all(1).float().mean().item()


@mistake(RECALL, "You ask that all relevant candidates be among the k: one is enough.")
def all_of_the_relevant(similarity, relevant, k):
    return (hits(similarity, relevant, k).sum(1) == relevant.sum(1)).float().mean().item()


@mistake(RECALL, "You look for the first relevant candidate of each row alone (argmax of `relevant`): "
         "any relevant one will do.")  # fmt: skip
def first_relevant_only(similarity, relevant, k):
    target = relevant.int().argmax(1, keepdim=True)
    return (similarity.topk(k, dim=1).indices == target).any(1).float().mean().item()


@mistake(RECALL, "You took argsort for ranks: it gives which candidate is in each place, "
         "not in which place each candidate is.")  # fmt: skip
def order_taken_for_ranks(similarity, relevant, k):
    order = similarity.argsort(dim=1, descending=True)
    return ((order < k) & relevant).any(1).float().mean().item()


@mistake(RECALL, "You took the first k columns of `relevant` as they stand: "
         "bring each row into the order of its similarities first (gather).")  # fmt: skip
def relevance_not_reordered(similarity, relevant, k):
    return relevant[:, :k].any(1).float().mean().item()


@mistake(RECALL, "You return how many queries find something: divide by the number of queries.")
def number_of_queries(similarity, relevant, k):
    return float(hits(similarity, relevant, k).any(1).sum())


@mistake(RECALL, "You divided by the number of candidates: divide by the number of queries.")
def divided_by_candidates(similarity, relevant, k):
    return float(hits(similarity, relevant, k).any(1).sum()) / similarity.shape[1]


@mistake(RECALL, "You divided by k as well: the share is of the queries alone.")
def divided_by_k(similarity, relevant, k):
    return float(hits(similarity, relevant, k).any(1).float().mean()) / k


@mistake(RECALL, "You return percent: a share lies between 0 and 1.")
def in_percent(similarity, relevant, k):
    return 100 * hits(similarity, relevant, k).any(1).float().mean().item()


@mistake(RECALL, "Your `any` runs over the queries: it must run over each query's k candidates (dim=1).")
def any_over_queries(similarity, relevant, k):
    return hits(similarity, relevant, k).any(0).float().mean().item()


@mistake(RECALL, "Your `any` runs over everything: each query has its own, along dim=1.")
def any_over_everything(similarity, relevant, k):
    return float(hits(similarity, relevant, k).any())


@mistake(RECALL, "You took the k largest similarities of the whole matrix: every query has its own k.")
def k_of_the_whole_matrix(similarity, relevant, k):
    nearest = torch.zeros_like(relevant).flatten()
    nearest[similarity.flatten().topk(k).indices] = True
    return (nearest.view_as(relevant) & relevant).any(1).float().mean().item()


@mistake(
    RECALL, "You removed what is not relevant before you ranked: rank all candidates against each other."
)
def ranked_after_masking(similarity, relevant, k):
    return hits(similarity * relevant, relevant, k).any(1).float().mean().item()


@mistake(RECALL, "You rank probabilities: a softmax of large logits rounds all but the first to 0; "
         "rank the similarities themselves.")  # fmt: skip
def ranked_after_softmax(similarity, relevant, k):
    return hits(similarity.softmax(1), relevant, k).any(1).float().mean().item()


@mistake(RECALL, "You return a number for each query: take their mean.")
def not_averaged(similarity, relevant, k):
    return hits(similarity, relevant, k).any(1).float()
