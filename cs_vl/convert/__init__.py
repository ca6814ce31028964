"""Other people's weights in our classes.

Download `config.json` and `model.safetensors` of a model by hand, for instance from
huggingface.co/google/vit-base-patch16-224/tree/main, and nothing but torch is needed:

    import json
    from safetensors.torch import load_file
    from cs_vl.convert import vit_from_hf

    config = json.load(open("config.json"))
    vit = vit_from_hf(config, load_file("model.safetensors"))

Each converter takes (config, state dict) and returns a model in float32 that gives the same numbers.  The
config may also be a transformers config object, the state dict a transformers model's, with or without the
model's prefix and heads.
"""

from cs_vl.convert.bert import bert_from_hf, bert_state
from cs_vl.convert.clip import clip_from_hf, clip_state
from cs_vl.convert.gpt2 import gpt2_decoder_from_hf, gpt2_decoder_state, gpt2_from_hf, gpt2_state
from cs_vl.convert.idefics import (
    idefics_gated_from_hf,
    idefics_gated_state,
    idefics_resampler_from_hf,
    idefics_resampler_state,
)
from cs_vl.convert.llama import llama_from_hf, llama_state
from cs_vl.convert.llava import llava_from_hf, llava_state
from cs_vl.convert.sam import sam_from_hf, sam_from_meta, sam_state
from cs_vl.convert.siglip import siglip_from_hf, siglip_state
from cs_vl.convert.t5 import t5_from_hf, t5_state
from cs_vl.convert.visual_bert import visual_bert_from_hf, visual_bert_state
from cs_vl.convert.vit import vit_from_hf, vit_state

__all__ = [
    "bert_from_hf",
    "bert_state",
    "clip_from_hf",
    "clip_state",
    "gpt2_decoder_from_hf",
    "gpt2_decoder_state",
    "gpt2_from_hf",
    "gpt2_state",
    "idefics_gated_from_hf",
    "idefics_gated_state",
    "idefics_resampler_from_hf",
    "idefics_resampler_state",
    "llama_from_hf",
    "llama_state",
    "llava_from_hf",
    "llava_state",
    "sam_from_hf",
    "sam_from_meta",
    "sam_state",
    "siglip_from_hf",
    "siglip_state",
    "t5_from_hf",
    "t5_state",
    "visual_bert_from_hf",
    "visual_bert_state",
    "vit_from_hf",
    "vit_state",
]
