"""Known answers: zero-shot classification and prompt ensembles."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

CLASSIFY, ENSEMBLE = "zero_shot_classify", "prompt_ensemble"

# --- zero_shot_classify --------------------------------------------------------------------------------


def cosines(image_features, class_embeddings):
    return image_features @ class_embeddings.T


@alternative(CLASSIFY)
def by_hand(image_features, class_embeddings, scale):
    logits = torch.einsum("nd,cd->nc", image_features, class_embeddings).mul(scale)
    exp = torch.exp(logits - logits.max(dim=-1, keepdim=True).values)
    return exp / exp.sum(dim=-1, keepdim=True)


@alternative(CLASSIFY)
def image_by_image(image_features, class_embeddings, scale):
    rows = []
    for image in image_features:
        logits = torch.stack([scale * torch.dot(image, c) for c in class_embeddings])
        rows.append(F.softmax(logits, dim=0))
    return torch.stack(rows)


@alternative(CLASSIFY)
def normalised_once_more(image_features, class_embeddings, scale):
    """What has length 1 already stays as it is."""
    cosine = F.cosine_similarity(image_features[:, None], class_embeddings[None], dim=-1)
    return F.log_softmax(cosine * scale, dim=-1).exp()


@alternative(CLASSIFY)
def in_numpy(image_features, class_embeddings, scale):
    logits = float(scale) * image_features.double().numpy() @ class_embeddings.double().numpy().T
    return torch.from_numpy(np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))).float()


@alternative(CLASSIFY)
def classes_first(image_features, class_embeddings, scale):
    return torch.softmax(class_embeddings @ image_features.T * scale, dim=0).T


@alternative(CLASSIFY)
def under_no_grad(image_features, class_embeddings, scale):
    with torch.inference_mode():
        return F.softmax(scale * torch.matmul(image_features, class_embeddings.t()), -1)


@mistake(
    CLASSIFY, "Your softmax runs over the images: each image's probabilities sum to 1 over the *classes*."
)
def over_the_images(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings)).softmax(dim=0)


@mistake(
    CLASSIFY, "Yours is one softmax over all images and classes: each image has a distribution of its own."
)
def over_everything(image_features, class_embeddings, scale):
    logits = scale * cosines(image_features, class_embeddings)
    return logits.flatten().softmax(dim=0).view_as(logits)


@mistake(CLASSIFY, "You returned the logits: a softmax over the classes makes probabilities of them.")
def logits_only(image_features, class_embeddings, scale):
    return scale * cosines(image_features, class_embeddings)


@mistake(
    CLASSIFY,
    "You returned the cosines themselves: multiply by `scale`, then take a softmax over the classes.",
)
def cosines_only(image_features, class_embeddings, scale):
    return cosines(image_features, class_embeddings)


@mistake(CLASSIFY, "You left out `scale`: cosines lie in [-1, 1], and without it the softmax is nearly flat.")
def no_scale(image_features, class_embeddings, scale):
    return cosines(image_features, class_embeddings).softmax(dim=1)


@mistake(CLASSIFY, "You divided by `scale`: it is 1 / temperature, so multiply by it.")
def divided_by_scale(image_features, class_embeddings, scale):
    return (cosines(image_features, class_embeddings) / scale).softmax(dim=1)


@mistake(CLASSIFY, "You took exp(scale): `scale` is the multiplier itself, not its logarithm.")
def exp_of_scale(image_features, class_embeddings, scale):
    return (np.exp(float(scale)) * cosines(image_features, class_embeddings)).softmax(dim=1)


@mistake(CLASSIFY, "You took the logarithm of `scale`: it is the multiplier itself already.")
def log_of_scale(image_features, class_embeddings, scale):
    return (np.log(float(scale)) * cosines(image_features, class_embeddings)).softmax(dim=1)


@mistake(CLASSIFY, "You multiplied by `scale` after the softmax: multiply the logits, before it.")
def scale_after_softmax(image_features, class_embeddings, scale):
    return scale * cosines(image_features, class_embeddings).softmax(dim=1)


@mistake(CLASSIFY, "You divided by sqrt(dim), as attention does: here `scale` alone multiplies the cosines.")
def as_attention_scales(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings) / image_features.shape[1] ** 0.5).softmax(dim=1)


@mistake(
    CLASSIFY, "A sigmoid judges each class by itself: here the classes compete, so take a softmax over them."
)
def by_sigmoid(image_features, class_embeddings, scale):
    return torch.sigmoid(scale * cosines(image_features, class_embeddings))


@mistake(CLASSIFY, "You returned (classes, images): a row an image, a column a class is asked for.")
def transposed(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings)).softmax(dim=1).T


@mistake(
    CLASSIFY, "You compared classes with images and took the softmax over the wrong side: rows are images."
)
def transposed_over_images(image_features, class_embeddings, scale):
    return (scale * cosines(class_embeddings, image_features)).softmax(dim=1)


@mistake(
    CLASSIFY, "You returned the most probable class alone: the probabilities of all classes are asked for."
)
def argmax_only(image_features, class_embeddings, scale):
    return cosines(image_features, class_embeddings).argmax(dim=1)


@mistake(
    CLASSIFY, "You returned 1 for the most probable class and 0 for the others: return their probabilities."
)
def one_hot(image_features, class_embeddings, scale):
    return F.one_hot(cosines(image_features, class_embeddings).argmax(dim=1), len(class_embeddings)).float()


@mistake(CLASSIFY, "You returned the largest probability alone: those of all classes are asked for.")
def maximum_only(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings)).softmax(dim=1).amax(dim=1)


@mistake(CLASSIFY, "You returned the logarithm of the probabilities: take the softmax, not the log-softmax.")
def log_probabilities(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings)).log_softmax(dim=1)


@mistake(CLASSIFY, "You sorted the probabilities: column c should be class c's, whatever its rank.")
def sorted_probabilities(image_features, class_embeddings, scale):
    return (
        (scale * cosines(image_features, class_embeddings)).softmax(dim=1).sort(dim=1, descending=True).values
    )


@mistake(CLASSIFY, "You took the softmax twice: of its own output it is nearly flat.")
def softmax_twice(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings)).softmax(dim=1).softmax(dim=1)


@mistake(CLASSIFY, "Your sign is turned round: the *largest* cosine should get the largest probability.")
def least_similar_wins(image_features, class_embeddings, scale):
    return (scale * (1 - cosines(image_features, class_embeddings))).softmax(dim=1)


@mistake(
    CLASSIFY, "You used minus the squared distance, 2 cos - 2, which counts the cosine twice: use the cosine."
)
def squared_distance(image_features, class_embeddings, scale):
    return (-scale * torch.cdist(image_features, class_embeddings).square()).softmax(dim=1)


@mistake(CLASSIFY, "You used minus the distance: the logit is `scale` times the cosine.")
def distance(image_features, class_embeddings, scale):
    return (-scale * torch.cdist(image_features, class_embeddings)).softmax(dim=1)


@mistake(
    CLASSIFY, "You divided the logits by their sum, without taking their exponentials first: use a softmax."
)
def without_exp(image_features, class_embeddings, scale):
    logits = scale * cosines(image_features, class_embeddings)
    return logits / logits.sum(dim=1, keepdim=True)


@mistake(CLASSIFY, "You returned the exponentials alone: divide each image's by their sum over the classes.")
def not_divided(image_features, class_embeddings, scale):
    return (scale * cosines(image_features, class_embeddings)).exp()


@mistake(
    CLASSIFY,
    "Your exponentials overflow at a scale near 100: subtract each row's largest logit first, as torch's softmax does.",
)
def overflows(image_features, class_embeddings, scale):
    exp = (scale * cosines(image_features, class_embeddings)).exp()
    return exp / exp.sum(dim=1, keepdim=True)


# --- prompt_ensemble -----------------------------------------------------------------------------------


def prompts_of(name, templates):
    return [template.format(name) for template in templates]


def encoded(encode_text, names, templates):
    """(classes, templates, dim), as the encoder gives them."""
    return torch.stack([encode_text(prompts_of(name, templates)) for name in names])


@alternative(ENSEMBLE)
def class_by_class(encode_text, names, templates):
    """As OpenAI's notebook does it."""
    with torch.no_grad():
        weights = []
        for name in names:
            embeddings = encode_text([template.format(name) for template in templates])
            embeddings /= embeddings.norm(dim=-1, keepdim=True)
            embedding = embeddings.mean(dim=0)
            embedding /= embedding.norm()
            weights.append(embedding)
        return torch.stack(weights, dim=0)


@alternative(ENSEMBLE)
def all_at_once(encode_text, names, templates):
    texts = [template.replace("{}", name) for template in templates for name in names]
    embeddings = F.normalize(encode_text(texts), dim=-1).view(len(templates), len(names), -1)
    return F.normalize(embeddings.sum(0), p=2, dim=-1)


@alternative(ENSEMBLE)
def text_by_text(encode_text, names, templates):
    rows = []
    for name in names:
        total = 0
        for template in templates:
            (embedding,) = encode_text([template.format(name)])
            total = total + embedding / embedding.square().sum().sqrt()
        rows.append(total / torch.linalg.vector_norm(total))
    return torch.vstack(rows)


@alternative(ENSEMBLE)
def ensemble_in_float64(encode_text, names, templates):
    texts = [template.format(name) for name in names for template in templates]
    embeddings = encode_text(texts).double()
    embeddings = embeddings / embeddings.norm(dim=1, keepdim=True)
    means = torch.stack([part.mean(0) for part in embeddings.chunk(len(names))])
    return means / means.norm(dim=1, keepdim=True)


@alternative(ENSEMBLE)
def ensemble_in_numpy(encode_text, names, templates):
    total = np.zeros(1)
    for template in templates:
        embeddings = np.asarray(encode_text([template.format(n) for n in names]))
        total = total + embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return torch.tensor(total / np.linalg.norm(total, axis=1, keepdims=True), dtype=torch.float32)


@mistake(
    ENSEMBLE,
    "You averaged embeddings of any length: scale each prompt's to length 1 first, so that all count alike.",
)
def not_before(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates).mean(dim=1))


@mistake(ENSEMBLE, "You did not scale the average to length 1: an average of unit vectors is shorter than 1.")
def not_after(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates), dim=-1).mean(dim=1)


@mistake(ENSEMBLE, "You scaled nothing to length 1: scale each prompt's embedding, and their average, too.")
def never(encode_text, names, templates):
    return encoded(encode_text, names, templates).mean(dim=1)


@mistake(ENSEMBLE, "You returned the sum of the unit vectors: scale it to length 1.")
def sum_only(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates), dim=-1).sum(dim=1)


@mistake(ENSEMBLE, "You used the first template only: average over all of them.")
def first_template(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates)[:, 0])


@mistake(
    ENSEMBLE,
    "You used the last template only (is a result overwritten in a loop?): average over all of them.",
)
def last_template(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates)[:, -1])


@mistake(ENSEMBLE, "You encoded the bare names: put each name into each template.")
def bare_names(encode_text, names, templates):
    return F.normalize(encode_text(list(names)))


@mistake(ENSEMBLE, "You encoded the templates without a name in: `template.format(name)` puts it at the {}.")
def names_forgotten(encode_text, names, templates):
    return F.normalize(F.normalize(encode_text(list(templates))).mean(dim=0), dim=0).expand(len(names), -1)


@mistake(
    ENSEMBLE,
    "You put the name behind the template: it belongs at the {}, as `template.format(name)` does it.",
)
def name_appended(encode_text, names, templates):
    texts = torch.stack([encode_text([template + name for template in templates]) for name in names])
    return F.normalize(F.normalize(texts, dim=-1).mean(dim=1))


@mistake(ENSEMBLE, "You put all names into one text: each class has prompts of its own.")
def names_joined(encode_text, names, templates):
    joined = encode_text(prompts_of(", ".join(names), templates))
    return F.normalize(F.normalize(joined).mean(dim=0), dim=0).expand(len(names), -1)


@mistake(
    ENSEMBLE, "You joined a class's prompts into one text: encode each by itself and average the embeddings."
)
def texts_joined(encode_text, names, templates):
    return F.normalize(encode_text([" ".join(prompts_of(name, templates)) for name in names]))


@mistake(
    ENSEMBLE, "You averaged over the classes: average over the templates, so that each class keeps a row."
)
def mean_over_classes(encode_text, names, templates):
    return F.normalize(F.normalize(encoded(encode_text, names, templates), dim=-1).mean(dim=0))


@mistake(ENSEMBLE, "You averaged over classes and templates: a row for each class is asked for.")
def mean_over_everything(encode_text, names, templates):
    return F.normalize(F.normalize(encoded(encode_text, names, templates), dim=-1).mean(dim=(0, 1)), dim=0)


@mistake(
    ENSEMBLE,
    "Your texts are in the order of the templates, but you reshaped them to (classes, templates): that mixes "
    "the classes up. Reshape to (templates, classes).",
)
def reshaped_wrongly(encode_text, names, templates):
    texts = [template.format(name) for template in templates for name in names]
    embeddings = F.normalize(encode_text(texts)).reshape(len(names), len(templates), -1)
    return F.normalize(embeddings.mean(dim=1))


@mistake(
    ENSEMBLE,
    "Your texts are in the order of the classes, but you reshaped them to (templates, classes): that mixes "
    "the classes up. Reshape to (classes, templates).",
)
def reshaped_the_other_way(encode_text, names, templates):
    texts = [template.format(name) for name in names for template in templates]
    embeddings = F.normalize(encode_text(texts)).reshape(len(templates), len(names), -1)
    return F.normalize(embeddings.mean(dim=0))


@mistake(ENSEMBLE, "You normalised along the wrong axis: scale each row, along the last axis, to length 1.")
def columns_normalised(encode_text, names, templates):
    prompts = [[template.format(name) for name in names] for template in templates]
    embeddings = torch.stack([F.normalize(encode_text(texts), dim=0) for texts in prompts])
    return F.normalize(embeddings.mean(dim=0), dim=0)


@mistake(
    ENSEMBLE,
    "F.normalize works along dim 1 unless told: of a (classes, templates, dim) stack that is the templates. Say dim=-1.",
)
def normalised_along_the_templates(encode_text, names, templates):
    return F.normalize(F.normalize(encoded(encode_text, names, templates), dim=1).mean(dim=1))


@mistake(ENSEMBLE, "You divided by the norm of the whole matrix: each row has a length of its own.")
def one_norm_for_all(encode_text, names, templates):
    mean = F.normalize(encoded(encode_text, names, templates), dim=-1).mean(dim=1)
    return mean / mean.norm()


@mistake(ENSEMBLE, "You scaled by the sum of absolute values: length means the L2 norm.")
def by_the_l1_norm(encode_text, names, templates):
    embeddings = F.normalize(encoded(encode_text, names, templates), p=1, dim=-1)
    return F.normalize(embeddings.mean(dim=1), p=1)


@mistake(
    ENSEMBLE, "You took a softmax of the embeddings: scale them to length 1 by dividing by their L2 norm."
)
def softmax_of_embeddings(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates).softmax(dim=-1).mean(dim=1))


@mistake(ENSEMBLE, "You took the median over the templates: the average is asked for.")
def median(encode_text, names, templates):
    return F.normalize(F.normalize(encoded(encode_text, names, templates), dim=-1).median(dim=1).values)


@mistake(ENSEMBLE, "You took the largest entry over the templates: the average is asked for.")
def maximum(encode_text, names, templates):
    return F.normalize(F.normalize(encoded(encode_text, names, templates), dim=-1).amax(dim=1))


@mistake(
    ENSEMBLE,
    "You returned one embedding for each prompt: average those of a class, so that one row a class is left.",
)
def not_averaged(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates), dim=-1)


@mistake(
    ENSEMBLE,
    "You returned one row for each prompt: average those of a class, so that one row a class is left.",
)
def all_rows(encode_text, names, templates):
    return F.normalize(encoded(encode_text, names, templates).flatten(0, 1))


@mistake(ENSEMBLE, "You subtracted the mean over the classes: the embeddings themselves are asked for.")
def centred(encode_text, names, templates):
    mean = F.normalize(encoded(encode_text, names, templates), dim=-1).mean(dim=1)
    return F.normalize(mean - mean.mean(dim=0))


@mistake(ENSEMBLE, "You returned (dim, classes): a row a class is asked for.")
def columns_are_classes(encode_text, names, templates):
    return F.normalize(F.normalize(encoded(encode_text, names, templates), dim=-1).mean(dim=1)).T
