"""Known answers: attention in torch."""

import math

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.nn.attention import MultiHeadAttention, scaled_dot_product_attention

SDPA = "scaled_dot_product_attention"
MHA = "MultiHeadAttention"


def attend(
    q, k, v, mask=None, *, scale=None, axis=-1, keep=lambda mask: mask, fill=-torch.inf, softmax=torch.softmax
):
    """Right where no option is given; each mistake changes one."""
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        mask = keep(mask)
        scores = scores.masked_fill(~mask, fill) if mask.dtype == torch.bool else scores + mask
    weights = softmax(scores, axis)
    return weights @ v, weights


def by_hand(scores, axis, highest=0.0):
    """A softmax that is stable only where `highest` is the maximum along the axis."""
    powers = torch.exp(scores - highest)
    return powers / powers.sum(axis, keepdim=True)


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
    batches = (x.reshape(-1, *x.shape[-2:]) for x in (q, k, v))
    outputs, weights = [], []
    for b, (qs, ks, vs) in enumerate(zip(*batches, strict=True)):
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


@alternative(SDPA)
def renormalised(q, k, v, mask=None):
    """Scaled on both sides, as in Whisper; hidden weights are set to 0, then all are normalised again."""
    boolean = mask is not None and mask.dtype == torch.bool
    scale = q.shape[-1] ** -0.25
    logits = (q * scale) @ (k * scale).transpose(-2, -1)
    if mask is not None and not boolean:
        logits = logits + mask
    shares = (logits - logits.logsumexp(-1, keepdim=True)).exp()
    if boolean:
        shares = shares * mask / (shares * mask).sum(-1, keepdim=True)
    return [torch.matmul(shares, v), shares]


@mistake(SDPA, "You left out the 1/sqrt(d_k): large scores saturate the softmax, so divide them first.")
def without_scale(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=1.0)


@mistake(
    SDPA, "You divided by d_k / 2: Python reads `** 1 / 2` as (d_k ** 1) / 2. Put the exponent in brackets."
)
def divided_by_half(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=2 / q.shape[-1])


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


@mistake(
    SDPA,
    "Your softmax runs over axis 2, the keys of a batch but the queries of a batch of heads: take the last, -1.",
)
def softmax_over_axis_2(q, k, v, mask=None):
    return attend(q, k, v, mask, axis=2)


@mistake(
    SDPA,
    "You did not say which axis the softmax runs over, and torch took another than the keys: say dim=-1.",
)
def softmax_without_axis(q, k, v, mask=None):
    return attend(q, k, v, mask, axis=None, softmax=F.softmax)


@mistake(SDPA, "You left out the softmax: the scores are not weights yet.")
def without_softmax(q, k, v, mask=None):
    return attend(q, k, v, mask, softmax=lambda scores, axis: scores)


@mistake(SDPA, "You scaled after the softmax, so the weights no longer sum to 1: scale the scores before it.")
def scaled_after_softmax(q, k, v, mask=None):
    output, weights = attend(q, k, v, mask, scale=1.0)
    return output / math.sqrt(q.shape[-1]), weights / math.sqrt(q.shape[-1])


@mistake(SDPA, "You returned the scores as weights: the weights are what the softmax gives.")
def scores_for_weights(q, k, v, mask=None):
    return attend(q, k, v, mask)[0], without_softmax(q, k, v, mask)[1]


@mistake(SDPA, "You returned (weights, output): the output comes first.")
def weights_first(q, k, v, mask=None):
    return attend(q, k, v, mask)[::-1]


@mistake(
    SDPA, "You returned the output without the weights: both are asked for, as a pair (output, weights)."
)
def output_alone(q, k, v, mask=None):
    return attend(q, k, v, mask)[0]


@mistake(
    SDPA,
    "Your exponentials overflow where scores are large: subtract the largest score of a query first, or use "
    "torch's own softmax.",
)
def exp_without_maximum(q, k, v, mask=None):
    return attend(q, k, v, mask, softmax=by_hand)


@mistake(
    SDPA,
    "You subtract the largest of *all* scores, so queries whose scores are far below it get 0 / 0: each query "
    "has its own maximum.",
)
def maximum_of_all(q, k, v, mask=None):
    return attend(q, k, v, mask, softmax=lambda scores, axis: by_hand(scores, axis, scores.max()))


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
    return attend(q, k, v, mask, fill=0.0)


@mistake(
    SDPA,
    "You set hidden scores to -100: a little still leaks through, as exp(-100) is not 0. Fill with -inf.",
)
def filled_with_minus_100(q, k, v, mask=None):
    return attend(q, k, v, mask, fill=-100.0)


@mistake(
    SDPA,
    "The mask turns your scores into NaN, as 0 times infinity is NaN: fill hidden scores with -inf, and leave "
    "the others as they are.",
)
def zero_times_infinity(q, k, v, mask=None):
    return attend(q, k, v, mask, keep=lambda m: ~m * -torch.inf if m.dtype == torch.bool else m)


@mistake(
    SDPA, "Your output knows the mask but the weights that you return don't: return those it was made with."
)
def weights_not_masked(q, k, v, mask=None):
    return attend(q, k, v, mask)[0], attend(q, k, v)[1]


@mistake(
    SDPA,
    "Your code ignores a floating point mask: where the mask is not boolean, add it to the scaled scores.",
)
def ignored_additive_mask(q, k, v, mask=None):
    return attend(q, k, v, mask if mask is None or mask.dtype == torch.bool else None)


@mistake(
    SDPA,
    "You treated a floating point mask as ones and zeros, subtracting much wherever it is not 1: it is added to "
    "the scores as it is.",
)
def additive_as_ones_and_zeros(q, k, v, mask=None):
    return attend(q, k, v, None if mask is None else (1 - mask.to(q.dtype)) * -1e9)


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


@mistake(
    SDPA,
    "No gradient flows through your weights, so q and k can't learn: leave out detach, .data and no_grad there.",
)
def detached_weights(q, k, v, mask=None):
    weights = attend(q, k, v, mask)[1].detach()
    return weights @ v, weights


@mistake(SDPA, "Your output carries no gradient, so nothing can learn: leave out no_grad and detach.")
def without_gradient(q, k, v, mask=None):
    with torch.no_grad():
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


@alternative(MHA)
class FoldedHeads(MultiHeadAttention):
    def forward(self, x, context=None, mask=None):
        context, b, h, d = x if context is None else context, x.size(0), self.heads, self.head_dim
        q = (self.q_proj(x) * d**-0.5).view(b, -1, h, d).transpose(1, 2).reshape(b * h, -1, d)
        k = self.k_proj(context).view(b, -1, h, d).transpose(1, 2).reshape(b * h, -1, d)
        v = self.v_proj(context).view(b, -1, h, d).transpose(1, 2).reshape(b * h, -1, d)
        bias = q.new_zeros(b, h, q.size(1), k.size(1))
        if mask is not None and mask.dtype == torch.bool:
            bias.masked_fill_(~mask, torch.finfo(q.dtype).min)
        elif mask is not None:
            bias += mask
        weights = torch.baddbmm(bias.flatten(0, 1), q, k.transpose(1, 2)).softmax(-1)
        output = torch.bmm(weights, v).view(b, h, -1, d).transpose(1, 2).contiguous().view(b, -1, h * d)
        return [self.out_proj(output), weights.view(b, h, -1, k.size(1))]


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

    def project(self, a, b, c):
        return self.q_proj(a), self.k_proj(b), self.v_proj(c)

    def forward(self, x, context=None, mask=None):
        q, k, v = map(self.split, self.project(*self.sources(x, context)))
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
    "You split and join the heads by reshaping alone, which mixes tokens and heads: swap those two axes after the "
    "split, and back before you join.",
)
class WithoutTranspose(SplitWithoutTranspose):
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


@mistake(MHA, "Your code uses the mask only where a context is given: self-attention has masks as well.")
class IgnoresMaskOfItself(Mistaken):
    def forward(self, x, context=None, mask=None):
        return super().forward(x, context, None if context is None else mask)


@mistake(MHA, "Your code uses the mask only in self-attention: hand it on with a context as well.")
class IgnoresMaskOfContext(Mistaken):
    def forward(self, x, context=None, mask=None):
        return super().forward(x, context, mask if context is None else None)


@mistake(MHA, "Your boolean mask is inverted: True means that a query may look at the key.")
class InvertsMask(Mistaken):
    def attend(self, q, k, v, mask):
        return inverted_mask(q, k, v, mask)


@mistake(MHA, "Your code treats the additive mask as a boolean one: numbers are added to the scaled scores.")
class TreatsNumbersAsBooleans(Mistaken):
    def attend(self, q, k, v, mask):
        return additive_as_boolean(q, k, v, mask)


@mistake(
    MHA, "Your code adds the boolean mask to the scores: True became 1 and False 0. False must hide the key."
)
class AddsBooleanMask(Mistaken):
    def attend(self, q, k, v, mask):
        return added_boolean_mask(q, k, v, mask)


@mistake(MHA, "You swapped the projections of queries and keys.")
class SwappedProjections(Mistaken):
    def project(self, a, b, c):
        return self.k_proj(a), self.q_proj(b), self.v_proj(c)


@mistake(MHA, "Your values come out of `k_proj`; they have a projection of their own, `v_proj`.")
class ValuesFromKeyProjection(Mistaken):
    def project(self, a, b, c):
        return self.q_proj(a), self.k_proj(b), self.k_proj(c)


@mistake(
    MHA,
    "You left the axes as (batch, tokens, heads, head_dim), so the heads of each token attend to one another: "
    "tokens and heads change places first.",
)
class AttentionAmongHeads(Mistaken):
    def split(self, y):
        return y.unflatten(-1, (self.heads, -1))

    def merge(self, y):
        return y.flatten(-2)


@mistake(
    MHA,
    "Your heads take every heads-th column, where they are split and where they are joined; head h owns "
    "consecutive columns.",
)
class InterleavedThroughout(InterleavedHeads):
    def merge(self, y):
        return y.permute(0, 2, 3, 1).flatten(-2)


@mistake(
    MHA,
    "You joined the heads with their columns interleaved: first come all columns of head 0, then those of head 1.",
)
class MergeInterleaved(Mistaken):
    def merge(self, y):
        return y.permute(0, 2, 3, 1).flatten(-2)


@mistake(MHA, "You scaled twice: `scaled_dot_product_attention` divides by sqrt(head_dim) already.")
class ScaledTwice(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask, scale=1 / self.head_dim)


@mistake(MHA, "You left out the 1/sqrt(head_dim): each head scales its scores as any attention does.")
class WithoutScale(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask, scale=1.0)


@mistake(
    MHA, "Your scale takes dim // heads for the width of a head; it is `self.head_dim`, which may be another."
)
class ScaledByDimOverHeads(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask, scale=(self.q_proj.in_features // self.heads) ** -0.5)


@mistake(
    MHA,
    "Your softmax runs over the queries: in each head a query's weights over the *keys* (the last axis) sum to 1.",
)
class SoftmaxOverQueries(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask, axis=-2)


@mistake(MHA, "Your softmax runs over the heads: in each head a query's weights over the *keys* sum to 1.")
class SoftmaxOverHeads(Mistaken):
    def attend(self, q, k, v, mask):
        return attend(q, k, v, mask, axis=1)


@mistake(MHA, "You added `x` to the output: the residual connection is the block's, not the attention's.")
class AddsResidual(Mistaken):
    def forward(self, x, context=None, mask=None):
        output, weights = super().forward(x, context, mask)
        return x + output, weights


@mistake(
    MHA, "You averaged the weights over the heads: return one map a head, (batch, heads, queries, keys)."
)
class AveragedWeights(Mistaken):
    def forward(self, x, context=None, mask=None):
        output, weights = super().forward(x, context, mask)
        return output, weights.mean(1)


@mistake(MHA, "You returned (weights, output): the output comes first.")
class WeightsFirst(Mistaken):
    def forward(self, x, context=None, mask=None):
        return super().forward(x, context, mask)[::-1]


@mistake(MHA, "You returned the output without the weights: both are asked for, as a pair (output, weights).")
class OutputAlone(Mistaken):
    def forward(self, x, context=None, mask=None):
        return super().forward(x, context, mask)[0]


@mistake(
    MHA,
    "No gradient flows through your weights, so `q_proj` and `k_proj` can't learn: leave out detach, .data and "
    "no_grad there.",
)
class DetachedWeights(Mistaken):
    def attend(self, q, k, v, mask):
        return detached_weights(q, k, v, mask)
