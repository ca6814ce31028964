"""Gated cross-attention: a way for pictures into a finished language model, shut at first."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.resampler import FeedForward
from cs_vl.nn.rms_norm import RMSNorm
from cs_vl.nn.swiglu import SwiGLU


@exercise
def media_mask(is_image: Bool[Tensor, "batch length"], images: int) -> Bool[Tensor, "batch length images"]:
    """Which image each token of an interleaved text may look at: the last one that has appeared.

    An image appears at its `<image>` token, which sees it already (Alayrac et al. 2022, sec. 2.4 and fig. 7).
    Tokens before the first image see none.

    Args:
        is_image: whether each token is an `<image>` token.
        images: how many images there are at hand for each text.  No text has more `<image>` tokens; one
            that has fewer uses the first images, in order.

    Returns:
        (batch, length, images), boolean, True = may look: one True in a row, or none.
    """
    ### BEGIN SOLUTION
    seen = is_image.cumsum(dim=1)  # how many images have appeared
    return seen[..., None] == torch.arange(1, images + 1).to(seen.device)
    ### END SOLUTION


@exercise
class GatedCrossAttention(nn.Module):
    """What Flamingo puts before a block of a frozen language model (Alayrac et al. 2022, fig. 4).

    Both gates start at 0, and tanh(0) = 0: at the start of training the language model is what it was.

    Args:
        dim: width of the language model.
        heads, head_dim: of the attention (default: head_dim = dim // heads).
        media_dim: width of the media (default: dim).
        mlp_dim: hidden width of the MLP (default: 4 * dim).
        style: "flamingo": layer norms and a `FeedForward`, which begins with its own norm (`norm2` does
            nothing there).  "idefics": RMSNorm and SwiGLU, as in Hugging Face's Idefics.
        activation: of the `FeedForward`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        head_dim: int | None = None,
        media_dim: int | None = None,
        mlp_dim: int | None = None,
        style: Literal["flamingo", "idefics"] = "flamingo",
        activation: str = "gelu",
    ):
        super().__init__()
        if style not in ("flamingo", "idefics"):
            raise ValueError(f"style must be 'flamingo' or 'idefics'; got {style!r}")
        mlp_dim = mlp_dim or 4 * dim
        flamingo = style == "flamingo"
        self.norm1 = nn.LayerNorm(dim) if flamingo else RMSNorm(dim)
        self.attn = MultiHeadAttention(dim, heads, context_dim=media_dim, head_dim=head_dim, bias=False)
        self.attn_gate = nn.Parameter(torch.zeros(1))
        self.norm2 = nn.Identity() if flamingo else RMSNorm(dim)
        self.mlp = FeedForward(dim, mlp_dim, activation) if flamingo else SwiGLU(dim, mlp_dim)
        self.mlp_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        media: Float[Tensor, "batch images latents media_dim"],
        mask: Bool[Tensor, "batch length images"],
    ) -> Float[Tensor, "batch length dim"]:
        """Let the text look at its images.

            y = x + tanh(attn_gate) * (attention from norm1(x) to the media)
            return y + tanh(mlp_gate) * mlp(norm2(y))

        Args:
            x: the text.  All inputs are left as they were (x = x + ..., not x += ...): the next layer gets
                the same media and mask.
            media: the tokens of each image, from the resampler; they are not normalised again.
            mask: which image each token may look at (`media_mask`): one, at all its latents alike, or none.
                A token that sees none gets exactly 0 from attention, whatever the media, and the media no
                gradient from it.  Mind that a softmax over a row that is all -inf is NaN, and so is its
                gradient, even where NaN is replaced by 0 later.  (The MLP works on every token.)

        `self.attn(x, context, mask)` returns a pair (output, weights), and its mask has a dimension for the
        heads, (batch, 1, length, keys); see `MultiHeadAttention`.
        """
        ### BEGIN SOLUTION
        mask = mask.repeat_interleave(media.shape[2], dim=2)  # (batch, length, images * latents)
        sees = mask.any(dim=2, keepdim=True)
        # Who sees nothing looks everywhere, so that the softmax has something to divide by, and gets nothing.
        mask = mask.masked_fill(~sees, True)
        looked, _ = self.attn(self.norm1(x), media.flatten(1, 2), mask[:, None])
        x = x + self.attn_gate.tanh() * looked.masked_fill(~sees, 0)
        return x + self.mlp_gate.tanh() * self.mlp(self.norm2(x))
        ### END SOLUTION
