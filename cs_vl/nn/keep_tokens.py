"""Read half of a picture: training that costs half, and a model that can't lean on any one patch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class KeepTokens(nn.Module):
    """In training each image keeps a random share of its tokens; in evaluation all (Li et al. 2023, FLIP).

    Takes the place of `ViT.ln_pre`, which stands just behind the positions, so that a kept token still knows
    where it was:

        vit.ln_pre = KeepTokens(0.5)

    Args:
        share: of the tokens that are kept, above 0 and at most 1.
    """

    def __init__(self, share: float):
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1; got {share}")
        self.share = share

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch kept dim"]:
        if not self.training:
            return tokens
        batch, length, dim = tokens.shape
        order = torch.rand(batch, length, device=tokens.device).argsort(dim=1)
        chosen = order[:, : round(self.share * length)]
        return tokens.gather(1, chosen[..., None].expand(-1, -1, dim))
