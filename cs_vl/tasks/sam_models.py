"""The SAM of the emoji scenes: 64 x 64 pixels, 256 patches, a million parameters.

Its masks are as large as its pictures.
"""

from cs_vl.models.sam import SAM, make_sam
from cs_vl.nn.conv_stem import ConvStem

IMAGE_SIZE, PATCH_SIZE = 64, 4  # pixels
DIM, OUT_DIM = 96, 64  # widths of the encoder, and of the decoder


def make_scene_sam() -> SAM:
    """A SAM for pictures of 64 x 64 pixels, whose masks are as large; with a convolutional stem."""
    model = make_sam(
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        dim=DIM,
        depth=6,
        heads=4,
        out_dim=OUT_DIM,
        window=8,
        global_blocks=(2, 5),
        decoder_heads=4,
        decoder_mlp_dim=256,
    )
    model.encoder.patch_embed = ConvStem(PATCH_SIZE, 3, DIM)  # type: ignore[assignment]
    return model
