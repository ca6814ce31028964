"""Same weights, same numbers: our CLIP against transformers' CLIPModel and SiglipModel."""

import json

import pytest
import torch
from parity import assert_close, assert_parity, perturbed
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from cs_vl.convert import clip_from_hf, clip_state, siglip_from_hf, siglip_state
from cs_vl.models import CLIPOutput

VOCAB, END = 31, 17  # the end's id is neither the largest nor the smallest
VISION = {
    "image_size": 12,
    "patch_size": 4,
    "num_channels": 2,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
TEXT = {
    "vocab_size": VOCAB,
    "max_position_embeddings": 9,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 36,
    "bos_token_id": 0,
    "eos_token_id": END,
    "pad_token_id": 1,
}
LENGTHS = torch.tensor([7, 3, 5, 6])
IMAGES, BATCH, LENGTH = 3, len(LENGTHS), 7


def clip_config(text=None, vision=None, **options) -> CLIPConfig:
    return CLIPConfig(
        text_config=TEXT | (text or {}), vision_config=VISION | (vision or {}), projection_dim=16, **options
    )


def siglip_config() -> SiglipConfig:
    return SiglipConfig(text_config={**TEXT, "projection_size": 24}, vision_config=VISION)


def texts(padding: int | None = None, end: int = END) -> torch.Tensor:
    """Ids (4, 7) that end at `LENGTHS`; behind stands `padding`, or (None) anything but the end."""
    others = torch.tensor([i for i in range(VOCAB - 1) if i not in (END, 2)])
    ids = others[torch.randint(len(others), (BATCH, LENGTH))]
    position = torch.arange(LENGTH)
    if padding is not None:
        ids[position >= LENGTHS[:, None]] = padding
    ids[position == LENGTHS[:, None] - 1] = end
    return ids


def images() -> torch.Tensor:
    return torch.randn(IMAGES, 2, 12, 12)


def mask() -> torch.Tensor:
    return (torch.arange(LENGTH) < LENGTHS[:, None]).long()


def ours(output: CLIPOutput) -> list:
    return [output.image_features, output.text_features, output.logits]


def theirs(output) -> list:
    return [output.image_embeds, output.text_embeds, output.logits_per_image]


class TestCLIP:
    @pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])  # OpenAI's, LAION's
    def test_outputs_and_gradients(self, activation):
        act = {"hidden_act": activation}
        config = clip_config(act, act)
        hf = perturbed(CLIPModel(config))
        clip = clip_from_hf(config, hf.state_dict())
        x, ids = images(), texts(padding=END)
        expected = hf(input_ids=ids, pixel_values=x)
        assert_parity(clip, ours(clip(x, ids)), hf, theirs(expected), clip_state)

    def test_towers(self):
        config = clip_config()
        hf = perturbed(CLIPModel(config))
        clip = clip_from_hf(config, hf.state_dict())
        x, ids = images(), texts()
        seen, read = clip.visual(x), clip.text(ids)
        expected_seen = hf.vision_model(x, output_hidden_states=True)
        expected_read = hf.text_model(ids, output_hidden_states=True)
        assert_close(
            [*seen.hidden_states, seen.pooled], [*expected_seen.hidden_states, expected_seen.pooler_output]
        )
        assert_close(
            [*read.hidden_states, read.pooled], [*expected_read.hidden_states, expected_read.pooler_output]
        )
        assert len(seen.hidden_states) == 3 and len(read.hidden_states) == 4

    @pytest.mark.parametrize("padding", [END, 0, 1, VOCAB - 1, None])
    def test_padding_changes_nothing(self, padding):
        """Whatever stands behind the end, and whether its mask is given or not."""
        config = clip_config()
        hf = perturbed(CLIPModel(config))
        clip = clip_from_hf(config, hf.state_dict())
        x, ids = images(), texts(padding)
        for output in (clip(x, ids), clip(x, ids, LENGTHS)):
            assert_close(ours(output), theirs(hf(input_ids=ids, pixel_values=x)))
            assert_close(ours(output), theirs(hf(input_ids=ids, pixel_values=x, attention_mask=mask())))

    def test_an_end_of_2_is_the_largest_id(self):
        config = clip_config({"eos_token_id": 2})
        hf = perturbed(CLIPModel(config))
        clip = clip_from_hf(config, hf.state_dict())
        x, ids = images(), texts(padding=VOCAB - 1, end=VOCAB - 1)
        ids[:, 1] = 2  # not where the text ends
        ids[1, 1] = 5
        assert_close(ours(clip(x, ids)), theirs(hf(input_ids=ids, pixel_values=x)))
        wrong = clip_from_hf(clip_config(), hf.state_dict())
        with pytest.raises(ValueError, match="end_id=17"):
            wrong(x, ids)

    def test_files_as_on_the_hub(self, tmp_path):
        hf = perturbed(CLIPModel(clip_config()))
        hf.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        state = load_file(tmp_path / "model.safetensors")
        old = state | {
            "text_model.embeddings.position_ids": torch.arange(9)[None],
            "vision_model.embeddings.position_ids": torch.arange(10)[None],
        }
        # as openai/clip-vit-large-patch14 has it
        old_config = config | {
            "text_config_dict": TEXT,
            "text_config": {"hidden_size": 1},
            "vision_config_dict": None,
        }
        x, ids = images(), texts()
        expected = theirs(hf(input_ids=ids, pixel_values=x))
        assert_close(ours(clip_from_hf(config, state)(x, ids)), expected)
        assert_close(ours(clip_from_hf(old_config, old)(x, ids)), expected)

    def test_what_a_config_leaves_out(self):
        """ViT-B/32, by a config that says nothing; the tensors are asked for at the right size."""
        empty = {"model_type": "clip", "text_config": {}, "vision_config": {}}
        small = {"num_hidden_layers": 1}
        state = CLIPModel(CLIPConfig(text_config=small, vision_config=small)).state_dict()
        clip = clip_from_hf(empty | {"text_config": small, "vision_config": small}, state)
        assert clip.text.end_id == 49407 and clip.visual.blocks[0].attn.heads == 12
        assert clip.text.blocks[0].attn.heads == 8
        with pytest.raises(ValueError, match="lacks"):
            clip_from_hf(empty, state)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"model_type": "siglip"}, "model_type='siglip'"),
            ({"vision_config": VISION | {"hidden_act": "silu"}}, "no activation for 'silu'"),
            ({"text_config": TEXT | {"eos_token_id": [1, 2]}}, "eos_token_id must be one id"),
            ({"projection_dim": 17}, r"text_projection|visual_projection"),
            ({"vision_config": VISION | {"image_size": 16}}, "position_embed should be"),
        ],
    )
    def test_what_does_not_fit(self, change, sentence):
        config = clip_config().to_dict()
        state = CLIPModel(clip_config()).state_dict()
        with pytest.raises(ValueError, match=sentence):
            clip_from_hf(config | change, state)

    def test_half_a_model(self):
        state = CLIPModel(clip_config()).state_dict()
        for tower in ("text_model.", "vision_model."):
            with pytest.raises(ValueError, match="lacks"):
                clip_from_hf(clip_config(), {n: t for n, t in state.items() if not n.startswith(tower)})


class TestSiglip:
    def test_outputs_and_gradients(self):
        config = siglip_config()
        hf = perturbed(SiglipModel(config))
        siglip = siglip_from_hf(config, hf.state_dict())
        x, ids = images(), texts()
        expected = hf(input_ids=ids, pixel_values=x)
        assert_parity(siglip, ours(siglip(x, ids)), hf, theirs(expected), siglip_state)

    def test_towers(self):
        config = siglip_config()
        hf = perturbed(SiglipModel(config))
        siglip = siglip_from_hf(config, hf.state_dict())
        x, ids = images(), texts(padding=1)
        seen, read = siglip.visual(x), siglip.text(ids)
        expected_seen = hf.vision_model(x, output_hidden_states=True)
        expected_read = hf.text_model(ids, output_hidden_states=True)
        # transformers calls the normed tokens the last hidden state
        our_outputs = [*seen.hidden_states[:-1], seen.tokens, seen.pooled]
        assert_close(
            our_outputs,
            [*expected_seen.hidden_states[:-1], expected_seen.last_hidden_state, expected_seen.pooler_output],
        )
        assert_close(
            [*read.hidden_states[:-1], read.tokens, siglip.text_projection(read.pooled)],
            [*expected_read.hidden_states[:-1], expected_read.last_hidden_state, expected_read.pooler_output],
        )

    def test_padding_is_read(self):
        """As it was trained: the last token is pooled and sees the padding, itself one of it."""
        config = siglip_config()
        hf = perturbed(SiglipModel(config))
        siglip = siglip_from_hf(config, hf.state_dict())
        ids = texts(padding=1)
        expected = hf.get_text_features(ids).pooler_output
        features = siglip.encode_text(ids)
        assert_close([features], [expected / expected.norm(dim=-1, keepdim=True)])
        assert (features - siglip.encode_text(texts(padding=3))).abs().max() > 1e-2

    def test_files_as_on_the_hub(self, tmp_path):
        hf = perturbed(SiglipModel(siglip_config()))
        hf.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        state = load_file(tmp_path / "model.safetensors")
        assert state["logit_scale"].shape == (1,) and "text_model.head.bias" in state
        x, ids = images(), texts()
        assert_close(ours(siglip_from_hf(config, state)(x, ids)), theirs(hf(input_ids=ids, pixel_values=x)))

    def test_what_a_config_leaves_out(self):
        small = {"num_hidden_layers": 1}
        state = SiglipModel(SiglipConfig(text_config=small, vision_config=small)).state_dict()
        siglip = siglip_from_hf({"model_type": "siglip", "text_config": small, "vision_config": small}, state)
        assert siglip.text.blocks[0].attn.heads == siglip.visual.blocks[0].attn.heads == 12

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"model_type": "siglip2"}, "model_type='siglip2'"),
            ({"vision_config": VISION | {"vision_use_head": False}}, "vision_use_head=False"),
            ({"vision_config": VISION | {"hidden_act": "silu"}}, "no activation for 'silu'"),
        ],
    )
    def test_what_does_not_fit(self, change, sentence):
        config = siglip_config().to_dict()
        with pytest.raises(ValueError, match=sentence):
            siglip_from_hf(config | change, SiglipModel(siglip_config()).state_dict())

    def test_a_text_head_of_another_width(self):
        config = SiglipConfig(text_config={**TEXT, "projection_size": 22}, vision_config=VISION)
        with pytest.raises(ValueError, match=r"text_projection.* should be"):
            siglip_from_hf(config, SiglipModel(config).state_dict())
