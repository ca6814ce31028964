"""LLaVA: what it reads, what it writes, and what of it learns."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cs_vl.data.chat import answer_labels
from cs_vl.losses.next_token import IGNORED, next_token_loss
from cs_vl.models import Decoder, LLaVA, Projector, generate, left_pad, set_phase, splice_images
from cs_vl.nn import ViT

VOCAB, IMAGE, PAD, PATCHES = 23, 7, 0, 6


def make_llava(*, mlp: bool = True, pooled: bool = False, style: str = "llama", layer: int = -2) -> LLaVA:
    """In float64; no parameter is where it started."""
    torch.manual_seed(0)
    visual = ViT(image_size=(8, 12), patch_size=4, dim=12, depth=3, heads=3, mlp_dim=16)
    projector = (
        Projector(12, 8, mlp=mlp, layer=-1, class_token=False)
        if pooled
        else Projector(12, 8, mlp=mlp, layer=layer)
    )
    lm = Decoder(vocab_size=VOCAB, context_length=40, dim=8, depth=2, heads=2, kv_heads=1, style=style)
    model = LLaVA(visual, projector, lm, image_id=IMAGE, pooled=pooled)
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model.double()


def pictures(number: int) -> torch.Tensor:
    return torch.rand(number, 3, 8, 12, dtype=torch.double)


def texts(*places: tuple[int, ...], length: int = 6) -> torch.Tensor:
    """A text for each argument, which says where its images are."""
    ids = torch.randint(IMAGE + 1, VOCAB, (len(places), length))
    for row, at in enumerate(places):
        ids[row, list(at)] = IMAGE
    return ids


# --- images among words --------------------------------------------------------------------------------


@st.composite
def splices(draw):
    """Texts with the same number of images each, wherever they are."""
    batch, length, patches = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    images = draw(st.integers(0, length))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    ids = torch.randint(IMAGE + 1, VOCAB, (batch, length))
    for row in ids:
        row[torch.randperm(length)[:images]] = IMAGE
    labels = torch.where(torch.rand(batch, length) < 0.5, ids, IGNORED)
    return ids, torch.randn(batch, length, 3), torch.randn(batch * images, patches, 3), labels


@settings(max_examples=80, deadline=None)
@given(splices())
def test_splicing_equals_reading_aloud(case):
    ids, text_embeds, features, labels = case
    images = iter(features)
    read, learned = [], []
    for row, words, their_labels in zip(ids.tolist(), text_embeds, labels.tolist(), strict=True):
        embeds, new_labels = [], []
        for token, word, label in zip(row, words, their_labels, strict=True):
            patches = list(next(images)) if token == IMAGE else [word]
            embeds += patches
            new_labels += [IGNORED] * len(patches) if token == IMAGE else [label]
        read.append(torch.stack(embeds))
        learned.append(new_labels)
    embeds, spliced = splice_images(ids, text_embeds, features, IMAGE, labels)
    assert torch.equal(embeds, torch.stack(read)) and spliced.tolist() == learned
    assert spliced.dtype == labels.dtype
    again, none = splice_images(ids, text_embeds, features, IMAGE)
    assert torch.equal(again, embeds) and none is None


@settings(max_examples=30, deadline=None)
@given(splices())
def test_every_word_and_every_patch_is_there_once(case):
    """By gradients of the sum: one for each, and exactly zero where <image> stood."""
    ids, text_embeds, features, _ = case
    text_embeds.requires_grad_()
    features.requires_grad_()
    splice_images(ids, text_embeds, features, IMAGE)[0].sum().backward()
    assert torch.equal(text_embeds.grad, (ids != IMAGE)[..., None].expand_as(text_embeds).float())
    assert torch.equal(features.grad, torch.ones_like(features))


def test_what_does_not_fit_is_said():
    embeds, features = torch.randn(2, 6, 3), torch.randn(2, PATCHES, 3)
    with pytest.raises(ValueError, match=r"same number of <image> tokens.* \[1, 2\] tokens .* 2 images"):
        splice_images(texts((0,), (1, 2)), embeds, features, IMAGE)
    with pytest.raises(ValueError, match=r"\[2, 2\] tokens in the texts and 2 images"):
        splice_images(texts((0, 3), (1, 2)), embeds, features, IMAGE)
    with pytest.raises(ValueError, match=r"\[0, 0\] tokens in the texts and 2 images"):
        splice_images(texts((), ()), embeds, features, IMAGE)


def test_features_take_the_type_of_the_words():
    ids = texts((1,), (4,))
    embeds, _ = splice_images(ids, torch.randn(2, 6, 3), torch.randn(2, 2, 3).bfloat16(), IMAGE)
    assert embeds.dtype == torch.float32


# --- the projector -------------------------------------------------------------------------------------


def test_the_projector_is_linear_or_an_mlp():
    states = tuple(torch.randn(2, 5, 4) for _ in range(3))
    linear, mlp = Projector(4, 3), Projector(4, 3, mlp=True)
    assert linear.fc2 is None
    torch.testing.assert_close(linear(states), linear.fc1(states[1][:, 1:]))
    torch.testing.assert_close(mlp(states), mlp.fc2(F.gelu(mlp.fc1(states[1][:, 1:]))))
    twice = tuple(2 * x for x in states)
    torch.testing.assert_close(linear(twice) - linear.fc1.bias, 2 * (linear(states) - linear.fc1.bias))


@pytest.mark.parametrize("layer", [-4, -3, -2, -1])
def test_nothing_behind_the_layer_matters(layer):
    """The features move with every block up to the layer, and with nothing after it."""
    model, x = make_llava(layer=layer), pictures(2)
    before = model.encode_images(x)
    assert before.shape == (2, PATCHES, 8)
    for i, block in enumerate(model.visual.blocks):
        block.mlp.fc2.bias.data += 1
        moved = not torch.equal(model.encode_images(x), before)
        assert moved == (i < 4 + layer)
        block.mlp.fc2.bias.data -= 1
    model.visual.norm.weight.data += 1
    assert torch.equal(model.encode_images(x), before)


# --- reading -------------------------------------------------------------------------------------------


def test_text_alone_is_the_language_model():
    model, ids = make_llava(), texts((), ())
    logits, labels = model(ids)
    assert torch.equal(logits, model.lm(ids)) and labels is None
    assert model(ids, labels=ids).labels is ids


def test_features_stand_for_images():
    model, ids, x = make_llava(), texts((0,), (5,)), pictures(2)
    expected = model(ids, x, ids)
    got = model(ids, labels=ids, features=model.encode_images(x))
    assert torch.equal(got.logits, expected.logits) and torch.equal(got.labels, expected.labels)


def test_pooled_is_one_token_an_image():
    model, ids, x = make_llava(pooled=True), texts((1,), (4,)), pictures(2)
    vector = model.projector.fc2(F.gelu(model.projector.fc1(model.visual(x).pooled)))
    assert model.encode_images(x).shape == (2, 1, 8)
    embeds = model.lm.token_embed(ids)
    embeds[[0, 1], [1, 4]] = vector
    torch.testing.assert_close(model(ids, x).logits, model.lm(embeds=embeds))


def test_an_image_is_seen_from_its_place_on():
    model, ids, x = make_llava(), texts((1, 3)), pictures(2)
    before = model(ids, x).logits
    for image, place in ((0, 1), (1, 3 + PATCHES - 1)):
        other = x.clone()
        other[image] = torch.rand_like(x[image])
        moved = (model(ids, other).logits - before).abs().amax(dim=-1)[0]
        assert (moved[:place] == 0).all() and (moved[place:] > 1e-6).all()


def test_each_text_sees_its_own_images():
    model, ids, x = make_llava(), texts((0, 4), (2, 3), (1, 5)), pictures(6)
    together = model(ids, x).logits
    alone = [model(ids[i : i + 1], x[2 * i : 2 * i + 2]).logits for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert (model(ids, x.flip(0)).logits - together).abs().max() > 1e-2


def test_padding_behind_changes_nothing():
    model, ids, x = make_llava(), texts((0,), (2,)), pictures(2)
    padded = F.pad(ids, (0, 3), value=PAD)
    torch.testing.assert_close(model(padded, x).logits[:, :-3], model(ids, x).logits)


def test_a_text_that_is_too_long_with_its_images():
    with pytest.raises(ValueError, match="context_length is 40 tokens; got 41"):
        make_llava()(texts((0,), length=36), pictures(1))


# --- labels and the loss -------------------------------------------------------------------------------


def test_labels_of_batches_are_those_of_their_rows():
    assistant, end = 1, 2
    ids = torch.randint(0, 5, (2, 3, 9))
    labels = answer_labels(ids, assistant, end)
    rows = [answer_labels(row, assistant, end) for row in ids.flatten(0, 1)]
    assert torch.equal(labels.flatten(0, 1), torch.stack(rows))
    assert (labels == IGNORED).any() and (labels != IGNORED).any()


def test_the_loss_is_that_of_the_answers_tokens():
    """Told with probabilities, token by token: what stands before each is text and image."""
    model, x = make_llava(), pictures(2)
    assistant, end = 1, 2
    ids = torch.tensor([[5, IMAGE, 9, assistant, 11, 12, end], [IMAGE, 8, assistant, 13, end, PAD, PAD]])
    loss = next_token_loss(*model(ids, x, answer_labels(ids, assistant, end)))
    each = []
    for row, first, last in ((0, 4, 6), (1, 3, 4)):
        for i in range(first, last + 1):
            logits = model(ids[row : row + 1, :i], x[row : row + 1]).logits
            each.append(-logits[0, -1].log_softmax(0)[ids[row, i]])
    torch.testing.assert_close(loss, torch.stack(each).mean().float())


# --- writing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_padding_in_front_changes_no_answer(style):
    """Prompts of four lengths, with an image each in other places, at once and one by one."""
    model = make_llava(style=style)
    prompts = [texts((at,), length=n)[0].tolist() for at, n in ((0, 1), (2, 5), (6, 7), (0, 4))]
    x = pictures(4)
    ids, real = left_pad(prompts, PAD)
    together = model.generate(ids, x, real=real, max_new_tokens=8)
    assert together.shape == (4, 8)
    for i, prompt in enumerate(prompts):
        alone = model.generate(torch.tensor([prompt]), x[i : i + 1], max_new_tokens=8)
        assert alone[0].tolist() == together[i].tolist()
    assert len({tuple(row) for row in together.tolist()}) > 1


def test_writing_is_reading_again_and_again():
    """The cache changes nothing: each new token is the likeliest after all before it."""
    model, ids, x = make_llava(), texts((1, 3), (0, 5)), pictures(4)
    written = model.generate(ids, x, max_new_tokens=7)
    for _ in range(7):
        likeliest = model(ids, x).logits[:, -1].argmax(dim=-1)
        ids = torch.cat([ids, likeliest[:, None]], dim=1)
    assert written.tolist() == ids[:, -7:].tolist()


def test_writing_without_images():
    model = make_llava()
    ids, real = left_pad([[3, 4, 5], [9]], PAD)
    expected = generate(model.lm, ids, real=real, max_new_tokens=6)
    assert model.generate(ids, real=real, max_new_tokens=6).tolist() == expected.tolist()


def test_writing_ends_at_the_end():
    model, ids, x = make_llava(), texts((0,)), pictures(1)
    free = model.generate(ids, x, max_new_tokens=9)[0].tolist()
    end = free[4]
    stopped = model.generate(ids, x, max_new_tokens=9, end_id=end)[0].tolist()
    assert stopped == free[: free.index(end) + 1]


# --- what learns ---------------------------------------------------------------------------------------


def train_one_step(model: LLaVA, phase: int) -> dict[str, torch.Tensor]:
    """{name: how far it moved}."""
    set_phase(model, phase)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    optimizer.zero_grad()
    ids = texts((0,), (3,))
    next_token_loss(*model(ids, pictures(2), ids)).backward()
    optimizer.step()
    return {name: (p - before[name]).abs().max() for name, p in model.named_parameters()}


@pytest.mark.parametrize(("phase", "learning"), [(1, ["projector"]), (2, ["projector", "lm"])])
@pytest.mark.parametrize("mlp", [False, True])
def test_a_phase_moves_its_parts_and_nothing_else(phase, learning, mlp):
    model = make_llava(mlp=mlp)
    model.lm.token_embed.requires_grad_(False)  # whatever was frozen before
    moved = train_one_step(model, phase)
    for name, p in model.named_parameters():
        learns = name.split(".")[0] in learning
        assert p.requires_grad == learns
        assert (p.grad is not None) == learns == bool(moved[name] > 0), name


def test_phases_can_follow_each_other():
    model = make_llava()
    for phase in (2, 1, 2, 1):
        moved = train_one_step(model, phase)
        assert (moved["lm.norm.weight"] > 0) == (phase == 2)
        assert moved["projector.fc1.weight"] > 0 and moved["visual.norm.weight"] == 0


def test_the_projector_learns_through_a_frozen_language_model():
    """Phase 1's gradient equals phase 2's: freezing changes what is kept, not what is computed."""
    gradients = []
    for phase in (1, 2):
        model = make_llava()
        torch.manual_seed(1)
        train_one_step(model, phase)
        gradients.append(model.projector.fc1.weight.grad)
    assert torch.equal(*gradients) and gradients[0].abs().max() > 1e-4


def test_the_tower_keeps_nothing_for_a_gradient():
    model = make_llava()
    assert all(p.requires_grad for p in model.visual.parameters())
    assert not any(x.requires_grad for x in model.look(pictures(1)))
    assert model.encode_images(pictures(1)).requires_grad


@pytest.mark.parametrize("phase", [0, 3, "1", None])
def test_there_are_two_phases(phase):
    model = make_llava()
    with pytest.raises(ValueError, match="phase 1 and phase 2; got"):
        set_phase(model, phase)
    assert all(p.requires_grad for p in model.parameters())
