"""A Hugging Face LLaVA in our `LLaVA`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cs_vl.convert.clip import VISION_DEFAULTS, clip_state, vision_options
from cs_vl.convert.llama import llama_from_hf, llama_state
from cs_vl.convert.loading import load, read_config, rename
from cs_vl.models.llava import LLaVA, Projector
from cs_vl.nn.vit import ViT

# What a file leaves out of its language model has these values; LLaVA-1.5's says little more than its length.
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
}
RENAMES = (  # a model in memory in transformers >= 5 -> files on the hub
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("model.language_model.", "language_model.model."),
)
TOWER, PROJECTOR, LANGUAGE = "vision_tower.", "multi_modal_projector.", "language_model."


def llava_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a LLaVA under our names and in our shapes; it is linear, so gradients map alike."""
    parts = split(state_dict)
    # A tower of its own has lost the prefix in transformers >= 5.
    tower = {f"vision_model.{n.removeprefix('vision_model.')}": t for n, t in parts[TOWER].items()}
    return {
        **clip_state(tower),
        **{f"projector.{rename(n, (('linear_', 'fc'),))}": t for n, t in parts[PROJECTOR].items()},
        **{f"lm.{n}": t for n, t in llama_state(parts[LANGUAGE]).items()},
    }


def llava_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> LLaVA:
    """A LLaVA-1.5 from Hugging Face: a CLIP's vision tower, an MLP and a Llama.

    `config.json` and the tensors of huggingface.co/llava-hf/llava-1.5-7b-hf, say; its images are prepared as
    CLIP's, its texts have one `<image>` an image: here it is not repeated for each patch.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of LlavaForConditionalGeneration.

    Raises:
        ValueError: the config asks for what `LLaVA` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="llava", projector_hidden_act="gelu", multimodal_projector_bias=True)
    vision = VISION_DEFAULTS | read_config(c["vision_config"], model_type="clip_vision_model")
    text = TEXT_DEFAULTS | read_config(c["text_config"], model_type="llama")
    text["tie_word_embeddings"] = c.get("tie_word_embeddings") or text.get("tie_word_embeddings", False)
    layer = c.get("vision_feature_layer", -2)
    if not isinstance(layer, int):
        raise ValueError(f"cannot convert a model that reads several layers: vision_feature_layer={layer!r}")
    projector = Projector(
        vision["hidden_size"],
        text["hidden_size"],
        mlp=True,
        layer=layer,
        class_token=c.get("vision_feature_select_strategy", "default") == "default",
    )
    llava = LLaVA(
        ViT(**vision_options(vision), pre_ln=True, patch_bias=False),
        projector,
        llama_from_hf(text, split(state_dict)[LANGUAGE]),
        image_id=c.get("image_token_index", 32000),
    )
    state = llava_state(state_dict)
    if llava.lm.head is None:
        state.pop("lm.head.weight", None)  # the token embedding once more
    load(llava, state)
    return llava


def split(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each of the three parts, named as if it stood alone."""
    parts: dict[str, dict[str, Tensor]] = {TOWER: {}, PROJECTOR: {}, LANGUAGE: {}}
    for name, tensor in state_dict.items():
        name = rename(name, RENAMES)
        part = next((p for p in parts if name.startswith(p)), LANGUAGE)  # the head stands outside
        parts[part][name.removeprefix(part)] = tensor
    return parts
