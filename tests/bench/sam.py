"""SAM's decoder against transformers' at the same weights, and how long everything in an image takes."""

from collections.abc import Callable, Iterator

import torch
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

from cs_vl.convert import sam_from_hf
from cs_vl.tasks.automatic_masks import automatic_masks
from cs_vl.tasks.sam_models import load_scene_sam

PROMPTS, GRID, DIM = (
    64,
    32,
    256,
)  # the decoder has SAM's own sizes; a quarter of its 64 x 64 places, in a quarter of the time


def config() -> SamConfig:
    """The encoder is a stub: it does not run."""
    vision = SamVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16 * GRID, patch_size=16,
        output_channels=DIM, global_attn_indexes=[0], mlp_dim=32, num_pos_feats=DIM // 2,
    )  # fmt: skip
    prompts = SamPromptEncoderConfig(image_size=16 * GRID, patch_size=16)
    return SamConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=SamMaskDecoderConfig()
    )


def decoders() -> tuple[Callable[[], tuple], Callable[[], tuple]]:
    """One image and 64 clicks decoded by ours and by theirs; each gives masks and IoU."""
    torch.manual_seed(0)
    theirs = SamModel(config()).eval()
    for p in theirs.parameters():
        p.data += 0.02 * torch.randn_like(p)  # as it starts, its tokens are nearly 0
    ours = sam_from_hf(theirs.config, theirs.state_dict()).eval()
    image, positions = torch.randn(1, DIM, GRID, GRID), torch.randn(DIM, GRID, GRID)
    sparse, dense = torch.randn(1, PROMPTS, 2, DIM), torch.randn(1, 1, DIM, GRID, GRID)

    @torch.no_grad()
    def we_decode() -> tuple:
        return ours.decoder(image, positions, sparse, dense)

    @torch.no_grad()
    def they_decode() -> tuple:
        return theirs.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=positions[None],
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense[:, 0],
            multimask_output=True,
        )[:2]

    return we_decode, they_decode


def sam(in_turn: Callable[..., tuple[float, float]]) -> Iterator[tuple[str, str, float, float]]:
    """Rows of the table; `in_turn` measures."""
    ours, theirs = decoders()
    for a, b in zip(ours(), theirs(), strict=True):
        assert b.std() > 1e-3, "nothing to compare"
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    ratio, seconds = in_turn(ours, theirs, 5)
    what = f"SAM's decoder (ViT-B's sizes, {PROMPTS} prompts on one image, {GRID} x {GRID} features)"
    yield what, "transformers' SamModel", ratio, seconds

    model = load_scene_sam()
    image = torch.rand(3, model.image_size, model.image_size)

    def everything() -> None:
        automatic_masks(model, image, min_iou=-1e9, min_stability=-1)

    _, seconds = in_turn(everything, lambda: None, 3)
    yield "automatic masks of a 64 px image (256 clicks, no filter)", "1 s", seconds, seconds
