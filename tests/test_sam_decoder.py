"""SAM's decoder: prompts know nothing of each other, and a shared image is as good as its copies."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cs_vl.models.mask_decoder import MaskDecoder
from cs_vl.nn.two_way import TwoWayTransformer

few = settings(max_examples=15, deadline=None)
seeds, sizes, tokens = st.integers(0, 2**31), st.integers(1, 4), st.integers(0, 3)


def setting(seed: int, prompts: int, n: int, h: int, w: int) -> tuple[MaskDecoder, list[Tensor]]:
    """A decoder and what it takes: two images, a dense prompt that all share."""
    torch.manual_seed(seed)
    decoder = MaskDecoder(16, heads=2, mlp_dim=12, iou_hidden=8).double()
    shapes = ((2, 16, h, w), (16, h, w), (2, prompts, n, 16), (1, 1, 16, h, w))
    return decoder, [torch.randn(*shape, dtype=torch.float64) for shape in shapes]


def close(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)


@few
@given(seeds, sizes, tokens, sizes, sizes)
def test_prompts_are_independent(seed, prompts, n, h, w):
    decoder, (image, positions, sparse, dense) = setting(seed, prompts, n, h, w)
    masks, iou = decoder(image, positions, sparse, dense)
    assert masks.shape == (2, prompts, 3, 4 * h, 4 * w) and iou.shape == (2, prompts, 3)
    for i in range(prompts):
        alone = decoder(image, positions, sparse[:, i : i + 1], dense)
        close((masks[:, i : i + 1], iou[:, i : i + 1]), alone)


@few
@given(seeds, sizes, tokens, sizes, sizes)
def test_a_shared_image_equals_its_copies(seed, prompts, n, h, w):
    decoder, (image, positions, sparse, dense) = setting(seed, prompts, n, h, w)
    copies = dense.expand(2, prompts, -1, -1, -1).contiguous()
    close(decoder(image, positions, sparse, dense), decoder(image, positions, sparse, copies))


@few
@given(seeds, sizes, tokens)
def test_the_order_of_a_prompts_tokens_does_not_matter(seed, prompts, n):
    decoder, (image, positions, sparse, dense) = setting(seed, prompts, n, 2, 3)
    close(decoder(image, positions, sparse, dense), decoder(image, positions, sparse.flip(2), dense))


@few
@given(seeds)
def test_one_mask_or_several(seed):
    """All masks at once hold both: the first is the single one."""
    decoder, given_ = setting(seed, 2, 1, 2, 3)
    several, single = decoder(*given_), decoder(*given_, multimask=False)
    assert [x.shape[2] for x in (*several, *single)] == [3, 3, 1, 1]
    decoder.hypernetworks[1] = decoder.hypernetworks[0]
    with torch.no_grad():
        decoder.mask_tokens[1] = decoder.mask_tokens[0]
    close((decoder(*given_)[0][:, :, :1],), (decoder(*given_, multimask=False)[0],))


def test_positions_say_where_pixels_are():
    """Pixels and positions in another order together: the same tokens; pixels alone: others."""
    torch.manual_seed(0)
    model = TwoWayTransformer(8, 2, 12).double()
    tokens, pixels, where = (
        torch.randn(*s, dtype=torch.float64) for s in ((1, 2, 3, 8), (1, 1, 6, 8), (6, 8))
    )
    found, picture = model(tokens, pixels, where)
    together = model(tokens, pixels.flip(2), where.flip(0))
    close((found, picture), (together[0], together[1].flip(2)))
    assert (model(tokens, pixels.flip(2), where)[0] - found).abs().max() > 1e-3
