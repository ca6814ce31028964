"""Zero-shot classification: what must hold of probabilities, ensembles, accuracy and encoding in batches."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cs_vl.checks.a2_clip.zero_shot import toy_encoder
from cs_vl.data.bpe import Tokenizer
from cs_vl.models.clip import CLIP
from cs_vl.nn.text import TextTransformer
from cs_vl.nn.vit import ViT
from cs_vl.tasks.zero_shot import (
    encode_images,
    encode_texts,
    prompt_ensemble,
    topk_accuracy,
    zero_shot_classify,
)

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)
texts = st.text(min_size=1, max_size=8)
name_lists = st.lists(texts, min_size=1, max_size=4, unique=True)
template_lists = st.lists(st.sampled_from(["a {}.", "{}", "the {} here", "{}!"]), min_size=1, unique=True)


def unit(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.double), dim=-1)


# ---- probabilities


@few
@given(seeds, sizes, sizes, st.floats(0.1, 100))
def test_probabilities(seed, images, classes, scale):
    g = torch.Generator().manual_seed(seed)
    image_features, class_embeddings = unit(g, images, 5), unit(g, classes, 5)
    p = zero_shot_classify(image_features, class_embeddings, scale)
    assert p.shape == (images, classes)
    assert torch.allclose(p.sum(dim=1), torch.ones(images, dtype=p.dtype))
    assert torch.equal(p.argmax(dim=1), (image_features @ class_embeddings.T).argmax(dim=1))
    # A class in another place has the same probability, and an image among others, too.
    order = torch.randperm(classes, generator=g)
    assert torch.allclose(zero_shot_classify(image_features, class_embeddings[order], scale), p[:, order])
    assert torch.allclose(zero_shot_classify(image_features[-1:], class_embeddings, scale), p[-1:])
    # The odds of two classes are exp(scale * the difference of their cosines).
    odds = (p[:, 0] / p[:, -1]).log()
    assert torch.allclose(
        odds, scale * image_features @ (class_embeddings[0] - class_embeddings[-1]), atol=1e-6
    )


def test_clips_largest_scale_does_not_overflow():
    class_embeddings = torch.eye(3)
    p = zero_shot_classify(class_embeddings, class_embeddings, torch.tensor(100.0))
    assert torch.allclose(p, torch.eye(3))


# ---- ensembles


@few
@given(seeds, name_lists)
def test_an_ensemble_of_one_template_is_the_prompt_itself(seed, names):
    encode_text = toy_encoder(seed)
    expected = F.normalize(encode_text([f"a {name}." for name in names]))
    assert torch.allclose(prompt_ensemble(encode_text, names, ["a {}."]), expected, atol=1e-6)


@few
@given(seeds, name_lists, template_lists, st.randoms())
def test_an_ensemble_does_not_depend_on_the_order_of_templates(seed, names, templates, random):
    encode_text = toy_encoder(seed)
    embeddings = prompt_ensemble(encode_text, names, templates)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(names)))
    shuffled = random.sample(templates, len(templates))
    assert torch.allclose(prompt_ensemble(encode_text, names, shuffled), embeddings, atol=1e-5)
    # Nor on how long (L2) a prompt's embedding is, nor on which other classes there are.
    longer = prompt_ensemble(lambda prompts: 3 * encode_text(prompts), names, templates)
    assert torch.allclose(longer, embeddings, atol=1e-5)
    assert torch.allclose(prompt_ensemble(encode_text, names[-1:], templates), embeddings[-1:], atol=1e-5)


def test_names_with_braces_are_names():
    encode_text = toy_encoder(0)
    expected = F.normalize(encode_text(["a {} {x}."]))
    assert torch.allclose(prompt_ensemble(encode_text, ["{} {x}"], ["a {}."]), expected)


# ---- accuracy


@few
@given(seeds, sizes, sizes)
def test_topk_accuracy_is_that_of_topk_and_of_a_loop(seed, images, classes):
    g = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(images, classes, generator=g), torch.randint(classes, (images,), generator=g)
    accuracies = []
    for k in range(1, classes + 1):
        by_topk = (scores.topk(k, dim=1).indices == labels[:, None]).any(dim=1).float().mean().item()
        by_loop = sum(
            sum(float(other) > float(row[label]) for other in row) < k
            for row, label in zip(scores, labels.tolist(), strict=True)
        )
        accuracies.append(topk_accuracy(scores, labels, k))
        assert accuracies[-1] == pytest.approx(by_topk) == pytest.approx(by_loop / images)
    assert accuracies == sorted(accuracies) and accuracies[-1] == 1


def test_who_answers_alike_for_all_classes_knows_nothing():
    labels = torch.tensor([0, 1, 2, 0])
    for scores in (torch.zeros(4, 3), torch.full((4, 3), torch.nan)):
        assert topk_accuracy(scores, labels) == topk_accuracy(scores, labels, 2) == 0
    # Two classes at the top: it is not the first, but it is among the first two.
    tied = torch.tensor([[1.0, 1.0, 0.0]])
    assert [topk_accuracy(tied, torch.tensor([1]), k) for k in (1, 2)] == [0, 1]
    for k in (0, 4):
        with pytest.raises(ValueError, match="between 1 and the 3 classes"):
            topk_accuracy(torch.zeros(4, 3), labels, k)


# ---- encoding


def small_clip() -> tuple[CLIP, Tokenizer]:
    tokenizer = Tokenizer.train("a red fox and a blue bird", 280)
    torch.manual_seed(0)
    visual = ViT(image_size=8, patch_size=4, dim=12, depth=1, heads=2)
    text = TextTransformer(
        vocab_size=tokenizer.vocab_size,
        context_length=12,
        dim=10,
        depth=1,
        heads=2,
        causal=False,
        pool="mean",
    )
    model = CLIP(visual=visual, text=text, visual_dim=12, text_dim=10, embed_dim=5)
    model.visual.norm = nn.Sequential(model.visual.norm, nn.Dropout(0.5))
    return model, tokenizer


def test_encoding_in_batches_changes_nothing():
    model, tokenizer = small_clip()
    model.train()
    images = torch.rand(5, 3, 8, 8)
    features = encode_images(model, images, batch_size=2)
    assert model.training and not features.requires_grad
    assert torch.allclose(features, encode_images(model, images), atol=1e-6)
    assert torch.allclose(features.norm(dim=1), torch.ones(5))
    model.eval()
    assert torch.allclose(features, model.encode_image(images), atol=1e-6)

    texts = ["fox", "a red fox", "bird"]
    embeddings = encode_texts(model, tokenizer, texts, batch_size=2)
    alone = torch.cat([encode_texts(model, tokenizer, [text]) for text in texts])
    assert torch.allclose(embeddings, alone, atol=1e-6)
    assert not model.training
    classes = prompt_ensemble(partial(encode_texts, model, tokenizer), ["fox", "bird"], ["{}", "a {}"])
    assert classes.shape == (2, 5)


def test_long_texts_are_cut_when_asked_for():
    model, tokenizer = small_clip()
    long = "a fox, a fox, a fox, a fox and many birds"
    with pytest.raises(ValueError, match="context_length"):
        encode_texts(model, tokenizer, [long])
    cut = encode_texts(model, tokenizer, [long, "fox"], context_length=12)
    assert torch.allclose(cut[1:], encode_texts(model, tokenizer, ["fox"]), atol=1e-6)


def test_there_must_be_something_to_encode():
    model, tokenizer = small_clip()
    with pytest.raises(ValueError, match="nothing to encode"):
        encode_texts(model, tokenizer, [])
    with pytest.raises(ValueError, match="nothing to encode"):
        encode_images(model, torch.zeros(0, 3, 8, 8))


def test_dropout_is_off_and_put_back_after_an_error():
    model, _ = small_clip()
    model.train()
    with pytest.raises(RuntimeError):
        encode_images(model, torch.zeros(2, 7, 8, 8))
    assert model.training
