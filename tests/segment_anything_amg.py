"""Meta's `segment_anything.utils.amg`, to compare ours with: `from segment_anything_amg import load_amg`."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def load_amg() -> ModuleType:
    """The file needs torch and NumPy alone and is loaded by itself: `import segment_anything` wants torchvision.

    Where it isn't installed, the test that asks for it is skipped.
    """
    package = importlib.util.find_spec("segment_anything")
    if package is None or package.origin is None:
        pytest.skip("segment_anything is not installed; `pip install --no-deps segment-anything` does it")
    path = Path(package.origin).parent / "utils" / "amg.py"
    spec = importlib.util.spec_from_file_location("segment_anything_utils_amg", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
