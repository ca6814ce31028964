"""A few pictures of each new thing: what frozen features make of them, beside zero-shot, which needs none."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji import TRAIN_STYLES, Emoji, on_background
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import COMPLETE_STYLES, name_embeddings
from cs_vl.tasks.knn import knn_classify
from cs_vl.tasks.linear_probe import linear_probe
from cs_vl.tasks.zero_shot import encode_images, topk_accuracy, zero_shot_classify


def few_shot_scores(
    model: CLIP,
    tokenizer: Tokenizer,
    emoji: Emoji,
    *,
    shots: Sequence[str] = TRAIN_STYLES,
    ask: str = "fluent_3d",
    l2: float = 1e-3,
    temperature: float = 0.07,
) -> dict[str, float]:
    """Name held-out concepts in one style, from one picture of each in some other styles, or from none.

    Args:
        shots: the styles of the examples: one picture of each concept in each.
        ask: the style of the pictures to be named.
        l2: the linear probe's penalty.
        temperature: of the neighbours' votes.

    Returns:
        Top-1 accuracy among the held-out concepts, in [0, 1], of "zero-shot", "nearest neighbours" and
        "linear probe", and by "chance".
    """
    concepts = emoji.concepts(COMPLETE_STYLES, "held_out")

    def encode(styles: Sequence[str]) -> tuple[Tensor, Tensor]:
        pictures = emoji.select(styles, "held_out").showing(concepts)
        return encode_images(model, on_background(pictures.rgba)), torch.searchsorted(
            concepts, pictures.concept
        )

    examples, labels = encode(shots)
    queries, truth = encode([ask])
    classes = name_embeddings(model, tokenizer, [emoji.phrases[i] for i in concepts.tolist()])
    weight, bias = linear_probe(examples, labels, len(concepts), l2)
    answers = {
        "zero-shot": zero_shot_classify(queries, classes, model.logit_scale.detach().exp()),
        "nearest neighbours": knn_classify(examples, labels, queries, len(shots), len(concepts), temperature),
        "linear probe": queries @ weight.T + bias,
    }
    scores = {name: topk_accuracy(answer, truth) for name, answer in answers.items()}
    return {**scores, "chance": 1 / len(concepts)}
