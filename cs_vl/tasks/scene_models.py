"""The models of the world of scenes: a vision tower, a language model, and what joins them.

All small enough for a laptop: 64 x 64 pixels, 64 patches, two or three million parameters a part.
`data/vlm/train.py` trains them; `load_...` read what it left behind.
"""

from torch import nn

from cs_vl.data.bpe import Tokenizer
from cs_vl.data.chat import IMAGE
from cs_vl.data.files import load_weights
from cs_vl.data.world import load_world_tokenizer
from cs_vl.models.clip import CLIP
from cs_vl.models.decoder import Decoder
from cs_vl.models.flamingo import Flamingo
from cs_vl.models.llava import LLaVA, Projector
from cs_vl.nn.conv_stem import ConvStem
from cs_vl.nn.text import TextTransformer
from cs_vl.nn.vit import ViT

IMAGE_SIZE, PATCH_SIZE = 64, 8  # pixels
VISUAL_DIM, DIM = 192, 192  # widths of the vision tower and of the language model
CAPTION_LENGTH = 64  # tokens of a caption, for the text tower
CONTEXT_LENGTH = 256  # tokens of the language model, patches included


def make_scene_tower() -> ViT:
    """A ViT with a class token over 8 x 8 patches, with a convolutional stem."""
    vit = ViT(
        image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, dim=VISUAL_DIM, depth=6, heads=6, mlp_dim=3 * VISUAL_DIM
    )
    vit.patch_embed = ConvStem(PATCH_SIZE, 3, VISUAL_DIM)  # type: ignore[assignment]
    return vit


def make_scene_clip(tokenizer: Tokenizer) -> CLIP:
    """The tower's school: to pick the caption of a scene.  Later its text tower goes."""
    text = TextTransformer(
        vocab_size=tokenizer.vocab_size,
        context_length=CAPTION_LENGTH,
        dim=VISUAL_DIM,
        depth=2,
        heads=6,
        causal=False,
        pool="mean",
    )
    return CLIP(
        visual=make_scene_tower(), text=text, visual_dim=VISUAL_DIM, text_dim=VISUAL_DIM, embed_dim=VISUAL_DIM
    )


def make_world_lm(tokenizer: Tokenizer) -> Decoder:
    """A small Llama for the world's text."""
    return Decoder(
        vocab_size=tokenizer.vocab_size, context_length=CONTEXT_LENGTH, dim=DIM, depth=5, heads=6, mlp_dim=512
    )


def make_llava(
    visual: nn.Module, lm: Decoder, tokenizer: Tokenizer, *, mlp: bool = True, layer: int | None = -2
) -> LLaVA:
    """LLaVA between the two.

    Args:
        mlp: the projector of LLaVA-1.5 or that of LLaVA.
        layer: which hidden state of the tower the projector reads; None: its pooled vector.
    """
    pooled = layer is None
    projector = Projector(
        VISUAL_DIM, DIM, mlp=mlp, layer=-1 if layer is None else layer, class_token=not pooled
    )
    return LLaVA(visual, projector, lm, image_id=tokenizer.specials[IMAGE], pooled=pooled)


def make_flamingo(visual: nn.Module, lm: Decoder, tokenizer: Tokenizer) -> Flamingo:
    """Flamingo between the two: 16 latents an image, a gated layer before each block."""
    return Flamingo(
        visual,
        lm,
        visual_dim=VISUAL_DIM,
        image_id=tokenizer.specials[IMAGE],
        heads=6,
        latents=16,
        resampler_depth=2,
    )


# ---- What training left behind ----


def load_scene_tower() -> ViT:
    """The vision tower, trained as CLIP's on scenes and their captions; seed 0."""
    return load_weights(make_scene_tower(), "vlm/tower.safetensors")


def load_world_lm() -> Decoder:
    """The language model, trained on text alone: it has never seen a picture; seed 0."""
    return load_weights(make_world_lm(load_world_tokenizer()), "vlm/lm.safetensors")


def load_llava(phase: int = 2) -> LLaVA:
    """LLaVA before training (0), after phase 1 (its projector has learned) or 2 (projector and LM)."""
    if phase not in (0, 1, 2):
        raise ValueError(f"phase should be 0 (before training), 1 or 2; got {phase!r}")
    model = make_llava(load_scene_tower(), load_world_lm(), load_world_tokenizer())
    if phase:
        load_weights(model.projector, f"vlm/projector-{phase}.safetensors")
    if phase == 2:
        load_weights(model.lm, "vlm/llava-lm.safetensors")
    return model.eval()


def load_flamingo() -> Flamingo:
    """Flamingo, with its resampler and its gated layers trained."""
    model = make_flamingo(load_scene_tower(), load_world_lm(), load_world_tokenizer())
    load_weights(model.resampler, "vlm/resampler.safetensors")
    load_weights(model.gated, "vlm/gated.safetensors")
    return model.eval()
