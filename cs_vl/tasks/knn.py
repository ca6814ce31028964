"""Nearest neighbours: classify by the most similar examples, without fitting anything."""

from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def knn_classify(
    features: Float[Tensor, "images dim"],
    labels: Int[Tensor, " images"],
    queries: Float[Tensor, "queries dim"],
    k: int,
    num_classes: int,
    temperature: float,
) -> Float[Tensor, "queries num_classes"]:
    """The weighted vote of each query's k nearest neighbours   (Wu et al. 2018, sec. 3.4).

    The neighbours are the k images of the largest cosine with the query.  Each votes for its own class,
    with weight exp(cosine / temperature).

    Args:
        features, queries: each row of length 1 already, so that a dot product is a cosine.
        labels: classes of `features`, 0 to num_classes - 1; some may not occur.
        k: number of neighbours, 1 to the number of images.
        temperature: 0.07, say (Wu et al.).

    Returns:
        The score of each class, for each query: the sum of the weights of its votes; exactly 0 for a class
        that none of the k belongs to.  Scores are not normalised.
    """
    ### BEGIN SOLUTION
    cosines, nearest = (queries @ features.T).topk(k)  # (queries, k)
    scores = cosines.new_zeros(len(queries), num_classes)
    return scores.scatter_add(1, labels[nearest], (cosines / temperature).exp())
    ### END SOLUTION
