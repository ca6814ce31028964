"""Known answers: the block, patches and the ViT."""

from itertools import accumulate

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.patch_embed import PatchEmbed
from cs_vl.nn.vit import ViT, ViTOutput

BLOCK, PATCHES, VIT = "TransformerBlock", "PatchEmbed", "ViT"


# --- the block ---------------------------------------------------------------------------------------


@alternative(BLOCK)
class OneLoop(TransformerBlock):
    def forward(self, x, mask=None):
        look = lambda y: self.attn(y, mask=mask)[0]  # noqa: E731
        for norm, sublayer in ((self.norm1, look), (self.norm2, self.mlp)):
            x = x + sublayer(norm(x)) if self.pre_norm else norm(x + sublayer(x))
        return x


@alternative(BLOCK)
class StepByStep(TransformerBlock):
    def forward(self, x, mask=None):
        residual = x
        if self.pre_norm:
            x = self.norm1(x)
        x = self.attn(x, x, mask)[0]
        x = torch.add(residual, x)
        if not self.pre_norm:
            x = self.norm1(x)
        residual = x.clone()
        if self.pre_norm:
            x = F.layer_norm(x, x.shape[-1:], self.norm2.weight, self.norm2.bias, self.norm2.eps)
        x = self.mlp.fc2(self.mlp.activation(self.mlp.fc1(x))) + residual
        return x if self.pre_norm else self.norm2(x)


@alternative(BLOCK)
class NormByHand(TransformerBlock):
    def normalise(self, x, norm):
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        return (x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias

    def forward(self, x, mask=None):
        if not self.pre_norm:
            h = self.normalise(self.attn(x=x, context=None, mask=mask)[0] + x, self.norm1)
            return self.normalise(h + self.mlp(h), self.norm2)
        attended, _ = self.attn(self.normalise(x, self.norm1), mask=mask)
        return x + attended + self.mlp(self.normalise(x + attended, self.norm2))


class Block(TransformerBlock):
    """Right as it stands; each mistake changes one step."""

    def look(self, x, mask):
        return self.attn(x, mask=mask)[0]

    def pre(self, x, mask):
        x = x + self.look(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))

    def post(self, x, mask):
        x = self.norm1(x + self.look(x, mask))
        return self.norm2(x + self.mlp(x))

    def forward(self, x, mask=None):
        return self.pre(x, mask) if self.pre_norm else self.post(x, mask)


@mistake(
    BLOCK,
    "Your code is pre-norm whatever `self.pre_norm` says: where it is False, normalise the sums instead.",
)
class AlwaysPreNorm(Block):
    def forward(self, x, mask=None):
        return self.pre(x, mask)


@mistake(
    BLOCK,
    "Your code is post-norm whatever `self.pre_norm` says: where it is True, normalise what a sublayer reads.",
)
class AlwaysPostNorm(Block):
    def forward(self, x, mask=None):
        return self.post(x, mask)


@mistake(BLOCK, "You have pre-norm and post-norm the wrong way round: pre-norm normalises what a sublayer reads, "
         "post-norm the sum.")  # fmt: skip
class KindsSwapped(Block):
    def forward(self, x, mask=None):
        return self.post(x, mask) if self.pre_norm else self.pre(x, mask)


@mistake(BLOCK, "You left out both residual connections: what a sublayer returns is added to what was there.")
class NoResiduals(Block):
    def pre(self, x, mask):
        return self.mlp(self.norm2(self.look(self.norm1(x), mask)))

    def post(self, x, mask):
        return self.norm2(self.mlp(self.norm1(self.look(x, mask))))


@mistake(BLOCK, "The MLP's residual connection is missing: its output is added to what it started from, as the "
         "attention's is.")  # fmt: skip
class NoResidualAroundMlp(Block):
    def pre(self, x, mask):
        return self.mlp(self.norm2(x + self.look(self.norm1(x), mask)))

    def post(self, x, mask):
        return self.norm2(self.mlp(self.norm1(x + self.look(x, mask))))


@mistake(BLOCK, "The attention's residual connection is missing: its output is added to what it started from, as the "
         "MLP's is.")  # fmt: skip
class NoResidualAroundAttention(Block):
    def pre(self, x, mask):
        x = self.look(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))

    def post(self, x, mask):
        x = self.norm1(self.look(x, mask))
        return self.norm2(x + self.mlp(x))


@mistake(
    BLOCK,
    "You add each sublayer's output to the normalised x: in pre-norm nothing on the residual path is normalised.",
)
class ResidualFromTheNorm(Block):
    def pre(self, x, mask):
        x = self.norm1(x)
        x = x + self.look(x, mask)
        x = self.norm2(x)
        return x + self.mlp(x)


@mistake(
    BLOCK,
    "After the MLP you add to the normalised tokens: in pre-norm nothing on the residual path is normalised.",
)
class MlpResidualFromTheNorm(Block):
    def pre(self, x, mask):
        x = self.norm2(x + self.look(self.norm1(x), mask))
        return x + self.mlp(x)


@mistake(BLOCK, "Your MLP reads x without its norm: in pre-norm each sublayer has one.")
class MlpNotNormalised(Block):
    def pre(self, x, mask):
        x = x + self.look(self.norm1(x), mask)
        return x + self.mlp(x)


@mistake(BLOCK, "Your attention reads x without its norm: in pre-norm each sublayer has one.")
class AttentionNotNormalised(Block):
    def pre(self, x, mask):
        x = x + self.look(x, mask)
        return x + self.mlp(self.norm2(x))


@mistake(
    BLOCK, "Your post-norm MLP is added to the block's input: its residual starts from what `norm1` returned."
)
class PostNormMlpFromTheInput(Block):
    def post(self, x, mask):
        return self.norm2(x + self.mlp(self.norm1(x + self.look(x, mask))))


@mistake(
    BLOCK,
    "You add the *original* x after the MLP: its residual connection starts from what the attention has updated.",
)
class BothResidualsFromTheInput(Block):
    def pre(self, x, mask):
        return x + self.mlp(self.norm2(x + self.look(self.norm1(x), mask)))


@mistake(BLOCK, "Your MLP reads x as it was before the attention: the sublayers come one after the other.")
class Parallel(Block):
    def pre(self, x, mask):
        return x + self.look(self.norm1(x), mask) + self.mlp(self.norm2(x))

    def post(self, x, mask):
        return self.norm2(self.norm1(x + self.look(x, mask)) + self.mlp(x))


@mistake(BLOCK, "Your MLP comes before the attention; the attention is the first sublayer.")
class MlpFirst(Block):
    def pre(self, x, mask):
        x = x + self.mlp(self.norm2(x))
        return x + self.look(self.norm1(x), mask)

    def post(self, x, mask):
        x = self.norm2(x + self.mlp(x))
        return self.norm1(x + self.look(x, mask))


@mistake(BLOCK, "You use `norm1` twice; the MLP has a norm of its own, `norm2`.")
class SameNormTwice(Block):
    def pre(self, x, mask):
        x = x + self.look(self.norm1(x), mask)
        return x + self.mlp(self.norm1(x))

    def post(self, x, mask):
        x = self.norm1(x + self.look(x, mask))
        return self.norm1(x + self.mlp(x))


@mistake(BLOCK, "You swapped the norms: `norm1` belongs to the attention, `norm2` to the MLP.")
class NormsSwapped(Block):
    def pre(self, x, mask):
        x = x + self.look(self.norm2(x), mask)
        return x + self.mlp(self.norm1(x))

    def post(self, x, mask):
        x = self.norm2(x + self.look(x, mask))
        return self.norm1(x + self.mlp(x))


@mistake(BLOCK, "You left out the norms: in pre-norm each sublayer reads a normalised x.")
class NoNorms(Block):
    def pre(self, x, mask):
        x = x + self.look(x, mask)
        return x + self.mlp(x)


@mistake(
    BLOCK,
    "Your norm is on the way out of each sublayer: in pre-norm it is what the sublayer reads that is normalised.",
)
class NormAfterSublayer(Block):
    def pre(self, x, mask):
        x = x + self.norm1(self.look(x, mask))
        return x + self.norm2(self.mlp(x))


@mistake(
    BLOCK,
    "Your post-norm normalises the sublayer's output before it is added; it is the *sum* that is normalised.",
)
class PostNormBeforeTheSum(Block):
    def post(self, x, mask):
        x = x + self.norm1(self.look(x, mask))
        return x + self.norm2(self.mlp(x))


@mistake(
    BLOCK,
    "Only your queries are normalised: in self-attention keys and values come from the same normalised x.",
)
class KeysNotNormalised(Block):
    def pre(self, x, mask):
        x = x + self.attn(self.norm1(x), x, mask)[0]
        return x + self.mlp(self.norm2(x))


@mistake(BLOCK, "Your code ignores the mask: hand it on to the attention, before and after the norm alike.")
class IgnoresMask(Block):
    def look(self, x, mask):
        return self.attn(x)[0]


@mistake(BLOCK, "You inverted the mask: `self.attn` takes it as it is, True = may look.")
class InvertedMask(Block):
    def look(self, x, mask):
        return self.attn(x, mask=None if mask is None else ~mask)[0]


@mistake(BLOCK, "Your post-norm path ignores the mask: hand it on to the attention there, too.")
class PostNormIgnoresMask(Block):
    def post(self, x, mask):
        return super().post(x, None)


@mistake(BLOCK, "You changed the caller's x in place: with x = x + y instead of x += y the old one stays as it was, which "
         "the backward pass and everyone else who holds it rely on.")  # fmt: skip
class InPlace(Block):
    def forward(self, x, mask=None):
        output = super().forward(x, mask)
        x += self.look(self.norm1(x) if self.pre_norm else x, mask)
        return output


# --- patches -----------------------------------------------------------------------------------------


def grid(images, p):
    """(batch, rows, columns, channels, p, p): right."""
    return images.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5)


@alternative(PATCHES)
class PatchesByUnfold(PatchEmbed):
    def forward(self, images):
        return self.proj(F.unfold(images, self.patch_size, stride=self.patch_size).transpose(1, 2))


@alternative(PATCHES)
class PatchesByConvolution(PatchEmbed):
    def forward(self, images):
        kernel = self.proj.weight.reshape(-1, images.shape[1], self.patch_size, self.patch_size)
        x = F.conv2d(images, kernel, self.proj.bias, stride=self.patch_size)
        return torch.einsum("bdhw->bhwd", x).flatten(1, 2)


@alternative(PATCHES)
class PatchesByLoops(PatchEmbed):
    def forward(self, images):
        p, tokens = self.patch_size, []
        for top in range(0, images.shape[2], p):
            for left in range(0, images.shape[3], p):
                patch = images[:, :, top : top + p, left : left + p]
                tokens.append(self.proj(patch.flatten(start_dim=1)))
        return torch.stack(tokens, dim=1)


@alternative(PATCHES)
class PatchesByReshape(PatchEmbed):
    def forward(self, images):
        batch, channels, height, width = images.size()
        p = self.patch_size
        x = images.view(batch, channels, height // p, p, width // p, p)
        x = x.transpose(3, 4).permute(0, 2, 3, 1, 4, 5).contiguous()
        return F.linear(x.view(batch, -1, channels * p**2), self.proj.weight, self.proj.bias)


@mistake(PATCHES, "You reshaped the image straight into patches, which only cuts it into runs of pixels: split height and "
         "width first, then swap axes.")  # fmt: skip
class ReshapedWithoutPermute(PatchEmbed):
    def forward(self, images):
        return self.proj(images.reshape(len(images), -1, self.proj.in_features))


@mistake(PATCHES, "Your patches go down the columns first; reading order is along the top row first.")
class ColumnsFirst(PatchEmbed):
    def forward(self, images):
        return self.proj(grid(images, self.patch_size).transpose(1, 2).flatten(3).flatten(1, 2))


@mistake(
    PATCHES,
    "Your pixels are flattened with the channels last; the order in a patch is (channels, rows, columns).",
)
class ChannelsLast(PatchEmbed):
    def forward(self, images):
        return self.proj(grid(images, self.patch_size).permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2))


@mistake(
    PATCHES,
    "Rows and columns are swapped inside your patches; the order in a patch is (channels, rows, columns).",
)
class PatchesTransposed(PatchEmbed):
    def forward(self, images):
        return self.proj(grid(images, self.patch_size).mT.flatten(3).flatten(1, 2))


@mistake(PATCHES, "Your patches take pixels that lie far apart: of the two axes into which height is split, the patch's "
         "own rows are the second, and so for width.")  # fmt: skip
class PixelsFarApart(PatchEmbed):
    def forward(self, images):
        p = self.patch_size
        x = images.unflatten(3, (p, -1)).unflatten(2, (p, -1))  # (batch, channels, p, rows, p, columns)
        return self.proj(x.permute(0, 3, 5, 1, 2, 4).flatten(3).flatten(1, 2))


@mistake(PATCHES, "Your axes are in another order than you think: a row of the patch grid and a row of pixels in a patch got "
         "mixed up before flattening.")  # fmt: skip
class GridAndPixelsMixed(PatchEmbed):
    def forward(self, images):
        p = self.patch_size
        x = images.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (batch, channels, rows, p, columns, p)
        return self.proj(x.permute(0, 2, 3, 1, 4, 5).reshape(len(x), -1, self.proj.in_features))


@mistake(PATCHES, "Your channels don't move with their patch: they come before rows and columns of the grid when you "
         "flatten; bring them behind.")  # fmt: skip
class ChannelsStayInFront(PatchEmbed):
    def forward(self, images):
        p = self.patch_size
        x = images.unflatten(3, (-1, p)).unflatten(2, (-1, p)).transpose(3, 4)
        return self.proj(x.reshape(len(x), -1, self.proj.in_features))


@mistake(
    PATCHES,
    "After unfolding you reshaped where the last two axes had to be swapped: that mixes pixels of all patches.",
)
class ReshapedAfterUnfold(PatchEmbed):
    def forward(self, images):
        x = F.unfold(images, self.patch_size, stride=self.patch_size)
        return self.proj(x.reshape(len(x), -1, self.proj.in_features))


@mistake(PATCHES, "Your patches overlap: they lie side by side, patch_size pixels apart.")
class Overlapping(PatchEmbed):
    def forward(self, images):
        return self.proj(F.unfold(images, self.patch_size).mT)


@mistake(PATCHES, "You cut the patches but left out `self.proj`, which makes tokens of them.")
class WithoutProjection(PatchEmbed):
    def forward(self, images):
        return grid(images, self.patch_size).flatten(3).flatten(1, 2)


@mistake(PATCHES, "You used the weight of `self.proj` without its bias.")
class WithoutBias(PatchEmbed):
    def forward(self, images):
        return grid(images, self.patch_size).flatten(3).flatten(1, 2) @ self.proj.weight.T


@mistake(PATCHES, "Your tokens have width and number swapped: the result is (batch, patches, dim).")
class DimBeforePatches(PatchEmbed):
    def forward(self, images):
        return self.proj(grid(images, self.patch_size).flatten(3).flatten(1, 2)).mT


@mistake(
    PATCHES,
    "You kept rows and columns of the grid apart: the result is one list of patches, (batch, patches, dim).",
)
class GridKept(PatchEmbed):
    def forward(self, images):
        return self.proj(grid(images, self.patch_size).flatten(3))


# --- ViT ---------------------------------------------------------------------------------------------


@alternative(VIT)
class PositionsPiecewise(ViT):
    def forward(self, images):
        x, positions = self.patch_embed(images), self.position_embed
        if self.pool == "cls":
            first = (self.class_token + positions[:, :1]).repeat(x.size(0), 1, 1)
            x = torch.concat((first, x + positions[:, 1:]), 1)
        else:
            x = x + positions
        states = [self.ln_pre(x)]
        for i in range(len(self.blocks)):
            states.append(self.blocks[i](states[i], mask=None))
        x = self.norm(states[-1])
        pools = {
            "cls": lambda: x[:, 0, :],
            "mean": lambda: x.sum(1) / x.shape[1],
            "map": lambda: self.attention_pool(x),
        }
        return ViTOutput(tokens=x, hidden_states=torch.stack(states), pooled=pools[self.pool]())


@alternative(VIT)
class WrittenIntoATensor(ViT):
    def forward(self, images):
        patches = self.patch_embed(images)
        extra = 1 if self.pool == "cls" else 0
        x = patches.new_empty(patches.shape[0], patches.shape[1] + extra, patches.shape[2])
        x[:, extra:] = patches
        if extra:
            x[:, :1] = self.class_token
        x = self.ln_pre(x.add(self.position_embed))
        hidden = ()
        for block in self.blocks:
            hidden += (x,)
            x = block(x)
        hidden += (x,)
        x = self.norm(x)
        if self.pool == "map":
            return ViTOutput(self.attention_pool(x), x, hidden)
        return ViTOutput(x[:, 0] if extra else torch.einsum("btd->bd", x) / x.shape[1], x, hidden)


@alternative(VIT)
class Accumulated(ViT):
    def forward(self, images):
        x = self.patch_embed(images) + self.position_embed[:, self.pool == "cls" :]
        if self.pool == "cls":
            first = self.class_token[0] + self.position_embed[:, 0]
            x = torch.cat([torch.stack([first] * len(x)), x], dim=-2)
        states = accumulate(self.blocks, lambda x, block: block(x), initial=self.ln_pre(x))
        *rest, last = states
        tokens = F.layer_norm(last, last.shape[2:], self.norm.weight, self.norm.bias, self.norm.eps)
        if self.pool == "map":
            return ViTOutput(self.attention_pool(tokens), tokens, [*rest, last])
        return ViTOutput(tokens[:, 0] if self.pool == "cls" else tokens.mean(-2), tokens, [*rest, last])


class Reader(ViT):
    """Right as it stands; each mistake changes one step."""

    def with_class_token(self, x):
        return torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) if self.pool == "cls" else x

    def embed(self, images):
        return self.ln_pre(self.with_class_token(self.patch_embed(images)) + self.position_embed)

    def through_blocks(self, x):
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def pooled(self, tokens, before_norm):
        if self.pool == "map":
            return self.attention_pool(tokens)
        return tokens[:, 0] if self.pool == "cls" else tokens.mean(dim=1)

    def forward(self, images):
        states = self.through_blocks(self.embed(images))
        tokens = self.norm(states[-1])
        return ViTOutput(self.pooled(tokens, states[-1]), tokens, tuple(states))


@mistake(
    VIT, "Your tokens have no positions: each gets its own row of `position_embed`, or their order is lost."
)
class NoPositions(Reader):
    def embed(self, images):
        return self.ln_pre(self.with_class_token(self.patch_embed(images)))


@mistake(
    VIT,
    "Your class token has no position: it gets the first row of `position_embed`, so add positions after joining.",
)
class ClassTokenWithoutPosition(Reader):
    def embed(self, images):
        x = self.patch_embed(images)
        return self.ln_pre(self.with_class_token(x + self.position_embed[:, -x.shape[1] :]))


@mistake(VIT, "Your patches got the first rows of `position_embed`; its first row belongs to the class token, the others to "
         "the patches.")  # fmt: skip
class PositionsOffByOne(Reader):
    def embed(self, images):
        x = self.patch_embed(images)
        return self.ln_pre(self.with_class_token(x + self.position_embed[:, : x.shape[1]]))


@mistake(VIT, "Your class token comes after the patches; it is the first of all tokens.")
class ClassTokenLast(Reader):
    def with_class_token(self, x):
        return torch.cat([x, self.class_token.expand(len(x), -1, -1)], dim=1) if self.pool == "cls" else x

    def pooled(self, tokens, before_norm):
        return tokens[:, -1] if self.pool == "cls" else super().pooled(tokens, before_norm)


@mistake(VIT, "You left out the final norm: `self.norm` is applied to all tokens after the last block.")
class NoFinalNorm(Reader):
    def forward(self, images):
        states = self.through_blocks(self.embed(images))
        return ViTOutput(self.pooled(states[-1], states[-1]), states[-1], tuple(states))


@mistake(VIT, "You pool from the tokens before the final norm; pooling starts from its result.")
class PooledBeforeNorm(Reader):
    def pooled(self, tokens, before_norm):
        return super().pooled(before_norm, tokens)


@mistake(
    VIT,
    "You normalise only what was pooled; `norm` is applied to all tokens, then one vector is made of them.",
)
class NormAfterPooling(Reader):
    def forward(self, images):
        states = self.through_blocks(self.embed(images))
        return ViTOutput(self.norm(self.pooled(states[-1], states[-1])), states[-1], tuple(states))


@mistake(
    VIT,
    "With pool='mean' you average before the final norm: every kind of pooling starts from the normalised tokens.",
)
class MeanBeforeNorm(Reader):
    def pooled(self, tokens, before_norm):
        return (
            self.norm(before_norm.mean(dim=1)) if self.pool == "mean" else super().pooled(tokens, before_norm)
        )


@mistake(
    VIT,
    "Your `attention_pool` reads the tokens before the final norm: every kind of pooling starts from its result.",
)
class MapBeforeNorm(Reader):
    def pooled(self, tokens, before_norm):
        return super().pooled(before_norm if self.pool == "map" else tokens, before_norm)


@mistake(VIT, "Nothing can learn through your `hidden_states`: keep them as they are, without detach.")
class DetachedStates(Reader):
    def forward(self, images):
        output = super().forward(images)
        return output._replace(hidden_states=tuple(state.detach() for state in output.hidden_states))


@mistake(VIT, "You apply the final norm after every block; it comes once, after the last.")
class NormAfterEveryBlock(Reader):
    def through_blocks(self, x):
        states = [x]
        for block in self.blocks:
            states.append(self.norm(block(states[-1])))
        return states

    def forward(self, images):
        states = self.through_blocks(self.embed(images))
        return ViTOutput(self.pooled(states[-1], states[-1]), states[-1], tuple(states))


@mistake(
    VIT,
    "You always take the first token: with pool='mean' average the patches, with pool='map' ask `attention_pool`.",
)
class AlwaysFirstToken(Reader):
    def pooled(self, tokens, before_norm):
        return tokens[:, 0]


@mistake(VIT, "You always take the mean: with pool='cls' the class token speaks for the image.")
class AlwaysMean(Reader):
    def pooled(self, tokens, before_norm):
        return self.attention_pool(tokens) if self.pool == "map" else tokens.mean(dim=1)


@mistake(
    VIT, "pool='map' gives the mean in your code: there `self.attention_pool` makes one vector of the tokens."
)
class MapIsMean(Reader):
    def pooled(self, tokens, before_norm):
        return tokens[:, 0] if self.pool == "cls" else tokens.mean(dim=1)


@mistake(VIT, "With pool='mean' you left a token out: there is no class token then, so average all of them.")
class MeanWithoutTheFirst(Reader):
    def pooled(self, tokens, before_norm):
        return tokens[:, 1:].mean(dim=1) if self.pool == "mean" else super().pooled(tokens, before_norm)


@mistake(VIT, "You took the sum of the patches; pool='mean' is their average.")
class SumOfPatches(Reader):
    def pooled(self, tokens, before_norm):
        return tokens.sum(dim=1) if self.pool == "mean" else super().pooled(tokens, before_norm)


@mistake(VIT, "You left out `ln_pre`: it comes after the positions, before the first block.")
class NoPreNorm(Reader):
    def embed(self, images):
        return self.with_class_token(self.patch_embed(images)) + self.position_embed


@mistake(VIT, "Your `ln_pre` comes before the positions are added; it comes after.")
class PreNormBeforePositions(Reader):
    def embed(self, images):
        return self.ln_pre(self.with_class_token(self.patch_embed(images))) + self.position_embed


@mistake(VIT, "Your first hidden state is what enters `ln_pre`; it is what enters the first block.")
class StateBeforePreNorm(Reader):
    def forward(self, images):
        before = self.with_class_token(self.patch_embed(images)) + self.position_embed
        states = self.through_blocks(self.ln_pre(before))
        tokens = self.norm(states[-1])
        return ViTOutput(self.pooled(tokens, states[-1]), tokens, (before, *states[1:]))


@mistake(VIT, "Your hidden states lack the first: what enters the first block belongs to them, too.")
class WithoutFirstState(Reader):
    def forward(self, images):
        output = super().forward(images)
        return output._replace(hidden_states=output.hidden_states[1:])


@mistake(VIT, "Your hidden states lack the last: what leaves the last block belongs to them, too.")
class WithoutLastState(Reader):
    def forward(self, images):
        output = super().forward(images)
        return output._replace(hidden_states=output.hidden_states[:-1])


@mistake(VIT, "Your last hidden state is normalised; hidden states are kept before the final norm.")
class LastStateNormalised(Reader):
    def forward(self, images):
        output = super().forward(images)
        return output._replace(hidden_states=(*output.hidden_states[:-1], output.tokens))


@mistake(VIT, "You return a plain tuple: make a ViTOutput of the three, whose parts have names.")
class PlainTuple(Reader):
    def forward(self, images):
        return tuple(super().forward(images))
