"""open_clip's losses, to compare ours with: `from open_clip_loss import load_open_clip_losses`."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def load_open_clip_losses() -> ModuleType:
    """Its module of losses: `load_open_clip_losses().ClipLoss`, `.SigLipLoss`.

    The file needs torch alone and is loaded by itself: `import open_clip` would want torchvision and timm.
    """
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        pytest.skip(
            "open_clip is not installed; `make setup` does it (open_clip_torch, without dependencies)"
        )
    path = Path(package.submodule_search_locations[0]) / "loss.py"
    spec = importlib.util.spec_from_file_location("open_clip.loss", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
