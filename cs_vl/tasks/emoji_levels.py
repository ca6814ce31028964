"""Right in what?  A model that takes a lemon for an orange knows that it is fruit."""

import torch
from jaxtyping import Int
from torch import Tensor

from cs_vl.data.emoji import SPLITS, TRAIN_STYLES, Emoji
from cs_vl.tasks.emoji_clip import COMPLETE_STYLES, Answer

LEVELS = ("group", "subgroup", "name")  # from coarse to fine


def level_scores(answer: Answer, emoji: Emoji) -> dict[str, float]:
    """How often the likeliest of all concepts is right, from coarse to fine, for pictures never seen.

    The pictures are those of held-out concepts in the training styles; the answer is one of all concepts in
    `COMPLETE_STYLES`.  It is right in "group" (8 of them) or "subgroup" (94) where it shares the picture's,
    in "name" where it is the very concept.

    Returns:
        {level: accuracy in [0, 1]}, for each of `LEVELS`.
    """
    complete = emoji.concepts(COMPLETE_STYLES)
    pictures = emoji.select(TRAIN_STYLES, "held_out").showing(complete)
    guess = complete[answer(pictures)[:, complete].argmax(dim=1)]
    return {
        level: (of[guess] == of[pictures.concept]).float().mean().item()
        for level, of in _labels(emoji).items()
    }


def levels_by_chance(emoji: Emoji) -> dict[str, float]:
    """What `level_scores` are, on average, for an answer drawn at random from all concepts."""
    complete = emoji.concepts(COMPLETE_STYLES)
    asked = complete[emoji.split[complete] == SPLITS.index("held_out")]
    return {
        level: (of[asked][:, None] == of[complete]).float().mean().item()
        for level, of in _labels(emoji).items()
    }


def _labels(emoji: Emoji) -> dict[str, Int[Tensor, " concepts"]]:
    """What each concept is at each of `LEVELS`."""
    return {"group": emoji.group, "subgroup": emoji.subgroup, "name": torch.arange(len(emoji))}
