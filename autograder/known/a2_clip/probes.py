"""Known answers: the linear probe and nearest neighbours."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autograder.known import alternative, mistake

PROBE, KNN = "linear_probe", "knn_classify"

# --- linear_probe --------------------------------------------------------------------------------------


def cross_entropy(weight, bias, x, y):
    return F.cross_entropy(x @ weight.T + bias, y)


def half_square(weight):
    return weight.square().sum() / 2


def solve(features, labels, num_classes, loss, steps=200):
    """(weight, bias) where `loss(weight, bias, x, y)` is least.

    A loss without a minimum gets few `steps`: after many, each machine ends somewhere else.
    """
    x = features.double()
    weight = x.new_zeros(num_classes, x.shape[1]).requires_grad_()
    bias = x.new_zeros(num_classes).requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, tolerance_grad=1e-9, tolerance_change=1e-13,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        optimizer.zero_grad()
        value = loss(weight, bias, x, labels)
        value.backward()
        return value

    optimizer.step(closure)
    return weight.detach().to(features.dtype), bias.detach().to(features.dtype)


def right(features, labels, num_classes, l2):
    return solve(
        features, labels, num_classes, lambda w, b, x, y: cross_entropy(w, b, x, y) + l2 * half_square(w)
    )


@alternative(PROBE)
def by_newton(features, labels, num_classes, l2):
    """Newton's steps; a pseudo-inverse, as what all biases have in common is free."""
    x = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    penalty = torch.ones(num_classes, x.shape[1], dtype=torch.double)
    penalty[:, -1] = 0

    def objective(flat):
        w = flat.view(num_classes, -1)
        return F.cross_entropy(x @ w.T, labels) + l2 / 2 * (penalty * w**2).sum()

    flat = torch.zeros(penalty.numel(), dtype=torch.double)
    for _ in range(12):
        slope = torch.func.grad(objective)(flat)
        flat = flat - torch.linalg.pinv(torch.func.hessian(objective)(flat), hermitian=True) @ slope
    return flat.view(num_classes, -1)[:, :-1].float(), flat.view(num_classes, -1)[:, -1].float()


@alternative(PROBE)
def by_sgd_with_momentum(features, labels, num_classes, l2):
    """An optimiser's weight_decay is l2 / 2 ||w||^2, where it is left off the bias."""
    head = nn.Linear(features.shape[1], num_classes)
    groups = [
        {"params": [head.weight], "weight_decay": l2},
        {"params": [head.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.2, momentum=0.9)
    for _ in range(800):
        optimizer.zero_grad()
        F.cross_entropy(head(features), labels).backward()
        optimizer.step()
    return head.weight, head.bias


@alternative(PROBE)
def by_lbfgs_in_float32(features, labels, num_classes, l2):
    weight = torch.randn(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(F.linear(features, weight, bias), labels) + 0.5 * l2 * (weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.data, bias.data


@alternative(PROBE)
def by_adam(features, labels, num_classes, l2):
    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        log_p = (features @ weight.T + bias).log_softmax(dim=-1)
        loss = -log_p[torch.arange(len(labels)), labels].mean() + l2 / 2 * weight.norm() ** 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()


@alternative(PROBE)
def by_gradient_descent_in_numpy(features, labels, num_classes, l2):
    x, targets = features.double().numpy(), np.eye(num_classes)[labels.numpy()]
    weight, bias = np.zeros((num_classes, x.shape[1])), np.zeros(num_classes)
    for _ in range(3000):
        logits = x @ weight.T + bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        gap = (p / p.sum(axis=1, keepdims=True) - targets) / len(x)
        weight -= 0.5 * (gap.T @ x + l2 * weight)
        bias -= 0.5 * gap.sum(axis=0)
    return torch.from_numpy(weight), torch.from_numpy(bias + 7)  # the same for all biases: no difference


@mistake(
    PROBE,
    "Your penalty is too weak by the number of images: take the mean of the cross-entropies, not their sum, and do not "
    "divide the penalty by anything but 2 (scikit-learn sums: its C is 1 / (images * l2)).",
)
def summed(features, labels, num_classes, l2):
    return solve(
        features,
        labels,
        num_classes,
        lambda w, b, x, y: F.cross_entropy(x @ w.T + b, y, reduction="sum") + l2 * half_square(w),
    )


@mistake(
    PROBE, "You penalised l2 * ||weight||^2: the objective has l2 / 2, so that the gradient is l2 * weight."
)
def without_the_half(features, labels, num_classes, l2):
    return right(features, labels, num_classes, 2 * l2)


@mistake(PROBE, "Your penalty is l2 / 4 * ||weight||^2: is the half in twice?")
def half_twice(features, labels, num_classes, l2):
    return right(features, labels, num_classes, l2 / 2)


@mistake(
    PROBE,
    "You penalised the bias, too (an optimiser's weight_decay does, unless told): penalise the weight alone.",
)
def bias_penalised(features, labels, num_classes, l2):
    return solve(
        features,
        labels,
        num_classes,
        lambda w, b, x, y: cross_entropy(w, b, x, y) + l2 * (half_square(w) + half_square(b)),
    )


@mistake(PROBE, "You penalised the bias, too, and left out the half: add l2 / 2 * ||weight||^2 alone.")
def bias_penalised_without_the_half(features, labels, num_classes, l2):
    return bias_penalised(features, labels, num_classes, 2 * l2)


@mistake(PROBE, "You left out the penalty: add l2 / 2 * ||weight||^2 to the mean cross-entropy.")
def no_penalty(features, labels, num_classes, l2):
    return solve(features, labels, num_classes, cross_entropy, steps=12)


@mistake(PROBE, "You penalised ||weight||, without the square.")
def norm_not_squared(features, labels, num_classes, l2):
    def loss(w, b, x, y):
        return cross_entropy(w, b, x, y) + l2 / 2 * (w.square().sum() + 1e-24).sqrt()

    return solve(features, labels, num_classes, loss)


@mistake(PROBE, "You averaged the squares of the weight: ||weight||^2 is their sum.")
def mean_of_squares(features, labels, num_classes, l2):
    return right(features, labels, num_classes, l2 / (num_classes * features.shape[1]))


@mistake(PROBE, "You used 1 / l2 as the strength of the penalty: l2 itself multiplies ||weight||^2 / 2.")
def inverse_strength(features, labels, num_classes, l2):
    return right(features, labels, num_classes, 1 / l2)


@mistake(PROBE, "You penalised the absolute values: the penalty is on the squares.")
def l1_penalty(features, labels, num_classes, l2):
    def loss(w, b, x, y):
        return cross_entropy(w, b, x, y) + l2 / 2 * (w.square() + 1e-5).sqrt().sum()

    return solve(features, labels, num_classes, loss)


@mistake(
    PROBE, "Yours judges each class by itself with a sigmoid: let them compete, with one softmax over all."
)
def one_against_the_rest(features, labels, num_classes, l2):
    def loss(w, b, x, y):
        targets = F.one_hot(y, num_classes).double()
        return F.binary_cross_entropy_with_logits(x @ w.T + b, targets) + l2 * half_square(w)

    return solve(features, labels, num_classes, loss)


@mistake(
    PROBE, "Yours judges each class by itself with a sigmoid, summed over them: use one softmax over all."
)
def one_against_the_rest_summed(features, labels, num_classes, l2):
    def loss(w, b, x, y):
        targets = F.one_hot(y, num_classes).double()
        each = F.binary_cross_entropy_with_logits(x @ w.T + b, targets, reduction="none")
        return each.sum(dim=1).mean() + l2 * half_square(w)

    return solve(features, labels, num_classes, loss)


@mistake(PROBE, "You fitted one-hot labels by least squares: the loss is the cross-entropy of a softmax.")
def ridge_regression(features, labels, num_classes, l2):
    def loss(w, b, x, y):
        gap = x @ w.T + b - F.one_hot(y, num_classes)
        return gap.square().sum(dim=1).mean() + l2 * half_square(w)

    return solve(features, labels, num_classes, loss)


@mistake(PROBE, "F.cross_entropy takes logits: it has a softmax of its own, so don't give it probabilities.")
def softmax_twice(features, labels, num_classes, l2):
    def loss(w, b, x, y):
        return F.cross_entropy((x @ w.T + b).softmax(dim=1), y) + l2 * half_square(w)

    return solve(features, labels, num_classes, loss, steps=40)


@mistake(PROBE, "You left out the bias: the logits are features weight^T + bias, and both are fitted.")
def no_bias(features, labels, num_classes, l2):
    weight, bias = solve(
        features, labels, num_classes, lambda w, b, x, y: cross_entropy(w, 0 * b, x, y) + l2 * half_square(w)
    )
    return weight, torch.zeros_like(bias)


@mistake(PROBE, "The bias that you return has the wrong sign: logits are features weight^T *plus* bias.")
def bias_negated(features, labels, num_classes, l2):
    weight, bias = right(features, labels, num_classes, l2)
    return weight, -bias


@mistake(
    PROBE,
    "You gave all classes the same say, however many images they have: take the plain mean over images.",
)
def balanced(features, labels, num_classes, l2):
    shares = labels.bincount(minlength=num_classes).double()

    def loss(w, b, x, y):
        return F.cross_entropy(x @ w.T + b, y, weight=1 / shares) + l2 * half_square(w)

    return solve(features, labels, num_classes, loss)


@mistake(PROBE, "You scaled the features to length 1: use them as they are.")
def features_normalised(features, labels, num_classes, l2):
    return right(F.normalize(features), labels, num_classes, l2)


@mistake(PROBE, "You standardised the features (mean 0, deviation 1): use them as they are.")
def features_standardised(features, labels, num_classes, l2):
    return right((features - features.mean(dim=0)) / features.std(dim=0), labels, num_classes, l2)


@mistake(
    PROBE, "You subtracted the features' mean: use them as they are, else the bias is that of other features."
)
def features_centred(features, labels, num_classes, l2):
    return right(features - features.mean(dim=0), labels, num_classes, l2)


@mistake(PROBE, "You return the means of the classes: fit weight and bias to the minimum of the objective.")
def class_means(features, labels, num_classes, l2):
    weight = torch.stack([features[labels == c].mean(dim=0) for c in range(num_classes)])
    return weight, torch.zeros(num_classes)


@mistake(
    PROBE, "You stopped after 100 small steps, far from the minimum: go on until the gradient is about 0."
)
def too_few_steps(features, labels, num_classes, l2):
    return descend(features, labels, num_classes, l2, steps=100, lr=0.01)


@mistake(PROBE, "You stopped after one step of gradient descent: go on until the gradient is about 0.")
def one_step(features, labels, num_classes, l2):
    return descend(features, labels, num_classes, l2, steps=1, lr=0.1)


@mistake(
    PROBE,
    "Your weight and bias are still where they started: is `minimise`, or the optimiser's step, called?",
)
def never_stepped(features, labels, num_classes, l2):
    return torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)


def descend(features, labels, num_classes, l2, steps, lr):
    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    for _ in range(steps):
        loss = cross_entropy(weight, bias, features, labels) + l2 * half_square(weight)
        of_weight, of_bias = torch.autograd.grad(loss, [weight, bias])
        with torch.no_grad():
            weight -= lr * of_weight
            bias -= lr * of_bias
    return weight.detach(), bias.detach()


@mistake(PROBE, "You returned the weight as (dim, classes): a row a class is asked for, as in nn.Linear.")
def weight_transposed(features, labels, num_classes, l2):
    weight, bias = right(features, labels, num_classes, l2)
    return weight.T, bias


@mistake(PROBE, "You returned (bias, weight): the weight comes first.")
def swapped(features, labels, num_classes, l2):
    return right(features, labels, num_classes, l2)[::-1]


@mistake(PROBE, "You returned the weight alone: return (weight, bias).")
def weight_only(features, labels, num_classes, l2):
    return right(features, labels, num_classes, l2)[0]


@mistake(PROBE, "You returned the features' probabilities: the fitted (weight, bias) are asked for.")
def probabilities(features, labels, num_classes, l2):
    weight, bias = right(features, labels, num_classes, l2)
    return (features @ weight.T + bias).softmax(dim=1)


# --- knn_classify --------------------------------------------------------------------------------------


def neighbours(features, queries, k):
    return (queries @ features.T).topk(k)


def add_up(weights, classes, num_classes):
    """Weights (queries, n) summed by class; weights of 0 count as no vote."""
    return (F.one_hot(classes, num_classes) * weights[..., None]).sum(dim=1)


@alternative(KNN)
def by_loops(features, labels, queries, k, num_classes, temperature):
    scores = torch.zeros(len(queries), num_classes)
    for q, query in enumerate(queries):
        cosines = [float(query @ image) for image in features]
        ranking = sorted(range(len(features)), key=cosines.__getitem__, reverse=True)
        for i in ranking[:k]:
            scores[q, int(labels[i])] += np.exp(cosines[i] / temperature)
    return scores


@alternative(KNN)
def by_one_hot(features, labels, queries, k, num_classes, temperature):
    """As DINO's evaluation does it, and Wu et al.'s."""
    similarity = torch.mm(queries, features.t())
    cosines, indices = similarity.topk(k, dim=1, largest=True, sorted=True)
    retrieved = torch.gather(labels.view(1, -1).expand(len(queries), -1), 1, indices)
    one_hot = torch.zeros(len(queries) * k, num_classes).scatter_(1, retrieved.view(-1, 1), 1)
    weights = cosines.clone().div_(temperature).exp_()
    return (one_hot.view(len(queries), -1, num_classes) * weights.view(len(queries), -1, 1)).sum(1)


@alternative(KNN)
def by_threshold(features, labels, queries, k, num_classes, temperature):
    """Everyone votes, but those less similar than the k-th with weight 0."""
    cosines = F.linear(queries, features)
    kth = cosines.sort(dim=1, descending=True).values[:, k - 1 : k]
    weights = torch.where(cosines >= kth, torch.exp(cosines / temperature), 0.0)
    return weights @ F.one_hot(labels, num_classes).to(weights.dtype)


@alternative(KNN)
def in_numpy(features, labels, queries, k, num_classes, temperature):
    cosines = queries.double().numpy() @ features.double().numpy().T
    nearest = np.argsort(-cosines, axis=1)[:, :k]
    scores = np.zeros((len(queries), num_classes))
    rows = np.arange(len(queries))[:, None].repeat(k, axis=1)
    np.add.at(
        scores, (rows, labels.numpy()[nearest]), np.exp(np.take_along_axis(cosines, nearest, 1) / temperature)
    )
    return torch.from_numpy(scores)


@alternative(KNN)
def by_distance(features, labels, queries, k, num_classes, temperature):
    """On the unit sphere the nearest are the most similar."""
    nearest = torch.cdist(queries, features).argsort(dim=1)[:, :k]
    weights = ((queries[:, None] * features[nearest]).sum(dim=-1) / temperature).exp()
    columns = [torch.where(labels[nearest] == c, weights, 0).sum(dim=1) for c in range(num_classes)]
    return torch.stack(columns, dim=1)


@mistake(KNN, "You counted the votes: each counts exp(cosine / temperature).")
def plain_majority(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up(torch.ones_like(cosines), labels[nearest], num_classes)


@mistake(KNN, "Each vote counts its cosine in yours: it should count exp(cosine / temperature).")
def cosine_as_weight(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up(cosines, labels[nearest], num_classes)


@mistake(KNN, "You left out the exponential: a vote counts exp(cosine / temperature).")
def without_exp(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up(cosines / temperature, labels[nearest], num_classes)


@mistake(KNN, "You left out the temperature: a vote counts exp(cosine / temperature).")
def no_temperature(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up(cosines.exp(), labels[nearest], num_classes)


@mistake(KNN, "You multiplied by the temperature: divide the cosine by it.")
def times_temperature(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines * temperature).exp(), labels[nearest], num_classes)


@mistake(KNN, "You divided the exponential by the temperature: divide the cosine, inside the exponential.")
def temperature_outside(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up(cosines.exp() / temperature, labels[nearest], num_classes)


@mistake(
    KNN,
    "You divided by the sum over the k neighbours (a softmax): the weights are exp(cosine / temperature) themselves.",
)
def softmax_over_neighbours(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines / temperature).softmax(dim=1), labels[nearest], num_classes)


@mistake(
    KNN,
    "You used a softmax over all images, then kept the k nearest: the weights are exp(cosine / temperature) themselves.",
)
def softmax_over_images(features, labels, queries, k, num_classes, temperature):
    weights = (queries @ features.T / temperature).softmax(dim=1)
    weights, nearest = weights.topk(k)
    return add_up(weights, labels[nearest], num_classes)


@mistake(KNN, "You took a softmax of the scores over the classes: return the sums of the weights themselves.")
def softmax_of_scores(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes).softmax(dim=1)


@mistake(
    KNN,
    "You subtracted each query's largest logit before the exponential: that changes the scores, which are not normalised here.",
)
def largest_subtracted(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    logits = cosines / temperature
    return add_up((logits - logits.amax(dim=1, keepdim=True)).exp(), labels[nearest], num_classes)


@mistake(KNN, "You chose the k *least* similar images: the nearest have the largest cosines.")
def farthest(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = (queries @ features.T).topk(k, largest=False)
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes)


@mistake(KNN, "All images vote in yours: only the k nearest do.")
def everyone_votes(features, labels, queries, k, num_classes, temperature):
    cosines = queries @ features.T
    return (cosines / temperature).exp() @ F.one_hot(labels, num_classes).float()


@mistake(KNN, "One neighbour alone votes in yours: the k nearest do.")
def one_neighbour(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, 1)
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes)


@mistake(KNN, "k + 1 images vote in yours: k do.")
def one_too_many(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, min(k + 1, len(features)))
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes)


@mistake(
    KNN,
    "You left the nearest image out (it would be the query itself, were that in the bank; here it isn't).",
)
def nearest_left_out(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, min(k + 1, len(features)))
    return add_up((cosines[:, 1:] / temperature).exp(), labels[nearest[:, 1:]], num_classes)


@mistake(KNN, "You took the k nearest of each class: take the k nearest of all images.")
def nearest_of_each_class(features, labels, queries, k, num_classes, temperature):
    weights = (queries @ features.T / temperature).exp()
    columns = [weights[:, labels == c] for c in range(num_classes)]
    return torch.stack([w.topk(min(k, w.shape[1])).values.sum(dim=1) for w in columns], dim=1)


@mistake(KNN, "You took the first k images, whatever their cosines: take the k most similar.")
def first_images(features, labels, queries, k, num_classes, temperature):
    cosines = (queries @ features.T)[:, :k]
    return add_up((cosines / temperature).exp(), labels[:k].expand(len(queries), -1), num_classes)


@mistake(
    KNN, "You gave the votes of all queries the same neighbours, those of the first: each query has its own."
)
def neighbours_of_the_first(features, labels, queries, k, num_classes, temperature):
    _, nearest = neighbours(features, queries[:1], k)
    cosines = queries @ features[nearest[0]].T
    return add_up((cosines / temperature).exp(), labels[nearest].expand(len(queries), -1), num_classes)


@mistake(KNN, "You used the neighbours' positions as their classes: look their labels up, labels[nearest].")
def positions_as_classes(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines / temperature).exp(), nearest % num_classes, num_classes)


@mistake(
    KNN,
    "Where two neighbours share a class, the last one overwrites the other: `scores[rows, classes] += w` and scatter "
    "keep one of them, scatter_add adds up.",
)
def overwritten(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    scores = torch.zeros(len(queries), num_classes)
    for place in range(k):
        scores[torch.arange(len(queries)), labels[nearest[:, place]]] = (
            cosines[:, place] / temperature
        ).exp()
    return scores


@mistake(KNN, "You kept each class's largest vote: add its votes up.")
def largest_vote(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    votes = F.one_hot(labels[nearest], num_classes) * (cosines / temperature).exp()[..., None]
    return votes.amax(dim=1)


@mistake(KNN, "You averaged each class's votes: add them up, so that more neighbours count more.")
def mean_vote(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    classes = labels[nearest]
    votes = add_up(torch.ones_like(cosines), classes, num_classes)
    return add_up((cosines / temperature).exp(), classes, num_classes) / votes.clamp(min=1)


@mistake(KNN, "You averaged over the k neighbours: the sum of the weights is asked for.")
def divided_by_k(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes) / k


@mistake(KNN, "You weighted by exp(-distance / temperature): use the cosine.")
def by_euclidean_distance(features, labels, queries, k, num_classes, temperature):
    distances, nearest = torch.cdist(queries, features).topk(k, largest=False)
    return add_up((-distances / temperature).exp(), labels[nearest], num_classes)


@mistake(KNN, "You weighted by exp(-(1 - cosine) / temperature): use the cosine itself.")
def by_cosine_distance(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up(((cosines - 1) / temperature).exp(), labels[nearest], num_classes)


@mistake(KNN, "The sign of your exponent is turned round: the more similar, the *more* a vote counts.")
def minus_cosine(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((-cosines / temperature).exp(), labels[nearest], num_classes)


@mistake(KNN, "You weighted by 1 / rank: a vote counts exp(cosine / temperature).")
def by_rank(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    ranks = torch.arange(1, k + 1).expand_as(cosines)
    return add_up(1 / ranks, labels[nearest], num_classes)


@mistake(KNN, "You returned the likeliest class alone: the scores of all classes are asked for.")
def argmax_only(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes).argmax(dim=1)


@mistake(
    KNN,
    "You made a column for each class that occurs: use num_classes, a class without images has a column of 0s.",
)
def classes_that_occur(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    occurring, classes = labels.unique(return_inverse=True)
    return add_up((cosines / temperature).exp(), classes[nearest], len(occurring))


@mistake(KNN, "You returned (classes, queries): a row a query is asked for.")
def transposed(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = neighbours(features, queries, k)
    return add_up((cosines / temperature).exp(), labels[nearest], num_classes).T


@mistake(KNN, "You returned the weights of the neighbours: add them up by class.")
def not_added_up(features, labels, queries, k, num_classes, temperature):
    return (neighbours(features, queries, k).values / temperature).exp()


@mistake(KNN, "You chose k queries for each image (topk over dim 0): choose k images for each query.")
def queries_for_images(features, labels, queries, k, num_classes, temperature):
    cosines, nearest = (queries @ features.T).topk(min(k, len(queries)), dim=0)
    scores = torch.zeros(len(queries), num_classes)
    for place in range(len(cosines)):
        scores.index_put_((nearest[place], labels), (cosines[place] / temperature).exp(), accumulate=True)
    return scores
