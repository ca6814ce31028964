"""The SAM of the emoji scenes: 64 x 64 pixels, 256 patches, two million parameters.

Its masks are as large as its pictures.
"""

from cs_vl.data.files import load_weights
from cs_vl.models.sam import SAM, make_sam
from cs_vl.nn.conv_stem import ConvStem

IMAGE_SIZE, PATCH_SIZE = 64, 4  # pixels
DIM, OUT_DIM = 128, 128  # widths of the encoder, and of the decoder

# What of an image's masks to keep, for `automatic_masks`.  SAM's own bars, 0.88 and 0.95, are far too high
# here: of a click that may mean three masks even the right one can't expect more IoU than its chance to be
# meant.  Chosen on scenes that are not scored.
EVERYTHING = {"min_iou": 0.3, "min_stability": 0.6, "min_area": 8}


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


def load_scene_sam(name: str = "sam") -> SAM:
    """The trained one, seed 0 of `data/sam/train.py`.

    Args:
        name: "sam", or "single", its twin that has learned to give one mask for each prompt.

    Raises:
        FileNotFoundError: the file is missing.
        DamagedFile: it is not whole, or of another model.
    """
    if name not in ("sam", "single"):
        raise ValueError(f'name should be "sam" or "single"; got {name!r}')
    return load_weights(make_scene_sam(), f"sam/{name}.safetensors")
