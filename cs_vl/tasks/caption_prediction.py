"""The road that CLIP did not take: predict the caption, and name a picture by the likeliest name.

Radford et al. 2021 (fig. 2) began with a captioner and found that guessing just *which* words a caption has
learns faster, and that picking the right caption out of a batch learns faster still.  Here are the first two
for emoji, with the towers of `make_emoji_clip`, so that all three can be trained for equally long.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji import EmojiSet, on_background
from cs_vl.losses.captioning import bag_of_words_loss, captioning_loss
from cs_vl.models.captioner import Captioner
from cs_vl.nn.text import LanguageModel
from cs_vl.tasks.emoji_clip import Answer, EmojiBatch, make_text_tower, make_vision_tower

# ---- Word for word ----


def make_emoji_captioner(tokenizer: Tokenizer, tower: str = "cnn", *, width: int = 32) -> Captioner:
    """A prefix LM behind one token, what the image tower pools; arguments as in `make_vision_tower`."""
    visual, visual_dim = make_vision_tower(tower, width=width)
    return Captioner(visual, LanguageModel(make_text_tower(tokenizer)), visual_dim=visual_dim, pooled=True)


def captioner_loss(model: Captioner, batch: EmojiBatch) -> Tensor:
    """Nats for each token of the captions."""
    return captioning_loss(model(batch.images, batch.ids), batch.ids, batch.lengths)


def captioner_answers(
    model: Captioner, tokenizer: Tokenizer, names: Sequence[str], batch_size: int = 128
) -> Answer:
    """A score for each name: log p(name, and then the end of the caption | picture)."""
    device = next(model.parameters()).device
    ids, lengths = (x.to(device) for x in tokenizer.batch(names))

    def answer(pictures: EmojiSet) -> Tensor:
        parts = on_background(pictures.rgba).split(batch_size)
        return torch.cat([model.log_likelihoods(part.to(device), ids, lengths).cpu() for part in parts])

    return answer


# ---- Which words ----


class WordPredictor(nn.Module):
    """An image tower and a linear head, with a score for each token of the vocabulary."""

    def __init__(self, visual: nn.Module, visual_dim: int, vocab_size: int):
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(visual_dim, vocab_size)

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images vocab"]:
        return self.head(self.visual(images).pooled)


def make_word_predictor(tokenizer: Tokenizer, tower: str = "cnn", *, width: int = 32) -> WordPredictor:
    """Arguments as in `make_vision_tower`."""
    return WordPredictor(*make_vision_tower(tower, width=width), tokenizer.vocab_size)


def word_loss(model: WordPredictor, batch: EmojiBatch) -> Tensor:
    """Nats for each different token of the captions."""
    return bag_of_words_loss(model(batch.images), batch.ids, batch.lengths)


def word_answers(model: WordPredictor, tokenizer: Tokenizer, names: Sequence[str]) -> Answer:
    """A score for each name: the mean log-probability of its different tokens, as in the loss."""
    ids, lengths = tokenizer.batch(names)
    present = torch.zeros(len(names), tokenizer.vocab_size)
    for row, tokens, length in zip(present, ids, lengths.tolist(), strict=True):
        row[tokens[:length]] = 1
    weights = present / present.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def answer(pictures: EmojiSet) -> Tensor:
        images = on_background(pictures.rgba).to(model.head.weight.device)
        return model(images).log_softmax(dim=1).cpu() @ weights.T

    return answer
