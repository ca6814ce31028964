"""open_flamingo's parts, to compare ours with: `from open_flamingo_helpers import load_open_flamingo_helpers`."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def load_open_flamingo_helpers() -> ModuleType:
    """Its module `helpers`: `.PerceiverResampler`, `.MaskedCrossAttention`, `.GatedCrossAttentionBlock`.

    The file needs torch and einops alone and is loaded by itself: `import open_flamingo` would want open_clip.
    Where it isn't installed, the test that asks for it is skipped.
    """
    if not all(map(importlib.util.find_spec, ("open_flamingo", "einops", "einops_exts"))):
        pytest.skip(
            "open_flamingo is not installed; `pip install --no-deps open_flamingo einops einops_exts` does it"
        )
    package = importlib.util.find_spec("open_flamingo")
    assert package and package.origin
    path = Path(package.origin).parent / "src" / "helpers.py"
    spec = importlib.util.spec_from_file_location("open_flamingo.src.helpers", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
