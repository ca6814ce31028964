"""A Hugging Face BERT in our `TextTransformer`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cs_vl.convert.loading import activation_name, body, load, read_config, rename
from cs_vl.nn.text import TextTransformer

RENAMES = (
    ("embeddings.word_embeddings", "token_embed"),
    ("embeddings.position_embeddings.weight", "position_embed"),
    ("embeddings.token_type_embeddings", "segment_embed"),
    ("embeddings.LayerNorm", "embed_norm"),
    ("encoder.layer.", "blocks."),
    ("attention.self.query", "attn.q_proj"),
    ("attention.self.key", "attn.k_proj"),
    ("attention.self.value", "attn.v_proj"),
    ("attention.output.dense", "attn.out_proj"),
    ("attention.output.LayerNorm", "norm1"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("output.LayerNorm", "norm2"),
    # the oldest files on the hub
    (".gamma", ".weight"),
    (".beta", ".bias"),
)


def bert_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a BERT under our names; it is linear, so gradients map alike."""
    state = {rename(name, RENAMES): tensor for name, tensor in body(state_dict, "bert.").items()}
    state.pop("embeddings.position_ids", None)  # 0, 1, 2, ... in old files
    return state


def bert_of(c: Mapping[str, Any]) -> TextTransformer:
    """A BERT of the sizes that a config of BERT's kind gives, untrained."""
    return TextTransformer(
        vocab_size=c["vocab_size"],
        context_length=c["max_position_embeddings"],
        dim=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_dim=c["intermediate_size"],
        causal=False,
        pool="first",
        pre_norm=False,
        activation=activation_name(c["hidden_act"]),
        eps=c["layer_norm_eps"],
        segments=c["type_vocab_size"],
        embed_norm=True,
        final_norm=False,
    )


def bert_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> TextTransformer:
    """A BERT from Hugging Face.

    `pooled` is the output at the first token, [CLS]: the pooler and other heads are left out.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of BertModel or of any model with a head on it.

    Raises:
        ValueError: the config asks for what `TextTransformer` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="bert", is_decoder=False, position_embedding_type="absolute")
    bert = bert_of(c)
    load(bert, bert_state(state_dict))
    return bert
