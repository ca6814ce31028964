"""Known answers: CLIP and one step of its training."""

import math

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.models.clip import CLIP, CLIPOutput

MODEL = "CLIP"
STEP = "clip_train_step"

# --- CLIP --------------------------------------------------------------------------------------------


@alternative(MODEL)
class AsInTheOfficialCode(CLIP):
    def forward(self, images=None, ids=None, lengths=None):
        image_features = text_features = logits_per_image = None
        if images is not None:
            image_features = self.visual_projection(self.visual(images).pooled)
            image_features = image_features / image_features.norm(dim=1, keepdim=True)
        if ids is not None:
            text_features = self.text_projection(self.text(ids, lengths=lengths).pooled)
            text_features = text_features / text_features.norm(dim=1, keepdim=True)
        if images is not None and ids is not None:
            logit_scale = self.logit_scale.exp()
            logits_per_image = logit_scale * image_features @ text_features.t()
            if self.logit_bias is not None:
                logits_per_image += self.logit_bias
        return CLIPOutput(logits=logits_per_image, image_features=image_features, text_features=text_features)


@alternative(MODEL)
class ByCosineSimilarity(CLIP):
    def forward(self, images=None, ids=None, lengths=None):
        if images is None and ids is None:
            return CLIPOutput(None, None, None)
        if ids is None:
            return CLIPOutput(
                self.unit(self.visual(images).pooled @ self.visual_projection.weight.T), None, None
            )
        pooled, *_ = self.text(ids, lengths)
        texts = self.unit(pooled @ self.text_projection.weight.T)
        if images is None:
            return CLIPOutput(None, texts, None)
        images = self.forward(images).image_features
        logits = torch.exp(self.logit_scale) * F.cosine_similarity(images[:, None], texts[None], dim=-1)
        return CLIPOutput(images, texts, logits if self.logit_bias is None else logits + self.logit_bias)

    def unit(self, x):
        return x * (x**2).sum(-1, keepdim=True).rsqrt()


@alternative(MODEL)
class ByLoops(CLIP):
    def forward(self, images=None, ids=None, lengths=None):
        rows = columns = logits = None
        if images is not None:
            rows = torch.stack(
                [x / torch.linalg.norm(x) for x in self.visual_projection(self.visual(images)[0])]
            )
        if ids is not None:
            columns = torch.stack(
                [x / x.dot(x).sqrt() for x in self.text_projection(self.text(ids, lengths)[0])]
            )
        if rows is not None and columns is not None:
            bias = 0 if self.logit_bias is None else self.logit_bias
            scale = math.e**self.logit_scale
            logits = torch.stack([torch.stack([scale * (x @ y) + bias for y in columns]) for x in rows])
        return CLIPOutput(rows, columns, logits)


@alternative(MODEL)
class ByEinsum(CLIP):
    def forward(self, images=None, ids=None, lengths=None):
        output = {"image_features": None, "text_features": None, "logits": None}
        if torch.is_tensor(images):
            x = torch.einsum("bv,ev->be", self.visual(images).pooled, self.visual_projection.weight)
            output["image_features"] = F.normalize(x, p=2.0, dim=-1)
        if torch.is_tensor(ids):
            x = torch.einsum("bt,et->be", self.text(ids, lengths).pooled, self.text_projection.weight)
            output["text_features"] = F.normalize(x, p=2.0, dim=-1)
        if torch.is_tensor(images) and torch.is_tensor(ids):
            scaled = self.logit_scale.exp() * output["image_features"]
            output["logits"] = torch.einsum("ie,te->it", scaled, output["text_features"])
            if self.logit_bias is not None:
                output["logits"] = self.logit_bias + output["logits"]
        return CLIPOutput(**output)


class Mistaken(CLIP):
    """Right as it stands; each mistake changes one step."""

    def unit(self, x):
        return F.normalize(x, dim=-1)

    def pooled(self, output):
        return output.pooled

    def see(self, images):
        return self.visual_projection(self.pooled(self.visual(images)))

    def read(self, ids, lengths):
        return self.text_projection(self.pooled(self.text(ids, lengths)))

    def image_features(self, images):
        return self.unit(self.see(images))

    def text_features(self, ids, lengths):
        return self.unit(self.read(ids, lengths))

    def cosines(self, a, b):
        return a @ b.T

    def scaled(self, cosines):
        return cosines * self.logit_scale.exp()

    def biased(self, logits):
        return logits if self.logit_bias is None else logits + self.logit_bias

    def logits(self, a, b):
        return self.biased(self.scaled(self.cosines(a, b)))

    def forward(self, images=None, ids=None, lengths=None):
        a = None if images is None else self.image_features(images)
        b = None if ids is None else self.text_features(ids, lengths)
        return CLIPOutput(a, b, None if a is None or b is None else self.logits(a, b))


@mistake(
    MODEL, "Your features are not normalised: divide each by its length, so that their products are cosines."
)
class NotNormalised(Mistaken):
    def unit(self, x):
        return x


@mistake(
    MODEL, "Your image features are not normalised: divide each by its length, as you do with the texts."
)
class ImagesNotNormalised(Mistaken):
    def image_features(self, images):
        return self.see(images)


@mistake(
    MODEL, "Your text features are not normalised: divide each by its length, as you do with the images."
)
class TextsNotNormalised(Mistaken):
    def text_features(self, ids, lengths):
        return self.read(ids, lengths)


@mistake(MODEL, "You normalised along the batch: each row, one image or text, has length 1, so take dim=-1.")
class NormalisedAlongTheBatch(Mistaken):
    def unit(self, x):
        return F.normalize(x, dim=0)


@mistake(
    MODEL, "You divided by one length for the whole batch: each row has its own, norm(dim=-1, keepdim=True)."
)
class OneLengthForAll(Mistaken):
    def unit(self, x):
        return x / x.norm()


@mistake(MODEL, "You divided by the square of the length: take the root of the sum of squares.")
class SquaredLength(Mistaken):
    def unit(self, x):
        return x / x.square().sum(-1, keepdim=True)


@mistake(
    MODEL, "You divided by the sum of absolute values; the length is the root of the sum of squares (L2)."
)
class L1Norm(Mistaken):
    def unit(self, x):
        return F.normalize(x, p=1, dim=-1)


@mistake(MODEL, "You applied a softmax to the features: divide them by their length instead.")
class SoftmaxedFeatures(Mistaken):
    def unit(self, x):
        return x.softmax(-1)


@mistake(MODEL, "You standardised the features like a layer norm: only divide each by its length.")
class LayerNormed(Mistaken):
    def unit(self, x):
        return F.layer_norm(x, x.shape[-1:])


@mistake(
    MODEL, "You normalised before the projection, which changes lengths again: project first, then normalise."
)
class NormalisedBeforeProjection(Mistaken):
    def image_features(self, images):
        return self.visual_projection(self.unit(self.visual(images).pooled))

    def text_features(self, ids, lengths):
        return self.text_projection(self.unit(self.text(ids, lengths).pooled))


@mistake(
    MODEL, "You left out the projections: the towers' widths differ, and only in embed_dim can they meet."
)
class WithoutProjections(Mistaken):
    def see(self, images):
        return self.visual(images).pooled

    def read(self, ids, lengths):
        return self.text(ids, lengths).pooled


@mistake(MODEL, "Your images lack their projection: `visual_projection` brings them to embed_dim.")
class WithoutVisualProjection(Mistaken):
    def see(self, images):
        return self.visual(images).pooled


@mistake(MODEL, "Your texts lack their projection: `text_projection` brings them to embed_dim.")
class WithoutTextProjection(Mistaken):
    def read(self, ids, lengths):
        return self.text(ids, lengths).pooled


@mistake(MODEL, "You take the tower's first token: its `pooled` is the one vector that stands for all.")
class FirstToken(Mistaken):
    def pooled(self, output):
        return output.tokens[:, 0]


@mistake(MODEL, "You take the tower's last token: its `pooled` is the one vector that stands for all.")
class LastToken(Mistaken):
    def pooled(self, output):
        return output.tokens[:, -1]


@mistake(
    MODEL, "You average the tower's tokens: how they become one vector is the tower's own affair, `pooled`."
)
class MeanOfTokens(Mistaken):
    def pooled(self, output):
        return output.tokens.mean(1)


@mistake(
    MODEL, "Your features have a row for each token: take the tower's `pooled`, one row an image or text."
)
class AllTokens(Mistaken):
    def pooled(self, output):
        return output.tokens

    def cosines(self, a, b):
        return torch.einsum("ipe,tqe->it", a, b)


@mistake(MODEL, "Your code does not hand `lengths` on to the text tower, so that padding is read as text.")
class LengthsNotHandedOn(Mistaken):
    def read(self, ids, lengths):
        return super().read(ids, None)


@mistake(MODEL, "You multiply by logit_scale itself; it is a logarithm, so multiply by its exp.")
class NotExponentiated(Mistaken):
    def scaled(self, cosines):
        return cosines * self.logit_scale


@mistake(
    MODEL,
    "You divide by exp(logit_scale): a temperature divides, but this is the scale, 1/temperature; multiply.",
)
class DividedByScale(Mistaken):
    def scaled(self, cosines):
        return cosines / self.logit_scale.exp()


@mistake(MODEL, "You divide by logit_scale: its exp is the scale, and the scale multiplies.")
class DividedByLogarithm(Mistaken):
    def scaled(self, cosines):
        return cosines / self.logit_scale


@mistake(MODEL, "Your logits are the bare cosines: multiply them by exp(logit_scale).")
class WithoutScale(Mistaken):
    def scaled(self, cosines):
        return cosines


@mistake(MODEL, "You scaled twice, images and texts each: the product of both is scaled once.")
class ScaledTwice(Mistaken):
    def scaled(self, cosines):
        return cosines * (2 * self.logit_scale).exp()


@mistake(
    MODEL, "The features that you return carry the scale; they have length 1, and only the logits are scaled."
)
class ScaledFeatures(Mistaken):
    def image_features(self, images):
        return self.logit_scale.exp() * super().image_features(images)

    def text_features(self, ids, lengths):
        return self.logit_scale.exp() * super().text_features(ids, lengths)

    def scaled(self, cosines):
        return cosines / self.logit_scale.exp()


@mistake(MODEL, "Your logits come out as texts x images; a row is an image, a column a text.")
class TextsTimesImages(Mistaken):
    def cosines(self, a, b):
        return b @ a.T


@mistake(
    MODEL, "Your logits come from features before they were normalised: take the normalised ones there, too."
)
class LogitsOfUnnormalised(Mistaken):
    def forward(self, images=None, ids=None, lengths=None):
        output = super().forward(images, ids, lengths)
        if output.logits is None:
            return output
        return output._replace(logits=self.logits(self.see(images), self.read(ids, lengths)))


@mistake(
    MODEL,
    "Your logits are right but the features that you return are not normalised: return those of length 1.",
)
class ReturnsUnnormalised(Mistaken):
    def forward(self, images=None, ids=None, lengths=None):
        output = super().forward(images, ids, lengths)
        a = None if images is None else self.see(images)
        b = None if ids is None else self.read(ids, lengths)
        return CLIPOutput(a, b, output.logits)


@mistake(MODEL, "You returned probabilities: logits come before any softmax.")
class Softmaxed(Mistaken):
    def logits(self, a, b):
        return super().logits(a, b).softmax(-1)


@mistake(MODEL, "You add `logit_bias` before scaling; it is added to the scaled cosines.")
class BiasInsideTheScale(Mistaken):
    def logits(self, a, b):
        return self.scaled(self.biased(self.cosines(a, b)))


@mistake(MODEL, "You left out `logit_bias`: where there is one, it is added to the logits.")
class WithoutBias(Mistaken):
    def biased(self, logits):
        return logits


@mistake(MODEL, "You subtract `logit_bias`; it is added, and its start, -10, makes logits small.")
class BiasSubtracted(Mistaken):
    def biased(self, logits):
        return logits if self.logit_bias is None else logits - self.logit_bias


@mistake(MODEL, "You add exp(logit_bias); unlike the scale the bias is no logarithm, so add it as it is.")
class BiasExponentiated(Mistaken):
    def biased(self, logits):
        return logits if self.logit_bias is None else logits + self.logit_bias.exp()


@mistake(MODEL, "You return the text features first: CLIPOutput has the images first.")
class TextsFirst(Mistaken):
    def forward(self, images=None, ids=None, lengths=None):
        a, b, logits = super().forward(images, ids, lengths)
        return CLIPOutput(b, a, logits)


@mistake(MODEL, "You return a plain tuple: make a CLIPOutput of the three, whose parts have names.")
class PlainTuple(Mistaken):
    def forward(self, images=None, ids=None, lengths=None):
        return tuple(super().forward(images, ids, lengths))


@mistake(MODEL, "You return the logits alone: make a CLIPOutput of both kinds of features and the logits.")
class LogitsAlone(Mistaken):
    def forward(self, images=None, ids=None, lengths=None):
        return super().forward(images, ids, lengths).logits


@mistake(MODEL, "The scale never learns: .item(), .data or detach cut `logit_scale` off from the logits.")
class FixedScale(Mistaken):
    def scaled(self, cosines):
        return cosines * self.logit_scale.exp().item()


@mistake(
    MODEL, "The towers never learn: the logits come from features that detach, .data or no_grad cut off."
)
class DetachedFeatures(Mistaken):
    def logits(self, a, b):
        return super().logits(a.detach(), b.detach())


@mistake(MODEL, "Only the projections learn: the towers run under no_grad or their `pooled` is detached.")
class FrozenTowers(Mistaken):
    def pooled(self, output):
        return output.pooled.detach()


@mistake(
    MODEL, "Your lengths are taken for constants: the gradient must flow through the norm that you divide by."
)
class DetachedNorm(Mistaken):
    def unit(self, x):
        return x / x.detach().norm(dim=-1, keepdim=True)


@mistake(MODEL, "Nothing learns from your logits: leave out no_grad and detach.")
class WithoutGradient(Mistaken):
    @torch.no_grad()
    def forward(self, images=None, ids=None, lengths=None):
        return super().forward(images, ids, lengths)


# --- one step of training ----------------------------------------------------------------------------


@alternative(STEP)
def by_cross_entropy(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
    model.train()
    optimizer.zero_grad(set_to_none=False)
    logits_per_image = model(images=images, ids=ids, lengths=lengths).logits
    labels = torch.arange(logits_per_image.shape[0], device=images.device)
    loss = 0.5 * F.cross_entropy(logits_per_image, labels) + 0.5 * F.cross_entropy(
        logits_per_image.t(), labels
    )
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(max_scale))
    return float(loss)


@alternative(STEP)
def by_log_softmax(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
    for parameter in model.parameters():
        parameter.grad = None
    rows, columns = model.encode_image(images), model.encode_text(ids, lengths)
    logits = model.logit_scale.exp() * rows @ columns.T
    loss = -(logits.log_softmax(0).diagonal() + logits.log_softmax(1).diagonal()).sum() / (2 * len(logits))
    loss.backward()
    optimizer.step()
    scale = min(max(model.logit_scale.exp().item(), 1.0), max_scale)
    model.logit_scale.data = torch.full_like(model.logit_scale, scale).log()
    return loss.detach().cpu().item()


@alternative(STEP)
def by_closure(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
    def closure():
        model.zero_grad()
        logits = model(images, ids, lengths).logits
        pairs = range(len(logits))
        to_texts = [logits[i].logsumexp(0) - logits[i, i] for i in pairs]
        to_images = [logits[:, i].logsumexp(0) - logits[i, i] for i in pairs]
        loss = (sum(to_texts) + sum(to_images)) / (2 * len(pairs))
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    model.logit_scale.data.copy_(
        torch.clip(model.logit_scale.data, min=math.log(1.0), max=math.log(max_scale))
    )
    return loss.tolist()


@alternative(STEP)
def by_autograd_grad(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
    a, b, _ = model(images, ids, lengths)
    cosines = torch.einsum("ie,te->it", a, b)
    labels = torch.arange(len(a))
    losses = [
        F.nll_loss((x * model.logit_scale.exp()).log_softmax(-1), labels) for x in (cosines, cosines.mT)
    ]
    loss = torch.stack(losses).mean()
    learned = [p for group in optimizer.param_groups for p in group["params"]]
    for p, gradient in zip(learned, torch.autograd.grad(loss, learned), strict=True):
        p.grad = gradient
    optimizer.step()
    optimizer.zero_grad()
    torch.nn.init.constant_(model.logit_scale, model.logit_scale.clamp(0.0, math.log(max_scale)).item())
    return loss.item()


def pair_loss(model, images, ids, lengths, logits=lambda model, output: output.logits, rows=0.5, columns=0.5):
    x = logits(model, model(images, ids, lengths))
    pairs = torch.arange(len(x))
    return rows * F.cross_entropy(x, pairs) + columns * F.cross_entropy(x.mT, pairs)


def clamp(model, lowest, highest):
    model.logit_scale.data.clamp_(lowest, highest)


def stepper(
    *,
    backward=lambda loss: loss.backward(),
    start=lambda optimizer: optimizer.zero_grad(),
    middle=lambda model, optimizer, max_scale: None,
    bounds=lambda max_scale: (0.0, math.log(max_scale)),
    finish=lambda optimizer: None,
    returned=lambda loss, again: loss.item(),
    updates=1,
    use_lengths=True,
    **loss_options,
):
    """Right where no option is given; each mistake changes one."""

    def step(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
        lengths = lengths if use_lengths else None
        start(optimizer)
        loss = pair_loss(model, images, ids, lengths, **loss_options)
        backward(loss)
        middle(model, optimizer, max_scale)
        for _ in range(updates):
            optimizer.step()
        clamp(model, *bounds(max_scale))
        finish(optimizer)
        return returned(loss, lambda: pair_loss(model, images, ids, lengths, **loss_options))

    return step


def wrong(name, sentence, **options):
    """Register a mistake that differs from the right step by options."""
    step = stepper(**options)
    step.__name__ = name
    mistake(STEP, sentence)(step)


def nothing(*_):
    pass


wrong(
    "nothing_moves",
    "No parameter moves: backward() makes the gradients and step() uses them; nothing may clear them in between.",
    middle=lambda model, optimizer, max_scale: optimizer.zero_grad(),
)
wrong(
    "without_zero_grad",
    "You left out zero_grad: backward() adds to the gradients of all steps before.",
    start=nothing,
)
wrong(
    "zero_grad_at_the_end_only",
    "You clear the gradients only after the step: backward() adds to what lies there before, so clear first.",
    start=nothing,
    finish=lambda optimizer: optimizer.zero_grad(),
)
wrong(
    "uphill",
    "You go uphill: the optimiser subtracts the gradient by itself, so hand it the loss, not its negative.",
    backward=lambda loss: (-loss).backward(),
)
wrong("two_updates", "You call optimizer.step() twice with the same gradients: once a batch.", updates=2)
wrong(
    "images_only",
    "Your loss has one direction, each image picks its text; take the mean of that and of each text picking its image.",
    rows=1.0,
    columns=0.0,
)
wrong(
    "texts_only",
    "Your loss has one direction, each text picks its image; take the mean of that and of each image picking its text.",
    rows=0.0,
    columns=1.0,
)
wrong(
    "sum_of_both",
    "Your loss is the sum of both directions; it is their mean.",
    rows=1.0,
    columns=1.0,
)


@mistake(STEP, "Your loss is summed over the batch; it is the mean over its pairs.")
def summed_over_the_batch(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
    return stepper(rows=len(ids) / 2, columns=len(ids) / 2)(
        model, optimizer, images, ids, lengths, max_scale=max_scale
    )


def cosines(output):
    return output.image_features @ output.text_features.T


wrong(
    "logarithm_as_scale",
    "You hand logit_scale itself to the loss; it is a logarithm: the scale is its exp.",
    logits=lambda model, output: model.logit_scale * cosines(output),
)
wrong(
    "without_scale",
    "Your loss has no scale: multiply the cosines by exp(logit_scale), or the softmax stays nearly flat.",
    logits=lambda model, output: cosines(output),
)
wrong(
    "fixed_scale",
    "`logit_scale` never moves: .item(), .data or detach cut it off from the loss.",
    logits=lambda model, output: model.logit_scale.exp().item() * cosines(output),
)
wrong(
    "divided_by_scale",
    "You divide by exp(logit_scale): a temperature divides, but this is the scale, 1/temperature.",
    logits=lambda model, output: cosines(output) / model.logit_scale.exp(),
)
wrong(
    "scaled_twice",
    "You scale twice: the model's logits carry exp(logit_scale) already.",
    logits=lambda model, output: model.logit_scale.exp() * output.logits,
)
wrong(
    "lengths_not_handed_on",
    "Your code does not hand `lengths` on to the model, so that padding is read as text.",
    use_lengths=False,
)
wrong(
    "without_clamp",
    "You left out the clamp: after the update exp(logit_scale) has to lie between 1 and max_scale.",
    bounds=lambda max_scale: (-math.inf, math.inf),
)
wrong(
    "clamped_above_only",
    "Your clamp has no lower end: exp(logit_scale) is at least 1, so logit_scale at least 0.",
    bounds=lambda max_scale: (-math.inf, math.log(max_scale)),
)
wrong(
    "clamped_below_only",
    "You clamp logit_scale at max_scale; the bound is for its exp, so the logarithm goes up to ln(max_scale).",
    bounds=lambda max_scale: (0.0, max_scale),
)
wrong(
    "scale_clamped_as_logarithm",
    "You clamp logit_scale to [1, max_scale]; those are the bounds of its exp: the logarithm's are 0 and ln(max_scale).",
    bounds=lambda max_scale: (1.0, max_scale),
)
wrong(
    "clamped_from_1",
    "Your clamp starts at 1, which is the scale's bound; its logarithm, the parameter, starts at 0.",
    bounds=lambda max_scale: (1.0, math.log(max_scale)),
)
wrong(
    "clamped_from_minus_max",
    "You clamp to plus and minus ln(max_scale); the scale is at least 1, so its logarithm at least 0.",
    bounds=lambda max_scale: (-math.log(max_scale), math.log(max_scale)),
)
wrong(
    "always_100",
    "You clamp at ln(100) whatever `max_scale` says.",
    bounds=lambda max_scale: (0.0, math.log(100.0)),
)
wrong(
    "clamped_before_the_update",
    "You clamp between backward() and step(), and the step may leave the bounds again: clamp after it.",
    middle=lambda model, optimizer, max_scale: clamp(model, 0.0, math.log(max_scale)),
    bounds=lambda max_scale: (-math.inf, math.inf),
)


@mistake(STEP, "You clamp before the forward pass, and the step may leave the bounds again: clamp after it.")
def clamped_first(model, optimizer, images, ids, lengths=None, *, max_scale=100.0):
    clamp(model, 0.0, math.log(max_scale))
    step = stepper(bounds=lambda max_scale: (-math.inf, math.inf))
    return step(model, optimizer, images, ids, lengths, max_scale=max_scale)


wrong(
    "loss_after_the_update",
    "You return the loss after the update; return that of the forward pass that made the gradients.",
    returned=lambda loss, again: again().item(),
)
wrong(
    "nothing_returned",
    "You return nothing: the batch's loss is asked for, as a plain number.",
    returned=lambda loss, again: None,
)
wrong(
    "returns_a_tensor",
    "You return the loss as a tensor, which keeps the graph of the whole step alive: hand back a plain number, by .item().",
    returned=lambda loss, again: loss,
)
