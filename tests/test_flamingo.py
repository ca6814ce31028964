"""Flamingo: a new model is the language model it is made of, and each token sees its own last image."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cs_vl.models.decoder import Decoder
from cs_vl.models.flamingo import Flamingo
from cs_vl.models.generate import generate, left_pad
from cs_vl.nn import ViT
from cs_vl.nn.gated_cross_attention import GatedCrossAttention, media_mask
from cs_vl.nn.resampler import PerceiverResampler

properties = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)

VOCAB, CONTEXT, IMAGE, IMAGES = 23, 24, 4, 3
# Texts with 3, 1, 0 and 2 images; the first begins with one, in the last they are side by side.
IDS = torch.tensor(
    [
        [IMAGE, 7, 8, IMAGE, 9, 10, IMAGE, 11],
        [12, 13, IMAGE, 14, 15, 16, 17, 18],
        [19, 20, 21, 22, 7, 8, 9, 10],
        [11, 12, 13, IMAGE, IMAGE, 14, 15, 16],
    ]
)


def pictures(batch: int = len(IDS), images: int = IMAGES, seed: int = 5) -> Tensor:
    return torch.rand(batch, images, 3, 8, 12, generator=torch.Generator().manual_seed(seed))


def make_flamingo(style: Any = "llama", opened: bool = True, **options: Any) -> Flamingo:
    """All weights large enough to matter; the gates open or as they are at first."""
    torch.manual_seed(0)
    visual = ViT(image_size=(8, 12), patch_size=4, dim=12, depth=2, heads=3, mlp_dim=16)
    lm = Decoder(vocab_size=VOCAB, context_length=CONTEXT, dim=20, depth=4, heads=2, style=style)
    model = Flamingo(
        visual,
        lm,
        **{
            "visual_dim": 12,
            "image_id": IMAGE,
            "heads": 2,
            "latents": 5,
            "resampler_depth": 2,
            "every": 2,
            **options,
        },
    )
    for name, p in model.named_parameters():
        if not name.endswith("_gate"):
            p.data += 0.2 * torch.randn_like(p)
        elif opened:
            p.data += 0.8
    return model.eval()


def write_without_cache(model: Flamingo, ids: Tensor, images: Tensor, new: int, real: Any = None) -> Tensor:
    """Greedy: the whole text is read again for each token; what is new sees what the prompt's end sees."""
    length, media = ids.shape[1], model.look(images)
    mask = media_mask(ids == IMAGE, images.shape[1])
    for _ in range(new):

        def look(i: int, x: Tensor, mask: Tensor = mask) -> Tensor:
            return model.gated[str(i)](x, media, mask) if str(i) in model.gated else x

        logits = model.lm(ids, real=real, before_block=look)[:, -1]
        ids = torch.cat([ids, logits.argmax(dim=-1, keepdim=True)], dim=1)
        mask = torch.cat([mask, mask[:, -1:]], dim=1)
        real = None if real is None else F.pad(real, (0, 1), value=True)
    return ids[:, length:]


# --- shut gates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["llama", "gpt2"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_new_flamingo_is_its_language_model_bit_for_bit(style, every):
    model = make_flamingo(style, opened=False, every=every)
    real = torch.arange(8) >= torch.tensor([0, 2, 3, 1])[:, None]
    for options in ({}, {"real": real}):
        assert torch.equal(model(IDS, pictures(), **options), model.lm(IDS, **options))
    written = model.generate(IDS, pictures(), max_new_tokens=5)
    assert torch.equal(written, generate(model.lm, IDS, max_new_tokens=5))


def test_it_learns_all_the_same():
    """At gates 0 only the gates have a gradient; a step later the resampler has one, too."""
    model = make_flamingo(opened=False)
    trained = dict(model.named_parameters())
    before = model(IDS, pictures())

    def step() -> set[str]:
        model.zero_grad()
        loss = F.cross_entropy(model(IDS, pictures())[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
        loss.backward()
        found = {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
        with torch.no_grad():
            for p in trained.values():
                p -= 0 if p.grad is None else 0.1 * p.grad
        return found

    assert step() == {name for name in trained if name.endswith("_gate")}
    assert step() == {name for name in trained if name.startswith(("resampler.", "gated."))}
    assert not torch.allclose(model(IDS, pictures()), before, atol=1e-3)


def test_only_the_resampler_and_the_gated_layers_train():
    model = make_flamingo()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in model.named_parameters() if n.startswith(("resampler.", "gated."))}
    assert {name.split(".")[1] for name in trained if name.startswith("gated.")} == {"0", "2"}
    kept = {n: p.detach().clone() for n, p in model.named_parameters()}
    model(IDS, pictures()).square().mean().backward()
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.1)
    optimizer.step()
    for name, p in model.named_parameters():
        assert torch.equal(p, kept[name]) == (name not in trained), name
        if name in trained:
            assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), name
        else:
            assert p.grad is None, name


# --- who sees what ---------------------------------------------------------------------------------------


def test_an_image_changes_nothing_before_it_appears_and_all_that_follows():
    """Bit for bit before; behind it, tokens of later images read it in the tokens in between."""
    model = make_flamingo()
    logits = model(IDS, pictures())
    for i in range(IMAGES):
        images = pictures()
        images[:, i] = pictures(seed=6)[:, i]
        changed = (model(IDS, images) != logits).any(dim=2)
        appeared = (IDS == IMAGE).cumsum(dim=1) > i
        assert torch.equal(changed, appeared)


@properties
@given(seeds)
def test_in_a_gated_layer_a_token_is_changed_by_its_last_image_alone(seed):
    generator = torch.Generator().manual_seed(seed)
    is_image = torch.rand(3, 10, generator=generator) < 0.3
    images = max(int(is_image.sum(dim=1).max()), 1)
    torch.manual_seed(0)
    layer = GatedCrossAttention(8, 2, media_dim=6)
    for gate in (layer.attn_gate, layer.mlp_gate):
        gate.data += 0.5
    x, media = torch.randn(3, 10, 8, generator=generator), torch.randn(3, images, 4, 6, generator=generator)
    mask = media_mask(is_image, images)
    output = layer(x, media, mask)
    assert output.isfinite().all()
    for i in range(images):
        other = media.clone()
        other[:, i] = torch.randn(3, 4, 6, generator=generator)
        changed = (layer(x, other, mask) != output).any(dim=2)
        assert torch.equal(changed, (is_image.cumsum(dim=1) == i + 1))


@properties
@given(seeds, st.integers(1, 4), st.integers(1, 9), st.integers(0, 4))
def test_media_mask_equals_a_loop(seed, batch, length, spare):
    is_image = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < 0.4
    images = int(is_image.sum(dim=1).max()) + spare
    mask = media_mask(is_image, images)
    assert mask.shape == (batch, length, images) and mask.dtype == torch.bool
    for b in range(batch):
        last = -1
        for i in range(length):
            last += bool(is_image[b, i])
            assert mask[b, i].nonzero().flatten().tolist() == ([last] if last >= 0 else [])


def test_images_that_pad_may_be_anything():
    model = make_flamingo()
    images, other = pictures(), pictures(seed=6)
    spare = torch.arange(IMAGES) >= (IDS == IMAGE).sum(dim=1, keepdim=True)
    assert spare.any()
    other[~spare] = images[~spare]
    assert torch.equal(model(IDS, images), model(IDS, other))
    more = torch.cat([images, pictures(images=2)], dim=1)
    torch.testing.assert_close(model(IDS, more), model(IDS, images))


def test_padding_on_the_left_changes_nothing():
    model = make_flamingo()
    texts = [IDS[0].tolist(), IDS[1, :5].tolist(), IDS[3, 2:].tolist()]
    images = pictures(3)
    ids, real = left_pad(texts, pad_id=0)
    together = model(ids, images, real=real)
    for i, text in enumerate(texts):
        alone = model(torch.tensor([text]), images[i : i + 1])
        torch.testing.assert_close(together[i, -len(text) :], alone[0], rtol=1e-4, atol=1e-5)


def test_no_image_at_all():
    """Attention gives 0, with images at hand or without; the gated layers' MLPs work on."""
    model = make_flamingo()
    ids = IDS[2:3]
    with_images = model(ids, pictures(1))
    assert torch.equal(with_images, model(ids, pictures(1, seed=6)))
    without = model(ids, pictures(1, images=0))
    torch.testing.assert_close(without, with_images)
    assert not torch.allclose(without, model.lm(ids), atol=1e-3)


def test_more_image_tokens_than_images_are_refused():
    with pytest.raises(ValueError, match="3 <image> tokens, but there are 2 images"):
        make_flamingo()(IDS, pictures(images=2))


# --- the parts in their places -----------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "class_token"), [(-2, True), (-1, False), (0, True)])
def test_what_the_resampler_reads(layer, class_token):
    model = make_flamingo(layer=layer, class_token=class_token)
    images = pictures(2)
    seen = model.look(images)
    assert seen.shape == (2, IMAGES, 5, 12)
    for b in range(2):
        for i in range(IMAGES):
            tokens = model.visual(images[b, i][None]).hidden_states[layer][:, 1 if class_token else 0 :]
            torch.testing.assert_close(seen[b, i], model.resampler(tokens)[0])


def test_gated_layers_stand_before_their_blocks():
    model = make_flamingo(every=3)
    assert list(model.gated) == ["0", "3"]
    media, mask = model.look(pictures()), media_mask(IDS == IMAGE, IMAGES)
    x, positions = model.lm.token_embed(IDS), torch.arange(IDS.shape[1])
    for i, block in enumerate(model.lm.blocks):
        if i % 3 == 0:
            x = model.gated[str(i)](x, media, mask)
        x = block(x, positions, None, None)
    torch.testing.assert_close(model(IDS, pictures()), model.lm.logits(model.lm.norm(x)))


@properties
@given(seeds, st.integers(1, 4), st.integers(1, 6), st.integers(1, 4))
def test_the_resampler_takes_any_number_of_tokens_in_any_order(seed, images, tokens, latents):
    torch.manual_seed(seed)
    resampler = PerceiverResampler(6, depth=2, heads=2, latents=latents)
    media = torch.randn(images, tokens, 6)
    output = resampler(media)
    assert output.shape == (images, latents, 6)
    torch.testing.assert_close(resampler(media[:, torch.randperm(tokens)]), output)
    torch.testing.assert_close(resampler(media[-1:]), output[-1:])


# --- writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_writing_with_a_cache_equals_reading_all_again(style):
    model = make_flamingo(style)
    images = pictures()
    written = model.generate(IDS, images, max_new_tokens=8)
    assert written.shape == (4, 8)
    assert torch.equal(written[:, 0], model(IDS, images)[:, -1].argmax(dim=-1))
    assert torch.equal(written, write_without_cache(model, IDS, images, 8))
    assert not torch.equal(written, model.generate(IDS, pictures(seed=6), max_new_tokens=8))


def test_writing_from_padded_prompts():
    model = make_flamingo()
    texts = [IDS[0].tolist(), IDS[1, :5].tolist(), [IMAGE]]
    images = pictures(3)
    ids, real = left_pad(texts, pad_id=0)
    written = model.generate(ids, images, real=real, max_new_tokens=6)
    assert torch.equal(written, write_without_cache(model, ids, images, 6, real))
    for i, text in enumerate(texts):
        alone = model.generate(torch.tensor([text]), images[i : i + 1], max_new_tokens=6)
        assert torch.equal(written[i : i + 1], alone)
