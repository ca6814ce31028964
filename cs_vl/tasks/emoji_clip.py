"""CLIP on emoji: train it on some artists' pictures of some things; ask it for other things, in other styles.

Training sees three styles (`TRAIN_STYLES`) of the concepts that are not held out.  Then the model, which has
never been told what classes there will be, chooses among names:

- held-out concepts, which it has seen in no style: all that it knows of them are the words of their names;
- seen concepts in styles that it has never seen, near or far.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.data.augment import augment
from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji import (
    SKETCH_STYLES,
    SPLITS,
    STYLES,
    TRAIN_STYLES,
    Emoji,
    EmojiSet,
    Split,
    on_background,
)
from cs_vl.data.emoji_captions import CONTEXT_LENGTH, TEMPLATES
from cs_vl.losses.info_nce import info_nce
from cs_vl.losses.temperature import clamp_logit_scale
from cs_vl.models.clip import CLIP
from cs_vl.nn.conv_net import ConvNet
from cs_vl.nn.conv_stem import ConvStem
from cs_vl.nn.keep_tokens import KeepTokens
from cs_vl.nn.text import TextTransformer
from cs_vl.nn.vit import ViT
from cs_vl.tasks.zero_shot import encode_images, encode_texts, prompt_ensemble, topk_accuracy

IMAGE_SIZE, PATCH_SIZE = 32, 8  # pixels
DIM = 128
COMPLETE_STYLES = tuple(style for style in STYLES if style not in ("noto_v1", "fxemoji"))  # have (nearly) all

Captions = Callable[
    [Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]
]  # concepts, styles -> ids, lengths


class EmojiBatch(NamedTuple):
    """Pairs for training: no two of a batch are of the same concept, so that every other text is a wrong one.

    images: in [0, 1], augmented.
    ids, lengths: their captions.
    concept: what they show, an index into `Emoji.names`; CLIP never sees it.
    """

    images: Float[Tensor, "batch 3 size size"]
    ids: Int[Tensor, "batch length"]
    lengths: Int[Tensor, " batch"]
    concept: Int[Tensor, " batch"]


# ---- Models ----


def make_vision_tower(
    kind: str, *, keep: float = 1.0, depth: int = 3, convolutions: int = 2, width: int = 32
) -> tuple[nn.Module, int]:
    """An image tower and the width of what it pools.

    Args:
        kind: "vit": a ViT over 4 x 4 patches with a convolutional stem.  "cnn": a `ConvNet`.
        keep: the share of patches that the ViT reads in training; see `KeepTokens`.
        depth: of the ViT.
        convolutions: of each stage of the ViT's stem.
        width: of the ConvNet's first stage.
    """
    if kind == "cnn":
        net = ConvNet(width=width)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU
        return net, net.dim
    if kind != "vit":
        raise ValueError(f"kind should be 'vit' or 'cnn'; got {kind!r}")
    vit = ViT(image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, dim=DIM, depth=depth, heads=4, pool="mean")
    stem = ConvStem(PATCH_SIZE, 3, DIM, convolutions=convolutions)
    vit.patch_embed = stem.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    vit.ln_pre = KeepTokens(keep)  # type: ignore[assignment]
    nn.init.normal_(vit.position_embed, std=0.1)  # as for the words, below
    return vit, DIM


def make_text_tower(tokenizer: Tokenizer, *, depth: int = 1) -> TextTransformer:
    """A text transformer for short captions, the mean over whose words is what it pools."""
    text = TextTransformer(
        vocab_size=tokenizer.vocab_size,
        context_length=CONTEXT_LENGTH,
        dim=DIM,
        depth=depth,
        heads=4,
        causal=False,
        pool="mean",
    )
    # Five times the usual start: in a short training words have no time to grow apart.
    nn.init.normal_(text.token_embed.weight, std=0.1)
    return text


def make_emoji_clip(
    tokenizer: Tokenizer,
    tower: str = "vit",
    *,
    text_depth: int = 1,
    logit_bias: float | None = None,
    **tower_options: Any,
) -> CLIP:
    """A new CLIP for 32 x 32 pixels and short captions; the image tower is `make_vision_tower`'s."""
    visual, visual_dim = make_vision_tower(tower, **tower_options)
    text = make_text_tower(tokenizer, depth=text_depth)
    return CLIP(
        visual=visual, text=text, visual_dim=visual_dim, text_dim=DIM, embed_dim=DIM, logit_bias=logit_bias
    )


# ---- Training ----


def training_pictures(
    emoji: Emoji,
    styles: Sequence[str] = TRAIN_STYLES,
    *,
    splits: Sequence[Split] = ("train", "selection"),
    share: float = 1.0,
    seed: int = 0,
) -> EmojiSet:
    """What a model may learn from: once a recipe has been chosen, all that is not held out.

    Args:
        share: of the concepts, chosen at random by `seed`.
    """
    parts = [emoji.select(styles, split) for split in splits]
    rgba, concept, style = (
        torch.cat(p) for p in zip(*((x.rgba, x.concept, x.style) for x in parts), strict=True)
    )
    pictures = EmojiSet(rgba, concept, style)
    if share < 1:
        concepts = pictures.concept.unique()
        order = torch.randperm(len(concepts), generator=torch.Generator().manual_seed(seed))
        pictures = pictures.showing(concepts[order[: round(share * len(concepts))]])
    return pictures


def distinct_rows(
    concept: Int[Tensor, " pictures"], n: int, generator: torch.Generator
) -> Int[Tensor, " rows"]:
    """Up to n random pictures, no two of the same concept: else a right text would count as a wrong one."""
    order = torch.randperm(len(concept), generator=generator)
    shuffled, place = concept[order], torch.arange(len(order))
    first = torch.full((int(concept.max()) + 1,), len(order)).scatter_reduce(0, shuffled, place, "amin")
    return order[first[shuffled] == place][:n]  # of each concept only the picture that comes first


def emoji_batches(
    pictures: EmojiSet,
    captions: Captions,
    batch_size: int,
    *,
    colours: float | Callable[[int], float] = 1.0,
    outlines: float = 0.1,
    device: torch.device | str = "cpu",
) -> Callable[[int, torch.Generator], EmojiBatch]:
    """Random batches for `cs_vl.train.fit`.

    Args:
        captions: (concepts, styles, generator) -> ids, lengths.
        colours, outlines: see `augment`; colours may depend on the step.
        device: where to augment: with a GPU, half of a step's time if it is done there.
    """
    rgba = pictures.rgba.to(device)

    def batch(step: int, generator: torch.Generator) -> EmojiBatch:
        rows = distinct_rows(pictures.concept, batch_size, generator)
        concept = pictures.concept[rows]
        share = colours(step) if callable(colours) else colours
        images = augment(rgba[rows], generator, colours=share, outlines=outlines)
        return EmojiBatch(images, *captions(concept, pictures.style[rows], generator), concept)

    return batch


def clip_loss(model: CLIP, batch: EmojiBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """InfoNCE both ways, and the share of images that choose their own text from the batch."""
    out = model(batch.images, batch.ids, batch.lengths)
    loss = info_nce(out.image_features, out.text_features, model.logit_scale.exp())
    right = out.logits.argmax(dim=1) == torch.arange(len(out.logits), device=out.logits.device)
    return loss, {"accuracy": right.float().mean()}


def clamp_scale(model: CLIP) -> None:
    """After each step: exp(logit_scale) stays in [1, 100]."""
    clamp_logit_scale(model.logit_scale)


# ---- Evaluation ----

# Answers a set of pictures with a score for every concept of `Emoji.names`, the more the likelier.
Answer = Callable[[EmojiSet], Float[Tensor, "pictures concepts"]]


@torch.no_grad()
def name_embeddings(
    model: CLIP, tokenizer: Tokenizer, names: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Float[Tensor, "classes dim"]:
    """The classifier that the text tower makes of names."""
    encode = partial(encode_texts, model, tokenizer, context_length=CONTEXT_LENGTH)
    return prompt_ensemble(encode, names, templates)


def clip_answers(
    model: CLIP, tokenizer: Tokenizer, emoji: Emoji, templates: Sequence[str] = TEMPLATES
) -> Answer:
    """Zero-shot: a concept's score is the cosine between the picture, on white, and its prompts' mean."""
    classes = name_embeddings(model, tokenizer, emoji.phrases, templates)
    return lambda pictures: encode_images(model, on_background(pictures.rgba)) @ classes.T


def emoji_scores(
    answer: Answer,
    emoji: Emoji,
    *,
    unseen: Split | None = "held_out",
    styles: Sequence[str] = STYLES,
    every: int = 1,
) -> dict[str, float]:
    """How often the answer is right, in [0, 1].

    All is asked of the 1,374 concepts that have a picture in each of `COMPLETE_STYLES`.

    Args:
        unseen: the split that training left out; None: only what was seen is asked.
        styles: to ask for seen concepts in.
        every: ask for every so many-th seen concept only, to save time.

    Returns:
        A style's id: top-1 accuracy on seen concepts in this style, among all seen concepts.
        "unseen top1", "unseen top5": on unseen concepts in the training styles, among the unseen ones.
        "unseen of all top1", "unseen of all top5": the same pictures, among all concepts.
        "unseen <style>": top-1 on unseen concepts in this style, among the unseen ones.
    """
    complete = emoji.concepts(COMPLETE_STYLES)
    is_unseen = emoji.split[complete] == SPLITS.index(unseen) if unseen else torch.zeros_like(complete).bool()
    is_held_out = emoji.split[complete] == SPLITS.index("held_out")
    seen, left_out = complete[~is_unseen & ~is_held_out], complete[is_unseen]
    scores = {}
    for style in styles:
        pictures = _pictures_of(emoji, style, seen[::every])
        scores[style] = _topk(answer(pictures), pictures.concept, seen, 1)
    if unseen is None:
        return scores

    by_style = {style: _pictures_of(emoji, style, left_out) for style in styles}
    logits = {style: answer(pictures) for style, pictures in by_style.items()}
    for style, pictures in by_style.items():
        scores[f"unseen {style}"] = _topk(logits[style], pictures.concept, left_out, 1)
    trained = [style for style in TRAIN_STYLES if style in styles]
    concept = torch.cat([by_style[style].concept for style in trained])
    answers = torch.cat([logits[style] for style in trained])
    for k in (1, 5):
        scores[f"unseen top{k}"] = _topk(answers, concept, left_out, k)
        scores[f"unseen of all top{k}"] = _topk(answers, concept, torch.cat([seen, left_out]), k)
    return scores


def unseen_scores(
    answer: Answer, emoji: Emoji, *, unseen: Split = "held_out", styles: Sequence[str] = TRAIN_STYLES
) -> dict[str, float]:
    """Those scores of `emoji_scores` alone that ask for an unseen concept among unseen ones.

    Returns:
        "unseen top1", "unseen top5", in [0, 1], all styles together.
    """
    concepts = emoji.concepts(COMPLETE_STYLES, unseen)
    pictures = emoji.select(styles, unseen).showing(concepts)
    scores = answer(pictures)
    return {f"unseen top{k}": _topk(scores, pictures.concept, concepts, k) for k in (1, 5)}


def scored_concepts(emoji: Emoji, style: str, concepts: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
    """Those of some concepts that have a picture in the style, by which they can be told."""
    there = torch.isin(concepts, emoji.concepts(style))
    if style in SKETCH_STYLES:  # no colour: nobody could tell a red heart from a blue one
        there &= ~emoji.colour_only[concepts]
    return concepts[there]


def _pictures_of(emoji: Emoji, style: str, concepts: Int[Tensor, " n"]) -> EmojiSet:
    return emoji.select(style).showing(scored_concepts(emoji, style, concepts))


def _topk(
    scores: Float[Tensor, "n concepts"],
    concept: Int[Tensor, " n"],
    candidates: Int[Tensor, " classes"],
    k: int,
) -> float:
    """Top-k accuracy among the candidates."""
    place = torch.full((scores.shape[1],), -1)
    place[candidates] = torch.arange(len(candidates))
    return topk_accuracy(scores[:, candidates], place[concept], k)
