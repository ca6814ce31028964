"""Right answers, made of torch built-ins, in place of a4's earlier exercises while later ones are judged.

This file never reaches students: what they get is built without it.
"""

import numpy as np
import torch
import torch.nn.functional as F


def rms_norm_numpy(x, weight, eps=1e-6):
    x = torch.from_numpy(np.array(x, dtype=np.result_type(x, np.float32), order="C"))
    return F.rms_norm(x, x.shape[-1:], eps=eps).numpy() * weight


def rotary_embed(x, positions, base=10000.0):
    """A rotation is a product with a complex number of length 1."""
    angle = torch.outer(positions.flatten(), base ** torch.linspace(0, -1, x.shape[-1] // 2 + 1)[:-1])
    turn = torch.polar(torch.ones_like(angle), angle).reshape(*positions.shape, -1).unsqueeze(-3)
    point = torch.complex(*x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)) * turn
    return torch.cat([point.real, point.imag], dim=-1).to(x.dtype)


STAND_INS = {
    "rms_norm_numpy": rms_norm_numpy,
    "rotary_embed": rotary_embed,
}
