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
    """The forward pass alone; `encode_image` and `encode_text` call it with one of the two."""

    def forward(self, images=None, ids=None, lengths=None):
        a = b = logits = None
        if images is not None:
            a = self.visual(images).pooled @ self.visual_projection.weight.mT
            a = a / a.norm(dim=1)[:, None]
        if ids is not None:
            b = self.text(ids, lengths).pooled @ self.text_projection.weight.mT
            b = b / b.norm(dim=1)[:, None]
        if a is not None and b is not None:
            logits = self.logit_scale.exp() * torch.einsum("ie,te->it", a, b)
        return CLIPOutput(a, b, logits)


STAND_INS = {"info_nce": info_nce, "clamp_logit_scale": clamp_logit_scale, "CLIP": CLIP}
