"""Compare named results with the reference's: names and kinds first, then shapes, then values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cs_vl.checks.spec import Results

MOST = 1000  # entries of a list that are written out, before they are cut to a line


@dataclass
class Difference:
    """The first thing that differs.

    `reached` is "shape" where names, kinds or shapes differ, "value" where only numbers do.  `sentence`
    tells shapes at most; `detail` tells numbers, for cases that the student may see.
    """

    reached: str
    sentence: str
    detail: str = ""
    largest: float | None = None


def compare(got: Results, expected: Results, rtol: float, atol: float) -> Difference | None:
    """None where all named results agree.  float32 and float64 compare; so do NumPy and torch."""
    for check in (_kinds_and_shapes, _values):
        for name, value in expected.items():
            difference = check(name, got.get(name), value, name in got, rtol, atol)
            if difference:
                return difference
    return None


def _kinds_and_shapes(name: str, got: Any, expected: Any, present: bool, *_: float) -> Difference | None:
    if not present:
        return Difference("shape", f"`{name}` is missing from what yours returns.")
    if got is None and expected is not None:
        if name.startswith("gradient of"):
            return Difference("value", f"No gradient reaches {name.removeprefix('gradient of ')}.")
        return Difference("shape", f"`{name}` is None: is a return missing?")
    if not _is_array(expected):
        both_sequences = isinstance(got, list | tuple) and isinstance(expected, list | tuple)
        same = both_sequences or _kind(got) == _kind(expected)
        return None if same else _wrong_kind(name, got, expected)
    if not _is_array(got):
        return _wrong_kind(name, got, expected)
    a, b = _array(got), _array(expected)
    if a.shape != b.shape:
        return Difference("shape", f"`{name}` should have shape {b.shape}; yours has {a.shape}.")
    # float32 for float64 will do; a float for a label, an index, will not.  (NumPy makes ints by itself.)
    both = isinstance(got, torch.Tensor) and isinstance(expected, torch.Tensor)
    if (a.dtype == bool) != (b.dtype == bool) or (both and (a.dtype.kind in "iu") != (b.dtype.kind in "iu")):
        return Difference("shape", f"`{name}` should be of type {b.dtype}; yours is {a.dtype}.")
    return None


def _values(name: str, got: Any, expected: Any, present: bool, rtol: float, atol: float) -> Difference | None:
    if not _is_array(expected):
        if _count(got) == _count(expected) and _plain(got) == _plain(expected):
            return None
        detail = f"expected {_short(expected)}, got {_short(got)}"
        return Difference("value", f"`{name}` differs from what is expected.", detail)
    a, b = (_array(x).astype(np.float64) for x in (got, expected))
    with np.errstate(all="ignore"):
        close = (np.abs(a - b) <= atol + rtol * np.abs(b)) & np.isfinite(b)  # nothing is near infinity
        wrong = ~close & ~(a == b) & ~(np.isnan(a) & np.isnan(b))
        if not wrong.any():
            return None
        if np.isnan(a).any() and not np.isnan(b).any():
            at = _index(np.isnan(a).argmax(), a.shape)
            return Difference("value", f"`{name}` has NaN{_dtype_note(got)}.", f"the first at {name}{at}")
        gap = np.where(wrong, np.abs(a - b), -1.0)
        worst = int(np.nan_to_num(gap, nan=np.inf, posinf=np.inf).argmax())
    at, largest = _index(worst, a.shape), float(gap.flat[worst])
    share = f"{int(wrong.sum())} of {wrong.size} numbers of `{name}` differ."
    expected_value, got_value = b.flat[worst], a.flat[worst]
    detail = (
        f"largest difference {largest:.3g} at {name}{at}: expected {expected_value:.5g}, got {got_value:.5g}"
    )
    return Difference("value", share, detail, largest)


def _wrong_kind(name: str, got: Any, expected: Any) -> Difference:
    return Difference("shape", f"`{name}` should be {_kind(expected)}; yours is {_kind(got)}.")


def _kind(x: Any) -> str:
    if _is_array(x):
        return "an array" if isinstance(x, np.ndarray) else "a tensor"
    if isinstance(x, list | tuple):
        return "a list" if isinstance(x, list) else "a tuple"
    if isinstance(x, bool | int | float):
        return "a number"
    return {"str": "a string", "NoneType": "None", "dict": "a dict"}.get(type(x).__name__, type(x).__name__)


def _is_array(x: Any) -> bool:
    return isinstance(x, torch.Tensor | np.ndarray)


def _array(x: Any) -> np.ndarray:
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _plain(x: Any) -> Any:
    """Tuples as lists, one-element arrays as numbers: what equality should not depend on."""
    if isinstance(x, list | tuple):
        return [_plain(y) for y in x]
    if _is_array(x):
        return _plain(_array(x).tolist())
    return x


def _count(x: Any) -> int:
    """How many numbers, strings ... it holds: told at once, where to look at each could take minutes."""
    if isinstance(x, list | tuple):
        return sum(map(_count, x))
    return int(_array(x).size) if _is_array(x) else 1


def _index(flat: Any, shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(str(int(i)) for i in np.unravel_index(int(flat), shape)) + "]" if shape else ""


def _short(x: Any) -> str:
    if (count := _count(x)) > MOST:
        return f"{_kind(x)} of {count:,} entries"
    text = repr(_plain(x))
    return text if len(text) <= 120 else text[:117] + "..."


def _dtype_note(x: Any) -> str:
    return "" if _array(x).dtype.kind == "f" else f" (type {_array(x).dtype})"
