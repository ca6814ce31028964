"""Known answers: SAM's two-way block and its mask decoder."""

import torch

from autograder.known import alternative, mistake
from cs_vl.models.mask_decoder import MaskDecoder
from cs_vl.nn.two_way import TwoWayBlock

BLOCK, DECODER = "TwoWayBlock", "MaskDecoder"

# --- the two-way block -------------------------------------------------------------------------------


@alternative(BLOCK)
class AsTheOfficialCode(TwoWayBlock):
    """Named as in `modeling/transformer.py`."""

    def forward(self, queries, keys, query_pe, key_pe):
        if self.first:
            queries = self.self_attn(q=queries, k=queries, v=queries)
        else:
            q = queries + query_pe
            attn_out = self.self_attn(q=q, k=q, v=queries)
            queries = queries + attn_out
        queries = self.norm1(queries)
        q = queries + query_pe
        k = keys + key_pe
        attn_out = self.token_to_image(q=q, k=k, v=keys)
        queries = queries + attn_out
        queries = self.norm2(queries)
        mlp_out = self.mlp(queries)
        queries = queries + mlp_out
        queries = self.norm3(queries)
        q = queries + query_pe
        k = keys + key_pe
        attn_out = self.image_to_token(q=k, k=q, v=queries)
        keys = keys + attn_out
        keys = self.norm4(keys)
        return queries, keys


@alternative(BLOCK)
class CopiedForEachPrompt(TwoWayBlock):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        pixels = pixels.expand(-1, tokens.shape[1], -1, -1).contiguous()
        where = pixel_positions.expand_as(pixels)
        p = torch.zeros_like(tokens) if self.first else token_positions
        looked = self.self_attn(tokens + p, tokens + p, tokens)
        t = self.norm1(looked if self.first else looked + tokens)
        t = self.norm2(self.token_to_image(t + token_positions, where + pixels, pixels) + t)
        t = self.norm3(self.mlp(t) + t)
        return t, self.norm4(self.image_to_token(where + pixels, t + token_positions, t) + pixels)


@alternative(BLOCK)
class PromptByPrompt(TwoWayBlock):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        found = []
        for i in range(tokens.shape[1]):
            j = i if pixels.shape[1] > 1 else 0
            found.append(self.one(tokens[:, i], pixels[:, j], token_positions[:, i], pixel_positions))
        return torch.stack([t for t, _ in found], 1), torch.stack([p for _, p in found], 1)

    def one(self, t, p, tpos, ppos):
        if not self.first:
            t = self.norm1(t + self.self_attn(t + tpos, t + tpos, t))
        else:
            t = self.norm1(self.self_attn(t, t, t))
        t = self.norm2(t + self.token_to_image(t + tpos, p + ppos, p))
        t = self.norm3(t + self.mlp(t))
        return t, self.norm4(p + self.image_to_token(p + ppos, t + tpos, t))


class Block(TwoWayBlock):
    """Right as it stands; each mistake changes one step."""

    def among(self, t, tpos):
        if self.first:
            return self.norm1(self.self_attn(t, t, t))
        return self.norm1(t + self.self_attn(t + tpos, t + tpos, t))

    def look(self, t, p, tpos, ppos):
        return self.norm2(t + self.token_to_image(t + tpos, p + ppos, p))

    def think(self, t):
        return self.norm3(t + self.mlp(t))

    def back(self, t, p, tpos, ppos):
        return self.norm4(p + self.image_to_token(p + ppos, t + tpos, t))

    def forward(self, tokens, pixels, token_positions, pixel_positions):
        t = self.among(tokens, token_positions)
        t = self.look(t, pixels, token_positions, pixel_positions)
        t = self.think(t)
        return t, self.back(t, pixels, token_positions, pixel_positions)


def wrong(sentence):
    return mistake(BLOCK, sentence)


@wrong(
    "Your first layer adds the positions in sublayer 1: there the tokens are their own positions, so add none."
)
class PositionsInTheFirstLayer(Block):
    def among(self, t, tpos):
        if self.first:
            return self.norm1(self.self_attn(t + tpos, t + tpos, t))
        return super().among(t, tpos)


@wrong("Your first layer adds the tokens to what sublayer 1 gives: there its output replaces them.")
class ResidualInTheFirstLayer(Block):
    def among(self, t, tpos):
        return self.norm1(t + self.self_attn(t, t, t)) if self.first else super().among(t, tpos)


@wrong("In the first layer you left out norm1: only the sum is gone there, the norm stays.")
class NoNormInTheFirstLayer(Block):
    def among(self, t, tpos):
        return self.self_attn(t, t, t) if self.first else super().among(t, tpos)


@wrong(
    "You left the token positions out of the cross-attentions, too: in the first layer only sublayer 1 does "
    "without."
)
class NoTokenPositionsInTheFirstLayer(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        if self.first:
            token_positions = torch.zeros_like(token_positions)
        return super().forward(tokens, pixels, token_positions, pixel_positions)


@wrong("You treat every layer as the first: later ones add positions and the residual in sublayer 1.")
class AlwaysFirst(Block):
    def among(self, t, tpos):
        return self.norm1(self.self_attn(t, t, t))


@wrong("You treat every layer as a later one: look at self.first in sublayer 1.")
class NeverFirst(Block):
    def among(self, t, tpos):
        return self.norm1(t + self.self_attn(t + tpos, t + tpos, t))


@wrong("You have self.first the wrong way round.")
class FirstReversed(Block):
    def among(self, t, tpos):
        if not self.first:
            return self.norm1(self.self_attn(t, t, t))
        return self.norm1(t + self.self_attn(t + tpos, t + tpos, t))


@wrong("Your self-attention has positions in its values: values are the tokens alone.")
class PositionsInSelfValues(Block):
    def among(self, t, tpos):
        if self.first:
            return super().among(t, tpos)
        q = t + tpos
        return self.norm1(t + self.self_attn(q, q, q))


@wrong("Your later layers add no positions in the self-attention: its queries and keys have them.")
class NoPositionsInSelfAttention(Block):
    def among(self, t, tpos):
        return super().among(t, tpos) if self.first else self.norm1(t + self.self_attn(t, t, t))


@wrong("Your token_to_image has positions in its values: values are the pixels alone.")
class PositionsInPixelValues(Block):
    def look(self, t, p, tpos, ppos):
        return self.norm2(t + self.token_to_image(t + tpos, p + ppos, p + ppos))


@wrong("Your image_to_token has positions in its values: values are the tokens alone.")
class PositionsInTokenValues(Block):
    def back(self, t, p, tpos, ppos):
        return self.norm4(p + self.image_to_token(p + ppos, t + tpos, t + tpos))


@wrong("The queries of token_to_image lack the token positions: they are added again in every attention.")
class LookWithoutTokenPositions(Block):
    def look(self, t, p, tpos, ppos):
        return self.norm2(t + self.token_to_image(t, p + ppos, p))


@wrong("The keys of token_to_image lack the pixel positions.")
class LookWithoutPixelPositions(Block):
    def look(self, t, p, tpos, ppos):
        return self.norm2(t + self.token_to_image(t + tpos, p, p))


@wrong("The keys of image_to_token lack the token positions: add them to the tokens as they are now.")
class BackWithoutTokenPositions(Block):
    def back(self, t, p, tpos, ppos):
        return self.norm4(p + self.image_to_token(p + ppos, t, t))


@wrong("The queries of image_to_token lack the pixel positions.")
class BackWithoutPixelPositions(Block):
    def back(self, t, p, tpos, ppos):
        return self.norm4(p + self.image_to_token(p, t + tpos, t))


@wrong(
    "Your pixels are handed on with their positions: these are for queries and keys, and the sum takes the "
    "pixels that came in without them."
)
class PixelsKeepPositions(Block):
    def back(self, t, p, tpos, ppos):
        return self.norm4(p + ppos + self.image_to_token(p + ppos, t + tpos, t))


@wrong(
    "Your tokens are handed on with their positions: these are for queries and keys, and each sum takes the "
    "tokens that came in without them."
)
class TokensKeepPositions(Block):
    def among(self, t, tpos):
        if self.first:
            return super().among(t, tpos)
        q = t + tpos
        return self.norm1(q + self.self_attn(q, q, t))

    def look(self, t, p, tpos, ppos):
        q = t + tpos
        return self.norm2(q + self.token_to_image(q, p + ppos, p))


@wrong(
    "You added the positions to the tokens for good in sublayer 1, so that values and sum have them, too: they "
    "are for queries and keys alone."
)
class TokensTakePositionsIn(Block):
    def among(self, t, tpos):
        if self.first:
            return super().among(t, tpos)
        q = t + tpos
        return self.norm1(q + self.self_attn(q, q, q))


@wrong(
    "Your positions stay in what is handed on: they are for queries and keys, and the sum takes what came in "
    "without them."
)
class AllKeepPositions(TokensKeepPositions, PixelsKeepPositions):
    pass


@wrong("You normalise before each sublayer (pre-norm): here the norm comes after the sum.")
class PreNorm(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        n = self.norm1(tokens)
        t = self.self_attn(n, n, n)
        if not self.first:
            t = tokens + self.self_attn(n + token_positions, n + token_positions, n)
        t = t + self.token_to_image(self.norm2(t) + token_positions, pixels + pixel_positions, pixels)
        t = t + self.mlp(self.norm3(t))
        n = self.norm4(pixels)
        return t, pixels + self.image_to_token(n + pixel_positions, t + token_positions, t)


@wrong("norm2 and norm3 are swapped: norm2 follows token_to_image and norm3 the MLP.")
class NormsSwapped(Block):
    def look(self, t, p, tpos, ppos):
        return self.norm3(t + self.token_to_image(t + tpos, p + ppos, p))

    def think(self, t):
        return self.norm2(t + self.mlp(t))


@wrong("norm1 is missing in yours: each of the four sublayers has a norm after its sum.")
class NoNorm1(Block):
    def among(self, t, tpos):
        return self.self_attn(t, t, t) if self.first else t + self.self_attn(t + tpos, t + tpos, t)


@wrong("norm2 is missing in yours: each of the four sublayers has a norm after its sum.")
class NoNorm2(Block):
    def look(self, t, p, tpos, ppos):
        return t + self.token_to_image(t + tpos, p + ppos, p)


@wrong("norm3 is missing in yours: each of the four sublayers has a norm after its sum.")
class NoNorm3(Block):
    def think(self, t):
        return t + self.mlp(t)


@wrong("Your pixels are not normalised at the end: norm4 is theirs.")
class PixelsNotNormalised(Block):
    def back(self, t, p, tpos, ppos):
        return p + self.image_to_token(p + ppos, t + tpos, t)


@wrong("Your pixels are replaced by what they see in the tokens: add it to them.")
class NoPixelResidual(Block):
    def back(self, t, p, tpos, ppos):
        return self.norm4(self.image_to_token(p + ppos, t + tpos, t))


@wrong("Your tokens are replaced by what they see in the image: add it to them.")
class NoTokenResidual(Block):
    def look(self, t, p, tpos, ppos):
        return self.norm2(self.token_to_image(t + tpos, p + ppos, p))


@wrong("The MLP is missing: sublayer 3 is norm3(tokens + mlp(tokens)).")
class NoMLP(Block):
    def think(self, t):
        return t


@wrong("Your MLP's output replaces the tokens: add it to them.")
class NoMLPResidual(Block):
    def think(self, t):
        return self.norm3(self.mlp(t))


@wrong("You update the image before the tokens have looked at it: image_to_token is the last sublayer.")
class ImageFirst(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        t = self.among(tokens, token_positions)
        pixels = self.back(t, pixels, token_positions, pixel_positions)
        return self.think(self.look(t, pixels, token_positions, pixel_positions)), pixels


@wrong("Your pixels look at the tokens before the MLP: they look at what comes out of norm3.")
class BackBeforeMLP(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        t = self.look(self.among(tokens, token_positions), pixels, token_positions, pixel_positions)
        return self.think(t), self.back(t, pixels, token_positions, pixel_positions)


@wrong("Your pixels look at the tokens as they came in: they look at the updated ones.")
class BackAtTheTokensThatCameIn(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        t, _ = super().forward(tokens, pixels, token_positions, pixel_positions)
        return t, self.back(tokens, pixels, token_positions, pixel_positions)


@wrong(
    "Your last attention reads keys from before the MLP: add the positions to the tokens as they are by then."
)
class StaleKeys(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        before = self.among(tokens, token_positions)
        t = self.think(self.look(before, pixels, token_positions, pixel_positions))
        looked = self.image_to_token(pixels + pixel_positions, before + token_positions, t)
        return t, self.norm4(pixels + looked)


@wrong(
    "Your MLP comes before the look at the image: the order is self-attention, tokens to image, MLP, image to "
    "tokens."
)
class MLPBeforeTheLook(Block):
    def forward(self, tokens, pixels, token_positions, pixel_positions):
        t = self.think(self.among(tokens, token_positions))
        t = self.look(t, pixels, token_positions, pixel_positions)
        return t, self.back(t, pixels, token_positions, pixel_positions)


@wrong("The two cross-attentions are swapped: token_to_image comes second and image_to_token last.")
class CrossAttentionsSwapped(Block):
    def look(self, t, p, tpos, ppos):
        return self.norm2(t + self.image_to_token(t + tpos, p + ppos, p))

    def back(self, t, p, tpos, ppos):
        return self.norm4(p + self.token_to_image(p + ppos, t + tpos, t))


@wrong("Queries and keys of image_to_token are swapped: the pixels ask and the tokens answer.")
class BackSwapped(Block):
    def back(self, t, p, tpos, ppos):
        return self.norm4(p + self.image_to_token(t + tpos, p + ppos, p).mean(-2, keepdim=True))


@wrong("You change the inputs in place: x += y changes what the caller still holds; write x = x + y.")
class InPlace(Block):
    def among(self, t, tpos):
        if self.first:
            return super().among(t, tpos)
        t += self.self_attn(t + tpos, t + tpos, t)
        return self.norm1(t)


# --- the mask decoder --------------------------------------------------------------------------------


@alternative(DECODER)
class AsTheOfficialDecoder(MaskDecoder):
    """Every tensor copied for each prompt, one hypernetwork after the other, all masks, then a slice."""

    def forward(self, image, positions, sparse, dense, multimask=True):
        b, n = sparse.shape[:2]
        own = torch.cat([self.iou_token, self.mask_tokens], dim=0)[None, None].repeat(b, n, 1, 1)
        src = image.unsqueeze(1).repeat(1, n, 1, 1, 1) + dense
        _, _, c, h, w = src.shape
        hs, src = self.transformer(
            torch.cat((own, sparse), dim=2),
            src.flatten(3).permute(0, 1, 3, 2),
            positions.flatten(1).permute(1, 0),
        )
        up = self.upscale(src.transpose(2, 3).reshape(b * n, c, h, w))
        k = self.mask_tokens.shape[0]
        hyper = torch.stack([self.hypernetworks[i](hs[:, :, 1 + i, :]) for i in range(k)], dim=2)
        masks = (hyper.reshape(b * n, k, -1) @ up.flatten(2)).view(b, n, k, 4 * h, 4 * w)
        iou = self.iou_head(hs[:, :, 0, :])
        return (masks[:, :, 1:], iou[:, :, 1:]) if multimask else (masks[:, :, :1], iou[:, :, :1])


@alternative(DECODER)
class ByEinsum(MaskDecoder):
    def forward(self, image, positions, sparse, dense, multimask=True):
        own = torch.cat([self.iou_token, self.mask_tokens]).repeat(*sparse.shape[:2], 1, 1)
        pixels = torch.einsum("bpdhw->bphwd", image[:, None] + dense).flatten(2, 3)
        out, pixels = self.transformer(torch.cat([own, sparse], -2), pixels, positions.flatten(1).mT)
        iou, tokens = out[:, :, 0], out[:, :, 1:]
        pictures = pixels.unflatten(2, image.shape[-2:]).movedim(-1, 2)
        fine = torch.stack([self.upscale(picture) for picture in pictures])
        which = range(1, len(self.hypernetworks)) if multimask else range(1)
        masks = [torch.einsum("bpc,bpcyx->bpyx", self.hypernetworks[i](tokens[:, :, i]), fine) for i in which]
        return torch.stack(masks, 2), self.iou_head(iou)[..., list(which)]


@alternative(DECODER)
class PromptByPromptDecoder(MaskDecoder):
    def forward(self, image, positions, sparse, dense, multimask=True):
        dense = dense.expand(*sparse.shape[:2], *dense.shape[2:])
        both = [
            [self.one(image[b], positions, sparse[b, p], dense[b, p]) for p in range(sparse.shape[1])]
            for b in range(len(image))
        ]
        masks = torch.stack([torch.stack([m for m, _ in row]) for row in both])
        iou = torch.stack([torch.stack([i for _, i in row]) for row in both])
        return (masks[:, :, 1:], iou[:, :, 1:]) if multimask else (masks[:, :, :1], iou[:, :, :1])

    def one(self, image, positions, sparse, dense):
        tokens = torch.cat([self.iou_token, self.mask_tokens, sparse])[None, None]
        pixels = (image + dense).flatten(1).T[None, None]
        tokens, pixels = self.transformer(tokens, pixels, positions.flatten(1).T)
        fine = self.upscale(pixels[0].mT.reshape(1, *image.shape))[0]
        masks = [
            (net(tokens[0, 0, 1 + i])[:, None, None] * fine).sum(0)
            for i, net in enumerate(self.hypernetworks)
        ]
        return torch.stack(masks), self.iou_head(tokens[0, 0, 0])


class Decoder(MaskDecoder):
    """Right as it stands; each mistake changes one step."""

    def tokens_of(self, sparse):
        own = torch.cat([self.iou_token, self.mask_tokens])
        return torch.cat([own.expand(*sparse.shape[:2], -1, -1), sparse], dim=2)

    def pixels_of(self, image, dense):
        return (image[:, None] + dense).flatten(3).mT

    def where(self, positions):
        return positions.flatten(1).T

    def picture(self, pixels, image):
        return pixels.mT.unflatten(-1, image.shape[-2:])

    def finer(self, pixels, dense):
        return self.upscale(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])

    def classifiers(self, tokens):
        return torch.stack([net(tokens[:, :, 1 + i]) for i, net in enumerate(self.hypernetworks)], dim=2)

    def iou(self, tokens):
        return self.iou_head(tokens[:, :, 0])

    def choose(self, masks, iou, multimask):
        chosen = slice(1, None) if multimask else slice(0, 1)
        return masks[:, :, chosen], iou[:, :, chosen]

    def forward(self, image, positions, sparse, dense, multimask=True):
        tokens = self.tokens_of(sparse)
        tokens, pixels = self.transformer(tokens, self.pixels_of(image, dense), self.where(positions))
        fine = self.finer(self.picture(pixels, image), dense)
        masks = (self.classifiers(tokens) @ fine.flatten(3)).unflatten(-1, fine.shape[-2:])
        return self.choose(masks, self.iou(tokens), multimask)


def bad(sentence):
    return mistake(DECODER, sentence)


@bad("The prompt's tokens come first in yours: first the IoU token, then the mask tokens, then the prompt's.")
class PromptFirst(Decoder):
    def tokens_of(self, sparse):
        return super().tokens_of(sparse).roll(sparse.shape[2], dims=2)


@bad("The mask tokens come before the IoU token in yours: the IoU token is the first.")
class IoUTokenAfterMasks(Decoder):
    def tokens_of(self, sparse):
        own = torch.cat([self.mask_tokens, self.iou_token])
        return torch.cat([own.expand(*sparse.shape[:2], -1, -1), sparse], dim=2)


@bad("The prompt's own tokens are missing: put sparse behind the decoder's.")
class NoPrompt(Decoder):
    def tokens_of(self, sparse):
        return super().tokens_of(sparse[:, :, :0])


@bad("Your hypernetwork i reads token i: mask token i is token 1 + i, behind the IoU token.")
class OffByOne(Decoder):
    def classifiers(self, tokens):
        return torch.stack([net(tokens[:, :, i]) for i, net in enumerate(self.hypernetworks)], dim=2)


@bad("You use the first hypernetwork for all masks: each mask token has its own.")
class OneHypernetwork(Decoder):
    def classifiers(self, tokens):
        return self.hypernetworks[0](tokens[:, :, 1 : 1 + len(self.hypernetworks)])


@bad("The weights come from the mask tokens as they went in: take what has become of them.")
class TokensAsTheyWentIn(Decoder):
    def classifiers(self, tokens):
        return super().classifiers(self.tokens_of(tokens[:, :, :0]))


@bad("Your iou_head reads a mask token: it reads the IoU token, which is token 0.")
class IoUFromMaskToken(Decoder):
    def iou(self, tokens):
        return self.iou_head(tokens[:, :, 1])


@bad("Your iou_head reads the last token: it reads the IoU token, which is token 0.")
class IoUFromLastToken(Decoder):
    def iou(self, tokens):
        return self.iou_head(tokens[:, :, -1])


@bad("Your predicted IoU has gone through a sigmoid: iou_head's output is the prediction.")
class IoUSigmoid(Decoder):
    def iou(self, tokens):
        return super().iou(tokens).sigmoid()


@bad("Your masks have gone through a sigmoid: give logits.")
class MaskSigmoid(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks.sigmoid(), iou, multimask)


@bad(
    "You give all masks with multimask=True: mask 0 is for prompts that leave no doubt; give masks 1, 2, ..."
)
class AllMasks(Decoder):
    def choose(self, masks, iou, multimask):
        return (masks, iou) if multimask else super().choose(masks, iou, multimask)


@bad("You have multimask the wrong way round: True gives masks 1, 2, ..., False mask 0 alone.")
class MultimaskReversed(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, not multimask)


@bad("You leave out the last mask with multimask=True: the one to leave out is mask 0.")
class WithoutTheLast(Decoder):
    def choose(self, masks, iou, multimask):
        return (masks[:, :, :-1], iou[:, :, :-1]) if multimask else super().choose(masks, iou, multimask)


@bad("With multimask=False you give the last mask: mask 0 is the single one.")
class LastAsTheSingle(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, True) if multimask else (masks[:, :, -1:], iou[:, :, -1:])


@bad("With multimask=False you give the mask of the best IoU: it is mask 0, whatever the IoU.")
class BestAsTheSingle(Decoder):
    def choose(self, masks, iou, multimask):
        if multimask:
            return super().choose(masks, iou, multimask)
        best = iou[:, :, 1:].argmax(2, keepdim=True) + 1
        return masks.take_along_dim(best[..., None, None], 2), iou.take_along_dim(best, 2)


@bad("With multimask=False you give all masks: mask 0 alone is asked for.")
class AllAsTheSingle(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, True) if multimask else (masks, iou)


@bad("With multimask=False you give mask 1: the single one is mask 0, the first.")
class Mask1AsTheSingle(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, True) if multimask else (masks[:, :, 1:2], iou[:, :, 1:2])


@bad("With multimask=False your masks have no axis k: mask 0 alone, and k = 1 stays an axis.")
class NoAxisForTheSingle(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, True) if multimask else (masks[:, :, 0], iou[:, :, 0])


@bad("You wrote 3 for the number of masks: all but mask 0 are meant, however many there are.")
class ThreeMasks(Decoder):
    def choose(self, masks, iou, multimask):
        chosen = slice(1, 4) if multimask else slice(0, 1)
        return masks[:, :, chosen], iou[:, :, chosen]


@bad("You ignore multimask and always give masks 1, 2, ...: False asks for mask 0 alone.")
class MultimaskIgnored(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, True)


@bad("You choose among the masks and not among the IoUs: both are of the same masks.")
class IoUNotChosen(Decoder):
    def choose(self, masks, iou, multimask):
        return super().choose(masks, iou, multimask)[0], iou


@bad("Your pixels go in column by column: they go row by row, as their positions.")
class ColumnByColumn(Decoder):
    def pixels_of(self, image, dense):
        return (image[:, None] + dense).mT.flatten(3).mT


@bad(
    "You reshaped the features to (pixels, dim) without moving the width behind the places first: so a pixel is "
    "a mixture of several."
)
class ReshapedGoingIn(Decoder):
    def pixels_of(self, image, dense):
        features = image[:, None] + dense
        return features.reshape(*features.shape[:2], -1, image.shape[1])


@bad("You reshaped the positions without a transpose: flatten the places, then turn them, as for the pixels.")
class ReshapedPositions(Decoder):
    def where(self, positions):
        return positions.reshape(-1, len(positions))


@bad(
    "You repeated the whole batch, so prompts get another image's features: each image is repeated for its own "
    "prompts."
)
class BatchRepeated(Decoder):
    def forward(self, image, positions, sparse, dense, multimask=True):
        repeated = image.repeat(sparse.shape[1], 1, 1, 1).unflatten(0, sparse.shape[:2])
        return super().forward(torch.zeros_like(image), positions, sparse, repeated + dense, multimask)


@bad("Height and width are swapped where your pixels become an image again.")
class HeightAndWidthSwapped(Decoder):
    def picture(self, pixels, image):
        return pixels.mT.unflatten(-1, image.shape[:-3:-1]).mT


@bad(
    "You reshape pixels to an image without moving the width (dim) to the front first: transpose, then reshape."
)
class ReshapedNotTransposed(Decoder):
    def picture(self, pixels, image):
        return pixels.reshape(*pixels.shape[:2], *image.shape[1:])


@bad("The mask prompt is missing: add dense to the image.")
class NoDense(Decoder):
    def pixels_of(self, image, dense):
        return super().pixels_of(image, torch.zeros_like(dense))


@bad("You use the first prompt's dense for all: it may differ from prompt to prompt.")
class FirstDense(Decoder):
    def pixels_of(self, image, dense):
        return super().pixels_of(image, dense[:, :1])


@bad("You add dense after the transformer: it is added to the image before.")
class DenseAfterwards(Decoder):
    def pixels_of(self, image, dense):
        return super().pixels_of(image, torch.zeros_like(dense))

    def finer(self, pixels, dense):
        return super().finer(pixels + dense, dense)


@bad("You upscale the image as it came in: upscale what the transformer has made of the pixels.")
class ImageAsItCame(Decoder):
    def picture(self, pixels, image):
        return image[:, None].expand(*pixels.shape[:2], *image.shape[1:])


@bad("You upscale the pixels from before the transformer: take those that came back.")
class PixelsAsTheyWentIn(ImageAsItCame):
    def finer(self, pixels, dense):
        return super().finer(pixels + dense, dense)


@bad("You add the positions to the pixels yourself: the transformer does that, in its attentions.")
class PositionsAdded(Decoder):
    def forward(self, image, positions, sparse, dense, multimask=True):
        return super().forward(image + positions, positions, sparse, dense, multimask)


@bad("Your positions do not reach the transformer: they are its third argument.")
class NoPositions(Decoder):
    def where(self, positions):
        return torch.zeros_like(positions).flatten(1).T


@bad("You change dense or the image in place: image += dense changes what the caller still holds.")
class DecoderInPlace(Decoder):
    def pixels_of(self, image, dense):
        if dense.shape[1] > 1:
            return super().pixels_of(image, dense)
        image += dense[:, 0]
        return image[:, None].flatten(3).mT
