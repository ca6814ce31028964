"""In-context learning: show a few examples, ask for one more, and compare what could be said."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def few_shot_scores(
    read: Callable[[Tensor], Tensor],
    shots: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    image_id: int,
    eoc_id: int,
    prefix: Sequence[int] = (),
) -> Float[Tensor, " labels"]:
    """How likely each label is for the last image, after some examples (Alayrac et al. 2022, sec. 2.1, 2.5).

    The text is interleaved with images: for each shot `<image>`, the prefix, the shot's label, `<eoc>`; then,
    for the query, `<image>`, the prefix, and one of the labels with its `<eoc>`.  A label's score is the
    log-likelihood of its tokens *and of its `<eoc>`*, given all that stands before each of them.  (With
    `<eoc>`, "a cat" can't win only because every "a cat fish" begins with it.)

    Args:
        read: ids (batch, length), a tensor -> logits (batch, length, vocab); those at i are of token i + 1.
            It knows the images: that of each shot in order, then the query's.  It can read any number of
            texts at once; shorter ones may be filled up *behind* their end with any id, as no token sees
            what comes after it.
        shots: the labels of the examples, as token ids, in order; may be empty (zero shots).
        labels: the labels to compare, as token ids, each of one token or more.
        image_id, eoc_id: the ids of `<image>` and `<eoc>`.
        prefix: token ids between an image and its label ("This is").

    Returns:
        (labels,): log-likelihoods; summed over tokens, not averaged; finite, however unlikely a label is.
    """
    ### BEGIN SOLUTION
    examples = [token for shot in shots for token in (image_id, *prefix, *shot, eoc_id)]
    prompt = [*examples, image_id, *prefix]
    scores = []
    for label in labels:
        text = [*prompt, *label, eoc_id]
        (log_p,) = read(torch.tensor([text])).log_softmax(dim=2)  # one text; at i: of token i + 1
        scores.append(sum(log_p[i - 1, text[i]] for i in range(len(prompt), len(text))))
    return torch.stack(scores)
    ### END SOLUTION
