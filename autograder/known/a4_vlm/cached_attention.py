"""Known answers: a decoder's attention with a cache."""

import math

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.nn.cached_attention import CachedAttention
from cs_vl.nn.rotary import rotary_embed

CACHED = "CachedAttention"


# --- right ---------------------------------------------------------------------------------------------


@alternative(CACHED)
class ByTorch(CachedAttention):
    """torch shares the keys itself; is_causal where it is what is asked for."""

    def forward(self, x, positions, mask=None, cache=None):
        batch, new, _ = x.shape
        q = self.q_proj(x).view(batch, new, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, new, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, new, self.kv_heads, self.head_dim).transpose(1, 2)
        if self.rotary_base is not None:
            q, k = (rotary_embed(y, positions, base=self.rotary_base) for y in (q, k))
        past = 0
        if cache is not None:
            past = cache.length
            k, v = cache.append(k, v)
        is_causal = mask is None and past == 0
        if mask is None and not is_causal and new > 1:
            mask = torch.cat([torch.ones(new, past), torch.ones(new, new).tril()], dim=1).bool()
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=True)
        return self.out_proj(y.transpose(1, 2).contiguous().view(batch, new, -1))


@alternative(CACHED)
class ByGroups(CachedAttention):
    """The queries of a group stand beside one another; nothing is repeated."""

    def forward(self, x, positions, mask=None, cache=None):
        (b, n, _), g, d = x.shape, self.heads // self.kv_heads, self.head_dim
        q = self.q_proj(x).reshape(b, n, self.heads, d).permute(0, 2, 1, 3)
        k = self.k_proj(x).reshape(b, n, self.kv_heads, d).permute(0, 2, 1, 3)
        v = self.v_proj(x).reshape(b, n, self.kv_heads, d).permute(0, 2, 1, 3)
        if self.rotary_base is not None:
            q, k = rotary_embed(q, positions, self.rotary_base), rotary_embed(k, positions, self.rotary_base)
        if cache is not None:
            k, v = cache.append(k, v)
        q = q.reshape(b, self.kv_heads, g, n, d) / math.sqrt(d)
        scores = torch.einsum("bkgnd,bkmd->bkgnm", q, k)
        length = k.shape[2]
        if mask is None:
            last = torch.arange(length - n, length)  # each new token's place among the keys
            mask = (torch.arange(length)[None] <= last[:, None])[None, None]
        mask = mask.expand(b, self.heads, n, length).reshape(scores.shape)
        weights = torch.where(mask, scores, torch.tensor(-1e9)).softmax(-1)
        heads = torch.einsum("bkgnm,bkmd->bkgnd", weights, v).reshape(b, self.heads, n, d)
        return self.out_proj(heads.permute(0, 2, 1, 3).reshape(b, n, -1))


@alternative(CACHED)
class ByLoops(CachedAttention):
    """A head at a time, a token at a time."""

    def forward(self, x, positions, mask=None, cache=None):
        new, d = x.shape[1], self.head_dim

        def heads_of(y):
            return torch.stack(y.split(d, dim=-1), dim=1)

        q, k, v = heads_of(self.q_proj(x)), heads_of(self.k_proj(x)), heads_of(self.v_proj(x))
        if self.rotary_base is not None:
            q, k = rotary_embed(q, positions, self.rotary_base), rotary_embed(k, positions, self.rotary_base)
        k, v = (k, v) if cache is None else cache.append(k, v)
        past = k.shape[2] - new
        if mask is not None:
            mask = mask.expand(len(x), self.heads, new, past + new)
        heads = []
        for h in range(self.heads):
            shared = h // (self.heads // self.kv_heads)
            rows = []
            for i in range(new):
                scores = (k[:, shared] @ q[:, h, i, :, None])[..., 0] / d**0.5
                if mask is None:
                    weights = scores[:, : past + i + 1].softmax(-1)
                    values = v[:, shared, : past + i + 1]
                else:
                    weights = scores.masked_fill(mask[:, h, i].logical_not(), -torch.inf).softmax(-1)
                    values = v[:, shared]
                rows.append((weights[..., None] * values).sum(1))
            heads.append(torch.stack(rows, dim=1))
        return self.out_proj(torch.cat(heads, dim=-1))


@alternative(CACHED)
class AsInTransformers(CachedAttention):
    """repeat_kv by expand, and an additive mask of the type's minimum."""

    def repeat_kv(self, y):
        b, kv_heads, length, d = y.shape
        times = self.heads // self.kv_heads
        return y[:, :, None].expand(b, kv_heads, times, length, d).reshape(b, kv_heads * times, length, d)

    def forward(self, x, positions, mask=None, cache=None):
        shape = (*x.shape[:-1], -1, self.head_dim)
        query_states = self.q_proj(x).view(shape).transpose(1, 2)
        key_states = self.k_proj(x).view(shape).transpose(1, 2)
        value_states = self.v_proj(x).view(shape).transpose(1, 2)
        if self.rotary_base is not None:
            both = torch.cat([query_states, key_states], dim=1)
            both = rotary_embed(both, positions, self.rotary_base)
            query_states, key_states = both.split([self.heads, self.kv_heads], dim=1)
        if cache is not None:
            key_states, value_states = cache.append(key_states, value_states)
        keys, values = self.repeat_kv(key_states), self.repeat_kv(value_states)
        new, length = x.shape[1], keys.shape[2]
        if mask is None:
            mask = torch.ones(new, length, dtype=torch.bool).triu(length - new + 1).logical_not()
        bias = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, torch.finfo(x.dtype).min)
        weights = torch.matmul(query_states, keys.transpose(2, 3)) * self.head_dim**-0.5 + bias
        weights = F.softmax(weights, dim=-1, dtype=torch.float32).to(x.dtype)
        return self.out_proj(torch.matmul(weights, values).transpose(1, 2).flatten(2))


@alternative(CACHED)
class FillsTheCacheByHand(CachedAttention):
    """Writes into the cache's own tensors; folds heads into the batch."""

    def forward(self, x, positions, mask=None, cache=None):
        b, n, _ = x.shape
        q, k, v = (
            torch.stack(p(x).chunk(heads, -1), 1)
            for p, heads in (
                (self.q_proj, self.heads),
                (self.k_proj, self.kv_heads),
                (self.v_proj, self.kv_heads),
            )
        )
        if self.rotary_base:
            q, k = rotary_embed(q, positions, self.rotary_base), rotary_embed(k, positions, self.rotary_base)
        if cache:
            start, end = cache.length, cache.length + n
            cache.keys[:, :, start:end], cache.values[:, :, start:end] = k, v
            cache.length = end
            k, v = cache.keys[:, :, :end], cache.values[:, :, :end]
        which = torch.arange(self.heads) // (self.heads // self.kv_heads)
        k, v = k[:, which].flatten(0, 1), v[:, which].flatten(0, 1)
        length = k.shape[1]
        if mask is None:
            hidden = torch.full((n, length), float("-inf")).triu(1 + length - n)
        else:
            hidden = torch.zeros(b, self.heads, n, length).masked_fill(~mask, float("-inf")).flatten(0, 1)
        scores = q.flatten(0, 1).bmm(k.mT) / math.sqrt(self.head_dim) + hidden
        scores = torch.exp(scores - scores.max(-1, keepdim=True).values)
        heads = (scores / scores.sum(-1, keepdim=True)).bmm(v).unflatten(0, (b, self.heads))
        return self.out_proj(torch.cat(heads.unbind(1), dim=-1))


# --- wrong ---------------------------------------------------------------------------------------------


class Mistaken(CachedAttention):
    """Right as it stands; each mistake changes one step."""

    def project(self, x):
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)

    def split(self, y):
        return y.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def merge(self, y):
        return y.transpose(1, 2).flatten(2)

    def turn(self, y, positions):
        return y if self.rotary_base is None else rotary_embed(y, positions, self.rotary_base)

    def rotate(self, q, k, v, positions, cache):
        return self.turn(q, positions), self.turn(k, positions), v

    def remember(self, k, v, cache):
        return (k, v) if cache is None else cache.append(k, v)

    def share(self, y):
        return y.repeat_interleave(self.heads // self.kv_heads, dim=1)

    def causal(self, new, keys):
        return torch.ones(new, keys).tril(keys - new).bool()

    def visible(self, mask, new, keys):
        return self.causal(new, keys) if mask is None else mask

    def scale(self):
        return self.head_dim**-0.5

    def weigh(self, scores, mask):
        return scores.masked_fill(~mask, -torch.inf).softmax(-1)

    def finish(self, heads, x):
        return self.out_proj(self.merge(heads))

    def forward(self, x, positions, mask=None, cache=None):
        q, k, v = map(self.split, self.project(x))
        q, k, v = self.rotate(q, k, v, positions, cache)
        k, v = map(self.share, self.remember(k, v, cache))
        mask = self.visible(mask, q.shape[2], k.shape[2])
        return self.finish(self.weigh(q @ k.mT * self.scale(), mask) @ v, x)


# who sees whom


@mistake(
    CACHED,
    "Where no mask is given your tokens see those after them: None stands for a causal mask.",
)
class NotCausal(Mistaken):
    def causal(self, new, keys):
        return torch.ones(new, keys).bool()


@mistake(
    CACHED,
    "With a cache your causal mask counts from the first key (as is_causal does): the new tokens are the *last* "
    "of the keys, so they see all the old ones.",
)
class CausalFromTheFirstKey(Mistaken):
    def causal(self, new, keys):
        return torch.ones(new, keys).tril().bool()


@mistake(
    CACHED,
    "Your causal mask is right for one new token; where several go on from a cache it counts from the first key (as "
    "is_causal does), but the new tokens are the *last* of the keys.",
)
class CausalFromTheFirstKeyForSeveral(Mistaken):
    def causal(self, new, keys):
        return torch.ones(new, keys).tril(keys if new == 1 else 0).bool()


@mistake(
    CACHED,
    "Where there are old tokens your new ones see one another, those after them, too: one at a time has nothing "
    "ahead, several have.",
)
class NotCausalAfterOldTokens(Mistaken):
    def causal(self, new, keys):
        return super().causal(new, keys) | (keys > new)


@mistake(
    CACHED,
    "With a cache, even an empty one, your tokens see those after them: without a mask it is causal there, too.",
)
class NotCausalWithACache(Mistaken):
    def forward(self, x, positions, mask=None, cache=None):
        if mask is None and cache is not None:
            mask = torch.ones(x.shape[1], cache.length + x.shape[1]).bool()
        return super().forward(x, positions, mask, cache)


class CausalByPositions(Mistaken):
    """Where no mask is given a token sees the keys whose position is not larger than its own."""

    def forward(self, x, positions, mask=None, cache=None):
        if mask is None:
            at = self.key_positions(positions, cache)
            mask = (at[..., None, :] <= positions[..., None]).view(-1, 1, x.shape[1], at.shape[-1])
        return super().forward(x, positions, mask, cache)


@mistake(
    CACHED,
    "You made the causal mask from `positions`: it is the tokens' places in x and in the cache that count.",
)
class PositionsAmongKeyPlaces(CausalByPositions):
    def key_positions(self, positions, cache):
        return torch.arange(positions.shape[-1] + (0 if cache is None else cache.length))


@mistake(
    CACHED,
    "You compared `positions` with places in the cache, or with one another, for the causal mask: it is the tokens' "
    "places in x and in the cache that count.",
)
class PositionsAmongCachePlaces(CausalByPositions):
    def key_positions(self, positions, cache):
        return positions if cache is None else torch.arange(cache.length + positions.shape[-1])


@mistake(
    CACHED,
    "You compared the new tokens' positions with one another for the causal mask: it is their places in x that count.",
)
class PositionsAmongNewOnes(CausalByPositions):
    def key_positions(self, positions, cache):
        return F.pad(positions, (0 if cache is None else cache.length, 0), value=-1)


@mistake(CACHED, "Without a mask your tokens see one token too many, the next one.")
class OneAhead(Mistaken):
    def causal(self, new, keys):
        return torch.ones(new, keys).tril(keys - new + 1).bool()


@mistake(
    CACHED, "Without a mask your tokens don't see themselves: they see those before them, and themselves."
)
class NotItself(Mistaken):
    def causal(self, new, keys):
        return torch.ones(new, keys).tril(keys - new - 1).bool()


@mistake(CACHED, "Your causal mask is the wrong way round: a token sees what comes *before* it.")
class SeesTheFuture(Mistaken):
    def causal(self, new, keys):
        return torch.ones(new, keys).triu(keys - new).bool()


@mistake(CACHED, "Your code does not use the mask that is given.")
class IgnoresMask(Mistaken):
    def visible(self, mask, new, keys):
        return self.causal(new, keys)


@mistake(CACHED, "Your mask is inverted: True means that a token may look.")
class InvertsMask(Mistaken):
    def visible(self, mask, new, keys):
        return self.causal(new, keys) if mask is None else ~mask


@mistake(
    CACHED,
    "You hide what comes later even where a mask is given: the mask alone says who sees whom (an image's tokens may "
    "see one another).",
)
class MaskAndCausal(Mistaken):
    def visible(self, mask, new, keys):
        return self.causal(new, keys) if mask is None else mask & self.causal(new, keys)


@mistake(CACHED, "You used the first text's mask for all texts.")
class MaskOfTheFirstText(Mistaken):
    def visible(self, mask, new, keys):
        return super().visible(None if mask is None else mask[:1], new, keys)


@mistake(CACHED, "You used the first head's mask for all heads.")
class MaskOfTheFirstHead(Mistaken):
    def visible(self, mask, new, keys):
        return super().visible(None if mask is None else mask[:, :1], new, keys)


@mistake(
    CACHED,
    "You added the boolean mask to the scores: True became 1 and False 0. Fill with -inf where it is False.",
)
class AddsMask(Mistaken):
    def weigh(self, scores, mask):
        return (scores + mask.to(scores.dtype)).softmax(-1)


@mistake(
    CACHED, "You masked after the softmax, so the weights no longer sum to 1: mask the scores before it."
)
class MasksWeights(Mistaken):
    def weigh(self, scores, mask):
        return scores.softmax(-1) * mask


@mistake(CACHED, "You filled hidden scores with 0, and exp(0) is 1, not 0: fill with -inf.")
class FillsWithZero(Mistaken):
    def weigh(self, scores, mask):
        return scores.masked_fill(~mask, 0.0).softmax(-1)


# scores


@mistake(CACHED, "You left out the 1/sqrt(head_dim).")
class WithoutScale(Mistaken):
    def scale(self):
        return 1.0


@mistake(
    CACHED, "You scaled by the whole width: each head is an attention of its own, with 1/sqrt(head_dim)."
)
class ScaledByWholeWidth(Mistaken):
    def scale(self):
        return (self.heads * self.head_dim) ** -0.5


@mistake(CACHED, "You divided by head_dim (or scaled twice): divide by its square root, once.")
class DividedByHeadDim(Mistaken):
    def scale(self):
        return 1 / self.head_dim


@mistake(CACHED, "You multiplied the scores by sqrt(head_dim): divide by it.")
class MultipliedBySqrt(Mistaken):
    def scale(self):
        return self.head_dim**0.5


@mistake(
    CACHED, "Your softmax runs over the queries: a token's weights over the *keys*, the last axis, sum to 1."
)
class SoftmaxOverQueries(Mistaken):
    def weigh(self, scores, mask):
        return scores.masked_fill(~mask, -1e9).softmax(-2)


@mistake(CACHED, "Your softmax runs over the heads: in each head a token's weights over the *keys* sum to 1.")
class SoftmaxOverHeads(Mistaken):
    def weigh(self, scores, mask):
        return scores.masked_fill(~mask, -1e9).softmax(1)


@mistake(CACHED, "You left out the softmax: hidden scores are 0, but the others are no weights yet.")
class WithoutSoftmax(Mistaken):
    def weigh(self, scores, mask):
        return scores * mask


# heads


@mistake(
    CACHED,
    "You reshaped (batch, new, dim) straight to (batch, heads, new, head_dim), which mixes tokens and heads: split "
    "the last axis first, then swap axes.",
)
class SplitWithoutTranspose(Mistaken):
    def split(self, y):
        return y.reshape(len(y), -1, y.shape[1], self.head_dim)


@mistake(
    CACHED,
    "You joined the heads without swapping tokens and heads back first, which mixes them: transpose, then flatten.",
)
class MergeWithoutTranspose(Mistaken):
    def merge(self, y):
        return y.reshape(len(y), y.shape[2], -1)


@mistake(CACHED, "Your heads take every so-manieth column; head h owns head_dim columns in a row.")
class InterleavedHeads(Mistaken):
    def split(self, y):
        return y.unflatten(-1, (self.head_dim, -1)).permute(0, 3, 1, 2)


@mistake(CACHED, "You joined the heads with their columns interleaved: first come all columns of head 0.")
class MergeInterleaved(Mistaken):
    def merge(self, y):
        return y.permute(0, 2, 3, 1).flatten(2)


@mistake(
    CACHED,
    "Your key heads are shared in turn (repeat): heads 0, 1, 2 share the first one, so each is repeated in its "
    "place (repeat_interleave).",
)
class SharedInTurn(Mistaken):
    def share(self, y):
        return y.repeat(1, self.heads // self.kv_heads, 1, 1)


@mistake(
    CACHED, "All your heads look at the first key head: neighbouring heads share one, the next ones the next."
)
class FirstKeyHeadForAll(Mistaken):
    def share(self, y):
        return y[:, :1].expand(-1, self.heads, -1, -1)


@mistake(CACHED, "You averaged the key heads: each is shared by neighbouring query heads.")
class MeanOfKeyHeads(Mistaken):
    def share(self, y):
        return y if self.heads == self.kv_heads else y.mean(1, keepdim=True).expand(-1, self.heads, -1, -1)


@mistake(CACHED, "You left out `out_proj`, which joins the heads.")
class WithoutOutputProjection(Mistaken):
    def finish(self, heads, x):
        return self.merge(heads)


@mistake(CACHED, "You added x to the output: the residual connection is the block's, not the attention's.")
class AddsResidual(Mistaken):
    def finish(self, heads, x):
        return x + super().finish(heads, x)


@mistake(CACHED, "You swapped the projections of queries and keys.")
class SwappedProjections(Mistaken):
    def project(self, x):
        same = self.heads == self.kv_heads
        return (self.k_proj(x), self.q_proj(x), self.v_proj(x)) if same else super().project(x)


@mistake(CACHED, "Your values come out of `k_proj`; they have a projection of their own, `v_proj`.")
class ValuesFromKeyProjection(Mistaken):
    def project(self, x):
        return self.q_proj(x), self.k_proj(x), self.k_proj(x)


@mistake(CACHED, "Your keys come out of `v_proj`; they have a projection of their own, `k_proj`.")
class KeysFromValueProjection(Mistaken):
    def project(self, x):
        return self.q_proj(x), self.v_proj(x), self.v_proj(x)


@mistake(CACHED, "You used the projections' weights without their biases: call the layers themselves.")
class WithoutBiases(Mistaken):
    def project(self, x):
        return x @ self.q_proj.weight.mT, x @ self.k_proj.weight.mT, x @ self.v_proj.weight.mT


# positions


@mistake(
    CACHED, "You never rotate: where `rotary_base` is not None queries and keys turn by their positions."
)
class NeverRotates(Mistaken):
    def turn(self, y, positions):
        return y


@mistake(CACHED, "You rotate the values, too: positions decide who looks at whom, not what is found there.")
class RotatesValues(Mistaken):
    def rotate(self, q, k, v, positions, cache):
        return self.turn(q, positions), self.turn(k, positions), self.turn(v, positions)


@mistake(CACHED, "You rotate the queries only: the keys turn, too, so that the distance counts.")
class RotatesQueriesOnly(Mistaken):
    def rotate(self, q, k, v, positions, cache):
        return self.turn(q, positions), k, v


@mistake(CACHED, "You rotate the keys only: the queries turn, too, so that the distance counts.")
class RotatesKeysOnly(Mistaken):
    def rotate(self, q, k, v, positions, cache):
        return q, self.turn(k, positions), v


@mistake(CACHED, "You rotate even where `rotary_base` is None: GPT-2's attention does not turn anything.")
class AlwaysRotates(Mistaken):
    def turn(self, y, positions):
        return rotary_embed(y, positions, self.rotary_base or 10000.0)


@mistake(CACHED, "You rotate with a base of 10000: hand `self.rotary_base` on to `rotary_embed`.")
class IgnoresBase(Mistaken):
    def turn(self, y, positions):
        return y if self.rotary_base is None else rotary_embed(y, positions)


@mistake(
    CACHED,
    "You count positions from 0 yourself: `positions` says where each token is (with a cache, and with padding, "
    "not at its place in x).",
)
class CountsFromZero(Mistaken):
    def turn(self, y, positions):
        return super().turn(y, torch.arange(y.shape[2]))


@mistake(
    CACHED,
    "You count positions from the cache's length on: `positions` says where each token is, and padding takes none.",
)
class CountsFromTheCache(Mistaken):
    def rotate(self, q, k, v, positions, cache):
        start = 0 if cache is None else cache.length
        return super().rotate(q, k, v, torch.arange(start, start + q.shape[2]), cache)


@mistake(CACHED, "You added the cache's length to `positions`: they count the old tokens already.")
class AddsCacheLength(Mistaken):
    def rotate(self, q, k, v, positions, cache):
        return super().rotate(q, k, v, positions + (0 if cache is None else cache.length), cache)


@mistake(CACHED, "You used the first text's positions for all texts.")
class PositionsOfTheFirstText(Mistaken):
    def turn(self, y, positions):
        return super().turn(y, positions if positions.ndim == 1 else positions[0])


@mistake(
    CACHED,
    "You rotated before splitting into heads, as if all were one wide head: each head turns by itself, with all the "
    "angles.",
)
class RotatesBeforeSplitting(Mistaken):
    def rotate(self, q, k, v, positions, cache):
        q, k = (self.split(self.turn(self.merge(y)[:, None], positions)[:, 0]) for y in (q, k))
        return q, k, v


# the cache


@mistake(
    CACHED,
    "You put unrotated keys into the cache: rotate the new keys first, by their own positions, and the old ones "
    "never again.",
)
class CachesUnrotatedKeys(Mistaken):
    def forward(self, x, positions, mask=None, cache=None):
        q, k, v = map(self.split, self.project(x))
        q = self.turn(q, positions)
        if cache is None:
            k = self.turn(k, positions)
        else:
            k, v = cache.append(k, v)
            k = self.turn(k, torch.arange(k.shape[2]))
        k, v = self.share(k), self.share(v)
        mask = self.visible(mask, q.shape[2], k.shape[2])
        return self.finish(self.weigh(q @ k.mT * self.scale(), mask) @ v, x)


@mistake(
    CACHED,
    "You rotate the cache's keys once more: they were rotated when they went in.",
)
class RotatesCachedKeysAgain(Mistaken):
    def remember(self, k, v, cache):
        if cache is None:
            return k, v
        k, v = cache.append(k, v)
        return self.turn(k, torch.arange(k.shape[2])), v


@mistake(CACHED, "Your code does not use the cache.")
class IgnoresCache(Mistaken):
    def remember(self, k, v, cache):
        return k, v


@mistake(
    CACHED,
    "You fill the cache, but your new tokens look only at themselves: go on with the keys and values that `append` "
    "returns.",
)
class IgnoresOldTokens(Mistaken):
    def remember(self, k, v, cache):
        if cache is not None:
            cache.append(k, v)
        return k, v


@mistake(
    CACHED,
    "You look at the old tokens, but never put the new ones into the cache: that is what `append` is for.",
)
class NeverAppends(Mistaken):
    def remember(self, k, v, cache):
        if cache is None:
            return k, v
        keys, values = cache.keys[:, :, : cache.length], cache.values[:, :, : cache.length]
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)


@mistake(
    CACHED, "You called `append` twice, so that the new tokens are in the cache twice: it takes both at once."
)
class AppendsTwice(Mistaken):
    def remember(self, k, v, cache):
        if cache is None:
            return k, v
        cache.append(k, v)
        return cache.append(k, v)


@mistake(CACHED, "You handed values and keys to `append` in the wrong order: keys come first.")
class AppendsValuesFirst(Mistaken):
    def remember(self, k, v, cache):
        return (k, v) if cache is None else cache.append(v, k)[::-1]


@mistake(
    CACHED,
    "You handed values to `append` where it takes keys, and took keys back where it gives values: keys come first.",
)
class SwapsKeysAndValues(Mistaken):
    def remember(self, k, v, cache):
        return (k, v) if cache is None else cache.append(v, k)


@mistake(
    CACHED,
    "You look at all of the cache's room, filled or not: `append` returns what is filled.",
)
class LooksAtAllRoom(Mistaken):
    def remember(self, k, v, cache):
        if cache is None:
            return k, v
        cache.append(k, v)
        return cache.keys, cache.values


@mistake(CACHED, "You put the new tokens before the old ones: the older come first.")
class NewOnesFirst(Mistaken):
    def remember(self, k, v, cache):
        if cache is None:
            return k, v
        new = k.shape[2]
        return tuple(torch.cat([y[:, :, -new:], y[:, :, :-new]], dim=2) for y in cache.append(k, v))


@mistake(
    CACHED,
    "Only your keys go into the cache, and the values of the old tokens are lost: they belong there, too.",
)
class ForgetsOldValues(Mistaken):
    def remember(self, k, v, cache):
        if cache is None:
            return k, v
        cache.append(k, torch.zeros_like(v))
        past = cache.length - k.shape[2]
        return cache.keys[:, :, : cache.length], F.pad(v, (0, 0, past, 0))


# what comes back


@mistake(CACHED, "You returned a pair: the output alone is asked for.")
class ReturnsAPair(Mistaken):
    def forward(self, x, positions, mask=None, cache=None):
        return super().forward(x, positions, mask, cache), cache


@mistake(
    CACHED,
    "No gradient flows through your weights, so `q_proj` and `k_proj` can't learn: leave out detach, .data and "
    "no_grad there.",
)
class DetachedWeights(Mistaken):
    def weigh(self, scores, mask):
        return super().weigh(scores, mask).detach()


@mistake(
    CACHED,
    "Your keys and values carry no gradient, so `k_proj` and `v_proj` can't learn: detach nothing here.",
)
class DetachedKeysAndValues(Mistaken):
    def remember(self, k, v, cache):
        return super().remember(k.detach(), v.detach(), cache)
