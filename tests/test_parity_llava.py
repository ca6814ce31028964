"""Same weights, same numbers: our LLaVA against transformers' LlavaForConditionalGeneration."""

import json

import pytest
import torch
from parity import assert_close, perturbed, weigh
from safetensors.torch import load_file
from transformers import LlavaConfig, LlavaForConditionalGeneration

from cs_vl.convert import llava_from_hf, llava_state
from cs_vl.losses.next_token import IGNORED, next_token_loss
from cs_vl.models import LLaVA, set_phase

VOCAB, IMAGE = 31, 17
VISION = {
    "model_type": "clip_vision_model",
    "image_size": 12,
    "patch_size": 4,
    "num_channels": 2,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
TEXT = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "max_position_embeddings": 64,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 36,
    "pad_token_id": 0,
    "eos_token_id": None,
}
PLACES = {0: [[], [], []], 1: [[0], [3], [6]], 2: [[0, 1], [2, 6], [4, 5]]}


def config(**options) -> LlavaConfig:
    return LlavaConfig(
        **{"vision_config": VISION, "text_config": TEXT, "image_token_index": IMAGE, **options}
    )


def both(**options) -> tuple[LlavaForConditionalGeneration, LLaVA]:
    hf = perturbed(LlavaForConditionalGeneration(config(**options)))
    return hf, llava_from_hf(config(**options), hf.state_dict())


def texts(images: int) -> torch.Tensor:
    """Ids (3, 7) with images in other places in each text."""
    ids = torch.randint(1, VOCAB - 1, (3, 7))
    ids[ids >= IMAGE] += 1
    for row, places in enumerate(PLACES[images]):
        ids[row, places] = IMAGE
    return ids


def pictures(images: int) -> torch.Tensor | None:
    return torch.randn(3 * images, 2, 12, 12) if images else None


def expand(ids: torch.Tensor, patches: int) -> torch.Tensor:
    """As transformers wants it: an <image> for each patch."""
    rows = [
        [i for token in row for i in [token] * (patches if token == IMAGE else 1)] for row in ids.tolist()
    ]
    return torch.tensor(rows)


@pytest.mark.parametrize("images", [1, 2])
def test_outputs_and_gradients(images):
    hf, llava = both()
    hf.model.vision_tower.requires_grad_(False)
    ids, x = texts(images), pictures(images)
    logits = llava(ids, x).logits
    expected = hf(input_ids=expand(ids, 9), pixel_values=x).logits
    assert logits.shape == (3, 7 + images * 8, VOCAB)
    assert_close([logits], [expected])

    set_phase(llava, 2)
    weigh([logits]).backward()
    weigh([expected]).backward()
    gradients = llava_state({n: p.grad for n, p in hf.named_parameters() if p.grad is not None})
    learning = {name: p for name, p in llava.named_parameters() if p.requires_grad}
    assert gradients.keys() == learning.keys() and len(learning) == 4 + 2 + 2 * 9 + 1
    for name, p in learning.items():
        assert (p.grad - gradients[name]).abs().max() <= 1e-4, name
        assert p.grad.abs().max() > 5e-3, f"{name}: nearly no gradient"
    assert (llava.lm.token_embed.weight.grad[IMAGE] == 0).all()


@pytest.mark.parametrize("images", [0, 1, 2])
def test_the_loss(images):
    hf, llava = both()
    ids, x = texts(images), pictures(images)
    labels = ids.masked_fill((ids == IMAGE) | (torch.rand(ids.shape) < 0.3), IGNORED)
    ours = next_token_loss(*llava(ids, x, labels))
    expanded = expand(torch.where(ids == IMAGE, IMAGE, labels), 9)  # an image's place keeps its width
    theirs = hf(
        input_ids=expand(ids, 9),
        pixel_values=x,
        labels=expanded.masked_fill(expanded == IMAGE, IGNORED),
    ).loss
    assert_close([ours], [theirs])


@pytest.mark.parametrize("layer", [-1, -3, -4, 1])  # transformers takes its 0 for none at all
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_other_features(layer, strategy):
    hf, llava = both(vision_feature_layer=layer, vision_feature_select_strategy=strategy)
    ids, x = texts(1), pictures(1)
    patches = 9 if strategy == "default" else 10
    expected = hf.get_image_features(pixel_values=x).pooler_output
    assert_close([llava.encode_images(x)], [torch.stack(list(expected))])
    assert_close([llava(ids, x).logits], [hf(input_ids=expand(ids, patches), pixel_values=x).logits])


def test_writing():
    """Token for token what transformers' generate writes, alone and padded on the left."""
    hf, llava = both()
    x = pictures(1)
    ids = texts(1)
    real = torch.ones_like(ids, dtype=torch.bool)
    real[1, :3] = False
    ids[1, :3] = 0
    mask = torch.ones(3, 15).long()
    mask[1, :3] = 0
    ours = llava.generate(ids, x, real=real, max_new_tokens=12)
    options = {"do_sample": False, "max_new_tokens": 12, "pad_token_id": 0}
    theirs = hf.generate(input_ids=expand(ids, 9), pixel_values=x, attention_mask=mask, **options)
    assert ours.tolist() == theirs[:, 15:].tolist()
    assert len(set(ours.flatten().tolist())) > 4, "it says the same over and over"
    assert llava.generate(ids[1:2, 3:], x[1:2], max_new_tokens=12).tolist() == ours[1:2].tolist()


def test_files_as_on_the_hub(tmp_path):
    hf = perturbed(LlavaForConditionalGeneration(config()))
    hf.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert "language_model.model.norm.weight" in state and "vision_tower.pre_layrnorm.weight" in state
    # as llava-hf/llava-1.5-7b-hf has it
    old = {
        name.replace("vision_tower.", "vision_tower.vision_model."): tensor for name, tensor in state.items()
    }
    old["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    read = json.loads((tmp_path / "config.json").read_text())
    ids, x = texts(1), pictures(1)
    expected = hf(input_ids=expand(ids, 9), pixel_values=x).logits
    for tensors in (state, old):
        assert_close([llava_from_hf(read, tensors)(ids, x).logits], [expected])


def test_a_tied_head():
    text = TEXT | {"tie_word_embeddings": True}
    hf, llava = both(text_config=text)
    assert llava.lm.head is None
    ids, x = texts(1), pictures(1)
    assert_close([llava(ids, x).logits], [hf(input_ids=expand(ids, 9), pixel_values=x).logits])


def test_what_a_config_leaves_out():
    """LLaVA-1.5-7B's config says of its language model hardly more than the vocabulary."""
    small = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 8}
    hf = LlavaForConditionalGeneration(LlavaConfig(vision_config=VISION, text_config=small))
    few = {"model_type": "llava", "text_config": {"model_type": "llama"} | small, "vision_config": VISION}
    llava = llava_from_hf(few, hf.state_dict())
    assert llava.lm.blocks[0].attn.heads == llava.lm.blocks[0].attn.kv_heads == 32
    assert (llava.lm.context_length, llava.image_id) == (2048, 32000)
    assert (llava.projector.layer, llava.projector.class_token) == (-2, True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "llava_next"}, "model_type='llava_next'"),
        ({"projector_hidden_act": "relu"}, "projector_hidden_act='relu'"),
        ({"multimodal_projector_bias": False}, "multimodal_projector_bias=False"),
        ({"vision_feature_layer": [-2, -3]}, "reads several layers"),
        ({"vision_config": VISION | {"model_type": "siglip_vision_model"}}, "siglip_vision_model"),
        ({"text_config": TEXT | {"model_type": "mistral"}}, "model_type='mistral'"),
        ({"vision_config": VISION | {"num_hidden_layers": 4}}, "lacks"),
        ({"text_config": TEXT | {"num_hidden_layers": 1}}, "no place for"),
        ({"text_config": TEXT | {"hidden_size": 24}}, "should be"),
    ],
)
def test_what_does_not_fit(change, sentence):
    state = LlavaForConditionalGeneration(config()).state_dict()
    with pytest.raises(ValueError, match=sentence):
        llava_from_hf(config().to_dict() | change, state)
