"""CLIP whatever its weights are, how its weights start, and one step of its training."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_files import load_open_clip_losses

from cs_vl.models import CLIP, clip_init, make_clip
from cs_vl.train import clip_train_step

properties = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)
END = 11
SIZES: dict[str, Any] = {
    "image_size": (8, 12),
    "patch_size": 4,
    "vision_dim": 12,
    "vision_depth": 2,
    "vision_heads": 3,
    "vocab_size": 17,
    "context_length": 9,
    "end_id": END,
    "text_dim": 10,
    "text_depth": 1,
    "text_heads": 2,
    "embed_dim": 7,
}


def small(seed: int = 0, **sizes: Any) -> CLIP:
    torch.manual_seed(seed)
    return make_clip(**SIZES | sizes)


def pairs(images: int, texts: int, length: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, ids and lengths; each text's last real token is the end."""
    lengths = torch.randint(2, length + 1, (texts,))
    ids = torch.randint(0, END, (texts, length))
    ids[torch.arange(texts), lengths - 1] = END
    return torch.randn(images, 3, 8, 12), ids, lengths


class TestForward:
    @pytest.mark.parametrize("logit_bias", [None, -10.0])
    def test_logits_are_scaled_cosines(self, logit_bias):
        clip = small(logit_bias=logit_bias).double()
        images, ids, lengths = pairs(4, 3)
        output = clip(images.double(), ids, lengths)
        seen = clip.visual_projection(clip.visual(images.double()).pooled)
        read = clip.text_projection(clip.text(ids, lengths).pooled)
        cosines = torch.cosine_similarity(seen[:, None], read[None], dim=-1)
        torch.testing.assert_close(output.logits, cosines / 0.07 + (logit_bias or 0.0))
        assert output.image_features.shape == (4, 7) and output.text_features.shape == (3, 7)
        for features in output[:2]:
            torch.testing.assert_close(features.norm(dim=-1), torch.ones(len(features)).double())

    def test_one_side_alone(self):
        clip = small()
        images, ids, lengths = pairs(4, 3)
        both = clip(images, ids, lengths)
        seen, read, neither = clip(images), clip(ids=ids, lengths=lengths), clip()
        assert seen.text_features is None and seen.logits is None
        assert read.image_features is None and read.logits is None
        assert neither == (None, None, None)
        for features in (seen.image_features, clip.encode_image(images)):
            torch.testing.assert_close(features, both.image_features)
        for features in (read.text_features, clip.encode_text(ids, lengths), clip.encode_text(ids)):
            torch.testing.assert_close(features, both.text_features)

    @properties
    @given(seeds)
    def test_who_else_is_there_does_not_matter(self, seed):
        clip = small(seed).double()
        images, ids, _ = pairs(5, 4)
        images = images.double()
        logits = clip(images, ids).logits
        rows, columns = torch.randperm(5)[:3], torch.randperm(4)[:2]
        torch.testing.assert_close(clip(images[rows], ids[columns]).logits, logits[rows][:, columns])

    @properties
    @given(seeds, st.floats(0.1, 10))
    def test_the_length_of_what_is_projected_does_not_matter(self, seed, factor):
        clip = small(seed).double()
        images, ids, _ = pairs(3, 3)
        logits = clip(images.double(), ids).logits
        clip.visual_projection.weight.data *= factor
        clip.text_projection.weight.data /= factor
        torch.testing.assert_close(clip(images.double(), ids).logits, logits)

    def test_every_parameter_learns(self):
        clip = small(logit_bias=0.0)
        images, ids, lengths = pairs(4, 3)
        (clip(images, ids, lengths).logits * torch.randn(4, 3)).sum().backward()
        for name, p in clip.named_parameters():
            assert (p.grad is not None and (p.grad != 0).any()) or name.endswith("k_proj.bias"), name


class TestInit:
    """The formulas of openai/CLIP, clip/model.py, by statistics."""

    VISION, TEXT, VISION_DEPTH, TEXT_DEPTH = 128, 96, 3, 2

    @pytest.fixture
    def clip(self):
        return small(
            vision_dim=self.VISION,
            text_dim=self.TEXT,
            vision_depth=self.VISION_DEPTH,
            text_depth=self.TEXT_DEPTH,
            vision_heads=4,
            text_heads=4,
            vocab_size=200,
            context_length=50,
            embed_dim=64,
            image_size=32,
        )

    @staticmethod
    def assert_normal(x: torch.Tensor, std: float) -> None:
        error = 5 / math.sqrt(2 * x.numel())  # five standard errors of a standard deviation
        assert x.std().item() == pytest.approx(std, rel=error)
        assert abs(x.mean()) < 5 * std / math.sqrt(x.numel())
        if x.numel() > 1000:  # not cut off
            assert x.abs().max() > 2.5 * std

    def test_embeddings_and_projections(self, clip):
        self.assert_normal(clip.visual.class_token, self.VISION**-0.5)
        self.assert_normal(clip.visual.position_embed, self.VISION**-0.5)
        self.assert_normal(clip.visual_projection.weight, self.VISION**-0.5)
        self.assert_normal(clip.text.token_embed.weight, 0.02)
        self.assert_normal(clip.text.position_embed, 0.01)
        self.assert_normal(clip.text_projection.weight, self.TEXT**-0.5)
        assert clip.logit_scale.item() == pytest.approx(math.log(1 / 0.07))

    def test_blocks(self, clip):
        for blocks, width, depth in (
            (clip.visual.blocks, self.VISION, self.VISION_DEPTH),
            (clip.text.blocks, self.TEXT, self.TEXT_DEPTH),
        ):
            assert len(blocks) == depth
            for block in blocks:
                for reader in (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj):
                    self.assert_normal(reader.weight, width**-0.5)
                self.assert_normal(block.mlp.fc1.weight, (2 * width) ** -0.5)
                for writer in (block.attn.out_proj, block.mlp.fc2):
                    self.assert_normal(writer.weight, width**-0.5 * (2 * depth) ** -0.5)

    def test_patches_start_as_a_convolution(self, clip):
        convolution = torch.nn.Conv2d(3, self.VISION, 4, 4, bias=False)
        bound = 1 / math.sqrt(3 * 4 * 4)
        for weight in (clip.visual.patch_embed.proj.weight, convolution.weight):
            assert weight.abs().max().item() == pytest.approx(bound, rel=0.01)
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)

    def test_biases_and_norms(self, clip):
        for name, p in clip.named_parameters():
            if name.endswith("bias"):
                assert (p == 0).all(), name
            elif "norm" in name or "ln_pre" in name:
                assert (p == 1).all(), name

    def test_again(self, clip):
        """From torch's random stream alone; another draw gives other weights."""
        again = [copy.deepcopy(clip) for _ in range(3)]
        for model, seed in zip(again, (0, 0, 1), strict=True):
            torch.manual_seed(seed)
            clip_init(model)
        first, same, other = (torch.cat([p.flatten() for p in m.parameters() if p.ndim > 1]) for m in again)
        assert torch.equal(first, same)
        assert (first != other).all()

    def test_other_towers(self):
        clip = small()
        clip.visual = torch.nn.Identity()
        with pytest.raises(TypeError, match="got Identity and TextTransformer"):
            clip_init(clip)

    def test_architecture_of_the_paper(self):
        """Radford et al. 2021, table 20: a ViT-B/32 of 151 M parameters."""
        with torch.device("meta"):
            clip = make_clip(
                image_size=224, patch_size=32, vision_dim=768, vision_depth=12, vision_heads=12,
                vocab_size=49408, context_length=77, end_id=49407, text_dim=512, text_depth=12, text_heads=8,
                embed_dim=512,
            )  # fmt: skip
        assert sum(p.numel() for p in clip.parameters()) == 151_277_313  # as openai/clip-vit-base-patch32


class TestTrainStep:
    def test_loss_is_that_of_open_clip(self):
        losses = load_open_clip_losses()
        clip = small()
        images, ids, lengths = pairs(5, 5)
        output = clip(images, ids, lengths)
        expected = losses.ClipLoss()(output.image_features, output.text_features, clip.logit_scale.exp())
        loss = clip_train_step(clip, torch.optim.SGD(clip.parameters(), lr=0.1), images, ids, lengths)
        assert isinstance(loss, float)
        assert loss == pytest.approx(expected.item(), abs=1e-5)

    def test_it_learns_a_batch_by_heart(self):
        clip = small()
        optimizer = torch.optim.AdamW(clip.parameters(), lr=3e-3)
        batch = pairs(6, 6)
        losses = [clip_train_step(clip, optimizer, *batch) for _ in range(60)]
        assert losses[0] > 1 and losses[-1] < 0.05

    @pytest.mark.parametrize(("start", "end"), [(1000.0, 20.0), (0.01, 1.0)])
    def test_the_scale_stays_within_bounds(self, start, end):
        clip = small()
        clip.logit_scale.data.fill_(math.log(start))
        parameter = clip.logit_scale
        clip_train_step(clip, torch.optim.SGD(clip.parameters(), lr=1e-4), *pairs(4, 4), max_scale=20.0)
        assert clip.logit_scale is parameter
        assert parameter.exp().item() == pytest.approx(end)

    def test_what_is_frozen_stays(self):
        """Locked-image tuning: the image tower takes no part."""
        clip = small()
        clip.visual.requires_grad_(False)
        before = copy.deepcopy(clip.state_dict())
        optimizer = torch.optim.SGD([p for p in clip.parameters() if p.requires_grad], lr=0.1)
        clip_train_step(clip, optimizer, *pairs(4, 4))
        for name, tensor in clip.state_dict().items():
            assert torch.equal(tensor, before[name]) == name.startswith("visual.") or "k_proj.bias" in name, (
                name
            )

    def test_steps_do_not_add_up(self):
        """Two steps by it are two steps by hand."""
        clip = small().double()
        twin = copy.deepcopy(clip)
        images, ids, lengths = pairs(4, 4)
        images = images.double()
        optimizer = torch.optim.SGD(clip.parameters(), lr=0.1)
        for _ in range(2):
            clip_train_step(clip, optimizer, images, ids, lengths)
            logits = twin(images, ids, lengths).logits
            losses = [-torch.log_softmax(logits, dim).diagonal().mean() / 2 for dim in (0, 1)]
            gradients = torch.autograd.grad(sum(losses), list(twin.parameters()))
            for p, gradient in zip(twin.parameters(), gradients, strict=True):
                p.data -= 0.1 * gradient
        torch.testing.assert_close(clip.state_dict(), twin.state_dict())
