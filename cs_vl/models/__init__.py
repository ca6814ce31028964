"""Whole models, built of the parts in `cs_vl.nn`.

Read in this order:

1. `clip`: two towers, one for images and one for texts.
2. `clip_init`: the paper's CLIP in any size, and how its weights start.
3. `captioner`: a language model that reads the image first, to compare CLIP with.
4. `visual_bert`, `vilbert`: how image and text were fused before: one stream, and two with co-attention.
"""

from cs_vl.models.captioner import Captioner
from cs_vl.models.clip import CLIP, CLIPOutput
from cs_vl.models.clip_init import clip_init, make_clip
from cs_vl.models.vilbert import ViLBERT, ViLBERTOutput
from cs_vl.models.visual_bert import VisualBERT, VisualBERTOutput

__all__ = [
    "CLIP",
    "CLIPOutput",
    "Captioner",
    "ViLBERT",
    "ViLBERTOutput",
    "VisualBERT",
    "VisualBERTOutput",
    "clip_init",
    "make_clip",
]
