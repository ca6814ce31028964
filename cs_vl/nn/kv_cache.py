"""The key-value cache: what a decoder has read it need not read again.

To write token n + 1 a decoder asks only: what do the tokens so far hold for this one?  Their keys and values
have not changed since they were computed, because nobody looks ahead.  So they are kept, and each step costs
one token's work in place of n.
"""

from jaxtyping import Float
from torch import Tensor


class LayerCache:
    """One layer's keys and values.  The room is taken once, so that no step copies what is there.

    Attributes:
        keys, values: (batch, kv_heads, capacity, head_dim); the first `length` tokens are filled.
        length: how many tokens are in it.
    """

    def __init__(
        self,
        keys: Float[Tensor, "batch kv_heads capacity head_dim"],
        values: Float[Tensor, "batch kv_heads capacity head_dim"],
    ):
        self.keys = keys
        self.values = values
        self.length = 0

    def append(
        self,
        keys: Float[Tensor, "batch kv_heads new head_dim"],
        values: Float[Tensor, "batch kv_heads new head_dim"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads length head_dim"], Float[Tensor, "batch kv_heads length head_dim"]
    ]:
        """Put the new tokens' behind those that are there.

        Returns:
            (keys, values) of all tokens so far, old and new: views, not copies.

        Raises:
            ValueError: no room is left.
        """
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache has room for {self.keys.shape[2]} tokens; token {end} does not fit")
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """A `LayerCache` for each layer of a decoder; see `Decoder.new_cache`.

    Args:
        layers, batch, kv_heads, capacity, head_dim: its size; capacity is the longest text in tokens.
        like: a tensor of the device and dtype to use.
    """

    def __init__(self, layers: int, batch: int, kv_heads: int, capacity: int, head_dim: int, *, like: Tensor):
        def room() -> Tensor:
            return like.new_empty(batch, kv_heads, capacity, head_dim)

        self.layers = [LayerCache(room(), room()) for _ in range(layers)]

    @property
    def length(self) -> int:
        """How many tokens are in it."""
        return self.layers[-1].length
