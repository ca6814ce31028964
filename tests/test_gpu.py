"""On a GPU, where there is one: what the CPU computes, and training that stays where it is."""

import pytest
import torch

from cs_vl.data.emoji import load_emoji
from cs_vl.data.emoji_captions import CaptionTable, load_tokenizer
from cs_vl.data.part_scenes import make_part_scenes
from cs_vl.losses.info_nce import info_nce
from cs_vl.losses.siglip import siglip_loss
from cs_vl.losses.siglip_chunked import siglip_chunked
from cs_vl.nn.vit import ViT
from cs_vl.tasks.caption_prediction import (
    captioner_answers,
    make_emoji_captioner,
    make_word_predictor,
    word_answers,
)
from cs_vl.tasks.emoji_clip import (
    clamp_scale,
    clip_answers,
    clip_loss,
    emoji_batches,
    make_emoji_clip,
    training_pictures,
)
from cs_vl.tasks.knn import knn_classify
from cs_vl.tasks.sam_models import make_scene_sam
from cs_vl.tasks.sam_training import draw_targets, sam_loss
from cs_vl.train import device_name, fit, pick_device, to_device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


@pytest.fixture(autouse=True)
def exact():
    """No TF32, which keeps ten bits of each factor only."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_the_gpu_is_picked_and_named():
    assert pick_device().type == "cuda"
    assert device_name(pick_device()) == torch.cuda.get_device_name()


@pytest.mark.parametrize("tower", ["vit", "cnn"])
def test_clip_gives_the_same_loss_and_gradients(tower):
    emoji, tokenizer = load_emoji(), load_tokenizer()
    batch = emoji_batches(training_pictures(emoji), CaptionTable(emoji, tokenizer), 16)(0, torch.Generator())
    gradients = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        # float64: batch norm over few images makes much of a rounding.
        model = make_emoji_clip(tokenizer, tower).double().to(device)
        loss, _ = clip_loss(model, to_device(batch._replace(images=batch.images.double()), device))
        loss.backward()
        gradients.append([loss.detach().cpu(), *(p.grad.cpu() for p in model.parameters())])
    for on_cpu, on_gpu in zip(*gradients, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("loss", ["info_nce", "siglip", "chunked"])
def test_losses_are_the_same(loss):
    image, text = torch.nn.functional.normalize(torch.randn(2, 40, 16), dim=-1)
    scale, bias = torch.tensor(10.0), torch.tensor(-3.0)

    def on(device):
        i, t = (x.to(device).detach().requires_grad_() for x in (image, text))
        s, b = (x.to(device).detach().requires_grad_() for x in (scale, bias))
        if loss == "info_nce":
            value = info_nce(i, t, s)
        elif loss == "siglip":
            value = siglip_loss(i, t, s, b)
        else:
            value, grads = siglip_chunked(i, t, s, b, 7)
            return [value.cpu(), *(x.cpu() for x in grads[:2])]
        value.backward()
        return [value.detach().cpu(), i.grad.cpu(), t.grad.cpu()]

    for on_cpu, on_gpu in zip(on("cpu"), on("cuda"), strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, atol=1e-5, rtol=1e-4)


def test_a_training_goes_on_where_it_was_and_augments_on_the_gpu(tmp_path):
    emoji, tokenizer = load_emoji(), load_tokenizer()
    pictures, captions = training_pictures(emoji), CaptionTable(emoji, tokenizer)
    batches = emoji_batches(pictures, captions, 32, device="cuda")

    class Killed(Exception):
        pass

    def run(path, kill_at=None):
        torch.manual_seed(0)
        model = make_emoji_clip(tokenizer)

        def next_batch(step, generator):
            if step == kill_at:
                raise Killed
            return batches(step, generator)

        history = fit(
            model, clip_loss, next_batch, steps=12, checkpoint=path, checkpoint_every=4, after_step=clamp_scale,
            progress=False,
        )  # fmt: skip
        return model, history

    model, history = run(tmp_path / "whole.safetensors")
    assert next(model.parameters()).is_cuda and len(history.losses) == 12
    with pytest.raises(Killed):
        run(tmp_path / "killed.safetensors", kill_at=9)
    again, resumed = run(tmp_path / "killed.safetensors")
    assert resumed.losses == pytest.approx(history.losses, rel=1e-3)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)  # sums on a GPU have no fixed order


def test_answers_come_back_to_the_cpu():
    emoji, tokenizer = load_emoji(), load_tokenizer()
    pictures = training_pictures(emoji)[:5]
    names = emoji.phrases[:3]
    clip = make_emoji_clip(tokenizer).eval()
    captioner = make_emoji_captioner(tokenizer).eval()
    words = make_word_predictor(tokenizer).eval()

    def answers(device):
        return [
            clip_answers(clip.to(device), tokenizer, emoji, ["{}"])(pictures),
            captioner_answers(captioner.to(device), tokenizer, names)(pictures),
            word_answers(words.to(device), tokenizer, names)(pictures),
        ]

    for on_cpu, on_gpu in zip(answers("cpu"), answers("cuda"), strict=True):
        assert on_gpu.device.type == "cpu"
        torch.testing.assert_close(on_gpu, on_cpu, atol=1e-3, rtol=1e-3)


def test_a_vit_and_a_probe():
    torch.manual_seed(0)
    vit = ViT(image_size=16, patch_size=4, dim=32, depth=2, heads=4).eval()
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        on_cpu = vit(images).pooled
        on_gpu = vit.cuda()(images.cuda()).pooled
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-4, rtol=1e-3)
    features, labels = torch.randn(12, 4), torch.arange(12) % 3
    near = knn_classify(features.cuda(), labels.cuda(), features.cuda(), 3, 3, 0.1)
    torch.testing.assert_close(
        near.cpu(), knn_classify(features, labels, features, 3, 3, 0.1), rtol=1e-4, atol=0.0
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sam_is_asked_the_same_and_learns_the_same(seed):
    scenes, losses = make_part_scenes(3, seed=1), []
    for device in ("cpu", "cuda"):
        batch = draw_targets(scenes.to(device), torch.arange(3), 4, torch.Generator().manual_seed(seed))
        assert batch.masks.device.type == batch.images.device.type == device
        torch.manual_seed(0)
        model = make_scene_sam().to(device)
        loss, _ = sam_loss(model, batch, points=0)
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        losses.append((batch.first.cpu(), batch.masks.cpu(), loss.detach().cpu(), norm.cpu()))
    (first, masks, *on_cpu), (gpu_first, gpu_masks, *on_gpu) = losses
    assert torch.equal(first, gpu_first) and torch.equal(masks, gpu_masks)
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-4, rtol=1e-3)
