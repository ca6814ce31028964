"""Asking the models of `scene_models`, and how well they answer."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cs_vl.data.bpe import END, PAD, Tokenizer
from cs_vl.data.chat import chat
from cs_vl.data.world import WordCache
from cs_vl.models.flamingo import Flamingo
from cs_vl.models.generate import left_pad
from cs_vl.models.llava import LLaVA
from cs_vl.tasks.in_context import few_shot_scores
from cs_vl.tasks.scene_training import EpisodeMaker


class LLaVAAnswerer:
    """Answers questions, with a picture each or with none, greedily.

    Args:
        model: on any device.
        batch_size: questions at a time.
        max_new_tokens: of an answer.
    """

    def __init__(self, model: LLaVA, tokenizer: Tokenizer, *, batch_size: int = 64, max_new_tokens: int = 40):
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.encode = WordCache(tokenizer).encode

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n 3 size size"] | None, questions: Sequence[str]) -> list[str]:
        """One answer a question.

        Raises:
            ValueError: there are not as many images as questions.
        """
        if images is not None and len(images) != len(questions):
            raise ValueError(f"each question needs an image; got {len(questions)} and {len(images)}")
        device = self.model.lm.token_embed.weight.device
        answers: list[str] = []
        for start in range(0, len(questions), self.batch_size):
            some = slice(start, start + self.batch_size)
            texts = [chat([(question, None)], image=images is not None) for question in questions[some]]
            ids, real = left_pad([self.encode(text) for text in texts], self.tokenizer.specials[PAD])
            new = self.model.generate(
                ids.to(device),
                None if images is None else images[some].to(device),
                real=real.to(device),
                max_new_tokens=self.max_new_tokens,
                end_id=self.tokenizer.specials[END],
            )
            answers += [self.tokenizer.decode(row, skip_specials=True).strip() for row in new.cpu()]
        return answers


class Episode(NamedTuple):
    """A few-shot question: examples with their words, one more picture, and the words to choose from."""

    pictures: list[int]  # rows of `EpisodeMaker.images`: those of the examples, then the query's
    shots: list[int]  # which word belongs to each example
    words: list[list[int]]  # token ids
    answer: int


def few_shot_episodes(maker: EpisodeMaker, n: int, shots: int, *, ways: int = 4, seed: int) -> list[Episode]:
    """n episodes of `ways` things, each with a made-up word; the examples take turns among them.

    With fewer shots than ways some things have not been shown, the queried one perhaps among them.
    """
    rng = random.Random(seed)
    episodes = []
    for _ in range(n):
        things = rng.sample(range(len(maker.pictures)), ways)
        order = rng.sample(range(ways), ways)
        shown = [order[i % ways] for i in range(shots)]
        rng.shuffle(shown)
        answer = rng.randrange(ways)
        pictures = [rng.choice(maker.pictures[things[i]]) for i in [*shown, answer]]
        episodes.append(Episode(pictures, shown, rng.sample(maker.nicknames, ways), answer))
    return episodes


@torch.no_grad()
def few_shot_accuracy(
    model: Flamingo, maker: EpisodeMaker, episodes: Sequence[Episode], *, shuffled: bool = False
) -> float:
    """How often the likeliest word is the right one.

    Args:
        shuffled: the control: the examples' pictures change places with those of other episodes.
    """
    device = model.lm.token_embed.weight.device
    right = 0
    for i, episode in enumerate(episodes):
        pictures = episode.pictures
        if shuffled:
            pictures = [*episodes[i - 1].pictures[:-1], pictures[-1]]
        images = maker.images[torch.tensor(pictures, device=maker.images.device)].float()[None] / 255
        media = model.look(images.to(device))

        def read(ids: Tensor, media: Tensor = media) -> Tensor:
            return model(ids.to(device), media=media.expand(len(ids), -1, -1, -1))

        scores = few_shot_scores(
            read,
            [episode.words[i] for i in episode.shots],
            episode.words,
            image_id=maker.image_id,
            eoc_id=maker.eoc_id,
            prefix=maker.prefix,
        )
        right += int(scores.argmax()) == episode.answer
    return right / len(episodes)
