"""A Hugging Face VisualBERT in our `VisualBERT`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cs_vl.convert.bert import bert_of, bert_state
from cs_vl.convert.loading import body, load, read_config
from cs_vl.models.visual_bert import VisualBERT

# theirs -> ours, and which row of a table ours is: every region is of segment 1 and at position 0
VISUAL = (
    ("embeddings.visual_projection.weight", "visual_projection.weight", None),
    ("embeddings.visual_projection.bias", "visual_projection.bias", None),
    ("embeddings.visual_token_type_embeddings.weight", "visual_segment", 1),
    ("embeddings.visual_position_embeddings.weight", "visual_position", 0),
)


def visual_bert_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a VisualBERT under our names and in our shapes; it is linear, so gradients map alike."""
    theirs = body(state_dict, "visual_bert.")
    state = {}
    for name, our_name, row in VISUAL:
        if name in theirs:
            tensor = theirs.pop(name)
            state[our_name] = tensor if row is None else tensor[row]
    return state | {f"bert.{name}": tensor for name, tensor in bert_state(theirs).items()}


def visual_bert_from_hf(config: Any, state_dict: Mapping[str, Tensor]) -> VisualBERT:
    """A VisualBERT from Hugging Face: `config.json` and weights of uclanlp/visualbert-vqa-coco-pre, say.

    Its regions were made by a detector that is not part of it.  The pooler and other heads are left out.

    Args:
        config: the content of config.json, or a transformers config object.
        state_dict: of VisualBertModel or of any model with a head on it.

    Raises:
        ValueError: the config asks for what `VisualBERT` does not have, or does not fit the tensors.
    """
    c = read_config(config, model_type="visual_bert", bypass_transformer=False)
    model = VisualBERT(bert_of(c), visual_dim=c["visual_embedding_dim"])
    load(model, visual_bert_state(state_dict))
    return model
