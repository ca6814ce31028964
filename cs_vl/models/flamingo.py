"""Flamingo: a frozen vision tower and a frozen language model, and new layers that let one look at the other.

Texts and images alternate, any number of them: "<image>a fox<eoc><image>an owl<eoc><image>".  So examples can
be *shown* to it, and it goes on (Alayrac et al. 2022).
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cs_vl.models.decoder import BeforeBlock, Decoder
from cs_vl.models.generate import generate
from cs_vl.nn.gated_cross_attention import GatedCrossAttention, media_mask
from cs_vl.nn.resampler import PerceiverResampler


class Flamingo(nn.Module):
    """The frozen parts, a resampler, and a `GatedCrossAttention` before some of the language model's blocks.

    Args:
        visual: a ViT, or any model whose output has `.hidden_states`.
        lm: the language model.
        visual_dim: width of the vision tower and of the resampler.
        image_id: the id of `<image>`.
        layer: which of the tower's hidden states to take; see `Projector`.
        class_token: whether its first token is a class token, which is left out.
        every: a gated layer stands before every so many blocks, the first one included.
        heads: of the gated layers and of the resampler.
        latents, resampler_depth: how many tokens sum up an image, and in how many layers.
    """

    def __init__(
        self,
        visual: nn.Module,
        lm: Decoder,
        *,
        visual_dim: int,
        image_id: int,
        layer: int = -2,
        class_token: bool = True,
        every: int = 1,
        heads: int = 8,
        latents: int = 64,
        resampler_depth: int = 6,
    ):
        super().__init__()
        self.visual = visual.requires_grad_(False)
        self.lm = lm.requires_grad_(False)
        self.image_id = image_id
        self.layer = layer
        self.class_token = class_token
        self.resampler = PerceiverResampler(visual_dim, depth=resampler_depth, heads=heads, latents=latents)
        dim = lm.token_embed.embedding_dim
        self.gated = nn.ModuleDict(
            {
                str(i): GatedCrossAttention(dim, heads, media_dim=visual_dim)
                for i in range(0, len(lm.blocks), every)
            }
        )

    def train(self, mode: bool = True) -> "Flamingo":
        """As for any module, but what is frozen stays in evaluation mode."""
        super().train(mode)
        self.visual.eval()
        self.lm.eval()
        return self

    def look(
        self, images: Float[Tensor, "batch images channels height width"]
    ) -> Float[Tensor, "batch images latents visual_dim"]:
        """Each image as a few tokens."""
        with torch.no_grad():
            media = self.visual(images.flatten(0, 1)).hidden_states[self.layer][:, int(self.class_token) :]
        return self.resampler(media).unflatten(0, images.shape[:2])

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        images: Float[Tensor, "batch images channels height width"] | None = None,
        *,
        media: Float[Tensor, "batch images latents visual_dim"] | None = None,
        real: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits: those at i are of token i + 1.

        Args:
            ids: texts with an `<image>` token for each image, where the image appears.
            images: of each text, in order; a text with fewer uses the first of them; or
            media: what `look` gives, in their place.
            real: see `Decoder.hidden`.

        Raises:
            ValueError: a text has more `<image>` tokens than images.
        """
        if media is None:
            if images is None:
                raise ValueError("Flamingo reads texts with images: give images, or media in their place")
            media = self.look(images)
        return self.lm(ids, real=real, before_block=self._looking(ids, media))

    @torch.no_grad()
    def generate(
        self,
        ids: Int[Tensor, "batch length"],
        images: Float[Tensor, "batch images channels height width"],
        *,
        real: Bool[Tensor, "batch length"] | None = None,
        **options: Any,
    ) -> Int[Tensor, "batch new"]:
        """Go on: the new tokens alone; prompts padded on the left, options and errors as in `generate`."""
        looking = self._looking(ids, self.look(images))
        return generate(self.lm, ids, real=real, before_block=looking, **options)

    def _looking(self, ids: Tensor, media: Tensor) -> BeforeBlock:
        is_image, images = ids == self.image_id, media.shape[1]
        most = int(is_image.sum(dim=1).max())
        if most > images:
            raise ValueError(f"a text has {most} <image> tokens, but there are {images} images for each text")
        mask = media_mask(is_image, images)

        def look(i: int, x: Tensor) -> Tensor:
            if str(i) not in self.gated:
                return x
            # What is written after the prompt sees what the prompt's last token sees.
            return self.gated[str(i)](x, media, mask if x.shape[1] == mask.shape[1] else mask[:, -1:])

        return look
