"""Same weights, same numbers: Flamingo's parts against transformers' Idefics and against open_flamingo.

Every parameter is perturbed first, the gates too: shut gates would hide everything behind them.
"""

import json
import re
from typing import Any

import pytest
import torch
from oracle_files import load_open_flamingo_helpers
from parity import assert_close, assert_parity, perturbed
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import IdeficsConfig, IdeficsForVisionText2Text, IdeficsModel

from cs_vl.convert import (
    idefics_gated_from_hf,
    idefics_gated_state,
    idefics_resampler_from_hf,
    idefics_resampler_state,
)
from cs_vl.convert.loading import load
from cs_vl.nn.gated_cross_attention import GatedCrossAttention, media_mask
from cs_vl.nn.resampler import PerceiverResampler

BATCH, LENGTH, IMAGES, IMAGE = 4, 9, 3, 5  # IMAGE: the id of <image>
COUNTS = (3, 1, 0, 2)  # images of each text


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Models are made before they are perturbed: from the same seed, too."""
    torch.manual_seed(0)


def idefics_config(perceiver: dict | None = None, **options: Any) -> IdeficsConfig:
    return IdeficsConfig(
        vocab_size=31,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=4,
        num_attention_heads=3,
        max_position_embeddings=16,
        vision_config={
            "embed_dim": 20,
            "image_size": 12,
            "patch_size": 4,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 36,
        },
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": 5,
            "resampler_depth": 3,
            "resampler_n_heads": 2,
            "resampler_head_dim": 7,
            **(perceiver or {}),
        },
        **{
            "use_resampler": True,
            "cross_layer_interval": 2,
            "rms_norm_eps": 1e-3,
            "freeze_text_layers": False,
            **options,
        },
    )


def texts() -> Tensor:
    """Ids with `COUNTS` images, the first one never in front."""
    torch.manual_seed(3)
    ids = torch.randint(IMAGE + 1, 31, (BATCH, LENGTH))
    for text, count in zip(ids, COUNTS, strict=True):
        text[torch.randperm(LENGTH - 1)[:count] + 1] = IMAGE
    return ids


def widen(layer: nn.Module) -> None:
    """Open a layer's gates and make its weights larger: a gradient through small ones would be nearly 0."""
    for name, p in layer.named_parameters():
        if p.ndim == 2:
            p.data *= 3
        elif "gate" in name or "alpha" in name:
            p.data += 0.5


class TestIdefics:
    def test_resampler(self):
        config = idefics_config()
        hf: Any = perturbed(IdeficsModel(config))
        oracle = hf.perceiver_resampler
        widen(oracle)
        resampler = idefics_resampler_from_hf(config, hf.state_dict())
        media = torch.randn(4, 9, 20)
        assert_parity(resampler, [resampler(media)], oracle, [oracle(media)], idefics_resampler_state)

    @pytest.mark.parametrize("layer", [0, 1])
    @pytest.mark.parametrize("alpha_type", ["float", "vector"])
    def test_gated_layers_where_they_stand_in_the_model(self, alpha_type, layer):
        """What each layer takes and gives while the whole model reads texts and images."""
        config = idefics_config(alpha_type=alpha_type)
        hf: Any = perturbed(IdeficsModel(config))
        oracle = hf.gated_cross_attn_layers[layer]
        widen(oracle)
        gated = idefics_gated_from_hf(config, hf.state_dict(), layer)

        taken: dict[str, Tensor] = {}
        oracle.register_forward_hook(
            lambda module, args, kwargs, output: taken.update(x=args[0].detach(), output=output),
            with_kwargs=True,
        )
        hf.layers[layer * 2].register_forward_pre_hook(lambda module, args: taken.update(passed_on=args[0]))
        ids, pixels = texts(), torch.randn(BATCH, IMAGES, 3, 12, 12)
        mask = media_mask(ids == IMAGE, IMAGES)
        hf(input_ids=ids, pixel_values=pixels, image_attention_mask=mask.long())
        media = hf.vision_model(pixel_values=pixels.flatten(0, 1)).last_hidden_state
        media = idefics_resampler_from_hf(config, hf.state_dict())(media).unflatten(0, (BATCH, IMAGES))

        assert (~mask.any(dim=2)).any(dim=1).all() and not mask[2].any()  # some tokens see nothing
        assert torch.equal(taken["output"], taken["passed_on"])
        assert_parity(
            gated,
            [gated(taken["x"], media.detach(), mask)],
            oracle,
            [taken["output"]],
            lambda state: idefics_gated_state(state, layer),
        )

    def test_files_as_on_the_hub(self, tmp_path):
        config = idefics_config()
        hf: Any = perturbed(IdeficsForVisionText2Text(config))
        hf.save_pretrained(tmp_path)
        config, state = (
            json.loads((tmp_path / "config.json").read_text()),
            load_file(tmp_path / "model.safetensors"),
        )
        assert "model.perceiver_resampler.blocks.0.0.q_proj.weight" in state
        media = torch.randn(2, 9, 20)
        resampler = idefics_resampler_from_hf(config, state)
        assert_close([resampler(media)], [hf.model.perceiver_resampler(media)])
        gated = idefics_gated_from_hf(config, state, 1)
        assert gated.norm1.eps == gated.norm2.eps == 1e-3
        assert torch.equal(gated.attn_gate, hf.model.gated_cross_attn_layers[1].alpha_cross_attn)

    def test_what_we_do_not_have_is_refused(self):
        plain = idefics_config()
        state = IdeficsModel(plain).state_dict()
        with pytest.raises(ValueError, match="qk_layer_norms_perceiver=True"):
            idefics_resampler_from_hf(idefics_config({"qk_layer_norms_perceiver": True}), state)
        with pytest.raises(ValueError, match="use_resampler=False"):
            idefics_resampler_from_hf(idefics_config(use_resampler=False), state)
        with pytest.raises(ValueError, match="qk_layer_norms=True"):
            idefics_gated_from_hf(idefics_config(qk_layer_norms=True), state)
        with pytest.raises(ValueError, match="hidden_act='gelu'"):
            idefics_gated_from_hf(idefics_config(hidden_act="gelu"), state)
        with pytest.raises(ValueError, match="lacks"):
            idefics_gated_from_hf(plain, state, layer=7)
        with pytest.raises(ValueError, match="attn_gate should be"):
            idefics_gated_from_hf(idefics_config(alpha_type="vector"), state)


# A layer of the resampler is a list: attention, and the MLP as a list of its own.
OPEN_FLAMINGO_RESAMPLER = (
    (r"^layers\.(\d+)\.0\.norm_", r"blocks.\1.norm_"),
    (r"^layers\.(\d+)\.0\.", r"blocks.\1.attn."),
    (r"^layers\.(\d+)\.1\.", r"blocks.\1.ff."),
)
OPEN_FLAMINGO_GATED = ((r"^ff_gate", "mlp_gate"), (r"^attn\.norm\.", "norm1."))
OPEN_FLAMINGO_BOTH = (
    (r"\bff\.0\.", "mlp.norm."),
    (r"\bff\.1\.", "mlp.fc1."),
    (r"\bff\.3\.", "mlp.fc2."),
    (r"\bto_q\b", "q_proj"),
    (r"\bto_kv\b", "kv_proj"),
    (r"\bto_out\b", "out_proj"),
)


def open_flamingo_state(state_dict: dict[str, Tensor], renames: tuple) -> dict[str, Tensor]:
    """Its tensors under our names; keys' and values' projections are one tensor there."""
    state = {}
    for name, tensor in state_dict.items():
        for theirs, ours in renames + OPEN_FLAMINGO_BOTH:
            name = re.sub(theirs, ours, name)
        if "kv_proj" in name:
            for part, piece in zip("kv", tensor.chunk(2), strict=True):
                state[name.replace("kv_proj", f"{part}_proj")] = piece
        else:
            state[name] = tensor
    return state


def state_of_resampler(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return open_flamingo_state(state_dict, OPEN_FLAMINGO_RESAMPLER)


def state_of_gated(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return open_flamingo_state(state_dict, OPEN_FLAMINGO_GATED)


class TestOpenFlamingo:
    def test_resampler(self):
        helpers = load_open_flamingo_helpers()
        oracle: nn.Module = perturbed(
            helpers.PerceiverResampler(dim=20, depth=3, dim_head=7, heads=2, num_latents=5)
        )
        resampler = PerceiverResampler(20, depth=3, heads=2, head_dim=7, latents=5)
        load(resampler, state_of_resampler(oracle.state_dict()))
        media = torch.randn(2, 3, 9, 20)
        theirs = oracle(media[:, :, None]).flatten(0, 1)  # images are videos of one frame there
        assert_parity(resampler, [resampler(media.flatten(0, 1))], oracle, [theirs], state_of_resampler)

    def test_gated_layer_and_media_mask(self):
        helpers = load_open_flamingo_helpers()
        oracle: Any = perturbed(
            helpers.GatedCrossAttentionBlock(dim=24, dim_visual=20, dim_head=7, heads=3, ff_mult=2)
        )
        widen(oracle)
        gated = GatedCrossAttention(24, 3, head_dim=7, media_dim=20, mlp_dim=48)
        load(gated, state_of_gated(oracle.state_dict()))
        is_image = texts() == IMAGE
        x, media = torch.randn(BATCH, LENGTH, 24), torch.randn(BATCH, IMAGES, 5, 20)
        ours = gated(x, media, media_mask(is_image, IMAGES))
        theirs = oracle(x, media, media_locations=is_image)
        assert_parity(gated, [ours], oracle, [theirs], state_of_gated)
