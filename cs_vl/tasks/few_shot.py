"""A few pictures of each new thing: what frozen features make of them, beside zero-shot, which needs none."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cs_vl.data.augment import augment
from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji import TRAIN_STYLES, Emoji, EmojiSet, on_background
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import COMPLETE_STYLES, name_embeddings
from cs_vl.tasks.finetune import finetune
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
    finetune_steps: int = 0,
    finetune_lr: float = 3e-4,
) -> dict[str, float]:
    """Name held-out concepts in one style, from one picture of each in some other styles, or from none.

    Args:
        shots: the styles of the examples: one picture of each concept in each.
        ask: the style of the pictures to be named.
        l2: the linear probe's penalty.
        temperature: of the neighbours' votes.
        finetune_steps, finetune_lr: to train the whole image tower on the examples, too, a batch of 128 at a
            time, turned and moved at random; each row of the head starts as the mean of its examples.

    Returns:
        Top-1 accuracy among the held-out concepts, in [0, 1], of "zero-shot", "nearest neighbours", "linear
        probe" and (with steps) "fine-tuning", and by "chance".
    """
    concepts = emoji.concepts(COMPLETE_STYLES, "held_out")

    def some(styles: Sequence[str]) -> tuple[EmojiSet, Tensor]:
        pictures = emoji.select(styles, "held_out").showing(concepts)
        return pictures, torch.searchsorted(concepts, pictures.concept)

    (shown, labels), (asked, truth) = some(shots), some([ask])
    queries = on_background(asked.rgba)
    examples, asked_features = (
        encode_images(model, images) for images in (on_background(shown.rgba), queries)
    )
    classes = name_embeddings(model, tokenizer, [emoji.phrases[i] for i in concepts.tolist()])
    weight, bias = linear_probe(examples, labels, len(concepts), l2)
    answers = {
        "zero-shot": zero_shot_classify(asked_features, classes, model.logit_scale.detach().exp()),
        "nearest neighbours": knn_classify(
            examples, labels, asked_features, len(shots), len(concepts), temperature
        ),
        "linear probe": asked_features @ weight.T + bias,
    }
    if finetune_steps:
        sums = torch.zeros(len(concepts), examples.shape[1]).index_add(0, labels, examples)
        tuned = finetune(
            model,
            shown.rgba,
            labels,
            F.normalize(sums),
            steps=finetune_steps,
            batch_size=128,
            lr=finetune_lr,
            augment=partial(augment, colours=0.0),
            progress=False,
        )
        with torch.no_grad():
            answers["fine-tuning"] = tuned(queries.to(tuned.head.weight.device)).cpu()
    scores = {name: topk_accuracy(answer, truth) for name, answer in answers.items()}
    return {**scores, "chance": 1 / len(concepts)}
