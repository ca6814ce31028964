"""Greedy decoding against transformers' `generate`: a small Llama, the same weights, the same tokens."""

from collections.abc import Callable, Iterator

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cs_vl.convert import llama_from_hf
from cs_vl.models import generate

PROMPT, NEW, VOCAB = 64, 64, 4096
CONFIG = LlamaConfig(
    vocab_size=VOCAB,
    hidden_size=256,
    intermediate_size=688,
    num_hidden_layers=6,
    num_attention_heads=8,
    num_key_value_heads=8,
    max_position_embeddings=PROMPT + NEW,
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_id=None,
)


def writers(batch: int) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
    """One text of ours and one of theirs, from the same prompts; each gives the new tokens."""
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(CONFIG).eval()
    ours = llama_from_hf(CONFIG, theirs.state_dict()).eval()
    prompt = torch.randint(VOCAB, (batch, PROMPT))

    def we_write() -> torch.Tensor:
        return generate(ours, prompt, max_new_tokens=NEW)

    def they_write() -> torch.Tensor:
        mask = torch.ones_like(prompt)
        text = theirs.generate(prompt, attention_mask=mask, max_new_tokens=NEW, do_sample=False)
        return text[:, PROMPT:]

    return we_write, they_write


def decoding(in_turn: Callable[..., tuple[float, float]]) -> Iterator[tuple[str, str, float, float]]:
    """Rows of the table; `in_turn` measures."""
    for batch, runs in ((1, 15), (16, 9)):
        ours, theirs = writers(batch)
        assert torch.equal(ours(), theirs()), "not the same tokens"
        ratio, seconds = in_turn(ours, theirs, runs)
        what = f"greedy decoding (6 x 256, {batch} x {PROMPT} tokens, {NEW} new ones each)"
        yield what, "transformers' generate", ratio, seconds
