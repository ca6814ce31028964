"""The SAM of the emoji scenes: 64 x 64 pixels, 256 patches, a million parameters.

`data/sam/train.py` trains it; `load_scene_sam` reads what that left behind.
"""

from cs_vl.data.files import DamagedFile, data_file, read_tensors
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


def load_scene_sam(name: str = "sam") -> SAM:
    """A trained model, seed 0, in evaluation mode, on the CPU.

    Args:
        name: "sam", or "single", the twin that was trained with one mask for every prompt.

    Raises:
        FileNotFoundError: its file is missing.
        DamagedFile: its file is not whole, or of another model.
    """
    path = data_file(f"sam/{name}.safetensors")
    model = make_scene_sam()
    try:
        model.load_state_dict(read_tensors(path))  # float16 there, float32 here
    except RuntimeError as error:  # names or shapes
        raise DamagedFile(path, str(error).split("\n")[0]) from error
    return model.eval()
