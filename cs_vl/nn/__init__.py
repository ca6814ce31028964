"""The parts that models are built of, one idea a file.

Read in this order:

1. `by_hand`: softmax, layer norm and attention in NumPy, with backward passes derived by hand.
2. `attention`: the same in torch; many heads; self- and cross-attention.
3. `masks`: padding, causal, prefix: who may look at whom.
4. `mlp`, `block`: a transformer block.
5. `text`: BERT, GPT-2 and CLIP's text tower as one class; a language model.
6. `patch_embed`, `pool`, `vit`: a transformer that reads images.
7. `rms_norm`, `relative_bias`, `t5`: an encoder and a decoder.
8. `elmo`: what came before attention.
9. `rms_norm_by_hand`, `rotary`, `kv_cache`, `cached_attention`, `swiglu`: what a Llama is made of.
10. `resampler`, `gated_cross_attention`: how pictures come into a finished language model.
11. `fourier`, `layer_norm_2d`, `two_way`, `window_attention`: what SAM is made of.

(`init` is how weights start.)
"""

from cs_vl.nn.attention import MultiHeadAttention, scaled_dot_product_attention
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.cached_attention import CachedAttention
from cs_vl.nn.elmo import ELMo
from cs_vl.nn.fourier import fourier_positions, grid_positions
from cs_vl.nn.gated_cross_attention import GatedCrossAttention, media_mask
from cs_vl.nn.init import init_weights
from cs_vl.nn.kv_cache import KVCache, LayerCache
from cs_vl.nn.layer_norm_2d import LayerNorm2d
from cs_vl.nn.masks import attention_mask, language_model_mask
from cs_vl.nn.mlp import ACTIVATIONS, MLP
from cs_vl.nn.patch_embed import PatchEmbed
from cs_vl.nn.pool import AttentionPool
from cs_vl.nn.relative_bias import RelativeBias
from cs_vl.nn.resampler import FeedForward, PerceiverResampler, ResamplerBlock
from cs_vl.nn.rms_norm import RMSNorm
from cs_vl.nn.rotary import rotary_embed
from cs_vl.nn.swiglu import SwiGLU
from cs_vl.nn.t5 import T5, shift_right
from cs_vl.nn.text import LanguageModel, TextOutput, TextTransformer, pool_text
from cs_vl.nn.two_way import NarrowAttention, TwoWayBlock, TwoWayTransformer
from cs_vl.nn.vit import ViT, ViTOutput
from cs_vl.nn.window_attention import GridAttention, GridBlock, from_windows, to_windows

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "T5",
    "AttentionPool",
    "CachedAttention",
    "ELMo",
    "FeedForward",
    "GatedCrossAttention",
    "GridAttention",
    "GridBlock",
    "KVCache",
    "LanguageModel",
    "LayerCache",
    "LayerNorm2d",
    "MultiHeadAttention",
    "NarrowAttention",
    "PatchEmbed",
    "PerceiverResampler",
    "RMSNorm",
    "RelativeBias",
    "ResamplerBlock",
    "SwiGLU",
    "TextOutput",
    "TextTransformer",
    "TransformerBlock",
    "TwoWayBlock",
    "TwoWayTransformer",
    "ViT",
    "ViTOutput",
    "attention_mask",
    "fourier_positions",
    "from_windows",
    "grid_positions",
    "init_weights",
    "language_model_mask",
    "media_mask",
    "pool_text",
    "rotary_embed",
    "scaled_dot_product_attention",
    "shift_right",
    "to_windows",
]
