"""Known answers: InfoNCE in torch, and the temperature's clamp."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from autograder.known import alternative, mistake

INFO_NCE, CLAMP = "info_nce", "clamp_logit_scale"


def one_way(logits, dim=1):
    return -logits.log_softmax(dim).diagonal().mean()


def of(logits, direction):
    """The right loss of these logits."""
    return combine(one_way(logits), one_way(logits.T), direction)


def combine(images, texts, direction):
    return {"image": images, "text": texts, "both": (images + texts) / 2}[direction]


# --- InfoNCE -------------------------------------------------------------------------------------------


@alternative(INFO_NCE)
def one_hot_targets(image_features, text_features, scale, direction="both"):
    similarity = torch.matmul(image_features, text_features.transpose(0, 1)).mul(scale)
    labels = torch.eye(similarity.shape[0], device=similarity.device, dtype=similarity.dtype)
    losses = []
    if direction in ("image", "both"):
        losses.append(-(labels * F.log_softmax(similarity, dim=-1)).sum(dim=-1).mean())
    if direction in ("text", "both"):
        losses.append(-(labels * F.log_softmax(similarity, dim=-2)).sum(dim=-2).mean())
    return sum(losses) / len(losses)


@alternative(INFO_NCE)
def by_logsumexp(image_features, text_features, scale, direction="both"):
    scores = torch.einsum("bd,cd->bc", scale * image_features, text_features)
    over_texts = scores.logsumexp(1).mean()
    over_images = scores.logsumexp(0).mean()
    weight = {"image": 1.0, "text": 0.0, "both": 0.5}[direction]
    return weight * over_texts + (1 - weight) * over_images - scores.trace() / len(scores)


@alternative(INFO_NCE)
def cross_entropy_module(image_features, text_features, scale, direction="both"):
    criterion = nn.CrossEntropyLoss()
    labels = torch.arange(image_features.size(0), device=image_features.device)
    logits_per_image = image_features @ text_features.t() * scale
    logits_per_text = text_features @ image_features.t() * scale
    if direction == "image":
        return criterion(logits_per_image, labels)
    if direction == "text":
        return criterion(logits_per_text, labels)
    return 0.5 * (criterion(logits_per_image, labels) + criterion(logits_per_text, labels))


@alternative(INFO_NCE)
def pair_by_pair(image_features, text_features, scale, direction="both"):
    def choose(queries, keys):
        loss = torch.zeros(1)
        for i in range(len(queries)):
            row = torch.stack([scale * (queries[i] * key).sum() for key in keys])
            shifted = row - row.max().detach()
            loss = loss + shifted.exp().sum().log() - shifted[i]
        return loss / len(queries)

    if direction == "both":
        return (choose(image_features, text_features) + choose(text_features, image_features)) / 2
    if direction == "text":
        image_features, text_features = text_features, image_features
    return choose(image_features, text_features)


@alternative(INFO_NCE)
def both_in_one_call(image_features, text_features, scale, direction="both"):
    """The rows of the matrix and of its transpose stacked."""
    logits = scale * (image_features @ text_features.mT)
    n = logits.shape[0]
    stacked = torch.cat([logits, logits.mT])
    each = F.nll_loss(stacked.log_softmax(-1), torch.arange(n).repeat(2), reduction="none").view(2, n)
    chosen = {"image": each[:1], "text": each[1:], "both": each}[direction]
    return chosen.mean()


@alternative(INFO_NCE)
def one_hot_probabilities(image_features, text_features, scale, direction="both"):
    sim = scale * image_features.mm(text_features.T)
    target = F.one_hot(torch.arange(len(sim)), len(sim)).float()
    i2t = F.cross_entropy(sim, target)
    t2i = F.cross_entropy(sim.T.contiguous(), target)
    return torch.stack({"image": [i2t], "text": [t2i]}.get(direction, [i2t, t2i])).mean()


@mistake(INFO_NCE, "You summed over the batch: each direction is a mean, so divide by B.")
def summed(image_features, text_features, scale, direction="both"):
    return len(image_features) * of(scale * image_features @ text_features.T, direction)


@mistake(INFO_NCE, "You divided by B * B: each direction is a mean over B choices.")
def divided_by_b_squared(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T, direction) / len(image_features)


@mistake(INFO_NCE, 'You added the two directions: "both" is their mean, so divide by 2.')
def sum_of_both(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return of(logits, direction) * (2 if direction == "both" else 1)


@mistake(INFO_NCE, 'You halved the loss in every direction: only "both" is a mean of two.')
def always_halved(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return of(logits, direction) / (1 if direction == "both" else 2)


@mistake(INFO_NCE, "Yours is always the images' direction: each text should pick its image, too.")
def images_only(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T, "image")


@mistake(INFO_NCE, "Yours is always the texts' direction: each image should pick its text, too.")
def texts_only(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T, "text")


@mistake(INFO_NCE, "Yours is always the mean of both directions: use the argument `direction`.")
def always_both(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T, "both")


@mistake(
    INFO_NCE,
    "The directions are in each other's place: \"image\" is each image's choice among the texts, a softmax "
    "over each row.",
)
def directions_swapped(image_features, text_features, scale, direction="both"):
    return of(scale * text_features @ image_features.T, direction)


@mistake(INFO_NCE, "You gave \"both\" the images' direction twice: transpose the logits for the texts'.")
def transpose_forgotten(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T, {"both": "image"}.get(direction, direction))


@mistake(
    INFO_NCE,
    "You averaged the logits of both directions: average the two losses.",
)
def logits_averaged(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return one_way((logits + logits.T) / 2) if direction == "both" else of(logits, direction)


@mistake(INFO_NCE, "The minus is missing: a logarithm of a probability is below 0, and the loss is above.")
def minus_missing(image_features, text_features, scale, direction="both"):
    return -of(scale * image_features @ text_features.T, direction)


@mistake(INFO_NCE, "You left out `scale`: it multiplies every similarity before the softmax.")
def scale_left_out(image_features, text_features, scale, direction="both"):
    return of(image_features @ text_features.T, direction)


@mistake(INFO_NCE, "You divided by `scale`: it is the multiplier, 1 / temperature, not the temperature.")
def divided_by_scale(image_features, text_features, scale, direction="both"):
    return of(image_features @ text_features.T / scale, direction)


@mistake(
    INFO_NCE,
    "You took exp(scale): `scale` is the multiplier already; the caller has taken exp(logit_scale).",
)
def scale_exponentiated(image_features, text_features, scale, direction="both"):
    return of(torch.as_tensor(scale).exp() * image_features @ text_features.T, direction)


@mistake(INFO_NCE, "You took the logarithm of `scale`: the multiplier itself goes into the logits.")
def log_of_scale(image_features, text_features, scale, direction="both"):
    return of(torch.as_tensor(scale).log() * image_features @ text_features.T, direction)


@mistake(INFO_NCE, "You multiplied the loss by `scale`: it belongs into the logits, before the softmax.")
def scale_outside(image_features, text_features, scale, direction="both"):
    return scale * of(image_features @ text_features.T, direction)


@mistake(INFO_NCE, "You scaled both sides' features: each logit then has scale ** 2; scale once.")
def scaled_twice(image_features, text_features, scale, direction="both"):
    return of((scale * image_features) @ (scale * text_features).T, direction)


@mistake(INFO_NCE, "You divided by sqrt(dim), as in attention: here `scale` is the only factor.")
def divided_by_root_of_dim(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T / math.sqrt(image_features.shape[1]), direction)


@mistake(INFO_NCE, "You normalised the features: take them as they come, the caller normalises them.")
def normalised_again(image_features, text_features, scale, direction="both"):
    return of(scale * F.normalize(image_features) @ F.normalize(text_features).T, direction)


@mistake(INFO_NCE, "You normalised along the batch (dim=0), and need not normalise at all: the caller does.")
def normalised_along_the_batch(image_features, text_features, scale, direction="both"):
    return of(scale * F.normalize(image_features, dim=0) @ F.normalize(text_features, dim=0).T, direction)


@mistake(
    INFO_NCE,
    "The right partner is missing from your denominator: the softmax is over all candidates, it included.",
)
def partner_not_in_the_denominator(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    wrong = logits.masked_fill(torch.eye(len(logits)).bool(), -torch.inf)
    own = logits.diagonal()
    return combine((wrong.logsumexp(1) - own).mean(), (wrong.logsumexp(0) - own).mean(), direction)


@mistake(INFO_NCE, "The target is off by one: image i's partner is text i, so targets are 0 ... B - 1.")
def shifted_partner(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    partner = torch.arange(len(logits)).roll(-1)
    return combine(F.cross_entropy(logits, partner), F.cross_entropy(logits.T, partner), direction)


@mistake(INFO_NCE, "Your targets are all 0: image i's partner is text i, so targets are 0 ... B - 1.")
def all_targets_zero(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    partner = torch.zeros(len(logits), dtype=torch.long)
    return combine(F.cross_entropy(logits, partner), F.cross_entropy(logits.T, partner), direction)


@mistake(INFO_NCE, "You took the softmax twice: F.cross_entropy takes logits and does it by itself.")
def softmax_twice(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return combine(one_way(logits.softmax(1)), one_way(logits.T.softmax(1)), direction)


@mistake(INFO_NCE, "You averaged -log p over all pairs: only the right partner, on the diagonal, counts.")
def all_pairs(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return combine(-logits.log_softmax(1).mean(), -logits.log_softmax(0).mean(), direction)


@mistake(INFO_NCE, "You averaged the probabilities themselves: take the logarithm of each first.")
def logarithm_left_out(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return combine(-logits.softmax(1).diagonal().mean(), -logits.softmax(0).diagonal().mean(), direction)


@mistake(INFO_NCE, "Yours is one softmax over the whole matrix: each row (or column) has its own.")
def one_softmax_for_all(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return logits.flatten().logsumexp(0) - logits.diagonal().mean()


@mistake(
    INFO_NCE,
    "You asked of each pair by itself whether it belongs together (that is SigLIP's sigmoid): here one "
    "candidate is chosen among all (a softmax).",
)
def sigmoid_of_each_pair(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)).to(logits))


@mistake(
    INFO_NCE,
    "You put features of the same side among the candidates: an image chooses among the texts only.",
)
def same_side_among_candidates(image_features, text_features, scale, direction="both"):
    def choose(queries, keys):
        logits = scale * queries @ keys.T
        same = (scale * queries @ queries.T).masked_fill(torch.eye(len(queries)).bool(), -torch.inf)
        return F.cross_entropy(torch.cat([logits, same], dim=1), torch.arange(len(queries)))

    images, texts = choose(image_features, text_features), choose(text_features, image_features)
    return combine(images, texts, direction)


@mistake(INFO_NCE, "You compared images with images and texts with texts: compare images with texts.")
def each_side_with_itself(image_features, text_features, scale, direction="both"):
    images = one_way(scale * image_features @ image_features.T)
    return combine(images, one_way(scale * text_features @ text_features.T), direction)


@mistake(INFO_NCE, "You returned one loss for each pair: return their mean, a scalar.")
def not_averaged(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    return -combine(logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal(), direction)


@mistake(
    INFO_NCE,
    "exp overflows for large logits, and inf / inf is NaN: F.cross_entropy and log_softmax subtract the "
    "largest logit first.",
)
def overflows(image_features, text_features, scale, direction="both"):
    exp = (scale * image_features @ text_features.T).exp()
    of_images = -(exp.diagonal() / exp.sum(1)).log().mean()
    return combine(of_images, -(exp.diagonal() / exp.sum(0)).log().mean(), direction)


@mistake(
    INFO_NCE,
    "The sum of exponentials overflows, so that its logarithm is infinite: torch.logsumexp subtracts the "
    "largest logit first.",
)
def log_of_an_overflow(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    own = logits.diagonal()
    return combine(
        (logits.exp().sum(1).log() - own).mean(), (logits.exp().sum(0).log() - own).mean(), direction
    )


@mistake(
    INFO_NCE,
    "A probability can be so small that it is 0 in floating point, and its logarithm infinite: use "
    "log_softmax in place of the log of a softmax.",
)
def log_of_zero(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    of_images = -logits.softmax(1).diagonal().log().mean()
    return combine(of_images, -logits.softmax(0).diagonal().log().mean(), direction)


@mistake(
    INFO_NCE,
    "What you add before the logarithm (1e-8) caps the loss, and its gradient vanishes where it is needed "
    "most: use log_softmax, which needs no such guard.",
)
def capped(image_features, text_features, scale, direction="both"):
    logits = scale * image_features @ text_features.T
    of_images = -(logits.softmax(1).diagonal() + 1e-8).log().mean()
    return combine(of_images, -(logits.softmax(0).diagonal() + 1e-8).log().mean(), direction)


@mistake(
    INFO_NCE,
    "Your loss is cut off from its inputs (.item(), .detach() or no_grad): return the tensor itself, so that "
    "it has a gradient.",
)
def cut_off(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.T, direction).item()


@mistake(
    INFO_NCE,
    "No gradient reaches `scale` (float(...), .item() or .detach()): CLIP learns its temperature, so use the "
    "tensor as it comes.",
)
def scale_is_constant(image_features, text_features, scale, direction="both"):
    return of(float(scale) * image_features @ text_features.T, direction)


@mistake(INFO_NCE, "No gradient reaches the texts: both sides are learned.")
def texts_are_constant(image_features, text_features, scale, direction="both"):
    return of(scale * image_features @ text_features.detach().T, direction)


@mistake(
    INFO_NCE,
    "The candidates get no gradient (.detach()): they are pushed and pulled as well as the one that chooses.",
)
def candidates_are_constant(image_features, text_features, scale, direction="both"):
    images = one_way(scale * image_features @ text_features.detach().T)
    texts = one_way(scale * text_features @ image_features.detach().T)
    return combine(images, texts, direction)


# --- the clamp -----------------------------------------------------------------------------------------


@alternative(CLAMP)
def through_data(logit_scale, max_scale=100.0):
    logit_scale.data.clamp_(min=0.0, max=math.log(max_scale))


@alternative(CLAMP)
def data_rebound(logit_scale, max_scale=100.0):
    logit_scale.data = torch.clamp(logit_scale.data, 0.0, float(torch.tensor(max_scale).log()))
    return logit_scale


@alternative(CLAMP)
@torch.no_grad()
def copied_back(logit_scale, max_scale=100.0):
    multiplier = logit_scale.exp().clamp(1, max_scale)
    logit_scale.copy_(multiplier.log())


@alternative(CLAMP)
def with_ifs(logit_scale, max_scale=100.0):
    upper = math.log(max_scale)
    if logit_scale.item() > upper:
        logit_scale.data.fill_(upper)
    elif logit_scale.item() < 0:
        logit_scale.data.zero_()


@alternative(CLAMP)
def detached_view(logit_scale, max_scale=100.0):
    view = logit_scale.detach()
    torch.clamp(view, 0, math.log(max_scale), out=view)


def put(logit_scale, low, high):
    """Clamp the parameter between these."""
    with torch.no_grad():
        logit_scale.clamp_(low, high)


@mistake(
    CLAMP,
    "The parameter is as it was: torch.clamp returns a copy, and `logit_scale = ...` gives a name to it. "
    "Change the parameter itself, with clamp_ under torch.no_grad().",
)
def copy_only(logit_scale, max_scale=100.0):
    return torch.clamp(logit_scale, 0, math.log(max_scale))


@mistake(
    CLAMP,
    "You clamped the parameter to [1, max_scale]: it is the multiplier's logarithm, so its bounds are "
    "log(1) = 0 and log(max_scale).",
)
def bounds_of_the_multiplier(logit_scale, max_scale=100.0):
    put(logit_scale, 1, max_scale)


@mistake(CLAMP, "The upper bound should be log(max_scale): the parameter is the multiplier's logarithm.")
def upper_bound_not_a_logarithm(logit_scale, max_scale=100.0):
    put(logit_scale, 0, max_scale)


@mistake(CLAMP, "The lower bound should be log(1) = 0: with 1 the multiplier can't go below e = 2.718.")
def lower_bound_not_a_logarithm(logit_scale, max_scale=100.0):
    put(logit_scale, 1, math.log(max_scale))


@mistake(CLAMP, "There is no lower bound: the multiplier should not go below 1, the parameter not below 0.")
def no_lower_bound(logit_scale, max_scale=100.0):
    put(logit_scale, None, math.log(max_scale))


@mistake(CLAMP, "There is no upper bound: the parameter should not go above log(max_scale).")
def no_upper_bound(logit_scale, max_scale=100.0):
    put(logit_scale, 0, None)


@mistake(CLAMP, "Your upper bound is always log(100): use the argument `max_scale`.")
def max_scale_unused(logit_scale, max_scale=100.0):
    put(logit_scale, 0, math.log(100))


@mistake(CLAMP, "You took a logarithm to base 10: the multiplier is exp(logit_scale), so use math.log.")
def base_10(logit_scale, max_scale=100.0):
    put(logit_scale, 0, math.log10(max_scale))


@mistake(CLAMP, "You took a logarithm to base 2: the multiplier is exp(logit_scale), so use math.log.")
def base_2(logit_scale, max_scale=100.0):
    put(logit_scale, 0, math.log2(max_scale))


@mistake(CLAMP, "Your lower bound is -log(max_scale): it should be log(1) = 0.")
def symmetric(logit_scale, max_scale=100.0):
    put(logit_scale, -math.log(max_scale), math.log(max_scale))


@mistake(
    CLAMP,
    "You took the parameter for the temperature's logarithm: it is that of the multiplier, 1 / temperature.",
)
def as_temperature(logit_scale, max_scale=100.0):
    put(logit_scale, -math.log(max_scale), 0)


@mistake(
    CLAMP,
    "You stored the multiplier itself in the parameter: clamp it, and take the logarithm again.",
)
def multiplier_stored(logit_scale, max_scale=100.0):
    with torch.no_grad():
        logit_scale.copy_(logit_scale.exp().clamp(1, max_scale))


@mistake(CLAMP, "You set the parameter to its upper bound, wherever it is: within the bounds it stays.")
def always_the_bound(logit_scale, max_scale=100.0):
    put(logit_scale, math.log(max_scale), math.log(max_scale))


@mistake(CLAMP, "The bounds are in each other's place: the lower one comes first.")
def bounds_swapped(logit_scale, max_scale=100.0):
    put(logit_scale, math.log(max_scale), 0)


@mistake(
    CLAMP,
    "You put it back to where training starts, log(1 / 0.07): beyond a bound it should get that bound.",
)
def back_to_the_start(logit_scale, max_scale=100.0):
    if not 0 <= logit_scale.item() <= math.log(max_scale):
        logit_scale.data.fill_(math.log(1 / 0.07))


@mistake(
    CLAMP,
    "You rescaled the parameter into the bounds (sigmoid, tanh or the like): within them it keeps its value.",
)
def squashed(logit_scale, max_scale=100.0):
    with torch.no_grad():
        logit_scale.copy_(math.log(max_scale) * logit_scale.sigmoid())


@mistake(CLAMP, "You clamped the parameter's `.grad` as well: it is its value that has bounds.")
def gradient_clamped(logit_scale, max_scale=100.0):
    put(logit_scale, 0, math.log(max_scale))
    logit_scale.grad.clamp_(0, math.log(max_scale))


@mistake(
    CLAMP,
    "The parameter does not require a gradient any more, so it would never be learned again: leave "
    "requires_grad alone, and use torch.no_grad().",
)
def frozen(logit_scale, max_scale=100.0):
    logit_scale.requires_grad_(False).clamp_(0, math.log(max_scale))


@mistake(CLAMP, "You deleted the parameter's `.grad`: change its value only; zero_grad() is for gradients.")
def gradient_deleted(logit_scale, max_scale=100.0):
    put(logit_scale, 0, math.log(max_scale))
    logit_scale.grad = None


@mistake(CLAMP, "You set the parameter's `.grad` to zero: change its value only.")
def gradient_zeroed(logit_scale, max_scale=100.0):
    put(logit_scale, 0, math.log(max_scale))
    logit_scale.grad.zero_()
