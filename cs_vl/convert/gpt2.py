"""A Hugging Face GPT-2 in our `LanguageModel`, or in our `Decoder`, which has a cache."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cs_vl.convert.loading import activation_name, body, load, read_config, rename
from cs_vl.models.decoder import Decoder
from cs_vl.nn.text import LanguageModel, TextTransformer

RENAMES = (
    ("wte.", "token_embed."),
    ("wpe.weight", "position_embed"),
    ("h.", "blocks."),
    ("ln_1", "norm1"),
    ("ln_2", "norm2"),
    ("ln_f", "norm"),
    ("attn.c_proj", "attn.out_proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
)
# GPT-2's linear layers store their weights as (in, out); the causal mask is stored as a "bias".
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
MASKS = (".attn.bias", ".attn.masked_bias")


def gpt2_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a GPT-2 under our names and in our shapes; it is linear, so gradients map alike."""
    state = {}
    for name, tensor in body(state_dict, "transformer.").items():
        if name.endswith(MASKS) or name == "lm_head.weight":
            continue
        tensor = tensor.T if name.endswith(TRANSPOSED) else tensor
        name = "transformer." + rename(name, RENAMES)
        if "c_attn" in name:  # queries, keys and values in one
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("c_attn", f"{part}_proj")] = piece
        else:
            state[name] = tensor
    return state


def gpt2_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> LanguageModel:
    """A GPT-2 from Hugging Face, with its tied head.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of GPT2LMHeadModel or GPT2Model.

    Raises:
        ValueError: the config asks for what `TextTransformer` does not have, or does not fit the tensors.
    """
    c = _read(config)
    transformer = TextTransformer(
        vocab_size=c["vocab_size"],
        context_length=c["n_positions"],
        dim=c["n_embd"],
        depth=c["n_layer"],
        heads=c["n_head"],
        mlp_dim=c.get("n_inner"),
        causal=True,
        activation=activation_name(c["activation_function"]),
        eps=c["layer_norm_epsilon"],
    )
    model = LanguageModel(transformer)
    load(model, gpt2_state(state_dict))
    return model


def gpt2_decoder_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of our `Decoder`."""
    return {name.removeprefix("transformer."): tensor for name, tensor in gpt2_state(state_dict).items()}


def gpt2_decoder_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> Decoder:
    """A GPT-2 from Hugging Face, with its tied head, that writes with a cache (`generate`).

    Arguments and errors as of `gpt2_from_hf`.
    """
    c = _read(config, activation_function="gelu_new")
    decoder = Decoder(
        vocab_size=c["vocab_size"],
        context_length=c["n_positions"],
        dim=c["n_embd"],
        depth=c["n_layer"],
        heads=c["n_head"],
        mlp_dim=c.get("n_inner"),
        style="gpt2",
        eps=c["layer_norm_epsilon"],
    )
    load(decoder, gpt2_decoder_state(state_dict))
    return decoder


def _read(config: Any, **expected: Any) -> dict[str, Any]:
    return read_config(
        config,
        model_type="gpt2",
        tie_word_embeddings=True,
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
        **expected,
    )
