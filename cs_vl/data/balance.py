"""Balancing: of a raw pool of captions, in which a few things are everywhere, keep a more even one.

MetaCLIP (Xu et al. 2023, sec. 3): a list of things worth knowing (the metadata's entries) is matched with
the captions; of entries that match many, only so many captions are kept.  Nobody looks at an image.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def keep_probability(matches: Sequence[Sequence[int]], limit: float) -> Float[np.ndarray, " texts"]:
    """How likely each text is to be kept, so that frequent entries do not drown the rare ones.

    Xu et al. 2023, sec. 3.3.  The count of an entry is the number of texts that it matches.  It keeps each
    of them with probability p = limit / max(limit, count): all of them where it matches no more than
    `limit`, and about `limit` of them where it matches more.  Every entry that matches a text tosses a coin
    of its own for it; the coins are independent, and the text is kept if at least one of them says so.

    Args:
        matches: for each text the entries that match it: numbers >= 0, none of them twice; perhaps none.
        limit: how many texts an entry is to keep, about; > 0, not always a whole number.  (The paper's t:
            20,000 for 400 million texts.)

    Returns:
        A probability in [0, 1] a text; exactly 0 for a text that nothing matches.  Nothing is drawn here.
    """
    ### BEGIN SOLUTION
    count = Counter(entry for entries in matches for entry in entries)
    # A text is dropped where all its coins say so, each with probability 1 - p.
    return np.array(
        [1 - math.prod(1 - limit / max(limit, count[entry]) for entry in entries) for entries in matches]
    )
    ### END SOLUTION


def balanced_sample(
    matches: Sequence[Sequence[int]], limit: float, generator: torch.Generator
) -> Int[Tensor, " kept"]:
    """Draw which texts are kept, each with its `keep_probability`: their indices, in order."""
    keep = torch.from_numpy(np.asarray(keep_probability(matches, limit), dtype=np.float64))
    return (torch.rand(len(keep), dtype=torch.float64, generator=generator) < keep).nonzero().flatten()


def metadata_matches(texts: Sequence[str], entries: Sequence[str]) -> list[list[int]]:
    """Which entries stand in each text, as whole words in a row: "cat" is in "a cat!", not in "category".

    As MetaCLIP's substring matching, but upper and lower case are alike.  Every text is looked through
    once, whatever the number of entries.

    Returns:
        For each text the indices of its entries, in ascending order, each once.
    """
    index: dict[tuple[str, ...], list[int]] = {}
    for i, entry in enumerate(entries):
        index.setdefault(_words(entry), []).append(i)
    index.pop((), None)  # an entry without a word is nowhere
    lengths = sorted({len(words) for words in index})

    def of_one(text: str) -> list[int]:
        words = _words(text)
        spans = {words[i : i + n] for n in lengths for i in range(len(words) - n + 1)}
        return sorted(i for span in spans for i in index.get(span, []))

    return [of_one(text) for text in texts]


def long_tail_counts(
    concepts: int, total: int, generator: torch.Generator, *, exponent: float = 1.0
) -> Int[Tensor, " concepts"]:
    """How often each concept occurs in a raw pool: a few everywhere, most hardly ever (Zipf's law).

    The concept of rank r = 1, 2, ... occurs in proportion to r ** -exponent, but once at least; which concept
    has which rank is drawn.  `torch.arange(concepts).repeat_interleave(counts)` is such a pool.

    Args:
        total: size of the pool, at least `concepts`.

    Returns:
        Counts >= 1, whose sum is `total`.

    Raises:
        ValueError: total is less than the number of concepts.
    """
    if total < concepts:
        raise ValueError(f"each of the {concepts} concepts occurs once at least; got a total of {total}")
    weights = torch.arange(1, concepts + 1, dtype=torch.float64) ** -exponent
    # Once each; what is left, in proportion: rounding the running sum loses none of it.
    edges = ((total - concepts) * weights.cumsum(0) / weights.sum()).round().long()
    counts = 1 + edges.diff(prepend=torch.zeros(1, dtype=torch.long))
    return counts[torch.randperm(concepts, generator=generator)]


def _words(text: str) -> tuple[str, ...]:
    """Words, and marks by themselves; "sit-up" and "o'clock" are one word each."""
    return tuple(re.findall(r"\w+(?:[-'’]\w+)*|[^\w\s]", text.lower()))
