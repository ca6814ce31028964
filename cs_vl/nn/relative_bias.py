"""T5's relative positions: a learned number a head for "so many tokens to the left", added to the scores."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def relative_position_bucket(
    offset: Int[Tensor, "*shape"], *, buckets: int, max_distance: int, bidirectional: bool
) -> Int[Tensor, "*shape"]:
    """Which of the learned numbers an offset uses: near offsets have their own, far ones share.

    The first half of the buckets hold the distances 0, 1, 2 ... one each; those of the second half grow
    logarithmically up to `max_distance`, beyond which all share the last (Raffel et al. 2020, sec. 2.1).

    Args:
        offset: key position - query position, in tokens; negative where the key comes before the query.
        buckets: how many there are in all.
        max_distance: from here on, every distance falls into the last bucket.
        bidirectional: True (encoder): half of the buckets are for keys up to the query, half for later keys.
            False (decoder): later keys fall into bucket 0; a causal mask hides them anyway.

    Returns:
        Bucket numbers, 0 ... buckets - 1.
    """
    if bidirectional:
        buckets //= 2
        first = buckets * (offset > 0)
        distance = offset.abs()
    else:
        first = torch.zeros_like(offset)
        distance = (-offset).clamp(min=0)
    exact = buckets // 2
    # 0 at distance `exact`, 1 at `max_distance`
    progress = (distance.clamp(min=exact) / exact).log() / math.log(max_distance / exact)
    shared = (exact + (progress * (buckets - exact)).long()).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, shared)


class RelativeBias(nn.Module):
    """The table of those numbers, one column a head.  It starts at zero: no distance is preferred.

    Args:
        heads: number of attention heads.
        buckets, max_distance, bidirectional: as in `relative_position_bucket`.
    """

    def __init__(self, heads: int, *, bidirectional: bool, buckets: int = 32, max_distance: int = 128):
        super().__init__()
        smallest = 4 if bidirectional else 2
        if buckets < smallest:
            raise ValueError(f"buckets must be {smallest} at least; got {buckets}")
        if max_distance <= buckets // smallest:
            raise ValueError(
                f"max_distance must exceed the {buckets // smallest} distances that have their own bucket; "
                f"got {max_distance}"
            )
        self.buckets = buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.table = nn.Parameter(torch.zeros(buckets, heads))

    def forward(self, queries: int, keys: int) -> Float[Tensor, "1 heads queries keys"]:
        """The bias of every (query, key) pair; add it to the scores of `scaled_dot_product_attention`."""
        position = torch.arange(max(queries, keys), device=self.table.device)
        offset = position[:keys] - position[:queries, None]  # (queries, keys)
        bucket = relative_position_bucket(
            offset, buckets=self.buckets, max_distance=self.max_distance, bidirectional=self.bidirectional
        )
        return self.table[bucket].permute(2, 0, 1)[None]
