"""Known answers: SigLIP, whole and in chunks."""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from autograder.known import alternative, mistake

LOSS, CHUNKED = "siglip_loss", "siglip_chunked"


# --- the whole matrix ----------------------------------------------------------------------------------


def logits_of(images, texts, scale, bias):
    return scale * images @ texts.T + bias


def labels(logits, offset=0, wrong=-1.0):
    """1 where image i belongs to text j, for a chunk of texts that begins at -offset."""
    z = torch.full_like(logits, wrong)
    z.diagonal(offset).fill_(1.0)
    return z


def loss_of(logits, z=None):
    """Right, where z is not given."""
    return -F.logsigmoid((labels(logits) if z is None else z) * logits).sum() / len(logits)


@alternative(LOSS)
def by_binary_cross_entropy(image_features, text_features, scale, bias):
    logits = image_features @ text_features.t() * scale + bias
    targets = torch.eye(len(logits))
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / logits.size(0)


@alternative(LOSS)
def pair_by_pair(image_features, text_features, scale, bias):
    total = 0.0
    for i, image in enumerate(image_features):
        for j, text in enumerate(text_features):
            logit = scale * torch.dot(image, text) + bias
            total = total + F.softplus(-logit if i == j else logit)
    return total / len(image_features)


@alternative(LOSS)
def normalised_once_more(image_features, text_features, scale, bias):
    """Needless, but harmless."""
    images, texts = F.normalize(image_features, dim=-1), F.normalize(text_features, dim=-1)
    logits = torch.einsum("id,jd->ij", images, texts).mul(scale).add(bias)
    return torch.nn.LogSigmoid()(labels(logits) * logits).neg().sum(dim=-1).mean()


@alternative(LOSS)
def mean_of_both_directions(image_features, text_features, scale, bias):
    """The two directions ask the same questions, so their mean is either."""
    logits = logits_of(image_features, text_features, scale, bias)
    return (loss_of(logits) + loss_of(logits.T)) / 2


@alternative(LOSS)
def right_pairs_and_wrong_ones(image_features, text_features, scale, bias):
    logits = logits_of(image_features.double(), text_features.double(), scale, bias)
    diagonal = torch.eye(len(logits), dtype=torch.bool)
    zero = logits.new_zeros(())
    right, wrong = torch.logaddexp(zero, -logits[diagonal]), torch.logaddexp(zero, logits[~diagonal])
    return (right.sum() + wrong.sum()).float() / diagonal.shape[0]


@mistake(LOSS, "You divided by B^2, the number of pairs: the sum is divided by B alone.")
def mean_over_all_pairs(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return loss_of(logits) / len(logits)


@mistake(LOSS, "Your loss is the sum over all pairs: divide it by B.")
def summed(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return loss_of(logits) * len(logits)


@mistake(LOSS, "You returned a loss for each image: their mean is asked for, one number.")
def of_each_image(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return -F.logsigmoid(labels(logits) * logits).sum(1)


@mistake(
    LOSS,
    "Your z is 0 for wrong pairs, so that their logits do not count: it is -1 there.",
)
def labels_of_0_and_1(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return loss_of(logits, labels(logits, wrong=0.0))


@mistake(LOSS, "You count the right pairs only: the wrong ones, with z = -1, belong to the sum.")
def right_pairs_only(image_features, text_features, scale, bias):
    return -F.logsigmoid(logits_of(image_features, text_features, scale, bias).diagonal()).mean()


@mistake(LOSS, "You count the wrong pairs only: the right ones, on the diagonal, belong to the sum.")
def wrong_pairs_only(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return loss_of(logits) + F.logsigmoid(logits.diagonal()).mean()


@mistake(LOSS, "You averaged right and wrong pairs apart: each of the B^2 pairs has the same weight.")
def balanced(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    right = F.logsigmoid(logits.diagonal()).sum()
    wrong = -loss_of(logits) * len(logits) - right
    return -(right / len(logits) + wrong / max(1, len(logits) * (len(logits) - 1)))


@mistake(
    LOSS, "Your z is turned round: 1 on the diagonal, where image and text belong together, -1 elsewhere."
)
def labels_turned_round(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return loss_of(logits, -labels(logits))


@mistake(LOSS, "Every pair has z = 1 in your code: off the diagonal it is -1.")
def all_pairs_right(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return loss_of(logits, torch.ones_like(logits))


@mistake(LOSS, "The minus sign in front is missing: a log-probability is negative, the loss is not.")
def negative_loss(image_features, text_features, scale, bias):
    return -loss_of(logits_of(image_features, text_features, scale, bias))


@mistake(LOSS, "You left out the bias.")
def without_bias(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, text_features, scale, 0 * bias))


@mistake(LOSS, "You left out the scale.")
def without_scale(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, text_features, 1 + 0 * scale, bias))


@mistake(LOSS, "You multiply the bias by the scale, too: scale the similarity first, then add the bias.")
def bias_scaled(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, text_features, scale, scale * bias))


@mistake(LOSS, "You subtract the bias: it is added to the scaled similarity.")
def bias_subtracted(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, text_features, scale, -bias))


@mistake(LOSS, "z multiplies the scaled similarity only: it belongs to the whole logit, bias included.")
def bias_without_label(image_features, text_features, scale, bias):
    similarities = logits_of(image_features, text_features, scale, 0)
    return -F.logsigmoid(labels(similarities) * similarities + bias).sum() / len(similarities)


@mistake(LOSS, "You took the exponential of the scale: it is the multiplier already, not its logarithm.")
def scale_exponentiated(image_features, text_features, scale, bias):
    scale = torch.as_tensor(scale).exp()
    return loss_of(logits_of(image_features, text_features, scale, bias))


@mistake(LOSS, "You divide by the scale, as by a temperature: it is a multiplier.")
def divided_by_scale(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, text_features, 1 / scale, bias))


@mistake(
    LOSS, "Yours is InfoNCE: here no softmax runs over a row; each pair is a yes-or-no question of its own."
)
def softmax_instead(image_features, text_features, scale, bias):
    logits, right = logits_of(image_features, text_features, scale, bias), torch.arange(len(image_features))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


@mistake(LOSS, "You left out the logarithm: the loss adds up -log sigmoid, not the sigmoids themselves.")
def without_logarithm(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return -torch.sigmoid(labels(logits) * logits).sum() / len(logits)


@mistake(
    LOSS,
    "You took the sigmoid twice: logsigmoid, like binary_cross_entropy_with_logits, wants the logits themselves.",
)
def sigmoid_twice(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return F.binary_cross_entropy_with_logits(
        logits.sigmoid(), labels(logits, wrong=0.0), reduction="sum"
    ) / len(logits)


@mistake(
    LOSS,
    "You added up both directions: image to text and text to image ask the same B^2 questions, so each pair "
    "counts twice.",
)
def both_directions_added(image_features, text_features, scale, bias):
    return 2 * loss_of(logits_of(image_features, text_features, scale, bias))


@mistake(LOSS, "You compare images with images: the logits are of images with texts.")
def images_with_images(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, image_features, scale, bias)) + 0 * text_features.sum()


@mistake(
    LOSS,
    "It overflows: at a logit of -200 the sigmoid is 0, and its logarithm -inf; exp(200) is inf. "
    "F.logsigmoid (or F.softplus) is exact for logits of any size.",
)
def log_of_sigmoid(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return -torch.sigmoid(labels(logits) * logits).log().sum() / len(logits)


@mistake(
    LOSS,
    "A small number inside the logarithm hides what is far wrong: log(0 + 1e-8) is -18, but a right pair at "
    "-200 costs 200.  F.logsigmoid needs no such number.",
)
def small_number_in_logarithm(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    return -(torch.sigmoid(labels(logits) * logits) + 1e-8).log().sum() / len(logits)


@mistake(
    LOSS,
    "The value is right, but its gradient is NaN: torch.where computes both branches, and the one that is "
    "not taken overflows.  Use F.logsigmoid.",
)
def where_overflows(image_features, text_features, scale, bias):
    logits = logits_of(image_features, text_features, scale, bias)
    x = labels(logits) * logits
    return torch.where(x > 0, torch.log1p((-x).exp()), -x + torch.log1p(x.exp())).sum() / len(logits)


@mistake(LOSS, "No gradient reaches the inputs: compute with the tensors as they come, without detach, "
         "no_grad, item() or NumPy.")  # fmt: skip
def detached(image_features, text_features, scale, bias):
    with torch.no_grad():
        return loss_of(logits_of(image_features, text_features, scale, bias))


@mistake(LOSS, "No gradient reaches scale and bias: keep them tensors, without item() or float().")
def scale_and_bias_as_numbers(image_features, text_features, scale, bias):
    return loss_of(logits_of(image_features, text_features, float(scale), float(bias)))


# --- in chunks -----------------------------------------------------------------------------------------


def starts(texts, size):
    return range(0, len(texts), size)


def copies(*inputs):
    return [x.detach().clone().requires_grad_() for x in inputs]


def answer(total, leaves):
    return total, tuple(leaf.grad for leaf in leaves)


def chunk_loss(images, texts, scale, bias, start, size):
    logits = logits_of(images, texts[start : start + size], scale, bias)
    return loss_of(logits, labels(logits, -start))


@alternative(CHUNKED)
def by_hand_in_chunks(image_features, text_features, scale, bias, chunk_size):
    images, texts, scale, bias = (x.detach() for x in (image_features, text_features, scale, bias))
    grad_images, grad_texts = torch.zeros_like(images), torch.zeros_like(texts)
    loss = grad_scale = grad_bias = torch.tensor(0.0)
    for start in range(0, len(texts), chunk_size):
        chunk = texts[start : start + chunk_size]
        similarities = images @ chunk.T
        logits = scale * similarities + bias
        rows = torch.arange(start, start + len(chunk))
        right = torch.zeros_like(logits)
        right[rows, rows - start] = 1
        loss = loss + (F.softplus(logits) - right * logits).sum() / len(images)
        grad_logits = (logits.sigmoid() - right) / len(images)
        grad_images += scale * grad_logits @ chunk
        grad_texts[start : start + chunk_size] = scale * grad_logits.T @ images
        grad_scale = grad_scale + (grad_logits * similarities).sum()
        grad_bias = grad_bias + grad_logits.sum()
    return loss, (grad_images, grad_texts, grad_scale, grad_bias)


@alternative(CHUNKED)
def chunks_of_images_in_float64(image_features, text_features, scale, bias, chunk_size):
    inputs = [x.detach().double().requires_grad_() for x in (image_features, text_features, scale, bias)]
    images, texts, scale, bias = inputs
    gradients, loss, start = [torch.zeros_like(x) for x in inputs], 0.0, 0
    for chunk in images.detach().split(chunk_size):
        rows = images[start : start + len(chunk)]
        logits = rows @ texts.T
        logits = logits * scale
        logits = logits + bias
        z = -torch.ones_like(logits)
        for i in range(len(chunk)):
            z[i, start + i] = 1
        of_pairs = -F.logsigmoid(z * logits)
        of_chunk = of_pairs.sum() / len(images)
        for gradient, more in zip(gradients, torch.autograd.grad(of_chunk, inputs), strict=True):
            gradient += more
        loss += of_chunk.item()
        start += len(chunk)
    return torch.tensor(loss).float(), [gradient.float() for gradient in gradients]


@alternative(CHUNKED)
def block_by_block(image_features, text_features, scale, bias, chunk_size):
    """Chunks of images and of texts."""
    leaves = images, texts, scale, bias = copies(image_features, text_features, scale, bias)
    loss = 0
    for i in range(0, len(images), chunk_size):
        for j in range(0, len(texts), chunk_size):
            logits = scale * images[i : i + chunk_size] @ texts[j : j + chunk_size].mT + bias
            right = torch.eye(len(logits)) if i == j else torch.zeros(logits.shape)
            block = F.binary_cross_entropy_with_logits(logits, right, reduction="sum") / len(images)
            block.backward()
            loss += block.item()
    return torch.tensor(loss), [x.grad for x in leaves]


@alternative(CHUNKED)
def by_checkpointing(image_features, text_features, scale, bias, chunk_size):
    """One backward at the end, for which each chunk is computed again."""
    leaves = copies(image_features, text_features, scale, bias)
    loss = sum(
        checkpoint(chunk_loss, *leaves, start, chunk_size, use_reentrant=False)
        for start in range(0, len(text_features), chunk_size)
    )
    return loss.detach(), torch.autograd.grad(loss, leaves)


@alternative(CHUNKED)
def by_functional_gradients(image_features, text_features, scale, bias, chunk_size):
    inputs = [x.detach() for x in (image_features, text_features, scale, bias)]
    of_chunk = torch.func.grad_and_value(chunk_loss, argnums=(0, 1, 2, 3))
    parts = [of_chunk(*inputs, start, chunk_size) for start in range(0, len(text_features), chunk_size)]
    gradients = tuple(sum(each) for each in zip(*(gradient for gradient, _ in parts), strict=True))
    return sum(value for _, value in parts), gradients


def in_chunks(
    inputs, size, *, starts=starts, of_chunk=chunk_loss, factor=1.0, before=None, after=None, value=None
):
    """Right where no option is given; each mistake changes one."""
    leaves = copies(*inputs)
    total = torch.zeros(())
    for start in starts(leaves[1], size):
        if before:
            before(leaves)
        loss = factor * of_chunk(*leaves, start, size)
        loss.backward()
        total = value(total, loss.detach()) if value else total + loss.detach()
    for leaf in leaves:
        leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    if after:
        after(leaves)
    return answer(total, leaves)


@mistake(
    CHUNKED,
    "You leave out the last chunk where it is smaller than the others: go on until all texts have had their turn.",
)
def last_chunk_left_out(*args):
    return in_chunks(args[:4], args[4], starts=lambda texts, size: range(0, len(texts) - size + 1, size))


@mistake(CHUNKED, "You go through the first chunk only.")
def first_chunk_only(*args):
    return in_chunks(args[:4], args[4], starts=lambda texts, size: [0])


@mistake(
    CHUNKED,
    "You divide each chunk's loss by the size of the chunk: divide by B, so that the chunks add up to the whole.",
)
def divided_by_chunk(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        loss = chunk_loss(images, texts, scale, bias, start, size)
        return loss * len(images) / len(texts[start : start + size])

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(
    CHUNKED,
    "You average over the chunks: their losses, each divided by B, add up to the whole.",
)
def mean_over_chunks(*args):
    return in_chunks(args[:4], args[4], factor=1 / len(starts(args[1], args[4])))


@mistake(CHUNKED, "You divided by B^2, the number of pairs: the sum is divided by B alone.")
def chunks_divided_by_all_pairs(*args):
    return in_chunks(args[:4], args[4], factor=1 / len(args[0]))


@mistake(CHUNKED, "You did not divide by B.")
def chunks_summed(*args):
    return in_chunks(args[:4], args[4], factor=len(args[0]))


def with_offset(offset):
    def of_chunk(images, texts, scale, bias, start, size):
        logits = logits_of(images, texts[start : start + size], scale, bias)
        return loss_of(logits, labels(logits, offset(start)))

    return of_chunk


@mistake(
    CHUNKED,
    "Every chunk takes its own diagonal for the right pairs: in a chunk that begins at text s, text j belongs "
    "to image s + j.",
)
def diagonal_of_each_chunk(*args):
    return in_chunks(args[:4], args[4], of_chunk=with_offset(lambda start: 0))


@mistake(
    CHUNKED,
    "Your chunks have no right pair but in the first one: the diagonal moves the other way (with a row for "
    "each image it is diagonal(-start)).",
)
def diagonal_moves_the_other_way(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        logits = logits_of(images, texts[start : start + size], scale, bias)
        z = torch.full_like(logits, -1.0)
        if start < logits.shape[1]:
            z.diagonal(start).fill_(1.0)
        return loss_of(logits, z)

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(
    CHUNKED,
    "You cut the images into chunks, too, and compare each chunk of images with its own texts only: every "
    "image meets every text.",
)
def blocks_on_the_diagonal(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        logits = logits_of(images[start : start + size], texts[start : start + size], scale, bias)
        return loss_of(logits) * len(logits) / len(images)

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(CHUNKED, "z is 0 for wrong pairs in your code, so that their logits do not count: it is -1 there.")
def chunks_with_labels_of_0_and_1(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        logits = logits_of(images, texts[start : start + size], scale, bias)
        return loss_of(logits, labels(logits, -start, wrong=0.0))

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(CHUNKED, "You left out the bias.")
def chunks_without_bias(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        return chunk_loss(images, texts, scale, 0 * bias, start, size)

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(
    CHUNKED,
    "Yours is a softmax over the texts of a chunk: SigLIP asks a yes-or-no question of each pair; this is why "
    "it can be cut.",
)
def softmax_of_each_chunk(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        chunk = texts[start : start + size]
        logits = logits_of(images, chunk, scale, bias)[start : start + size]
        return F.cross_entropy(logits, torch.arange(len(chunk)), reduction="sum") / len(images)

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(CHUNKED, "Your loss is that of the last chunk: add up the chunks' losses.")
def loss_of_the_last_chunk(*args):
    return in_chunks(args[:4], args[4], value=lambda total, loss: loss)


@mistake(CHUNKED, "The loss has the wrong sign, and so have all gradients.")
def chunks_negative(*args):
    return in_chunks(args[:4], args[4], factor=-1)


def forget(*positions):
    def before(leaves):
        for position in positions:
            leaves[position].grad = None

    return before


@mistake(
    CHUNKED,
    "The gradient of the images is that of the last chunk: every chunk of texts adds to every image's gradient.",
)
def images_overwritten(*args):
    return in_chunks(args[:4], args[4], before=forget(0))


@mistake(CHUNKED, "Only the last chunk's texts have a gradient: each chunk fills its own rows.")
def texts_overwritten(*args):
    return in_chunks(args[:4], args[4], before=forget(1))


@mistake(CHUNKED, "The gradients of scale and bias are those of the last chunk: add up all chunks'.")
def scale_and_bias_overwritten(*args):
    return in_chunks(args[:4], args[4], before=forget(2, 3))


@mistake(
    CHUNKED,
    "All gradients are those of the last chunk: add up all chunks' (in `.grad` they do by themselves).",
)
def all_overwritten(*args):
    return in_chunks(args[:4], args[4], before=forget(0, 1, 2, 3))


@mistake(CHUNKED, "The gradients of images and texts are in each other's place.")
def texts_first(*args):
    loss, (images, texts, scale, bias) = in_chunks(args[:4], args[4])
    return loss, (texts, images, scale, bias)


@mistake(CHUNKED, "The gradients of scale and bias are in each other's place.")
def bias_before_scale(*args):
    loss, (images, texts, scale, bias) = in_chunks(args[:4], args[4])
    return loss, (images, texts, bias, scale)


@mistake(CHUNKED, "The gradients of the features lack the scale: a logit is scale * image . text + bias.")
def features_without_scale(*args):
    loss, (images, texts, scale, bias) = in_chunks(args[:4], args[4])
    return loss, (images / args[2], texts / args[2], scale, bias)


@mistake(CHUNKED, "You returned the gradient by the scale's logarithm: the scale itself is the argument.")
def gradient_of_logarithm(*args):
    loss, (images, texts, scale, bias) = in_chunks(args[:4], args[4])
    return loss, (images, texts, scale * args[2], bias)


@mistake(CHUNKED, "The gradient of the scale is a sum over scaled similarities in your code: leave the scale and "
         "the bias out, as dlogit/dscale is the similarity alone.")  # fmt: skip
def logits_for_similarities(*args):
    loss, (images, texts, scale, bias) = in_chunks(args[:4], args[4])
    return loss, (images, texts, scale * args[2] + bias * args[3], bias)


@mistake(
    CHUNKED,
    "You normalise the features once more, and return gradients through that: the gradients are by the "
    "features as they come.",
)
def through_normalisation(*args):
    def of_chunk(images, texts, scale, bias, start, size):
        images, texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
        return chunk_loss(images, texts, scale, bias, start, size)

    return in_chunks(args[:4], args[4], of_chunk=of_chunk)


@mistake(
    CHUNKED,
    "You hold a whole B x B matrix, of logits or of labels: compute for each chunk what it needs, "
    "B x chunk_size, and let it go.",
)
def whole_matrix(*args):
    leaves = copies(*args[:4])
    loss = loss_of(logits_of(*leaves))
    loss.backward()
    return answer(loss.detach(), leaves)


@mistake(
    CHUNKED,
    "All chunks' graphs are alive until your one backward() at the end, and together they are as large as "
    "the B x B matrix: call backward() for each chunk.",
)
def one_backward_at_the_end(*args):
    leaves = copies(*args[:4])
    total = sum(chunk_loss(*leaves, start, args[4]) for start in starts(args[1], args[4]))
    total.backward()
    return answer(total.detach(), leaves)


@mistake(CHUNKED, "The loss that you return still hangs on the chunks' graphs: return it detached.")
def loss_not_detached(*args):
    leaves = copies(*args[:4])
    total = 0
    for start in starts(args[1], args[4]):
        loss = chunk_loss(*leaves, start, args[4])
        loss.backward()
        total = total + loss
    return answer(total, leaves)


@mistake(
    CHUNKED,
    "You call backward() on the arguments themselves, which adds to their `.grad` (and goes on into the towers "
    "behind them): work on detached copies.",
)
def backward_into_the_arguments(*args):
    inputs = [x if x.requires_grad else x.clone().requires_grad_() for x in args[:4]]
    for x in inputs:
        x.retain_grad()
    before = [None if x.grad is None else x.grad.clone() for x in inputs]
    total = 0
    for start in starts(args[1], args[4]):
        loss = chunk_loss(*inputs, start, args[4])
        loss.backward()
        total += loss.detach()
    return total, tuple(
        x.grad.clone() if b is None else x.grad - b for x, b in zip(inputs, before, strict=True)
    )


@mistake(
    CHUNKED,
    "You switch requires_grad on for the arguments themselves; they belong to the caller: do so on detached copies.",
)
def requires_grad_switched_on(*args):
    for x in args[:4]:
        x.requires_grad_()
    return in_chunks(args[:4], args[4])


@mistake(
    CHUNKED,
    "Your gradients hang on the graph of the arguments: compute by hand under torch.no_grad(), or on detached tensors.",
)
def gradients_not_detached(*args):
    loss, gradients = in_chunks(args[:4], args[4])
    return loss, tuple(gradient + 0 * x for gradient, x in zip(gradients, args[:4], strict=True))


@mistake(CHUNKED, "You returned the loss alone: its four gradients belong to the answer.")
def loss_alone(*args):
    return in_chunks(args[:4], args[4])[0]
