"""The checks of a1, "Attention to ViT", in the notebook's order."""

from cs_vl.checks.a1_transformer import attention, bpe, by_hand, masks, text, vision
from cs_vl.checks.spec import Assignment, in_order

ORDER = (
    "softmax", "softmax_backward", "layer_norm", "layer_norm_backward", "attention", "attention_backward",
    "scaled_dot_product_attention", "attention_mask", "language_model_mask", "MultiHeadAttention",
    "TransformerBlock", "bpe_train", "bpe_encode", "bpe_decode", "pool_text", "PatchEmbed", "ViT",
)  # fmt: skip

ASSIGNMENT = Assignment(
    name="a1_transformer",
    title="Attention to ViT",
    exercises=in_order(ORDER, by_hand, attention, masks, vision, bpe, text),
    preload=("torch.fx.experimental.symbolic_shapes",),  # torch.autograd.grad with a gradient of its own
)
