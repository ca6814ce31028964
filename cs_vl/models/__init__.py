"""Whole models, built of the parts in `cs_vl.nn`.

Read in this order:

1. `clip`: two towers, one for images and one for texts.
2. `clip_init`: the paper's CLIP in any size, and how its weights start.
3. `captioner`: a language model that reads the image first, to compare CLIP with.
4. `decoder`: a language model, a Llama or a GPT-2, with a cache.
5. `sampling`, `generate`: how it writes.
6. `llava`: a picture as words of a language model.
7. `flamingo`: a language model that looks at pictures on the way.
8. `visual_bert`, `vilbert`: what came before: a BERT for both, and two streams with co-attention.
9. `image_encoder`, `prompt_encoder`, `mask_decoder`, `sam`: a mask for whatever a prompt points at.
"""

from cs_vl.models.captioner import Captioner
from cs_vl.models.clip import CLIP, CLIPOutput
from cs_vl.models.clip_init import clip_init, make_clip
from cs_vl.models.decoder import Decoder
from cs_vl.models.flamingo import Flamingo
from cs_vl.models.generate import generate, left_pad
from cs_vl.models.image_encoder import ImageEncoder
from cs_vl.models.llava import LLaVA, LLaVAOutput, Projector, set_phase, splice_images
from cs_vl.models.mask_decoder import MaskDecoder
from cs_vl.models.prompt_encoder import MaskEncoder, PointEncoder
from cs_vl.models.sam import SAM, SAMOutput, make_sam, most_confident
from cs_vl.models.sampling import next_token_probabilities
from cs_vl.models.vilbert import ViLBERT, ViLBERTOutput
from cs_vl.models.visual_bert import VisualBERT, VisualBERTOutput

__all__ = [
    "CLIP",
    "SAM",
    "CLIPOutput",
    "Captioner",
    "Decoder",
    "Flamingo",
    "ImageEncoder",
    "LLaVA",
    "LLaVAOutput",
    "MaskDecoder",
    "MaskEncoder",
    "PointEncoder",
    "Projector",
    "SAMOutput",
    "ViLBERT",
    "ViLBERTOutput",
    "VisualBERT",
    "VisualBERTOutput",
    "clip_init",
    "generate",
    "left_pad",
    "make_clip",
    "make_sam",
    "most_confident",
    "next_token_probabilities",
    "set_phase",
    "splice_images",
]
