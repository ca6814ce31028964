"""Same weights, same numbers: SAM against transformers' SamModel and against segment-anything's own modules.

Every parameter is perturbed first: at random initialisation the prompts' embeddings are nearly zero.
"""

from functools import partial
from typing import Any

import pytest
import torch
from oracle_files import load_segment_anything_models
from parity import assert_close, assert_parity, perturbed
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from cs_vl.convert import sam_from_hf, sam_from_meta, sam_state
from cs_vl.models.sam import SAM

SIZE, GRID = 40, 10


def config(**vision: Any) -> SamConfig:
    """Windows of 4 on a grid of 10, which they do not divide; the block in the middle looks at everything."""
    return SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": SIZE,
            "patch_size": 4,
            "window_size": 4,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
            "mlp_dim": 48,
            **vision,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": SIZE,
            "patch_size": 4,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 12,
        },
    )


def oracle(**vision: Any) -> tuple[SamModel, SAM]:
    torch.manual_seed(0)
    theirs: Any = perturbed(SamModel(config(**vision)))
    # It keeps the frequencies twice, and they are one.
    theirs.prompt_encoder.shared_embedding = theirs.shared_image_embedding
    return theirs, sam_from_hf(theirs.config, theirs.state_dict())


def prompts() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two images with five prompts: points (one is none), boxes, masks."""
    points = torch.rand(2, 5, 3, 2) * SIZE
    labels = torch.randint(0, 2, (2, 5, 3))
    labels[0, 0, 2] = -1
    low = torch.rand(2, 5, 2) * SIZE / 2
    boxes = torch.cat([low, low + 1 + torch.rand(2, 5, 2) * SIZE / 3], dim=2)
    return points, labels, boxes, torch.randn(2, 1, 4 * GRID, 4 * GRID)


@pytest.mark.parametrize("relative", [True, False])
def test_the_image_encoder(relative: bool):
    theirs, ours = oracle(use_rel_pos=relative)
    images = torch.rand(2, 3, SIZE, SIZE)
    expected = theirs.get_image_embeddings((images - ours.mean) / ours.std)
    assert expected.std() > 0.5
    assert_close([ours.encode(images)], [expected])


@pytest.mark.parametrize("multimask", [True, False])
def test_points_boxes_and_masks(multimask: bool):
    theirs, ours = oracle()
    torch.manual_seed(1)
    features = torch.randn(2, 16, GRID, GRID)
    points, labels, boxes, masks = prompts()
    several = {"points": (points, labels), "boxes": (boxes,), "both": (points, labels, boxes)}
    for with_mask in (False, True):
        for name, given in several.items():
            mask = masks if with_mask else None
            spots, kinds = given[:2] if name != "boxes" else (None, None)
            box = given[-1] if name != "points" else None
            expected = theirs(
                image_embeddings=features,
                input_points=spots,
                input_labels=kinds,
                input_boxes=box,
                input_masks=mask,
                multimask_output=multimask,
            )
            found = ours.decode(features, spots, kinds, box, mask, multimask=multimask)
            assert expected.pred_masks.std() > 1e-3, name
            assert_close(list(found), [expected.pred_masks, expected.iou_scores])


def test_gradients():
    """Of all that is learned: in the encoder, the prompts (points, boxes, masks, none) and the decoder.

    The weights are larger, or hardly a gradient would come through; in float64, or rounding would grow, too.
    """
    theirs, _ = oracle()
    theirs.double()
    with torch.no_grad():
        for p in theirs.parameters():
            p *= 4 if p.ndim >= 2 else 1
    ours = sam_from_hf(theirs.config, theirs.state_dict()).double()
    ours.load_state_dict(sam_state(theirs.state_dict()))
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
    points, labels, boxes, masks = (x.double() if x.is_floating_point() else x for x in prompts())
    seen, features = ours.encode(images), theirs.vision_encoder((images - ours.mean) / ours.std)[0]
    found = [
        *ours.decode(seen, points, labels, masks=masks),
        *ours.decode(seen, points, labels, boxes, multimask=False),
    ]
    expected = [
        *_theirs(theirs, features, points, labels, input_masks=masks),
        *_theirs(theirs, features, points, labels, input_boxes=boxes, multimask_output=False),
    ]

    def under_our_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: x for name, x in sam_state(tensors).items() if name != "points.frequencies"
        }  # not learned

    assert_parity(ours, found, theirs, expected, under_our_names)


def _theirs(model: SamModel, features: Tensor, points: Tensor, labels: Tensor, **more: Any) -> list[Tensor]:
    out = model(image_embeddings=features, input_points=points, input_labels=labels, **more)
    return [out.pred_masks, out.iou_scores]


def test_a_file_may_hold_the_frequencies_once():
    theirs, ours = oracle()
    state = theirs.state_dict()
    del state["prompt_encoder.shared_embedding.positional_embedding"]
    again = sam_from_hf(theirs.config, state)
    assert torch.equal(again.points.frequencies, ours.points.frequencies)


def test_what_we_do_not_have_is_refused():
    theirs, _ = oracle()
    with pytest.raises(ValueError, match="qkv_bias"):
        sam_from_hf(config(qkv_bias=False), theirs.state_dict())
    with pytest.raises(ValueError, match="hidden_act"):
        sam_from_hf(config(hidden_act="relu"), theirs.state_dict())
    state = theirs.state_dict()
    del state["mask_decoder.iou_token.weight"]
    with pytest.raises(ValueError, match="lacks"):
        sam_from_hf(theirs.config, state)


# ---- Meta's own


def of_meta(*, heads: int = 4) -> Any:
    """A small `Sam` of segment-anything: windows of 4 in a grid of 10, global attention in block 1."""
    meta = load_segment_anything_models()
    norm = partial(nn.LayerNorm, eps=1e-6)
    return meta.Sam(
        image_encoder=meta.ImageEncoderViT(
            img_size=SIZE, patch_size=4, embed_dim=32, depth=3, num_heads=heads, mlp_ratio=2, out_chans=32,
            norm_layer=norm, qkv_bias=True, use_rel_pos=True, window_size=4, global_attn_indexes=(1,),
        ),
        prompt_encoder=meta.PromptEncoder(
            embed_dim=32, image_embedding_size=(GRID, GRID), input_image_size=(SIZE, SIZE), mask_in_chans=16
        ),
        mask_decoder=meta.MaskDecoder(
            transformer_dim=32,
            transformer=meta.TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=48),
            num_multimask_outputs=3, iou_head_depth=3, iou_head_hidden_dim=24,
        ),
    )  # fmt: skip


def test_metas_modules_give_the_same_numbers():
    theirs = perturbed(of_meta())
    ours = sam_from_meta(theirs.state_dict()).eval()
    assert [block.window for block in ours.encoder.blocks] == [4, 0, 4]
    assert ours.encoder.blocks[0].attn.heads == 4
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    points, labels, boxes, masks = prompts()
    n = points.shape[1]
    found, expected = [], []
    with torch.no_grad():
        features = theirs.image_encoder(theirs.preprocess(255 * images))
        found.append(ours.encode(images))
        expected.append(features)
        for multimask in (True, False):
            for with_box, with_mask in ((False, False), (True, False), (True, True)):
                box, mask = boxes[:1] if with_box else None, masks[:1] if with_mask else None
                sparse, dense = theirs.prompt_encoder(
                    points=(points[0], labels[0]),
                    boxes=None if box is None else box[0],
                    masks=None if mask is None else mask[0][:, None],
                )
                low, iou = theirs.mask_decoder(
                    image_embeddings=features,
                    image_pe=theirs.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=multimask,
                )
                assert len(low) == n
                expected += [low[None], iou[None]]
                found += ours.decode(features, points[:1], labels[:1], box, mask, multimask=multimask)
    assert_close(found, expected)


def test_what_metas_file_lacks_is_named():
    state = of_meta().state_dict()
    del state["mask_decoder.iou_token.weight"]
    with pytest.raises(ValueError, match="iou_token"):
        sam_from_meta(state)
