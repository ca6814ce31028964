"""Single files of other packages, to compare ours with: `from oracle_files import load_open_clip_losses`.

Each is loaded by itself: its package would want what we don't install (torchvision, timm, open_clip).  Where a
package isn't installed, the test that asks for its file is skipped.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load_file(package: str, file: str, *, install: str, needs: tuple[str, ...] = ()) -> ModuleType:
    """A file of a package, as a module.

    Args:
        install: what to do where it isn't installed.
        needs: other packages that the file imports.
    """
    found = [importlib.util.find_spec(name) for name in (package, *needs)]
    if not all(found) or found[0] is None or found[0].origin is None:
        pytest.skip(f"{package} is not installed; {install} does it")
    path = Path(found[0].origin).parent / file
    spec = importlib.util.spec_from_file_location(
        f"{package}.{file.removesuffix('.py').replace('/', '.')}", path
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_open_clip_losses() -> ModuleType:
    """open_clip's losses: `.ClipLoss`, `.SigLipLoss`."""
    return load_file("open_clip", "loss.py", install="`make setup`")


def load_open_flamingo_helpers() -> ModuleType:
    """`.PerceiverResampler`, `.MaskedCrossAttention`, `.GatedCrossAttentionBlock`."""
    return load_file(
        "open_flamingo",
        "src/helpers.py",
        install="`pip install --no-deps open_flamingo einops einops_exts`",
        needs=("einops", "einops_exts"),
    )


def load_amg() -> ModuleType:
    """What Meta's SAM makes masks of: points, boxes, stability, run lengths."""
    return load_file("segment_anything", "utils/amg.py", install="`make setup`")


def load_segment_anything_models() -> ModuleType:
    """Meta's modules: `.Sam`, `.ImageEncoderViT`, `.PromptEncoder`, `.MaskDecoder`, `.TwoWayTransformer`.

    The package's own `__init__` would import torchvision, so an empty package of its name stands in for it.
    """
    spec = importlib.util.find_spec("segment_anything")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("segment_anything is not installed; `make setup` does it")
    empty = ModuleType("segment_anything")
    empty.__path__ = list(spec.submodule_search_locations)
    before = sys.modules.get("segment_anything")
    sys.modules["segment_anything"] = empty
    try:
        return importlib.import_module("segment_anything.modeling")
    finally:
        if before is None:
            del sys.modules["segment_anything"]
        else:
            sys.modules["segment_anything"] = before
