"""CLIP against transformers' CLIPModel: a whole training step at the same sizes and weights.

A step is forward, symmetric InfoNCE, backward and an update by AdamW; the sizes are near those of the
course's CLIP on emoji.
"""

from collections.abc import Callable

import torch
from transformers import CLIPConfig, CLIPModel

from cs_vl.convert import clip_from_hf
from cs_vl.train import clip_train_step

PAIRS, IMAGE_SIZE, LENGTH, VOCAB = 128, 32, 24, 1000


def config() -> CLIPConfig:
    size = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    ends = {"bos_token_id": VOCAB - 2, "eos_token_id": VOCAB - 1, "pad_token_id": VOCAB - 1}
    return CLIPConfig(
        text_config={**size, **ends, "vocab_size": VOCAB, "max_position_embeddings": LENGTH},
        vision_config={**size, "image_size": IMAGE_SIZE, "patch_size": 8},
        projection_dim=128,
    )


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, ids and lengths: captions end after 8 to 24 tokens."""
    torch.manual_seed(0)
    lengths = torch.randint(8, LENGTH + 1, (PAIRS,))
    ids = torch.randint(VOCAB - 2, (PAIRS, LENGTH))
    ids[torch.arange(LENGTH) >= lengths[:, None] - 1] = VOCAB - 1
    return torch.randn(PAIRS, 3, IMAGE_SIZE, IMAGE_SIZE), ids, lengths


def optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)


def steps() -> tuple[Callable[[], float], Callable[[], float]]:
    """One step of ours and one of theirs, on the same batch; each gives its loss."""
    theirs = CLIPModel(config()).train()
    ours = clip_from_hf(config(), theirs.state_dict()).train()
    our_optimizer, their_optimizer = optimizer(ours), optimizer(theirs)
    images, ids, lengths = batch()
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()

    def our_step() -> float:
        return clip_train_step(ours, our_optimizer, images, ids, lengths)

    def their_step() -> float:
        output = theirs(input_ids=ids, pixel_values=images, attention_mask=mask, return_loss=True)
        their_optimizer.zero_grad()
        output.loss.backward()
        their_optimizer.step()
        return output.loss.item()

    return our_step, their_step


def clip_step(in_turn: Callable[..., tuple[float, float]]) -> tuple[str, str, float, float]:
    """A row of the table; `in_turn` measures."""
    ours, theirs = steps()
    a, b = ours(), theirs()
    assert abs(a - b) < 1e-4, f"not the same model: {a} and {b}"
    ratio, seconds = in_turn(ours, theirs, 15)
    what = f"training step of a CLIP (2 x 4 x 128, {PAIRS} pairs of {IMAGE_SIZE} px and {LENGTH} tokens)"
    return what, "transformers' CLIPModel", ratio, seconds
