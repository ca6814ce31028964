"""Zero-shot classification: a text tower turns the names of classes into a classifier, no examples needed."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.data.bpe import Tokenizer
from cs_vl.exercise import exercise
from cs_vl.models.clip import CLIP


@exercise
def zero_shot_classify(
    image_features: Float[Tensor, "images dim"],
    class_embeddings: Float[Tensor, "classes dim"],
    scale: float | Float[Tensor, ""],
) -> Float[Tensor, "images classes"]:
    """How probable each class is, for each image   (Radford et al. 2021, sec. 3.1.2).

    The logit of a class is `scale` times its cosine with the image.

    Args:
        image_features, class_embeddings: each row of length 1 already, so that a dot product is a cosine.
        scale: what multiplies the cosines, 1 / temperature (not its logarithm); up to 100 in a trained CLIP,
            where exp(scale) is too large for float32.

    Returns:
        Probabilities in [0, 1]: each image's sum to 1 over the classes.
    """
    ### BEGIN SOLUTION
    return (scale * image_features @ class_embeddings.T).softmax(dim=1)
    ### END SOLUTION


@exercise
def prompt_ensemble(
    encode_text: Callable[[list[str]], Float[Tensor, "texts dim"]],
    names: Sequence[str],
    templates: Sequence[str],
) -> Float[Tensor, "classes dim"]:
    """One embedding a class, from all of its prompts   (Radford et al. 2021, sec. 3.1.4).

    A class's prompts are the templates, each with its name in: "a drawing of a {}." becomes "a drawing of a
    fox." (as `template.format(name)` does it).  Their embeddings are scaled to length 1, so that each prompt
    counts alike, then averaged over the templates, and the average is scaled to length 1 again.

    Args:
        encode_text: a list of texts -> their embeddings, a row a text, not yet of length 1.  May be called as
            often as you like, with one text or more.
        names: the classes.
        templates: texts with one `{}` each; one template at least.

    Returns:
        (classes, dim), in the order of `names`, each row of length 1.
    """
    ### BEGIN SOLUTION
    embeddings = []
    for template in templates:
        prompts = [template.format(name) for name in names]
        embeddings.append(F.normalize(encode_text(prompts)))
    return F.normalize(torch.stack(embeddings).mean(dim=0))  # of (templates, classes, dim)
    ### END SOLUTION


def topk_accuracy(
    probabilities: Float[Tensor, "images classes"], labels: Int[Tensor, " images"], k: int = 1
) -> float:
    """The share of images, in [0, 1], whose true class is among the k most probable.

    A class that ties with the true one counts as more probable, and so does NaN: a model that answers
    the same for all classes gets 0, not 1.

    Args:
        probabilities: or logits: only their order counts.
    """
    if not 1 <= k <= probabilities.shape[1]:
        raise ValueError(f"k should lie between 1 and the {probabilities.shape[1]} classes; got {k}")
    own = probabilities.gather(1, labels[:, None])
    place = (~(probabilities < own)).sum(dim=1)  # 1 where only the true class itself is not below it
    return (place <= k).float().mean().item()


def encode_images(
    model: CLIP, images: Float[Tensor, "images channels height width"], batch_size: int = 256
) -> Float[Tensor, "images embed_dim"]:
    """The features of many images, each of length 1, on the CPU.

    They are computed where the model is, some at a time, without gradients and with dropout off.
    """
    return _in_batches(
        model, lambda device, part: model.encode_image(images[part].to(device)), len(images), batch_size
    )


def encode_texts(
    model: CLIP,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    batch_size: int = 256,
    *,
    context_length: int | None = None,
) -> Float[Tensor, "texts embed_dim"]:
    """The features of many texts, each of length 1, on the CPU; computed as in `encode_images`.

    With its first two arguments given, `functools.partial(encode_texts, model, tokenizer)`, it is the
    `encode_text` of `prompt_ensemble`.

    Args:
        context_length: the most tokens that the text tower takes; longer texts are cut.  None: none are.
    """
    texts = list(texts)
    ids, lengths = tokenizer.batch(texts)
    if context_length is not None and ids.shape[1] > context_length:
        ids, lengths = tokenizer.batch(texts, context_length)
    return _in_batches(
        model,
        lambda device, part: model.encode_text(ids[part].to(device), lengths[part].to(device)),
        len(texts),
        batch_size,
    )


@torch.no_grad()
def _in_batches(
    model: nn.Module, encode: Callable[[torch.device, slice], Tensor], n: int, batch_size: int
) -> Tensor:
    """`encode` of 0 ... n - 1, some at a time; the model's mode is put back as found."""
    if n < 1:
        raise ValueError("there is nothing to encode: give one image or text at least")
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        parts = [encode(device, slice(i, i + batch_size)).cpu() for i in range(0, n, batch_size)]
    finally:
        model.train(training)
    return torch.cat(parts)
