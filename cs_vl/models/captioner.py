"""A captioner: a language model that begins to read with an image."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cs_vl.losses.captioning import caption_log_likelihood
from cs_vl.nn.masks import language_model_mask
from cs_vl.nn.text import LanguageModel


class Captioner(nn.Module):
    """A prefix LM whose prefix is the image: its tokens, then the caption's, in one sequence.

    The image's tokens see one another in both directions, as in a masked LM; each token of the caption sees
    the image and what stands before it, as in a causal LM (Raffel et al. 2020, T5, fig. 3).  What stands at
    the end of the image guesses the first token, so that captions need no token to begin with.

    Args:
        visual: a ViT, or any model whose output has `.tokens` (batch, tokens, visual_dim) and `.pooled`
            (batch, visual_dim).
        lm: gives the embeddings, the blocks and the tied head.  Its own mask (causal or not) and its pooling
            play no part.
        visual_dim: width of what `visual` gives.
        pooled: whether the prefix is the pooled vector alone, one token; else all of the image's tokens.
    """

    def __init__(self, visual: nn.Module, lm: LanguageModel, *, visual_dim: int, pooled: bool = False):
        super().__init__()
        self.visual = visual
        self.lm = lm
        self.pooled = pooled
        self.projection = nn.Linear(visual_dim, lm.transformer.token_embed.embedding_dim)

    def prefix(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch prefix dim"]:
        """What the language model sees of the images."""
        output = self.visual(images)
        return self.projection(output.pooled[:, None] if self.pooled else output.tokens)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        ids: Int[Tensor, "batch length"],
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits: those at i are of token i *itself*, given the image and the tokens before i.

        Padding behind the real tokens needs no mask: what comes later is hidden anyway.

        Raises:
            ValueError: a text is longer than the language model's context_length.
        """
        return self.read(self.prefix(images), ids[:, None])[:, 0]

    def read(
        self, prefix: Float[Tensor, "batch prefix dim"], ids: Int[Tensor, "batch texts length"]
    ) -> Float[Tensor, "batch texts length vocab"]:
        """Logits of several texts for each image, which is read once: the texts do not see one another."""
        text = self.lm.transformer
        texts, length = ids.shape[1:]
        if length > len(text.position_embed):
            longest = len(text.position_embed)
            raise ValueError(f"context_length is {longest} tokens; got {length}: cut the texts or raise it")
        tokens = text.embed_norm(text.token_embed(ids) + text.position_embed[:length])
        x = torch.cat([prefix, tokens.flatten(1, 2)], dim=1)  # (batch, prefix + texts * length, dim)
        mask = prefix_mask(prefix.shape[1], texts, length).to(x.device)
        for block in text.blocks:
            x = block(x, mask)
        image, tokens = text.norm(x).tensor_split([prefix.shape[1]], dim=1)
        # Each token is guessed by what stands before it; the first one of each text by the end of the image.
        end_of_image = image[:, None, -1:].expand(-1, texts, -1, -1)
        before = torch.cat([end_of_image, tokens.unflatten(1, (texts, length))[:, :, :-1]], dim=2)
        return before @ text.token_embed.weight.T

    @torch.no_grad()
    def log_likelihoods(
        self,
        images: Float[Tensor, "batch channels height width"],
        ids: Int[Tensor, "texts length"],
        lengths: Int[Tensor, " texts"],
        *,
        texts_at_a_time: int = 64,
    ) -> Float[Tensor, "batch texts"]:
        """log p(text | image) of every text for every image: a zero-shot classifier, by its largest entry.

        Let texts end with an end-of-text token that counts as real: else "cat" is likelier than "cat fish",
        whatever the image shows.

        Args:
            ids, lengths: the texts (names of classes, in a template); see `caption_log_likelihood`.
            texts_at_a_time: how many texts to read in one sequence behind each image.
        """
        prefix = self.prefix(images)
        found = []
        for some, some_lengths in zip(
            ids.split(texts_at_a_time), lengths.split(texts_at_a_time), strict=True
        ):
            some = some.expand(len(images), -1, -1)  # (batch, some texts, length)
            found.append(caption_log_likelihood(self.read(prefix, some), some, some_lengths))
        return torch.cat(found, dim=1)


def prefix_mask(prefix: int, texts: int, length: int) -> Bool[Tensor, "tokens tokens"]:
    """A prefix LM's mask for several texts behind one prefix, True = may look.

    Every text sees the prefix and itself, as if it stood behind the prefix alone.
    """
    position = torch.cat([torch.arange(prefix), torch.arange(prefix, prefix + length).repeat(texts)])
    text = torch.cat([torch.full((prefix,), -1), torch.arange(texts).repeat_interleave(length)])
    as_if_alone = language_model_mask("prefix", prefix + length, prefix)[position][:, position]
    return as_if_alone & ((text == text[:, None]) | (text == -1))
