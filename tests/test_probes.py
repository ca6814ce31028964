"""What is read out of frozen features, and what becomes of them when training goes on: probe, kNN, fine-tuning, LiT."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cs_vl.models.clip import CLIP
from cs_vl.nn.vit import ViT
from cs_vl.tasks.emoji_clip import clamp_scale, clip_loss
from cs_vl.tasks.finetune import ImageClassifier, finetune, wise_ft
from cs_vl.tasks.knn import knn_classify
from cs_vl.tasks.linear_probe import linear_probe, minimise
from cs_vl.tasks.lit import LinearHeads, LockedTower, feature_batches
from cs_vl.tasks.zero_shot import encode_images, topk_accuracy, zero_shot_classify
from cs_vl.train import fit

few = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def unit(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def blobs(seed: int, images: int, classes: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    means = torch.randn(classes, dim, generator=g, dtype=torch.double)
    return means[labels] + torch.randn(images, dim, generator=g, dtype=torch.double), labels


# ---- the linear probe


def objective(weight, bias, features, labels, l2):
    return F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()


@settings(max_examples=12, deadline=None)
@given(seeds, st.integers(2, 5), st.integers(1, 6), st.sampled_from([1e-3, 1e-2, 0.1, 1.0, 30.0]))
def test_the_probe_is_at_the_minimum(seed, classes, dim, l2):
    features, labels = blobs(seed, 8 * classes, classes, dim)
    weight, bias = (x.requires_grad_() for x in linear_probe(features, labels, classes, l2))
    loss = objective(weight, bias, features, labels, l2)
    for gradient in torch.autograd.grad(loss, [weight, bias]):
        assert gradient.abs().max() < 1e-7  # the loss is convex: there is no other minimum
    assert weight.sum(dim=0).abs().max() < 1e-6  # a direction that changes no probability is not used


@settings(max_examples=8, deadline=None)
@given(seeds, st.sampled_from([1e-2, 0.3]))
def test_the_probe_is_newtons(seed, l2):
    features, labels = blobs(seed, 30, 3, 4)
    flat = torch.zeros(3 * 5, dtype=torch.double)

    def loss(flat):
        weight, bias = flat[:12].view(3, 4), flat[12:]
        return objective(weight, bias, features, labels, l2)

    for _ in range(15):
        step = torch.linalg.pinv(torch.func.hessian(loss)(flat), hermitian=True) @ torch.func.grad(loss)(flat)
        shorter = 1.0
        while loss(flat - shorter * step) > loss(flat) and shorter > 1e-6:
            shorter /= 2
        flat = flat - shorter * step
    weight, bias = linear_probe(features, labels, 3, l2)
    assert torch.allclose(weight, flat[:12].view(3, 4), atol=1e-6)
    assert torch.allclose(bias - bias.mean(), flat[12:] - flat[12:].mean(), atol=1e-6)


def test_the_probe_keeps_dtype_and_needs_no_gradient():
    features, labels = blobs(0, 20, 4, 3)
    weight, bias = linear_probe(features.float().requires_grad_(), labels, 4, 0.1)
    assert (weight.shape, bias.shape) == ((4, 3), (4,))
    assert weight.dtype == bias.dtype == torch.float32 and not weight.requires_grad and not bias.requires_grad


def test_an_offset_moves_the_bias_alone():
    features, labels = blobs(1, 20, 4, 3)
    weight, bias = linear_probe(features, labels, 4, 0.1)
    moved, other = linear_probe(features + 2, labels, 4, 0.1)
    assert torch.allclose(moved, weight, atol=1e-6)
    shift = other - (bias - 2 * weight.sum(dim=1))
    assert torch.allclose(shift, shift.mean().expand(4), atol=1e-6)


def test_a_class_without_images_does_not_stop_the_probe():
    features, labels = blobs(2, 30, 3, 4)
    weight, bias = linear_probe(features, labels, 5, 0.1)
    p = (features @ weight.T + bias).softmax(dim=1)
    assert p[:, 3:].max() < 1e-6
    few_classes = linear_probe(features, labels, 3, 0.1)
    assert torch.allclose(p[:, :3], (features @ few_classes[0].T + few_classes[1]).softmax(dim=1), atol=1e-4)


def test_a_loss_without_a_minimum_says_so():
    x = torch.ones(3, dtype=torch.double, requires_grad=True)
    with pytest.raises(RuntimeError, match="no minimum"):
        minimise(lambda: -x.square().sum(), [x])
    with pytest.raises(RuntimeError, match="finite"):
        minimise(lambda: math.nan * x.sum(), [x])


@few
@given(seeds, st.integers(1, 8))
def test_minimise_solves_least_squares(seed, dim):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(3 * dim, dim, generator=g, dtype=torch.double)
    b = torch.randn(3 * dim, generator=g, dtype=torch.double)
    x = torch.zeros(dim, dtype=torch.double, requires_grad=True)
    minimise(lambda: (a @ x - b).square().mean(), [x])
    assert torch.allclose(x, torch.linalg.lstsq(a, b[:, None]).solution[:, 0], atol=1e-6)


# ---- nearest neighbours


@few
@given(
    seeds,
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([0.07, 0.3, 1.0]),
    st.data(),
)
def test_knn_is_the_loop(seed, images, queries, classes, temperature, data):
    g = torch.Generator().manual_seed(seed)
    features, asked = unit(g, images, 3), unit(g, queries, 3)
    labels = torch.randint(classes, (images,), generator=g)
    k = data.draw(st.integers(1, images))
    expected = torch.zeros(queries, classes)
    for q, query in enumerate(asked):
        cosines = {i: float(query @ image) for i, image in enumerate(features)}
        for i in sorted(cosines, key=lambda i: -cosines[i])[:k]:
            expected[q, labels[i]] += math.exp(cosines[i] / temperature)
    scores = knn_classify(features, labels, asked, k, classes, temperature)
    assert torch.allclose(scores, expected, rtol=1e-4)


@few
@given(seeds, st.integers(1, 12))
def test_with_every_image_a_neighbour_knn_is_a_kernel_classifier(seed, images):
    g = torch.Generator().manual_seed(seed)
    features, queries = unit(g, images, 3), unit(g, 4, 3)
    labels = torch.randint(5, (images,), generator=g)
    expected = (queries @ features.T / 0.2).exp() @ F.one_hot(labels, 5).float()
    assert torch.allclose(knn_classify(features, labels, queries, images, 5, 0.2), expected, rtol=1e-4)


def test_the_nearest_neighbour_of_a_known_image_is_itself():
    g = torch.Generator().manual_seed(0)
    features, labels = unit(g, 20, 4), torch.randint(6, (20,), generator=g)
    scores = knn_classify(features, labels, features, 1, 6, 0.07)
    assert torch.equal(scores.argmax(dim=1), labels)
    assert torch.allclose(scores.sum(dim=1), torch.tensor(1 / 0.07).exp(), rtol=1e-4)


# ---- fine-tuning


def small_clip() -> CLIP:
    torch.manual_seed(0)
    visual = ViT(image_size=8, patch_size=4, dim=16, depth=1, heads=2)
    return CLIP(visual=visual, text=nn.Identity(), visual_dim=16, text_dim=3, embed_dim=6)


def stripes(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose left, middle or right third is bright."""
    g = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (n,), generator=g)
    images = 0.3 * torch.rand(n, 3, 8, 8, generator=g)
    for i, label in enumerate(labels.tolist()):
        images[i, :, :, 3 * label : 3 * label + 2] += 0.6
    return images, labels


def test_fine_tuning_starts_as_the_zero_shot_classifier():
    clip, (images, _) = small_clip(), stripes(5)
    class_embeddings = unit(torch.Generator().manual_seed(0), 3, 6)
    logits = ImageClassifier(clip, class_embeddings)(images)
    scale = clip.logit_scale.exp()
    expected = zero_shot_classify(encode_images(clip, images), class_embeddings, scale)
    assert torch.allclose(logits.softmax(dim=1), expected, atol=1e-6)


def test_fine_tuning_learns_and_leaves_clip_as_it_is():
    clip, (images, labels) = small_clip(), stripes(96)
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    class_embeddings = unit(torch.Generator().manual_seed(0), 3, 6)
    seen = []

    def augment(images, generator):
        seen.append(len(images))
        return images + 0.01 * torch.rand(images.shape, generator=generator)

    options = {"steps": 60, "lr": 3e-3, "batch_size": 32, "device": "cpu", "progress": False}
    start = ImageClassifier(clip, class_embeddings)
    tuned = finetune(clip, images, labels, class_embeddings, augment=augment, **options)
    assert seen == [32] * 60
    with torch.no_grad():
        assert topk_accuracy(tuned(images), labels) > 0.9 > topk_accuracy(start(images), labels)
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())

    between = [wise_ft(start, tuned, alpha) for alpha in (0.0, 0.5, 1.0)]
    for name, (a, b, c) in ((n, [m.state_dict()[n] for m in between]) for n in start.state_dict()):
        assert torch.allclose(a, start.state_dict()[name]) and torch.allclose(c, tuned.state_dict()[name])
        assert torch.allclose(b, (a + c) / 2, atol=1e-6)


def test_fine_tuning_wants_a_label_for_each_image():
    images, labels = stripes(4)
    with pytest.raises(ValueError, match="4 images and 3 labels"):
        finetune(small_clip(), images, labels[:3], torch.eye(3, 6), steps=1)


# ---- locked towers


def test_locked_towers_learn_nothing_and_heads_do():
    g = torch.Generator().manual_seed(0)
    concepts, per_concept = 40, 3
    hidden = torch.randn(concepts, 4, generator=g)
    texts = hidden @ torch.randn(4, 9, generator=g)
    concept = torch.arange(concepts).repeat(per_concept)
    images = hidden[concept] @ torch.randn(4, 7, generator=g) + 0.1 * torch.randn(
        len(concept), 7, generator=g
    )
    torch.manual_seed(0)
    model = LinearHeads(image_dim=7, text_dim=9, embed_dim=5)
    assert isinstance(model.visual, LockedTower) and not [
        *model.visual.parameters(),
        *model.text.parameters(),
    ]

    learnt = concept < 30  # the others are for later
    batches = feature_batches(images[learnt], concept[learnt], texts, 24)
    batch = batches(0, torch.Generator().manual_seed(0))
    assert len(batch.concept.unique()) == len(batch.concept) == 24
    assert torch.equal(batch.ids, texts[batch.concept])

    fit(model, clip_loss, batches, steps=200, lr=1e-2, after_step=clamp_scale, device="cpu", progress=False)
    assert 1 <= model.logit_scale.exp() <= 100.001
    with torch.no_grad():
        unseen = texts[30:]
        cosines = encode_images(model, images[~learnt]) @ model.encode_text(unseen).T
    assert topk_accuracy(cosines, concept[~learnt] - 30) > 0.8
