"""Right answers, made of torch built-ins, in place of a2's earlier exercises while later ones are judged.

This file never reaches students: what they get is built without it.
"""

import math

import torch

from cs_vl.models.clip import CLIPOutput


def info_nce(image_features, text_features, scale, direction="both"):
    similarity = scale * torch.einsum("id,jd->ij", image_features, text_features)
    match = torch.diagonal(similarity)
    each = {side: (similarity.logsumexp(dim) - match).mean() for side, dim in (("image", 1), ("text", 0))}
    return each.get(direction, sum(each.values()) / 2)


def clamp_logit_scale(logit_scale, max_scale=100.0):
    logit_scale.data = logit_scale.data.clip(min=0.0, max=math.log(max_scale))


class CLIP:
    """The forward pass alone, as far as a training step needs it."""

    def forward(self, images, ids, lengths=None):
        pooled = self.visual(images).pooled, self.text(ids, lengths).pooled
        projections = self.visual_projection.weight, self.text_projection.weight
        a, b = (x @ w.mT / (x @ w.mT).norm(dim=1)[:, None] for x, w in zip(pooled, projections, strict=True))
        return CLIPOutput(a, b, self.logit_scale.exp() * torch.einsum("ie,te->it", a, b))


STAND_INS = {"info_nce": info_nce, "clamp_logit_scale": clamp_logit_scale, "CLIP": CLIP}
