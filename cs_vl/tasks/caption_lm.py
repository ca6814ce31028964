"""A language model of captions: guess each next token, then write."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.data.bpe import END, Tokenizer
from cs_vl.nn.text import LanguageModel, TextTransformer


def make_language_model(
    tokenizer: Tokenizer, *, context_length: int, dim: int = 64, depth: int = 2, heads: int = 4
) -> LanguageModel:
    """A small causal language model over the tokenizer's ids."""
    return LanguageModel(
        TextTransformer(
            vocab_size=tokenizer.vocab_size,
            context_length=context_length,
            dim=dim,
            depth=depth,
            heads=heads,
            causal=True,
            pool="last",
        )
    )


def next_token_loss(
    logits: Float[Tensor, "batch length vocab"],
    ids: Int[Tensor, "batch length"],
    lengths: Int[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy of token i + 1 given the tokens up to i, in nats; padding does not count."""
    real = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]
    targets = ids[:, 1:].masked_fill(~real, -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100)


def caption_batches(
    ids: Int[Tensor, "texts length"], lengths: Int[Tensor, " texts"], batch_size: int
) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    """Random batches for `cs_vl.train.fit`."""

    def batch(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(ids), (batch_size,), generator=generator)
        return ids[chosen], lengths[chosen]

    return batch


def caption_loss(model: LanguageModel, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The training loss of one batch of (ids, lengths)."""
    ids, lengths = batch
    return next_token_loss(model(ids, lengths), ids, lengths)


@torch.no_grad()
def write(model: LanguageModel, tokenizer: Tokenizer, prompt: str, *, longest: int = 24) -> str:
    """Continue a prompt with the likeliest token each time, up to the end-of-text token.

    Args:
        longest: number of tokens, the prompt's included; at most the model's context_length.
    """
    device = model.transformer.token_embed.weight.device
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ValueError("the prompt must have one token at least: write a word to begin with")
    while len(ids) < longest:
        next_id = int(model(torch.tensor([ids], device=device))[0, -1].argmax())
        if next_id == tokenizer.specials.get(END):
            break
        ids.append(next_id)
    return tokenizer.decode(ids)
