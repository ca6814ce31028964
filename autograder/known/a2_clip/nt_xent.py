"""Known answers: NT-Xent."""

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

NT_XENT = "nt_xent"


def rolled(batch):
    return torch.arange(2 * batch).roll(batch)


def itself(logits):
    return torch.eye(len(logits), dtype=torch.bool)


def loss_of(views_a, views_b, temperature, *, fill=-torch.inf, partner=None, reduction="mean"):
    """Right where no option is given; each mistake changes one."""
    views = torch.cat([views_a, views_b])
    logits = views @ views.T / temperature
    if fill is not None:
        logits = logits.masked_fill(itself(logits), fill)
    partner = rolled(len(views_a)) if partner is None else partner
    return F.cross_entropy(logits, partner, reduction=reduction)


@alternative(NT_XENT)
def anchor_by_anchor(views_a, views_b, temperature):
    views, batch, losses = torch.cat([views_a, views_b]), len(views_a), []
    for i in range(2 * batch):
        others = [k for k in range(2 * batch) if k != i]
        logits = torch.stack([views[i] @ views[k] / temperature for k in others])
        losses.append(-logits.log_softmax(0)[others.index((i + batch) % (2 * batch))])
    return sum(losses) / len(losses)


@alternative(NT_XENT)
def four_blocks(views_a, views_b, temperature):
    """As in the authors' own code: a large number is subtracted from the similarity with oneself."""
    same = 1e9 * torch.eye(len(views_a))
    aa, bb = views_a @ views_a.T / temperature - same, views_b @ views_b.T / temperature - same
    ab = views_a @ views_b.T / temperature
    labels = torch.arange(len(views_a))
    of_a = F.cross_entropy(torch.cat([ab, aa], 1), labels)
    of_b = F.cross_entropy(torch.cat([ab.T, bb], 1), labels)
    return (of_a + of_b) / 2


@alternative(NT_XENT)
def positives_first(views_a, views_b, temperature):
    """As in a well-known implementation in PyTorch: the diagonal is cut out, the positive put first."""
    batch = len(views_a)
    views = F.normalize(torch.cat([views_a, views_b]), dim=1)
    similarity = torch.matmul(views, views.T)
    labels = torch.cat([torch.arange(batch)] * 2)
    same = labels[:, None] == labels[None]
    mask = torch.eye(2 * batch, dtype=torch.bool)
    same, similarity = same[~mask].view(2 * batch, -1), similarity[~mask].view(2 * batch, -1)
    positives, negatives = similarity[same].view(2 * batch, -1), similarity[~same].view(2 * batch, -1)
    logits = torch.cat([positives, negatives], dim=1) / temperature
    return torch.nn.CrossEntropyLoss()(logits, torch.zeros(2 * batch, dtype=torch.long))


@alternative(NT_XENT)
def by_logsumexp(views_a, views_b, temperature):
    views = torch.stack([views_a, views_b], 1).reshape(-1, views_a.shape[1]).double()
    logits = torch.einsum("id,jd->ij", views, views).div(temperature)
    logits = logits + torch.diag(torch.full((len(views),), -torch.inf))
    positive = (views_a * views_b).sum(1).repeat_interleave(2) / temperature
    return (torch.logsumexp(logits, 1) - positive).mean().float()


@mistake(
    NT_XENT,
    "Each anchor still is a candidate of its own, and is most similar to itself: put -inf on the diagonal.",
)
def itself_a_candidate(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, fill=None)


@mistake(NT_XENT, "You set an anchor's similarity to itself to 0, and exp(0) is 1, not 0: use -inf.")
def masked_with_zero(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, fill=0.0)


@mistake(
    NT_XENT,
    "The number on your diagonal is not low enough: at a small temperature other logits lie below it. Use -inf.",
)
def masked_with_minus_100(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, fill=-100.0)


@mistake(NT_XENT, "Only the views in `views_a` are anchors in your code: those in `views_b` are, too.")
def anchors_of_a_only(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, reduction="none")[: len(views_a)].mean()


@mistake(NT_XENT, "Only the views in `views_b` are anchors in your code: those in `views_a` are, too.")
def anchors_of_b_only(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, reduction="none")[len(views_a) :].mean()


@mistake(
    NT_XENT,
    "The partner is missing among the candidates: only the anchor itself is left out of the denominator.",
)
def partner_no_candidate(views_a, views_b, temperature):
    views, partner = torch.cat([views_a, views_b]), rolled(len(views_a))
    logits = views @ views.T / temperature
    positive = logits.gather(1, partner[:, None])[:, 0]
    wrong = logits.masked_fill(itself(logits) | itself(logits)[partner], -torch.inf)
    return (wrong.logsumexp(1) - positive).mean()


@mistake(NT_XENT, "The partner is among the candidates twice: take it out of the others, or count it there.")
def partner_twice(views_a, views_b, temperature):
    views, partner = torch.cat([views_a, views_b]), rolled(len(views_a))
    logits = (views @ views.T / temperature).masked_fill(itself(partner), -torch.inf)
    logits = torch.cat([logits.gather(1, partner[:, None]), logits], 1)
    return F.cross_entropy(logits, torch.zeros_like(partner))


@mistake(
    NT_XENT,
    "Your candidates are the other kind's views only, as in CLIP's loss: other images' views of the same kind "
    "are candidates, too.",
)
def across_views_only(views_a, views_b, temperature):
    logits, labels = views_a @ views_b.T / temperature, torch.arange(len(views_a))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


@mistake(
    NT_XENT,
    "Yours is InfoNCE in one direction: each of the 2B views is an anchor, and all other views are its candidates.",
)
def across_views_one_way(views_a, views_b, temperature):
    return F.cross_entropy(views_a @ views_b.T / temperature, torch.arange(len(views_a)))


@mistake(
    NT_XENT,
    "Wrong candidates are of the anchor's own kind only in your code: the other kind's views are candidates, too.",
)
def within_views_only(views_a, views_b, temperature):
    losses = []
    for anchors in (views_a, views_b):
        logits = anchors @ anchors.T / temperature
        positive = (views_a * views_b).sum(1) / temperature
        logits = torch.where(itself(logits), positive[:, None], logits)
        losses.append(F.cross_entropy(logits, torch.arange(len(logits))))
    return sum(losses) / 2


@mistake(NT_XENT, "You multiply by the temperature: similarities are divided by it.")
def multiplied(views_a, views_b, temperature):
    return loss_of(views_a, views_b, 1 / temperature)


@mistake(NT_XENT, "You left out the temperature.")
def without_temperature(views_a, views_b, temperature):
    return loss_of(views_a, views_b, 1)


@mistake(
    NT_XENT, "You took the exponential of the temperature: it is what similarities are divided by, as it is."
)
def temperature_exponentiated(views_a, views_b, temperature):
    return loss_of(views_a, views_b, torch.tensor(temperature).exp())


@mistake(
    NT_XENT, "The temperature is missing in the numerator: the partner's similarity is divided by it, too."
)
def partner_without_temperature(views_a, views_b, temperature):
    positive = (views_a * views_b).sum(1)
    return loss_of(views_a, views_b, temperature) + (positive / temperature - positive).mean()


@mistake(NT_XENT, "Your loss is a sum over the anchors: divide it by 2B.")
def summed(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, reduction="sum")


@mistake(NT_XENT, "You divide by B: there are 2B anchors.")
def divided_by_batch(views_a, views_b, temperature):
    return 2 * loss_of(views_a, views_b, temperature)


@mistake(NT_XENT, "The minus sign in front is missing: a log-probability is negative, the loss is not.")
def negative_loss(views_a, views_b, temperature):
    return -loss_of(views_a, views_b, temperature)


@mistake(
    NT_XENT,
    "You returned a loss for each anchor: their mean is asked for, one number.",
)
def of_each_anchor(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, reduction="none")


@mistake(
    NT_XENT,
    "You take neighbours (0 and 1, 2 and 3, ...) for partners, but stacked one behind the other the partner of "
    "view i is i + B.",
)
def neighbours_as_partners(views_a, views_b, temperature):
    return loss_of(
        views_a, views_b, temperature, partner=torch.arange(2 * len(views_a)).view(-1, 2).flip(1).flatten()
    )


@mistake(
    NT_XENT, "Your labels are 0, 1, ..., which makes each anchor its own partner: that is the other view."
)
def itself_as_partner(views_a, views_b, temperature):
    return loss_of(views_a, views_b, temperature, fill=None, partner=torch.arange(2 * len(views_a)))


@mistake(
    NT_XENT, "Your labels are 0 to B - 1 twice: the partner of an anchor in `views_a` stands B further on."
)
def labels_twice(views_a, views_b, temperature):
    labels = torch.arange(len(views_a)).repeat(2)
    return loss_of(views_a, views_b, temperature, fill=-1e9, partner=labels)


@mistake(
    NT_XENT,
    "exp overflows at small temperatures: use F.cross_entropy, log_softmax or logsumexp, which subtract the "
    "largest logit first.",
)
def overflows(views_a, views_b, temperature):
    views = torch.cat([views_a, views_b])
    powers = (views @ views.T / temperature).exp()
    positive = powers.gather(1, rolled(len(views_a))[:, None])[:, 0]
    others = powers.masked_fill(itself(powers), 0.0).sum(1)
    return -(positive / others).log().mean()


@mistake(NT_XENT, "No gradient reaches the views: compute with the tensors as they come, without detach, "
         "no_grad, item() or NumPy.")  # fmt: skip
def detached(views_a, views_b, temperature):
    return loss_of(views_a.detach(), views_b.detach(), temperature)


@mistake(
    NT_XENT,
    "Only anchors get a gradient: the candidates are views of the same encoder, so do not detach them.",
)
def candidates_detached(views_a, views_b, temperature):
    views = torch.cat([views_a, views_b])
    logits = (views @ views.detach().T / temperature).masked_fill(itself(views), -torch.inf)
    return F.cross_entropy(logits, rolled(len(views_a)))
