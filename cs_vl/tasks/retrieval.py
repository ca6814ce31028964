"""Retrieval: a text looks for its image among many, and an image for its text.

`recall_at_k` scores a search, `search` does one, and `retrieval_scores` scores both directions of a CLIP.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def recall_at_k(
    similarity: Float[Tensor, "queries candidates"], relevant: Bool[Tensor, "queries candidates"], k: int
) -> float:
    """R@k: the share of queries that find something relevant among their k most similar candidates.

    This is the recall of image-text retrieval (Karpathy & Fei-Fei 2015, sec. 4.1; Radford et al. 2021,
    table 13), a hit rate: a query counts 1 whether one or several of its k candidates are relevant, and
    0 where none is.  (The recall of information retrieval, the share of the relevant candidates that are
    found, is another number.)

    Args:
        similarity: of each query, a row, to each candidate; the larger, the more alike.  Of any scale and
            sign, a row's scale may differ from another's, and no two numbers of a row are equal.
        relevant: True where the candidate of this column is right for the query of this row.  Every query
            has one at least, anywhere in its row.
        k: how many candidates each query may look at, 1 to candidates.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: the shapes differ, or k is out of range.
    """
    if similarity.shape != relevant.shape:
        shapes = f"{tuple(similarity.shape)} and {tuple(relevant.shape)}"
        raise ValueError(f"similarity and relevant must both be (queries, candidates); got {shapes}")
    if not 1 <= k <= similarity.shape[1]:
        raise ValueError(f"k must be 1 to {similarity.shape[1]}, the number of candidates; got {k}")
    ### BEGIN SOLUTION
    nearest = similarity.topk(k).indices  # (queries, k)
    found = relevant.gather(1, nearest).any(dim=1)  # (queries,)
    return found.float().mean().item()
    ### END SOLUTION


def search(
    queries: Float[Tensor, "queries dim"],
    candidates: Float[Tensor, "candidates dim"],
    k: int,
    *,
    chunk_size: int = 1024,
    approximate: bool = False,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k candidates that are most similar to each query, by inner product (cosine, if normalised).

    Args:
        k: how many, 1 to candidates.
        chunk_size: queries that are compared at a time: only (chunk_size, candidates) similarities are held.
        approximate: sort the candidates into cells by k-means, and look into the cells nearest to a query
            only (an inverted file; Johnson et al. 2017).  Pays where thousands of queries look among 100,000
            candidates or more; misses few where features form clusters.  On CPU, for normalised features;
            needs FAISS.

    Returns:
        (similarities, indices), each (queries, k), the most similar first.

    Raises:
        ValueError: the widths differ, or k is out of range.
        ImportError: approximate, and FAISS is not installed.
    """
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        shapes = f"{tuple(queries.shape)} and {tuple(candidates.shape)}"
        raise ValueError(f"queries and candidates must be (n, dim) of the same dim; got {shapes}")
    if not 1 <= k <= len(candidates):
        raise ValueError(f"k must be 1 to {len(candidates)}, the number of candidates; got {k}")
    if approximate:
        return _search_cells(queries, candidates, k)
    found = [(chunk @ candidates.T).topk(k) for chunk in queries.split(chunk_size)]
    return torch.cat([values for values, _ in found]), torch.cat([indices for _, indices in found])


def _search_cells(queries: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    try:
        import faiss
    except ImportError:
        raise ImportError(
            "search(approximate=True) needs FAISS, which is not installed: "
            "`pip install faiss-cpu`, or leave approximate=False, which is exact"
        ) from None
    dim = candidates.shape[1]
    cells = max(1, min(math.isqrt(len(candidates)), len(candidates) // 39))  # FAISS asks for 39 a cell
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    vectors, looking = (x.detach().cpu().float().numpy() for x in (candidates, queries))
    index.train(vectors)
    index.add(vectors)
    index.nprobe = max(8, cells // 16)
    similarities, indices = index.search(looking, k)
    if (indices < 0).any():  # fewer than k in the cells of some query: look into all cells
        index.nprobe = cells
        similarities, indices = index.search(looking, k)
    return torch.from_numpy(similarities).to(queries), torch.from_numpy(indices).to(queries.device)


def retrieval_scores(
    image_features: Float[Tensor, "images dim"],
    text_features: Float[Tensor, "texts dim"],
    image_concepts: Int[Tensor, " images"],
    text_concepts: Int[Tensor, " texts"],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, dict[str, float]]:
    """R@k in both directions; a text is right for an image where both are of one concept.

    Args:
        image_features, text_features: L2-normalised.

    Returns:
        {"image to text": {"R@1": ..., "R@5": ..., ...}, "text to image": {...}}, all in [0, 1].

    Raises:
        ValueError: a concept has images but no texts, or texts but no images.
    """
    similarity = image_features @ text_features.T
    relevant = image_concepts[:, None] == text_concepts
    for side, other, found in (("image", "text", relevant.any(1)), ("text", "image", relevant.any(0))):
        if not found.all():
            first = int(found.int().argmin())
            raise ValueError(f"{side} {first} has no {other} of its concept: leave it out of the search")
    directions = {"image to text": (similarity, relevant), "text to image": (similarity.T, relevant.T)}
    return {name: {f"R@{k}": recall_at_k(*pair, k) for k in ks} for name, pair in directions.items()}
