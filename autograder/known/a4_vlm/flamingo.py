"""Known answers: Flamingo's resampler, gated cross-attention and media mask."""

from itertools import pairwise

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.nn.gated_cross_attention import GatedCrossAttention
from cs_vl.nn.resampler import PerceiverResampler

RESAMPLER, GATED, MASK = "PerceiverResampler", "GatedCrossAttention", "media_mask"


def heads_of(x, heads):
    """(batch, tokens, heads * head_dim) -> (batch, heads, tokens, head_dim)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


# --- the resampler -----------------------------------------------------------------------------------


@alternative(RESAMPLER)
class LatentsFirst(PerceiverResampler):
    """The order of keys does not matter; the sums are the other way round."""

    def forward(self, media):
        x = torch.stack([self.latents for _ in media])
        for layer in self.blocks:
            q = layer.norm_latents(x)
            x = layer.attn(x=q, context=torch.concat((q, layer.norm_media(media)), 1), mask=None)[0] + x
            x = layer.mlp(x) + x
        return self.norm(x)


@alternative(RESAMPLER)
class ByEinsum(PerceiverResampler):
    """As open_flamingo has it: queries scaled, the greatest score subtracted, einsum."""

    def forward(self, media):
        latents = self.latents.unsqueeze(0).repeat(media.shape[0], 1, 1)
        for block in self.blocks:
            latents = self.attend(block, media, latents) + latents
            latents = block.mlp.fc2(block.mlp.activation(block.mlp.fc1(block.mlp.norm(latents)))) + latents
        return F.layer_norm(latents, (latents.shape[-1],), self.norm.weight, self.norm.bias, self.norm.eps)

    def attend(self, block, media, latents):
        attn, latents = block.attn, block.norm_latents(latents)
        keys = torch.cat((block.norm_media(media), latents), dim=-2)
        q = heads_of(attn.q_proj(latents), attn.heads) * attn.head_dim**-0.5
        k, v = heads_of(attn.k_proj(keys), attn.heads), heads_of(attn.v_proj(keys), attn.heads)
        scores = torch.einsum("... i d, ... j d -> ... i j", q, k)
        weights = (scores - scores.amax(dim=-1, keepdim=True).detach()).softmax(dim=-1)
        out = torch.einsum("b h i j, b h j d -> b i h d", weights, v)
        return attn.out_proj(out.flatten(2))


@alternative(RESAMPLER)
class ImageByImage(PerceiverResampler):
    """One image after the other; keys and values of image and latents are projected apart."""

    def forward(self, media):
        return torch.stack([self.one(image) for image in media])

    def one(self, image):
        latents = self.latents
        for block in self.blocks:
            attn = block.attn
            q, m = block.norm_latents(latents), block.norm_media(image)
            k = torch.cat([attn.k_proj(m), attn.k_proj(q)]).view(-1, attn.heads, attn.head_dim)
            v = torch.cat([attn.v_proj(m), attn.v_proj(q)]).view(-1, attn.heads, attn.head_dim)
            looked = F.scaled_dot_product_attention(
                attn.q_proj(q).view(-1, attn.heads, attn.head_dim).transpose(0, 1),
                k.transpose(0, 1),
                v.transpose(0, 1),
            )
            latents = latents + attn.out_proj(looked.transpose(0, 1).reshape(len(q), -1))
            latents = latents + block.mlp(latents)
        return self.norm(latents)


@alternative(RESAMPLER)
class InPlaceOnACopy(PerceiverResampler):
    def forward(self, media):
        out = self.latents[None].expand(media.size(0), *self.latents.shape).clone()
        for i in range(len(self.blocks)):
            normed = self.blocks[i].norm_latents(out.clone())
            context = torch.cat([self.blocks[i].norm_media(media), normed], dim=1)
            out = torch.add(out, self.blocks[i].attn(normed, context)[0])
            out = torch.add(self.blocks[i].mlp(out), out)
        return self.norm(out)


class Resampler(PerceiverResampler):
    """Right as it stands; each mistake changes one step."""

    def start(self, media):
        return self.latents.expand(len(media), -1, -1)

    def queries(self, block, latents):
        return block.norm_latents(latents)

    def keys(self, block, media, latents):
        return torch.cat([block.norm_media(media), block.norm_latents(latents)], dim=1)

    def look(self, block, media, latents):
        return block.attn(self.queries(block, latents), self.keys(block, media, latents))[0]

    def think(self, block, latents):
        return block.mlp(latents)

    def step(self, block, media, latents):
        latents = latents + self.look(block, media, latents)
        return latents + self.think(block, latents)

    def forward(self, media):
        latents = self.start(media)
        for block in self.blocks:
            latents = self.step(block, media, latents)
        return self.norm(latents)


@mistake(RESAMPLER, "Your keys and values come from the image alone: the latents look at each other, too, so put "
         "norm_latents(latents) behind norm_media(media).")  # fmt: skip
class KeysFromMediaAlone(Resampler):
    def keys(self, block, media, latents):
        return block.norm_media(media)


@mistake(RESAMPLER, "Your latents look at each other alone and never at the image: norm_media(media) belongs to the "
         "keys and values.")  # fmt: skip
class KeysFromLatentsAlone(Resampler):
    def keys(self, block, media, latents):
        return block.norm_latents(latents)


@mistake(RESAMPLER, "The latents among your keys and values are not normalised: they are norm_latents(latents) there, "
         "as in the queries.")  # fmt: skip
class KeyLatentsNotNormalised(Resampler):
    def keys(self, block, media, latents):
        return torch.cat([block.norm_media(media), latents], dim=1)


@mistake(RESAMPLER, "Your queries are not normalised: they are norm_latents(latents).")
class QueriesNotNormalised(Resampler):
    def queries(self, block, latents):
        return latents


@mistake(
    RESAMPLER, "Your latents are normalised nowhere in a block: queries and keys are norm_latents(latents)."
)
class LatentsNotNormalised(Resampler):
    def queries(self, block, latents):
        return latents

    def keys(self, block, media, latents):
        return torch.cat([block.norm_media(media), latents], dim=1)


@mistake(RESAMPLER, "Your media are not normalised: each block looks at norm_media(media).")
class MediaNotNormalised(Resampler):
    def keys(self, block, media, latents):
        return torch.cat([media, block.norm_latents(latents)], dim=1)


@mistake(
    RESAMPLER, "You normalise the media with `norm_latents`; they have a norm of their own, `norm_media`."
)
class MediaByTheLatentsNorm(Resampler):
    def keys(self, block, media, latents):
        return block.norm_latents(torch.cat([media, latents], dim=1))


@mistake(
    RESAMPLER, "You normalise the media once, by the first block's norm: each block has its own `norm_media`."
)
class MediaByTheFirstBlocksNorm(Resampler):
    def keys(self, block, media, latents):
        return torch.cat([self.blocks[0].norm_media(media), block.norm_latents(latents)], dim=1)


@mistake(RESAMPLER, "You normalise the latents among the keys with `norm_media`; theirs is `norm_latents`.")
class KeyLatentsByTheMediaNorm(Resampler):
    def keys(self, block, media, latents):
        return block.norm_media(torch.cat([media, latents], dim=1))


@mistake(
    RESAMPLER,
    "You swapped the norms: `norm_media` is for the image's tokens, `norm_latents` for the latents.",
)
class NormsOfTheResamplerSwapped(Resampler):
    def queries(self, block, latents):
        return block.norm_media(latents)

    def keys(self, block, media, latents):
        return torch.cat([block.norm_latents(media), block.norm_media(latents)], dim=1)


@mistake(RESAMPLER, "You normalise what is normalised already: the queries and the latents among the keys are "
         "norm_latents(latents), the norm taken once.")  # fmt: skip
class KeyLatentsNormalisedTwice(Resampler):
    def keys(self, block, media, latents):
        return torch.cat([block.norm_media(media), block.norm_latents(block.norm_latents(latents))], dim=1)


@mistake(RESAMPLER, "You add attention's output to the *normalised* latents: nothing on the residual path is "
         "normalised, so keep the latents as they were under another name.")  # fmt: skip
class ResidualFromNormedLatents(Resampler):
    def step(self, block, media, latents):
        latents = block.norm_latents(latents) + self.look(block, media, latents)
        return latents + block.mlp(latents)


@mistake(RESAMPLER, "Attention's residual connection is missing: its output is added to the latents, it does not "
         "replace them.")  # fmt: skip
class LatentsReplacedByAttention(Resampler):
    def step(self, block, media, latents):
        latents = self.look(block, media, latents)
        return latents + block.mlp(latents)


@mistake(RESAMPLER, "The MLP's residual connection is missing: its output is added to what it read.")
class LatentsReplacedByMlp(Resampler):
    def step(self, block, media, latents):
        return block.mlp(latents + self.look(block, media, latents))


@mistake(
    RESAMPLER, "You left out both residual connections: what attention and MLP give is added to the latents."
)
class NoResidualsInTheResampler(Resampler):
    def step(self, block, media, latents):
        return block.mlp(self.look(block, media, latents))


@mistake(RESAMPLER, "After the MLP you add the latents from before attention: its residual connection starts from the "
         "sum that it reads.")  # fmt: skip
class BothResidualsFromTheOldLatents(Resampler):
    def step(self, block, media, latents):
        return latents + block.mlp(latents + self.look(block, media, latents))


@mistake(RESAMPLER, "Your MLP reads the latents from before attention: it comes after it, and reads the sum.")
class MlpBesideAttention(Resampler):
    def step(self, block, media, latents):
        return latents + self.look(block, media, latents) + block.mlp(latents)


@mistake(RESAMPLER, "Your MLP comes before attention: the latents look first, then each thinks by itself.")
class MlpBeforeAttention(Resampler):
    def step(self, block, media, latents):
        latents = latents + block.mlp(latents)
        return latents + self.look(block, media, latents)


@mistake(RESAMPLER, "Your blocks have no MLP: what `block.mlp` gives is added after attention's output.")
class NoMlp(Resampler):
    def step(self, block, media, latents):
        return latents + self.look(block, media, latents)


@mistake(RESAMPLER, "Your blocks have no attention, so that the image is never looked at.")
class NoAttention(Resampler):
    def step(self, block, media, latents):
        return latents + block.mlp(latents)


@mistake(
    RESAMPLER, "You normalise before the MLP, which begins with a norm of its own: hand it the plain sum."
)
class NormBeforeTheMlp(Resampler):
    def think(self, block, latents):
        return block.mlp(block.norm_latents(latents))


@mistake(RESAMPLER, "You took the MLP's linear layers one by one and left out the norm with which it begins.")
class MlpWithoutItsNorm(Resampler):
    def think(self, block, latents):
        return block.mlp.fc2(block.mlp.activation(block.mlp.fc1(latents)))


@mistake(RESAMPLER, "The last norm is missing: what you return has to go through self.norm.")
class NoFinalNorm(Resampler):
    def forward(self, media):
        latents = self.start(media)
        for block in self.blocks:
            latents = self.step(block, media, latents)
        return latents


@mistake(RESAMPLER, "You apply `self.norm` in every block: it comes once, after the last.")
class FinalNormInEveryBlock(Resampler):
    def step(self, block, media, latents):
        return self.norm(super().step(block, media, latents))

    def forward(self, media):
        latents = self.start(media)
        for block in self.blocks:
            latents = self.step(block, media, latents)
        return latents


@mistake(RESAMPLER, "Your last norm stands inside the loop: self.norm comes once, at the end.")
class FinalNormInEveryBlockAndAtTheEnd(Resampler):
    def step(self, block, media, latents):
        return self.norm(super().step(block, media, latents))


@mistake(RESAMPLER, "You normalise the latents before the first block: `self.norm` comes once, at the end.")
class FinalNormAtTheStartToo(Resampler):
    def start(self, media):
        return self.norm(super().start(media))


@mistake(RESAMPLER, "Your blocks are post-norm: `norm_latents` is for what attention reads, not for the sum.")
class PostNormResampler(Resampler):
    def step(self, block, media, latents):
        keys = torch.cat([block.norm_media(media), latents], dim=1)
        latents = block.norm_latents(latents + block.attn(latents, keys)[0])
        return latents + block.mlp(latents)


@mistake(RESAMPLER, "You carry the normalised media over to the next block, which normalises them again: each block "
         "starts from the media as they came.")  # fmt: skip
class MediaNormalisedAgainAndAgain(Resampler):
    def forward(self, media):
        latents = self.start(media)
        for block in self.blocks:
            latents = self.step(block, media, latents)
            media = block.norm_media(media)
        return self.norm(latents)


@mistake(RESAMPLER, "Your media change from block to block: only the latents do; the image's tokens never look at "
         "anything.")  # fmt: skip
class MediaUpdated(Resampler):
    def forward(self, media):
        latents = self.start(media)
        for block in self.blocks:
            keys = self.keys(block, media, latents)
            both = torch.cat([media, latents], dim=1)
            both = both + block.attn(keys, keys)[0]
            both = both + block.mlp(both)
            media, latents = both.split([media.shape[1], latents.shape[1]], dim=1)
        return self.norm(latents)


@mistake(RESAMPLER, "Among the keys you have the latents from before the first block: each block uses those that the "
         "one before has left.")  # fmt: skip
class FirstLatentsAmongTheKeys(Resampler):
    def keys(self, block, media, latents):
        return super().keys(block, media, self.start(media))


@mistake(
    RESAMPLER, "Only your first block counts: the return stands inside the loop, or the rest is never called."
)
class OnlyTheFirstBlock(Resampler):
    def forward(self, media):
        return self.norm(self.step(self.blocks[0], media, self.start(media)))


@mistake(RESAMPLER, "Every block starts from `self.latents` again, so that only the last one counts: go on from what "
         "the block before has left.")  # fmt: skip
class OnlyTheLastBlock(Resampler):
    def forward(self, media):
        return self.norm(self.step(self.blocks[-1], media, self.start(media)))


@mistake(RESAMPLER, "You use the first block's weights again and again: each block has its own.")
class FirstBlockAgain(Resampler):
    def forward(self, media):
        latents = self.start(media)
        for _ in self.blocks:
            latents = self.step(self.blocks[0], media, latents)
        return self.norm(latents)


@mistake(RESAMPLER, "Your blocks come in the reverse order.")
class BlocksReversed(Resampler):
    def forward(self, media):
        latents = self.start(media)
        for block in reversed(self.blocks):
            latents = self.step(block, media, latents)
        return self.norm(latents)


@mistake(
    RESAMPLER,
    "Your images are mixed: each is summed up by itself, so the first axis of the media stays apart.",
)
class ImagesMixed(Resampler):
    def forward(self, media):
        every = media.flatten(0, 1)[None].expand(len(media), -1, -1)
        return super().forward(every)


@mistake(RESAMPLER, "No gradient reaches `self.latents`: use the parameter itself, not its .data or a detached copy, or "
         "it never learns.")  # fmt: skip
class LatentsDetached(Resampler):
    def start(self, media):
        return super().start(media).detach()


@mistake(RESAMPLER, "No gradient reaches the media: something on the way is detached or under no_grad.")
class MediaDetachedInTheResampler(Resampler):
    def forward(self, media):
        return super().forward(media.detach())


# --- gated cross-attention ---------------------------------------------------------------------------


@alternative(GATED)
class AsInOpenFlamingo(GatedCrossAttention):
    """Scores filled with the type's minimum; weights of rows that see nothing set to 0 after the softmax."""

    def forward(self, x, media, mask):
        x = self.look(self.norm1(x), media, mask) * self.attn_gate.tanh() + x
        return self.mlp(self.norm2(x)) * self.mlp_gate.tanh() + x

    def look(self, x, media, mask):
        attn, latents = self.attn, media.shape[2]
        media = media.reshape(len(media), -1, media.shape[-1])
        mask = mask.unsqueeze(-1).expand(*mask.shape, latents).reshape(*mask.shape[:2], -1)[:, None]
        q = heads_of(attn.q_proj(x), attn.heads) * attn.head_dim**-0.5
        k, v = (heads_of(project(media), attn.heads) for project in (attn.k_proj, attn.v_proj))
        scores = torch.einsum("bhid,bhjd->bhij", q, k)
        scores = scores.masked_fill(~mask, -torch.finfo(scores.dtype).max)
        scores = scores - scores.amax(dim=-1, keepdim=True).detach()
        weights = scores.softmax(dim=-1).masked_fill(~mask.any(-1, keepdim=True), 0.0)
        out = torch.einsum("bhij,bhjd->bhid", weights, v)
        return attn.out_proj(out.transpose(1, 2).reshape(*x.shape[:2], -1))


@alternative(GATED)
class AsInIdefics(GatedCrossAttention):
    """An additive mask of the type's minimum, and a gate of 0 and 1 on what attention gives."""

    def forward(self, x, media, mask):
        batch, images, latents, dim = media.size()
        mask = mask[..., None].repeat(1, 1, 1, latents).view(batch, x.size(1), images * latents)
        additive = torch.where(mask[:, None], 0.0, torch.finfo(torch.float32).min)
        gate = (additive == 0.0).any(dim=-1).squeeze(1).to(x.dtype)
        residual = x
        x, _ = self.attn(self.norm1(x), media.view(batch, images * latents, dim), additive)
        x = x.masked_fill((gate == 0)[:, :, None], 0.0)
        x = residual + torch.tanh(self.attn_gate) * x
        residual = x
        return residual + torch.tanh(self.mlp_gate) * self.mlp(self.norm2(x))


@alternative(GATED)
class TokenByToken(GatedCrossAttention):
    """Each token gathers the latents of its own image."""

    def forward(self, x, media, mask):
        texts = []
        for text, images, rows in zip(x, media, mask, strict=True):
            tokens = []
            for token, row in zip(text, rows, strict=True):
                if row.any():
                    query = self.norm1(token).view(1, 1, -1)
                    looked = self.attn(query, images[row].flatten(0, 1)[None])[0]
                    token = token + self.attn_gate.tanh()[0] * looked.view(-1)
                tokens.append(token)
            texts.append(torch.stack(tokens))
        y = torch.stack(texts)
        return torch.addcmul(y, self.mlp_gate.tanh(), self.mlp(self.norm2(y)))


@alternative(GATED)
class ImageAfterImage(GatedCrossAttention):
    """All tokens look at each image without a mask; where the mask is True, that is what they get."""

    def forward(self, x, media, mask):
        normed = self.norm1(x)
        looked = torch.zeros_like(x)
        for i in range(media.shape[1]):
            seen = self.attn(normed, media[:, i])[0]
            looked = looked + torch.where(mask[:, :, i, None], seen, torch.zeros_like(seen))
        x = x + torch.tanh(self.attn_gate) * looked
        return x + torch.tanh(self.mlp_gate) * self.mlp(self.norm2(x))


@alternative(GATED)
class ByTorchsAttention(GatedCrossAttention):
    """Keys sorted by latent, then by image; torch gives 0 to rows that see nothing."""

    def forward(self, x, media, mask):
        keys = media.transpose(1, 2).flatten(1, 2)
        mask = mask.repeat(1, 1, media.shape[2])
        q, k, v = (
            heads_of(project(tokens), self.attn.heads)
            for project, tokens in (
                (self.attn.q_proj, self.norm1(x)),
                (self.attn.k_proj, keys),
                (self.attn.v_proj, keys),
            )
        )
        looked = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1))
        y = x + self.attn.out_proj(looked.transpose(1, 2).flatten(2)) * torch.tanh(self.attn_gate)
        return y + self.mlp(self.norm2(y)) * torch.tanh(self.mlp_gate)


@alternative(GATED)
class WithASpareKey(GatedCrossAttention):
    """Who sees nothing looks at one more key, a row of zeros whose value is 0."""

    def forward(self, x, media, mask):
        keys = torch.repeat_interleave(mask, media.size(2), -1)
        blind = keys.sum(-1, keepdim=True) == 0
        keys = torch.cat([keys, blind], dim=-1).unsqueeze(1)
        context = F.pad(media.flatten(1, 2), (0, 0, 0, 1))
        y = x + self.attn_gate.tanh() * self.attn(self.norm1(x), context, keys)[0]
        return y + self.mlp_gate.tanh() * self.mlp(self.norm2(y))


@alternative(GATED)
class WeightsByHand(GatedCrossAttention):
    """exp, times the mask, divided by its sum or by 1."""

    def forward(self, x, media, mask):
        attn, mask = self.attn, mask.repeat_interleave(media.shape[2], 2)[:, None]
        keys = media.flatten(1, 2)
        q, k, v = (
            heads_of(y, attn.heads)
            for y in (attn.q_proj(self.norm1(x)), attn.k_proj(keys), attn.v_proj(keys))
        )
        scores = q @ k.transpose(-1, -2) / attn.head_dim**0.5
        powers = (scores - scores.max(-1, keepdim=True).values).exp() * mask
        weights = powers / powers.sum(-1, keepdim=True).clamp(min=1e-30)
        looked = attn.out_proj((weights @ v).transpose(1, 2).flatten(2))
        y = x + self.attn_gate.tanh() * looked
        return y + self.mlp_gate.tanh() * self.mlp(self.norm2(y))


class Gated(GatedCrossAttention):
    """Right as it stands; each mistake changes one step."""

    def text(self, x):
        return self.norm1(x)

    def keys(self, media):
        return media.flatten(1, 2)

    def spread(self, mask, latents):
        return mask.repeat_interleave(latents, dim=2)

    def attend(self, x, media, mask):
        sees = mask.any(dim=2, keepdim=True)
        return self.attn(x, media, (mask | ~sees)[:, None])[0].masked_fill(~sees, 0)

    def look(self, x, media, mask):
        return self.attend(self.text(x), self.keys(media), self.spread(mask, media.shape[2]))

    def think(self, y):
        return self.mlp(self.norm2(y))

    def open(self, gate):
        return gate.tanh()

    def forward(self, x, media, mask):
        y = x + self.open(self.attn_gate) * self.look(x, media, mask)
        return y + self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "Tokens that see no image become NaN: their row of scores is all -inf, and the softmax divides 0 by 0. "
         "Let them look at something and put 0 in place of what they get (NaN times 0 is NaN, too).")  # fmt: skip
class BlindAreNaN(Gated):
    def attend(self, x, media, mask):
        return self.attn(x, media, mask[:, None])[0]


@mistake(GATED, "You replace the NaN of tokens that see no image by 0, yet their *gradient* is still NaN and spoils all "
         "weights: NaN must never arise, so let those tokens look at something before the softmax.")  # fmt: skip
class NaNHidden(Gated):
    def attend(self, x, media, mask):
        return self.attn(x, media, mask[:, None])[0].nan_to_num()


@mistake(GATED, "Tokens that see no image look at all of them in your code: what attention gives them must be 0 after "
         "all.")  # fmt: skip
class BlindSeeAll(Gated):
    def attend(self, x, media, mask):
        return self.attn(x, media, (mask | ~mask.any(dim=2, keepdim=True))[:, None])[0]


@mistake(GATED, "Tokens that see no image get the average of all latents: with a large negative number in place of -inf "
         "their softmax is uniform, so what attention gives them has to be set to 0.")  # fmt: skip
class BlindGetTheAverage(Gated):
    def attend(self, x, media, mask):
        return self.attn(x, media, torch.where(mask, 0.0, -1e30)[:, None])[0]


@mistake(GATED, "Tokens that see no image look at the first one in your code: argmax of a row without True is 0. What "
         "attention gives them must be 0.")  # fmt: skip
class BlindSeeTheFirst(Gated):
    def look(self, x, media, mask):
        return super().look(x, media, F.one_hot(mask.long().argmax(-1), mask.shape[2]).bool())


@mistake(GATED, "Tokens that see no image pass unchanged in your code: only attention gives them 0; the MLP works on "
         "every token.")  # fmt: skip
class BlindSkipTheMlp(Gated):
    def forward(self, x, media, mask):
        return torch.where(mask.any(2, keepdim=True), super().forward(x, media, mask), x)


@mistake(GATED, "As soon as one token of a text sees no image, you leave out attention for all of them: each token has a row of "
         "its own in the mask.")  # fmt: skip
class AllBlindTogether(Gated):
    def attend(self, x, media, mask):
        every = mask.any(dim=2, keepdim=True).all(dim=1, keepdim=True)
        return super().attend(x, media, mask).masked_fill(~every, 0)


@mistake(GATED, "Your layer never looks at the media: attention's output, gated, is added to x.")
class NeverLooks(Gated):
    def forward(self, x, media, mask):
        return x + self.open(self.mlp_gate) * self.think(x)


@mistake(GATED, "Your gates lack the tanh: the layer adds tanh(gate) * ..., not gate * ....")
class NoTanh(Gated):
    def open(self, gate):
        return gate


@mistake(
    GATED, "Your gates are sigmoids, which are half open at 0: with tanh the language model starts unchanged."
)
class Sigmoid(Gated):
    def open(self, gate):
        return gate.sigmoid()


@mistake(
    GATED, "Your layer has no gates: attention and MLP are multiplied by tanh(attn_gate) and tanh(mlp_gate)."
)
class NoGates(Gated):
    def open(self, gate):
        return 1.0


@mistake(GATED, "Attention has no gate in your code: multiply what it gives by tanh(attn_gate).")
class NoAttentionGate(Gated):
    def forward(self, x, media, mask):
        y = x + self.look(x, media, mask)
        return y + self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "The MLP has no gate in your code: multiply what it gives by tanh(mlp_gate).")
class NoMlpGate(Gated):
    def forward(self, x, media, mask):
        y = x + self.open(self.attn_gate) * self.look(x, media, mask)
        return y + self.think(y)


@mistake(GATED, "You use `attn_gate` for the MLP, too; it has a gate of its own, `mlp_gate`.")
class OneGateForBoth(Gated):
    def forward(self, x, media, mask):
        y = x + self.open(self.attn_gate) * self.look(x, media, mask)
        return y + self.open(self.attn_gate) * self.think(y)


@mistake(GATED, "You swapped the gates: `attn_gate` is attention's, `mlp_gate` the MLP's.")
class GatesSwapped(Gated):
    def forward(self, x, media, mask):
        y = x + self.open(self.mlp_gate) * self.look(x, media, mask)
        return y + self.open(self.attn_gate) * self.think(y)


@mistake(GATED, "You take the tanh of the product; it is of the gate alone: tanh(gate) * output.")
class TanhOfTheProduct(Gated):
    def forward(self, x, media, mask):
        y = x + (self.attn_gate * self.look(x, media, mask)).tanh()
        return y + (self.mlp_gate * self.think(y)).tanh()


@mistake(GATED, "You multiply the gate by the tanh of the output; it is the gate that goes through tanh.")
class TanhOfTheOutput(Gated):
    def forward(self, x, media, mask):
        y = x + self.attn_gate * self.look(x, media, mask).tanh()
        return y + self.mlp_gate * self.think(y).tanh()


@mistake(
    GATED,
    "Your gate multiplies the residual path, too: x itself always passes, and only what is added is gated.",
)
class GateOnTheSum(Gated):
    def forward(self, x, media, mask):
        y = self.open(self.attn_gate) * (x + self.look(x, media, mask))
        return self.open(self.mlp_gate) * (y + self.think(y))


@mistake(GATED, "You blend, (1 - g) * x + g * output; the layer *adds*, x + tanh(gate) * output.")
class Blended(Gated):
    def forward(self, x, media, mask):
        y = x.lerp(self.look(x, media, mask), self.open(self.attn_gate).view(1, 1, 1))
        return y.lerp(self.think(y), self.open(self.mlp_gate).view(1, 1, 1))


@mistake(
    GATED, "The residual connections are missing: what attention and MLP give is added to what was there."
)
class NoResiduals(Gated):
    def forward(self, x, media, mask):
        y = self.open(self.attn_gate) * self.look(x, media, mask)
        return self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "Attention's residual connection is missing: its output, gated, is added to x.")
class NoAttentionResidual(Gated):
    def forward(self, x, media, mask):
        y = self.open(self.attn_gate) * self.look(x, media, mask)
        return y + self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "The MLP's residual connection is missing: its output, gated, is added to what it read.")
class NoMlpResidual(Gated):
    def forward(self, x, media, mask):
        y = x + self.open(self.attn_gate) * self.look(x, media, mask)
        return self.open(self.mlp_gate) * self.think(y)


@mistake(
    GATED, "After the MLP you add the old x: its residual connection starts from what attention has updated."
)
class BothResidualsFromX(Gated):
    def forward(self, x, media, mask):
        y = x + self.open(self.attn_gate) * self.look(x, media, mask)
        return x + self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "You add attention's output to the *normalised* x: only what attention reads is normalised.")
class ResidualFromNorm1(Gated):
    def forward(self, x, media, mask):
        y = self.norm1(x) + self.open(self.attn_gate) * self.look(x, media, mask)
        return y + self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "Your MLP reads x as it was before attention: it works on the updated one.")
class MlpFromX(Gated):
    def forward(self, x, media, mask):
        return (
            x
            + self.open(self.attn_gate) * self.look(x, media, mask)
            + self.open(self.mlp_gate) * self.think(x)
        )


@mistake(GATED, "Your MLP comes before attention: the text looks first.")
class GatedMlpFirst(Gated):
    def forward(self, x, media, mask):
        y = x + self.open(self.mlp_gate) * self.think(x)
        return y + self.open(self.attn_gate) * self.look(y, media, mask)


@mistake(
    GATED, "Your layer ends with attention: what the MLP gives, gated by tanh(mlp_gate), is added after it."
)
class GatedWithoutMlp(Gated):
    def forward(self, x, media, mask):
        return x + self.open(self.attn_gate) * self.look(x, media, mask)


@mistake(GATED, "Attention reads x without its norm: its queries come from norm1(x).")
class NoNorm1(Gated):
    def text(self, x):
        return x


@mistake(GATED, "You left out `norm2`: it does nothing in the Flamingo style, but in the Idefics style the MLP has no norm "
         "of its own.")  # fmt: skip
class NoNorm2(Gated):
    def think(self, y):
        return self.mlp(y)


@mistake(GATED, "You normalise before the MLP with `norm1`; its norm is `norm2` (and in the Flamingo style the MLP begins "
         "with its own).")  # fmt: skip
class Norm1BeforeTheMlp(Gated):
    def think(self, y):
        return self.mlp(self.norm1(y))


@mistake(GATED, "You normalise the media, which come normalised from the resampler: keys and values come from them as "
         "they are.")  # fmt: skip
class MediaNormalised(Gated):
    def keys(self, media):
        return F.layer_norm(media, media.shape[-1:]).flatten(1, 2)


@mistake(GATED, "Your code ignores the mask: each token sees its own image alone.")
class IgnoresMask(Gated):
    def attend(self, x, media, mask):
        return self.attn(x, media)[0]


@mistake(GATED, "Your code hides no image: the mask only says which tokens see none. Each token looks at its own image "
         "alone.")  # fmt: skip
class AllImagesForWhoSees(Gated):
    def spread(self, mask, latents):
        return mask.any(dim=2, keepdim=True).expand_as(mask).repeat_interleave(latents, dim=2)


@mistake(GATED, "You inverted the mask: True means that a token may look.")
class InvertedMask(Gated):
    def spread(self, mask, latents):
        return ~mask.repeat_interleave(latents, dim=2)


@mistake(GATED, "You added the boolean mask to the scores: True became 1 and False 0. Hand it on as a boolean mask, or fill "
         "with -inf.")  # fmt: skip
class AddedMask(Gated):
    def attend(self, x, media, mask):
        looked = self.attn(x, media, mask[:, None].to(x.dtype))[0]
        return looked.masked_fill(~mask.any(dim=2, keepdim=True), 0)


@mistake(GATED, "You mask after the softmax, so that the weights no longer sum to 1: hide scores before it.")
class MaskAfterSoftmax(Gated):
    def attend(self, x, media, mask):
        weights = self.attn(x, media)[1] * mask[:, None]
        heads = weights @ heads_of(self.attn.v_proj(media), self.attn.heads)
        return self.attn.out_proj(heads.transpose(1, 2).flatten(2))


@mistake(GATED, "Your mask repeats as a whole (0, 1, 2, 0, 1, 2), while the keys are sorted by image: each image's column "
         "has to be repeated for its latents (0, 0, 1, 1): repeat_interleave.")  # fmt: skip
class MaskTiled(Gated):
    def spread(self, mask, latents):
        return mask.repeat(1, 1, latents)


@mistake(GATED, "Your keys are sorted by latent first, while the mask is sorted by image: flatten images and latents in "
         "this order, without a transpose.")  # fmt: skip
class MediaTransposed(Gated):
    def keys(self, media):
        return media.transpose(1, 2).flatten(1, 2)


@mistake(GATED, "Your tokens see all images up to their own: they see that one alone.")
class AllImagesUpToItsOwn(Gated):
    def spread(self, mask, latents):
        up_to = mask.flip(2).cumsum(2).flip(2).bool()
        return up_to.repeat_interleave(latents, dim=2)


@mistake(GATED, "All your tokens that see an image see the first one: each looks at its own.")
class FirstImageForAll(Gated):
    def look(self, x, media, mask):
        return super().look(x, media[:, :1], mask.any(dim=2, keepdim=True))


@mistake(GATED, "You used the first image alone: each token looks at its own, and that may be another.")
class FirstImageAlone(Gated):
    def look(self, x, media, mask):
        return super().look(x, media[:, :1], mask[..., :1])


@mistake(GATED, "You average the latents of an image: each of them is a key and a value of its own.")
class LatentsAveraged(Gated):
    def keys(self, media):
        return media.mean(dim=2)

    def spread(self, mask, latents):
        return mask


@mistake(GATED, "Your tokens see the first latent of their image alone: they see all of them.")
class FirstLatentAlone(Gated):
    def keys(self, media):
        return media[:, :, 0]

    def spread(self, mask, latents):
        return mask


@mistake(
    GATED,
    "Your scores lack 1/sqrt(head_dim): let `self.attn` do the attention, or scale them as it does.",
)
class ScoresNotScaled(Gated):
    def attend(self, x, media, mask):
        attn, sees = self.attn, mask.any(dim=2, keepdim=True)
        q, k, v = (heads_of(y, attn.heads) for y in (attn.q_proj(x), attn.k_proj(media), attn.v_proj(media)))
        scores = (q @ k.mT).masked_fill(~(mask | ~sees)[:, None], -torch.inf)
        looked = attn.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return looked.masked_fill(~sees, 0)


@mistake(GATED, "You changed the caller's x in place: with x = x + y instead of x += y the old one stays as it was, which the "
         "backward pass and everyone else who holds it rely on.")  # fmt: skip
class InPlace(Gated):
    def forward(self, x, media, mask):
        x += self.open(self.attn_gate) * self.look(x, media, mask)
        return x + self.open(self.mlp_gate) * self.think(x)


@mistake(GATED, "You changed the caller's mask in place: in the model the next layer gets it, too, and there tokens that "
         "see nothing would look everywhere. Make a new one (masked_fill, |, clone).")  # fmt: skip
class MaskInPlace(Gated):
    def forward(self, x, media, mask):
        sees = mask.any(dim=2, keepdim=True)
        mask[~sees[..., 0]] = True
        looked = self.attn(self.norm1(x), self.keys(media), self.spread(mask, media.shape[2])[:, None])[0]
        y = x + self.open(self.attn_gate) * looked * sees
        return y + self.open(self.mlp_gate) * self.think(y)


@mistake(GATED, "No gradient reaches the gates: use the parameters themselves, not .item(), .data or a detached copy, or they "
         "stay shut for ever.")  # fmt: skip
class GatesDetached(Gated):
    def open(self, gate):
        return gate.detach().tanh()


@mistake(
    GATED,
    "No gradient reaches the media, so that the resampler never learns: something on the way is detached.",
)
class MediaDetached(Gated):
    def keys(self, media):
        return media.detach().flatten(1, 2)


@mistake(GATED, "You return x as it is where a gate is 0; then that gate gets no gradient and never opens. Multiply by "
         "tanh(gate), whatever it is.")  # fmt: skip
class ShortCutAtZero(Gated):
    def forward(self, x, media, mask):
        if not self.attn_gate.any() and not self.mlp_gate.any():
            return x
        return super().forward(x, media, mask)


# --- the mask ----------------------------------------------------------------------------------------


@alternative(MASK)
def by_loops(is_image, images):
    mask = torch.zeros(*is_image.shape, images, dtype=torch.bool)
    for b, text in enumerate(is_image.tolist()):
        last = -1
        for i, here in enumerate(text):
            last += here
            if last >= 0:
                mask[b, i, last] = True
    return mask


@alternative(MASK)
def by_one_hot(is_image, images):
    return F.one_hot(is_image.long().cumsum(-1), images + 1)[:, :, 1:].bool()


@alternative(MASK)
def by_difference(is_image, images):
    """Appeared, and the next one has not."""
    count = torch.cumsum(is_image.int(), 1).unsqueeze(-1)
    number = torch.arange(images)
    return (count > number) & ~(count > number + 1)


@alternative(MASK)
def by_triangle(is_image, images):
    length = is_image.shape[1]
    seen = is_image.float() @ torch.ones(length, length).triu()
    return torch.stack([seen.eq(i + 1) for i in range(images)], dim=-1)


@alternative(MASK)
def by_places(is_image, images):
    """From each image's token up to the next one's."""
    mask = is_image.new_zeros((*is_image.shape, images))
    for b in range(len(is_image)):
        places = [*is_image[b].nonzero()[:, 0].tolist(), is_image.shape[1]]
        for i, (start, end) in enumerate(pairwise(places)):
            mask[b, start:end, i] = True
    return mask


@alternative(MASK)
def by_scatter(is_image, images):
    seen = is_image.cumsum(dim=-1)[..., None]
    return torch.zeros(*is_image.shape, images + 1).scatter(2, seen, 1.0)[..., 1:] > 0


def numbered(is_image, images, *, seen=None, compare=torch.eq, first=1):
    """Right where no option is given; each mistake changes one."""
    seen = is_image.cumsum(dim=1) if seen is None else seen
    return compare(seen[..., None], torch.arange(first, first + images))


@mistake(MASK, "Your tokens see all images so far: they see the last one alone.")
def all_images_so_far(is_image, images):
    return numbered(is_image, images, compare=torch.ge)


@mistake(MASK, "You are off by one: where no image has appeared the count is 0, and the first image belongs to count 1. As it "
         "is, each token sees an image that is still to come.")  # fmt: skip
def counted_from_zero(is_image, images):
    return numbered(is_image, images, first=0)


@mistake(MASK, "You are off by one: your tokens see the image before their last one.")
def one_image_late(is_image, images):
    return numbered(is_image, images, first=2)


@mistake(
    MASK, "Your <image> tokens see the image before their own: an <image> token sees its own image already."
)
def image_does_not_see_itself(is_image, images):
    return numbered(is_image, images, seen=is_image.cumsum(dim=1) - is_image.long())


@mistake(MASK, "Your tokens see the next image, not the last one: count from the beginning of the text.")
def next_image(is_image, images):
    return numbered(is_image, images, seen=is_image.cumsum(dim=1) - is_image.long() + 1)


@mistake(MASK, "Your tokens see all images that are still to come; they see the last one that has appeared.")
def images_to_come(is_image, images):
    return numbered(is_image, images, compare=torch.lt)


@mistake(MASK, "You count the images still to come: count those up to the token.")
def counted_from_the_end(is_image, images):
    return numbered(is_image, images, seen=is_image.flip(1).cumsum(dim=1).flip(1))


@mistake(MASK, "You kept the column for “no image yet”: leave it out, so that column 0 is the first image.")
def column_for_no_image(is_image, images):
    return numbered(is_image, images + 1, first=0)


@mistake(MASK, "Tokens before the first image see the first one in your mask: they see none.")
def none_becomes_first(is_image, images):
    return numbered(is_image, images, seen=is_image.cumsum(dim=1).clamp(min=1))


@mistake(
    MASK,
    "Tokens before the first image see the last one in your mask: index -1 counts from the end. They see none.",
)
def none_becomes_last(is_image, images):
    return F.one_hot((is_image.cumsum(dim=1) - 1) % images, images).bool()


@mistake(MASK, "Tokens before the first image see all of them in your mask: they see none.")
def none_becomes_all(is_image, images):
    return numbered(is_image, images) | (is_image.cumsum(dim=1) == 0)[..., None]


@mistake(
    MASK, "Only the <image> tokens themselves see an image in your mask: the text behind each one does, too."
)
def image_tokens_alone(is_image, images):
    return numbered(is_image, images) & is_image[..., None]


@mistake(MASK, "Your <image> tokens see nothing: they see their own image already.")
def text_alone(is_image, images):
    return numbered(is_image, images) & ~is_image[..., None]


@mistake(MASK, "Your mask is inverted: True means that a token may look.")
def inverted_mask(is_image, images):
    return ~numbered(is_image, images)


@mistake(MASK, "Your mask is one to add to the scores; a boolean one is meant, True = may look.")
def additive_mask(is_image, images):
    return torch.zeros(1).masked_fill(~numbered(is_image, images), -torch.inf)


@mistake(MASK, "Your mask is of numbers 0 and 1; a boolean one is meant: compare, or say .bool().")
def mask_of_numbers(is_image, images):
    return numbered(is_image, images).long()


@mistake(MASK, "You counted down the batch: images are counted along a text, dim=1.")
def counted_over_the_batch(is_image, images):
    return numbered(is_image, images, seen=is_image.cumsum(dim=0))


@mistake(
    MASK, "Your count goes on from one text of the batch into the next: each text has images of its own."
)
def counted_through_all_texts(is_image, images):
    return numbered(is_image, images, seen=is_image.flatten().cumsum(0).view(is_image.shape))


@mistake(MASK, "All texts have the first one's mask in your code: each has images in places of its own.")
def first_text_for_all(is_image, images):
    return numbered(is_image[:1].expand_as(is_image), images)


@mistake(
    MASK, "Every token sees every image of its text in your mask: it sees the last one that has appeared."
)
def every_image_of_the_text(is_image, images):
    return numbered(
        is_image, images, seen=is_image.sum(1, keepdim=True).expand(is_image.shape), compare=torch.ge
    )


@mistake(
    MASK, "Every token sees the last image of the whole text in your mask; it sees the last one *so far*."
)
def last_image_of_the_text(is_image, images):
    return numbered(is_image, images, seen=is_image.sum(1, keepdim=True).expand(is_image.shape))


@mistake(
    MASK, "All text sees the first image in your mask, once it has appeared: count on at every <image> token."
)
def first_image_for_ever(is_image, images):
    return numbered(is_image, images, seen=is_image.cumsum(dim=1).clamp(max=1))


@mistake(MASK, "Texts with fewer images use the last of `images` in your mask: they use the first of them.")
def aligned_at_the_end(is_image, images):
    missing = images - is_image.sum(1, keepdim=True)
    seen = is_image.cumsum(dim=1)
    return numbered(is_image, images, seen=torch.where(seen > 0, seen + missing, 0))


@mistake(
    MASK,
    "Your mask has as many columns as there are <image> tokens in a text; it has one for each of the `images`.",
)
def as_many_as_appear(is_image, images):
    return numbered(is_image, int(is_image.sum(1).max()))


@mistake(MASK, "Several <image> tokens in a row count as one in your mask: each is an image of its own.")
def runs_count_once(is_image, images):
    before = F.pad(is_image[:, :-1], (1, 0))
    return numbered(is_image, images, seen=(is_image & ~before).cumsum(dim=1))


@mistake(MASK, "You have tokens and images swapped: the mask is (batch, length, images).")
def images_before_tokens(is_image, images):
    return numbered(is_image, images).mT
