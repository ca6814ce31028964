"""The checks of a1, "Attention to ViT", in the notebook's order."""

from cs_vl.checks.a1_transformer.attention import MULTI_HEAD_ATTENTION, SCALED_DOT_PRODUCT_ATTENTION
from cs_vl.checks.spec import Assignment

ASSIGNMENT = Assignment(
    name="a1_transformer",
    title="Attention to ViT",
    exercises=(SCALED_DOT_PRODUCT_ATTENTION, MULTI_HEAD_ATTENTION),
)
