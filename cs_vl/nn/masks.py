"""Masks: who may look at whom.

Boolean, True = may look.  One block of attention is an encoder, a decoder or a prefix LM by its mask alone.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def attention_mask(
    query_len: int,
    key_lengths: Int[Tensor, " batch"],
    key_len: int,
    *,
    causal: bool = False,
) -> Bool[Tensor, "batch 1 queries keys"]:
    """The mask of a padded batch: nobody looks at padding nor, if causal, into the future.

    Args:
        query_len: number of queries.  Self-attention: equal to key_len.  Cross-attention: of its own.
        key_lengths: how many keys of each sample are real, 1 to key_len.  They come first; the padding
            behind them is hidden from every query (also from the queries that are padding themselves).
        key_len: number of keys, padding included.
        causal: whether to hide later positions.  Queries and keys end together: the queries are the *last*
            query_len of the key_len positions (Vaswani et al. 2017, sec. 3.2.3).  A query sees itself.

    Returns:
        (batch, 1, query_len, key_len), True = may look; the 1 broadcasts over heads.

    Raises:
        ValueError: a length is outside 1 ... key_len, or causal with more queries than keys: some query
            would have nothing to look at.
    """
    if key_lengths.min() < 1 or key_lengths.max() > key_len:
        raise ValueError(f"key_lengths must be from 1 to key_len={key_len}; got {key_lengths.tolist()}")
    if causal and query_len > key_len:
        raise ValueError(f"causal needs query_len <= key_len; got query_len={query_len}, key_len={key_len}")
    ### BEGIN SOLUTION
    key = torch.arange(key_len).to(key_lengths.device)
    is_real = key < key_lengths[:, None, None, None]  # (batch, 1, 1, keys)
    mask = is_real.repeat(1, 1, query_len, 1)
    # The last query sees the last key, so the diagonal of "itself" ends in the corner.
    return mask.tril(key_len - query_len) if causal else mask
    ### END SOLUTION


@exercise
def language_model_mask(kind: str, length: int, prefix_length: int = 0) -> Bool[Tensor, "length length"]:
    """The three masks of language models (Raffel et al. 2020, T5, fig. 3).

    Args:
        kind: "masked": a masked LM such as BERT, which reads the whole text in both directions.
            "causal": a causal LM such as GPT, which predicts each next token from itself and those before.
            "prefix": a prefix LM, which reads the prefix (a question, an image) like a masked LM, and
            continues like a causal LM.  The prefix never sees the continuation.
        length: number of tokens.
        prefix_length: how many of them, from the first on, are the prefix: 0 to length; the other kinds have
            none, whatever it is.

    Returns:
        (length, length), True = may look: row i is the token that looks, column j the one looked at.

    Raises:
        ValueError: an unknown kind, or a prefix longer than the text.
    """
    if kind not in ("masked", "causal", "prefix"):
        raise ValueError(f"kind must be 'masked', 'causal' or 'prefix'; got {kind!r}")
    if not 0 <= prefix_length <= length:
        raise ValueError(f"prefix_length must be from 0 to length={length}; got {prefix_length}")
    ### BEGIN SOLUTION
    everything = torch.ones(length, length, dtype=torch.bool)
    masks = {"masked": everything, "causal": everything.tril(), "prefix": everything.tril()}
    masks["prefix"][:, :prefix_length] = True
    return masks[kind]
    ### END SOLUTION
