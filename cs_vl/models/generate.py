"""Writing: token after token, each read once."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs_vl.models.decoder import BeforeBlock, Decoder
from cs_vl.models.sampling import next_token_probabilities


def left_pad(
    texts: Sequence[Sequence[int]], pad_id: int
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Texts of different lengths as one batch whose ends are level, so that all go on at the same place.

    Returns:
        (ids, real): see `Decoder.hidden`.
    """
    longest = max(map(len, texts), default=0)
    ids = torch.tensor([[pad_id] * (longest - len(text)) + list(text) for text in texts])
    behind = torch.tensor([longest - len(text) for text in texts])
    return ids.reshape(len(texts), longest).long(), torch.arange(longest) >= behind[:, None]


@torch.inference_mode()  # as no_grad, with less to note down for each of many small steps
def generate(
    lm: Decoder,
    ids: Int[Tensor, "batch length"] | None = None,
    *,
    embeds: Float[Tensor, "batch length dim"] | None = None,
    real: Bool[Tensor, "batch length"] | None = None,
    max_new_tokens: int,
    end_id: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    before_block: BeforeBlock | None = None,
) -> Int[Tensor, "batch new"]:
    """Go on where each prompt ends.

    Args:
        ids or embeds: the prompts; shorter ones padded on the *left* (`left_pad`).
        real: which tokens of the prompts are real; None: all.
        max_new_tokens: how many tokens to write, at most.
        end_id: the token that ends a text: behind its first one all of a text's tokens are end_id.
        temperature, top_k, top_p: see `next_token_probabilities`; by default greedy.
        generator: to draw on where temperature is not 0; on the model's device.
        before_block: see `BeforeBlock`; called with the whole prompt first, then with one token at a time.

    Returns:
        The new tokens alone, as many as the longest text needs.

    Raises:
        ValueError: there is no token to begin with, or prompt and new tokens are more than the model's
            context_length.
    """
    prompt = ids if ids is not None else embeds
    if prompt is None or prompt.shape[1] == 0:
        raise ValueError("generate needs ids or embeds to begin with, of at least one token")
    batch, length = prompt.shape[:2]
    if length + max_new_tokens > lm.context_length:
        raise ValueError(
            f"{length} tokens of prompt and {max_new_tokens} new ones are more than the model's "
            f"context_length of {lm.context_length}: shorten the prompt or write less"
        )
    cache = lm.new_cache(batch, length + max_new_tokens)
    written = [torch.empty(batch, 0, dtype=torch.long, device=prompt.device)]
    done = torch.zeros(batch, dtype=torch.bool, device=prompt.device)
    for _ in range(max_new_tokens):
        x = lm.hidden(ids, embeds=embeds, real=real, cache=cache, before_block=before_block)[:, -1]
        logits = lm.logits(x)
        if temperature == 0:
            new = logits.argmax(dim=-1)
        else:
            p = next_token_probabilities(logits, temperature, top_k, top_p)
            new = torch.multinomial(p, 1, generator=generator)[:, 0]
        if end_id is not None:
            new = new.masked_fill(done, end_id)
            done = done | (new == end_id)
        ids, embeds = new[:, None], None
        written.append(ids)
        if end_id is not None and done.all():
            break
        if real is not None:
            real = torch.cat([real, torch.ones_like(real[:, :1])], dim=1)
    with torch.inference_mode(False):  # what comes out may be trained on
        return torch.cat(written, dim=1)
