"""The scripts in `data/` as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DATA = Path(__file__).parents[1] / "data"


def load_script(file: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of `data/`, "sam/train.py" for instance; forgotten when the test ends."""
    name = file.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, DATA / file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module
