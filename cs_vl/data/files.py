"""Where the committed data lie, and how to read them: what is missing or damaged is said in one sentence."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

PACKAGE = Path(__file__).resolve().parents[1]

Model = TypeVar("Model", bound=nn.Module)


class DamagedFile(ValueError):
    """A data file is there, but it isn't what the library wrote."""

    def __init__(self, path: Path, what: str):
        super().__init__(
            f"{path} is damaged ({what}): get it again, with `git checkout` of that file, "
            f"or by unpacking the course's zip once more"
        )


def data_folders() -> list[Path]:
    """Where data files are looked for, in this order.

    The folder that the environment variable CS_VL_DATA names, where it is set; what an installed
    package brings along; the `data` folder of the repository.
    """
    own = [PACKAGE / "_data", PACKAGE.parent / "data"]
    return [Path(os.environ["CS_VL_DATA"]), *own] if os.environ.get("CS_VL_DATA") else own


def data_file(name: str) -> Path:
    """The path of a data file, for instance `data_file("emoji/names.json")`.

    Raises:
        FileNotFoundError: none of `data_folders()` has it.
    """
    folders = data_folders()
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"the data file {name} is in none of {', '.join(map(str, folders))}: install the course's package "
        f"whole (its wheel brings the data), or set CS_VL_DATA to the folder that holds {name.split('/')[0]}"
    )


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        DamagedFile: it isn't JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:  # bytes that are no UTF-8, too
        raise DamagedFile(path, f"no JSON: {error}") from error


def read_picture(path: Path) -> UInt8[Tensor, "height width channels"]:
    """The pixels of a picture file: four channels, or one for a picture of indices.

    Raises:
        DamagedFile: it can't be decoded.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGBA") if image.mode.startswith("RGB") else image)
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for broken files
        raise DamagedFile(path, f"no whole picture: {error}") from error
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name.

    Raises:
        DamagedFile: it is not whole.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(path, f"no whole safetensors file: {error}") from error


def load_weights(model: Model, name: str) -> Model:
    """A model with the weights of a data file, in evaluation mode: float16 there, float32 here.

    Raises:
        FileNotFoundError: the file is missing.
        DamagedFile: it is not whole, or of another model.
    """
    path = data_file(name)
    try:
        model.load_state_dict(read_tensors(path))
    except RuntimeError as error:  # names or shapes
        raise DamagedFile(path, str(error).split("\n")[0]) from error
    return model.eval()


def read_results(readme: str, run: str) -> list[dict[str, Any]]:
    """What the trainings of a data folder came to: `results/<run>-<seed>.json`, a dict a seed.

    Args:
        readme: a file of that folder, "vlm/README.md" for instance.

    Raises:
        FileNotFoundError: there is no such run.
        DamagedFile: a file is not whole.
    """
    folder = data_file(readme).parent / "results"
    found = sorted(folder.glob(f"{run}-[0-9].json"))
    if not found:
        there = sorted({path.stem.rpartition("-")[0] for path in folder.glob("*.json")})
        raise FileNotFoundError(f"there is no stored run {run!r}; there is {', '.join(there)}")
    return [read_json(path) for path in found]
