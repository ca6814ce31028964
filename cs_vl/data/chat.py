"""Conversations as one text, and which of its tokens a model learns.

    <user><image>What is this?<assistant>a fox<|endoftext|><user>How many?<assistant>one<|endoftext|>

A special token stands between the parts and nothing else: no blank, no line break.  `<image>` is where the
picture's features go; `<eoc>`, end of chunk, closes a picture's text in Flamingo's interleaved sequences.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from cs_vl.data.bpe import END
from cs_vl.exercise import exercise

IMAGE, EOC, USER, ASSISTANT = "<image>", "<eoc>", "<user>", "<assistant>"
IGNORE = -100  # the label of what is not learned: `F.cross_entropy` leaves it out


def chat(turns: Sequence[tuple[str, str | None]], image: bool = True) -> str:
    """A conversation in the template above.

    Args:
        turns: (question, answer) pairs.  The last answer may be None: the text then ends with `<assistant>`,
            for a model to go on.
        image: whether the first question is about a picture.

    >>> chat([("What is this?", "a fox"), ("How many?", None)])
    '<user><image>What is this?<assistant>a fox<|endoftext|><user>How many?<assistant>'
    """
    if isinstance(turns, str) or not turns or any(answer is None for _, answer in turns[:-1]):
        raise ValueError(
            f"turns should be (question, answer) pairs, only the last may be open; got {turns!r}"
        )
    text = "".join(
        f"{USER}{question}{ASSISTANT}" + ("" if answer is None else f"{answer}{END}")
        for question, answer in turns
    )
    return text.replace(USER, USER + IMAGE, 1) if image else text


@exercise
def answer_labels(
    ids: Int64[Tensor, "*batch tokens"], assistant_id: int, end_id: int
) -> Int64[Tensor, "*batch tokens"]:
    """What to learn of tokenised conversations: the answers, and where they end (Liu et al. 2023, eq. 3).

    An answer begins after an `<assistant>` token and ends with the first `<|endoftext|>` after it; a row may
    hold several, or none.  The label of a token is its id where it belongs to an answer or is the
    `<|endoftext|>` that ends one, and -100 everywhere else:

    - `<assistant>` itself is never learned.  None stands within an answer.
    - Questions, `<image>` tokens, and what follows an answer's end, padding for instance, are not learned;
      nor is an `<|endoftext|>` that ends no answer.
    - An empty answer is its `<|endoftext|>` alone.
    - An answer that a row's end cuts off counts up to there.

    Labels stand where their tokens stand: the shift by one place is the loss's business.

    Args:
        ids: one row of tokens, or a batch of rows.  They are not changed.
        assistant_id, end_id: the ids of `<assistant>` and `<|endoftext|>`.

    Returns:
        A new tensor of the same shape.
    """
    ### BEGIN SOLUTION
    labels = torch.full_like(ids, IGNORE)
    answering = ids.new_zeros(ids.shape[:-1], dtype=torch.bool)
    for i, token in enumerate(ids.unbind(-1)):  # one place of all rows
        labels[..., i] = torch.where(answering, token, IGNORE)
        answering[token == end_id] = False
        answering[token == assistant_id] = True
    return labels
    ### END SOLUTION
