"""LLaVA: a language model that reads a picture as words of a language of its own.

A frozen vision tower, a language model, and between them one small projector: its outputs stand among the
embeddings of the words, and the language model reads on (Liu et al. 2023, sec. 4).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.exercise import exercise
from cs_vl.losses.next_token import IGNORED
from cs_vl.models.decoder import Decoder
from cs_vl.models.generate import generate


@exercise
class Projector(nn.Module):
    """From what a vision tower sees to what a language model reads, patch by patch.

    - LLaVA (Liu et al. 2023, eq. 1): mlp=False: `fc1` alone; `fc2` is None.
    - LLaVA-1.5 (Liu et al. 2024, sec. 3.2): mlp=True: `fc1`, GELU (exact, not its tanh form), `fc2`.

    Args:
        visual_dim: width of the vision tower.
        dim: width of the language model.
        layer: which of the tower's hidden states to take, as a Python index: -2 is what enters the last
            block.
        class_token: whether the first token of a hidden state is a class token, which is left out.
    """

    def __init__(
        self, visual_dim: int, dim: int, *, mlp: bool = False, layer: int = -2, class_token: bool = True
    ):
        super().__init__()
        self.layer = layer
        self.class_token = class_token
        self.fc1 = nn.Linear(visual_dim, dim)
        self.fc2 = nn.Linear(dim, dim) if mlp else None

    def forward(
        self, hidden_states: tuple[Float[Tensor, "images tokens visual_dim"], ...]
    ) -> Float[Tensor, "images patches dim"]:
        """Project the patches of one hidden state; no norm comes in between.

        Args:
            hidden_states: what enters the tower's first block, then what leaves each block (`ViTOutput`).
        """
        ### BEGIN SOLUTION
        x = hidden_states[self.layer]
        if self.class_token:
            x = x[:, 1:]
        x = self.fc1(x)
        return x if self.fc2 is None else self.fc2(F.gelu(x))
        ### END SOLUTION


@exercise
def splice_images(
    ids: Int[Tensor, "batch length"],
    text_embeds: Float[Tensor, "batch length dim"],
    image_features: Float[Tensor, "images patches dim"],
    image_id: int,
    labels: Int[Tensor, "batch length"] | None = None,
) -> tuple[Float[Tensor, "batch spliced dim"], Int[Tensor, "batch spliced"] | None]:
    """Put all patches of an image where its one `<image>` token stands (official code, `llava_arch.py`).

    Text before and behind keeps its order; what stood at the `<image>` token itself is gone.  Nothing that is
    given is changed.

    Args:
        ids: the tokens; every row has the same number of `<image>` tokens (0 is possible), wherever they are.
        text_embeds: the tokens' embeddings; those at `<image>` mean nothing.
        image_features: the images in the order of reading: those of the first row, then those of the second;
            (0, patches, dim) where no row has any.
        image_id: the id of `<image>`.
        labels: of the tokens, or None.

    Returns:
        (embeds, labels): spliced = length + (images in a row) * (patches - 1).  The labels of all patches are
        -100: nobody has to guess an image.  None where labels is None.

    Raises:
        ValueError: rows have different numbers of `<image>` tokens, or there are more or fewer images.
    """
    is_image = ids == image_id
    per_row = is_image.sum(dim=1)
    if (per_row != per_row[:1]).any() or per_row.sum() != len(image_features):
        raise ValueError(
            f"every text needs the same number of <image> tokens, and each token an image; got "
            f"{per_row.tolist()} tokens in the texts and {len(image_features)} images"
        )
    ### BEGIN SOLUTION
    patches = image_features.shape[1]
    times = torch.where(is_image, patches, 1).flatten()  # how often each token is there in the result

    def spread(x: Tensor) -> Tensor:
        return x.flatten(0, 1).repeat_interleave(times, dim=0).unflatten(0, (len(ids), -1))

    here = spread(is_image)  # (batch, spliced)
    embeds = spread(text_embeds).masked_scatter(here[..., None], image_features.to(text_embeds.dtype))
    return embeds, None if labels is None else spread(labels).masked_fill(here, IGNORED)
    ### END SOLUTION


class LLaVAOutput(NamedTuple):
    """What LLaVA returns: logits at all places, images included, and the labels that fit them."""

    logits: Float[Tensor, "batch spliced vocab"]
    labels: Int[Tensor, "batch spliced"] | None


class LLaVA(nn.Module):
    """A vision tower, a projector and a language model.

    Args:
        visual: a ViT, or any model whose output has `.hidden_states`, and `.pooled` where `pooled`.
        projector: see `Projector`.
        lm: the language model.
        image_id: the id of `<image>`.
        pooled: whether the projector gets the tower's pooled vector, as the one token of the one hidden
            state (its layer is -1 then, and it has no class token).
    """

    def __init__(
        self, visual: nn.Module, projector: Projector, lm: Decoder, *, image_id: int, pooled: bool = False
    ):
        super().__init__()
        self.visual = visual
        self.projector = projector
        self.lm = lm
        self.image_id = image_id
        self.pooled = pooled

    def train(self, mode: bool = True) -> "LLaVA":
        """As for any module, but the frozen tower stays in evaluation mode: nothing of it may drift."""
        super().train(mode)
        self.visual.eval()
        return self

    def encode_images(
        self, images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images patches dim"]:
        """The images in the language model's space."""
        return self.projector(self.look(images))

    def look(self, images: Float[Tensor, "images channels height width"]) -> tuple[Tensor, ...]:
        """What the frozen tower sees: no gradient, so nothing of it is kept for one."""
        with torch.no_grad():
            output = self.visual(images)
        return (output.pooled[:, None],) if self.pooled else output.hidden_states

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        images: Float[Tensor, "images channels height width"] | None = None,
        labels: Int[Tensor, "batch length"] | None = None,
        *,
        features: Float[Tensor, "images patches dim"] | None = None,
    ) -> LLaVAOutput:
        """Read texts with images; padding stands behind the real tokens, where nobody sees it.

        Args:
            images: in the order of reading; None for texts without.
            labels: see `splice_images`.
            features: what `encode_images` gives, in place of images.
        """
        embeds = self.lm.token_embed(ids)
        if images is not None:
            features = self.encode_images(images)
        if features is not None:
            embeds, labels = splice_images(ids, embeds, features, self.image_id, labels)
        return LLaVAOutput(self.lm(embeds=embeds), labels)

    @torch.no_grad()
    def generate(
        self,
        ids: Int[Tensor, "batch length"],
        images: Float[Tensor, "images channels height width"] | None = None,
        *,
        real: Bool[Tensor, "batch length"] | None = None,
        **options: Any,
    ) -> Int[Tensor, "batch new"]:
        """Answer: the new tokens alone; prompts padded on the left, options as in `generate`."""
        embeds = self.lm.token_embed(ids)
        if images is not None:
            # Whether a token is real is a label like any other: 1 or 0, and -100 at the image's patches.
            flags = None if real is None else real.long()
            embeds, flags = splice_images(ids, embeds, self.encode_images(images), self.image_id, flags)
            real = None if flags is None else flags != 0
        return generate(self.lm, embeds=embeds, real=real, **options)


@exercise
def set_phase(model: LLaVA, phase: int) -> None:
    """Choose what learns, by `requires_grad` (Liu et al. 2023, sec. 4.2).

    - Phase 1, alignment: the projector alone.  It has to find what the language model can read already.
    - Phase 2, instruction tuning: the projector and the language model.

    The vision tower is frozen in both.  Whatever was frozen before, afterwards exactly the parameters of the
    phase have requires_grad=True.

    Args:
        model: has `visual`, `projector` and `lm`.
        phase: 1 or 2.

    Raises:
        ValueError: any other phase.
    """
    if phase not in (1, 2):
        raise ValueError(f"LLaVA is trained in phase 1 and phase 2; got {phase!r}")
    ### BEGIN SOLUTION
    learning = {1: ["projector"], 2: ["projector", "lm"]}[phase]
    for name, part in model.named_children():
        part.requires_grad_(name in learning)
    ### END SOLUTION
