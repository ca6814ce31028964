"""Known answers: attention in torch."""

import math

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.nn.attention import MultiHeadAttention, scaled_dot_product_attention

SDPA = "scaled_dot_product_attention"
MHA = "MultiHeadAttention"


def attend(q, k, v, mask=None, *, scale=None, axis=-1, keep=lambda mask: mask):
    """Right where no option is given; each mistake changes one."""
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        mask = keep(mask)
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = torch.softmax(scores, axis)
    return weights @ v, weights


@alternative(SDPA)
def by_einsum(q, k, v, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", q, k) / q.size(-1) ** 0.5
    if mask is not None and mask.dtype == torch.bool:
        scores = torch.where(mask, scores, torch.tensor(-1e9, dtype=scores.dtype))
    elif mask is not None:
        scores = scores + mask
    scores = torch.exp(scores - scores.amax(-1, keepdim=True))
    weights = scores / scores.sum(-1, keepdim=True)
    return torch.einsum("...qk,...kv->...qv", weights, v), weights


@alternative(SDPA)
def by_torch(q, k, v, mask=None):
    eye = torch.eye(k.shape[-2], dtype=v.dtype).expand(*v.shape[:-2], -1, -1)
    both = F.scaled_dot_product_attention(q, k, torch.cat([v, eye], -1), attn_mask=mask)
    return both.split([v.shape[-1], k.shape[-2]], dim=-1)


@alternative(SDPA)
def by_loops(q, k, v, mask=None):
    shape = q.shape[:-2]
    if mask is not None:
        mask = mask.expand(*shape, q.shape[-2], k.shape[-2]).reshape(-1, q.shape[-2], k.shape[-2])
    outputs, weights = [], []
    for b, (qs, ks, vs) in enumerate(zip(q.flatten(0, -3), k.flatten(0, -3), v.flatten(0, -3), strict=True)):
        for i, query in enumerate(qs):
            logits = torch.stack([query.dot(key) for key in ks]) / math.sqrt(len(query))
            if mask is not None and mask.dtype == torch.bool:
                logits = logits.masked_fill(mask[b, i].logical_not(), float("-inf"))
            elif mask is not None:
                logits = logits + mask[b, i]
            weights.append(logits.softmax(0))
            outputs.append(sum(w * value for w, value in zip(weights[-1], vs, strict=True)))
    rows = (*shape, q.shape[-2], -1)
    return torch.stack(outputs).reshape(rows), torch.stack(weights).reshape(rows)


@mistake(SDPA, "You left out the 1/sqrt(d_k): large scores saturate the softmax, so divide them first.")
def without_scale(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=1.0)


@mistake(SDPA, "You divided the scores by d_k; divide by its square root.")
def divided_by_d(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=1 / q.shape[-1])


@mistake(SDPA, "You multiplied the scores by sqrt(d_k); divide by it.")
def multiplied_by_sqrt_d(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=q.shape[-1] ** 0.5)


@mistake(
    SDPA, "Your scale uses the width of the values; it is the width of queries and keys, d_k, that counts."
)
def scaled_by_d_v(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=v.shape[-1] ** -0.5)


@mistake(SDPA, "Your scale uses the number of keys; it is the width of a key, d_k, that counts.")
def scaled_by_length(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=k.shape[-2] ** -0.5)


@mistake(
    SDPA, "Your softmax runs over the queries: each query's weights over the *keys* (the last axis) sum to 1."
)
def softmax_over_queries(q, k, v, mask=None):
    return attend(q, k, v, mask, axis=-2)


@mistake(SDPA, "Your boolean mask is inverted: True means that a query may look at the key.")
def inverted_mask(q, k, v, mask=None):
    return attend(q, k, v, mask, keep=lambda m: ~m if m.dtype == torch.bool else m)


@mistake(SDPA, "Your code ignores the mask.")
def ignored_mask(q, k, v, mask=None):
    return attend(q, k, v)


@mistake(
    SDPA,
    "You added the boolean mask to the scores: True became 1 and False 0. Fill with -inf where it is False.",
)
def added_boolean_mask(q, k, v, mask=None):
    return attend(q, k, v, None if mask is None else mask.to(q.dtype))


@mistake(SDPA, "You masked after the softmax, so the weights no longer sum to 1: mask the scores before it.")
def masked_after_softmax(q, k, v, mask=None):
    if mask is None or mask.dtype != torch.bool:
        return attend(q, k, v, mask)
    weights = attend(q, k, v)[1] * mask
    return weights @ v, weights


@mistake(SDPA, "You filled hidden scores with 0, and exp(0) is 1, not 0: fill with -inf.")
def filled_with_zero(q, k, v, mask=None):
    if mask is None or mask.dtype != torch.bool:
        return attend(q, k, v, mask)
    weights = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~mask, 0.0).softmax(-1)
    return weights @ v, weights


@mistake(
    SDPA, "You treated the additive mask as a boolean one: a floating point mask is added to the scores."
)
def additive_as_boolean(q, k, v, mask=None):
    return attend(q, k, v, mask, keep=lambda m: m != 0)


@mistake(SDPA, "You added the mask before the scaling: it is added to the scaled scores.")
def mask_added_before_scale(q, k, v, mask=None):
    if mask is not None and mask.dtype != torch.bool:
        mask = mask * q.shape[-1] ** -0.5
    return attend(q, k, v, mask)


# --- many heads --------------------------------------------------------------------------------------


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@alternative(MHA)
class LoopOverHeads(MultiHeadAttention):
    def forward(self, x, context=None, mask=None):
        if context is None:
            context = x
        if mask is not None:
            mask = mask.expand(len(x), self.heads, x.shape[1], context.shape[1])
        outputs, maps = [], []
        for h in range(self.heads):
            part = slice(h * self.head_dim, (h + 1) * self.head_dim)
            q, k, v = (
                p(y)[..., part] for p, y in ((self.q_proj, x), (self.k_proj, context), (self.v_proj, context))
            )
            output, weights = scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, h])
            outputs.append(output)
            maps.append(weights)
        return self.out_proj(torch.cat(outputs, dim=-1)), torch.stack(maps, dim=1)


@alternative(MHA)
class ByEinsum(MultiHeadAttention):
    def forward(self, x, context=None, mask=None):
        source = x if context is None else context
        shape = (self.heads, self.head_dim)
        q = self.q_proj(x).view(*x.shape[:2], *shape)
        k = self.k_proj(source).view(*source.shape[:2], *shape)
        v = self.v_proj(source).view(*source.shape[:2], *shape)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.head_dim)
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -1e9) if mask.dtype == torch.bool else scores + mask
        weights = F.softmax(scores, dim=3)
        return self.out_proj(torch.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*x.shape[:2], -1)), weights


class Mistaken(MultiHeadAttention):
    """Right as it stands; each mistake changes one step."""

    def split(self, y):
        return split(y, self.heads)

    def merge(self, y):
        return y.transpose(1, 2).flatten(-2)

    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask)

    def sources(self, x, context):
        return x, (x if context is None else context), (x if context is None else context)

    def forward(self, x, context=None, mask=None):
        a, b, c = self.sources(x, context)
        q, k, v = self.split(self.q_proj(a)), self.split(self.k_proj(b)), self.split(self.v_proj(c))
        output, weights = self.attend(q, k, v, mask)
        return self.out_proj(self.merge(output)), weights


@mistake(MHA, "You reshaped (batch, tokens, dim) straight to (batch, heads, tokens, head_dim), which mixes tokens "
         "and heads: split the last axis first, then swap axes.")  # fmt: skip
class SplitWithoutTranspose(Mistaken):
    def split(self, y):
        return y.reshape(y.shape[0], self.heads, y.shape[1], -1)


@mistake(
    MHA,
    "You joined the heads without swapping tokens and heads back first, which mixes them: transpose, then flatten.",
)
class MergeWithoutTranspose(Mistaken):
    def merge(self, y):
        return y.reshape(y.shape[0], y.shape[2], -1)


@mistake(
    MHA,
    "Your heads take every heads-th column; head h owns the consecutive columns h * head_dim ... of the projections.",
)
class InterleavedHeads(Mistaken):
    def split(self, y):
        return y.unflatten(-1, (-1, self.heads)).permute(0, 3, 1, 2)


@mistake(MHA, "You left out the output projection: the joined heads still have to go through `out_proj`.")
class WithoutOutputProjection(Mistaken):
    def forward(self, x, context=None, mask=None):
        source = x if context is None else context
        q, k, v = self.q_proj(x), self.k_proj(source), self.v_proj(source)
        output, weights = attend(self.split(q), self.split(k), self.split(v), mask)
        return self.merge(output), weights


@mistake(MHA, "You used one head of the whole width: split the projections into `self.heads` heads first.")
class OneHead(Mistaken):
    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        q, k, v = (y[:, None] for y in (self.q_proj(x), self.k_proj(context), self.v_proj(context)))
        output, weights = attend(q, k, v, mask)
        return self.out_proj(output[:, 0]), weights.expand(-1, self.heads, -1, -1)


@mistake(
    MHA,
    "Your heads are not scaled by their own width: each is an attention of its own, with 1/sqrt(head_dim).",
)
class ScaledByWholeWidth(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask, scale=(self.heads * self.head_dim) ** -0.5)


@mistake(MHA, "Your code ignores `context`: in cross-attention keys and values come from it.")
class IgnoresContext(Mistaken):
    def sources(self, x, context):
        return x, x, x


@mistake(
    MHA, "Your queries come from the context and your keys and values from x: it is the other way round."
)
class SwappedSources(Mistaken):
    def sources(self, x, context):
        return (x, x, x) if context is None else (context, x, x)


@mistake(MHA, "Your code ignores the mask: hand it on to the attention.")
class IgnoresMask(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v)


@mistake(MHA, "You swapped the projections of queries and keys.")
class SwappedProjections(Mistaken):
    def forward(self, x, context=None, mask=None):
        if context is not None:
            return super().forward(x, context, mask)
        q, k, v = self.split(self.k_proj(x)), self.split(self.q_proj(x)), self.split(self.v_proj(x))
        output, weights = attend(q, k, v, mask)
        return self.out_proj(self.merge(output)), weights
