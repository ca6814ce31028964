"""Carry named results between processes and into files: JSON for the tree, safetensors for its arrays.

Never pickle: what comes from a student's process is data, whatever was put into it.
"""

import json
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.numpy
import torch

MAX_BYTES = 64 * 2**20  # of one message, either half
_HEAD = struct.Struct(">QQ")


class Refused(ValueError):
    """Something that the wire does not carry; the message is one sentence."""


def pack(tree: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Split a tree of dicts, lists, tuples, scalars, bytes, arrays and tensors into JSON and arrays.

    Raises:
        Refused: an object of another type, or one that is too large.
    """
    arrays: dict[str, np.ndarray] = {}
    names: dict[Any, str] = {}  # equal arrays are stored once

    def visit(x: Any) -> Any:
        if x is None or isinstance(x, bool | int | str):
            return x
        if isinstance(x, float):
            return x if np.isfinite(x) else {"$float": repr(x)}
        if isinstance(x, bytes | bytearray):
            return {"$bytes": bytes(x).hex()}
        if isinstance(x, list | set | frozenset):
            return [visit(y) for y in (x if isinstance(x, list) else sorted(x))]
        if isinstance(x, tuple):
            return {"$tuple": [visit(y) for y in x]}
        if isinstance(x, dict):
            if all(isinstance(key, str) and not key.startswith("$") for key in x):
                return {key: visit(value) for key, value in x.items()}
            return {"$dict": [[visit(key), visit(value)] for key, value in x.items()]}
        if isinstance(x, np.generic | np.ndarray | torch.Tensor):
            array = _to_numpy(x)
            name = names.setdefault((array.dtype.str, array.shape, array.tobytes()), str(len(names)))
            arrays[name] = array
            return {"$array": name, "torch": isinstance(x, torch.Tensor)}
        raise Refused(f"a {type(x).__name__} came where a tensor, array, number, string or list was expected")

    return visit(tree), arrays


def _to_numpy(x: Any) -> np.ndarray:
    if isinstance(x, torch.Tensor):
        if x.layout != torch.strided or x.is_complex() or x.is_quantized:
            raise Refused(f"a tensor of an unusual kind came ({x.dtype}, {x.layout}); use a plain dense one")
        if x.numel() * x.element_size() > MAX_BYTES:
            raise Refused(f"a tensor of shape {tuple(x.shape)} came: too large to be right")
        x = x.detach().to("cpu")
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).contiguous().numpy()
    x = np.asarray(x)
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise Refused(f"an array of type {x.dtype} came; use numbers or booleans")
    if x.nbytes > MAX_BYTES:
        raise Refused(f"an array of shape {x.shape} came: too large to be right")
    return np.array(x, order="C")  # a plain copy: no subclass, no odd strides


def unpack(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `pack`."""
    if isinstance(tree, list):
        return [unpack(x, arrays) for x in tree]
    if not isinstance(tree, dict):
        return tree
    if "$array" in tree:
        array = arrays[tree["$array"]]
        return torch.from_numpy(array.copy()) if tree["torch"] else array.copy()
    if "$tuple" in tree:
        return tuple(unpack(x, arrays) for x in tree["$tuple"])
    if "$bytes" in tree:
        return bytes.fromhex(tree["$bytes"])
    if "$float" in tree:
        return float(tree["$float"])
    if "$dict" in tree:
        return {unpack(key, arrays): unpack(value, arrays) for key, value in tree["$dict"]}
    return {key: unpack(value, arrays) for key, value in tree.items()}


def copy(tree: Any) -> Any:
    """A deep copy that shares no memory with the original."""
    return unpack(*pack(tree))


def send(stream: IO[bytes], tree: Any) -> None:
    """Write one message: two lengths, then JSON, then safetensors."""
    skeleton, arrays = pack(tree)
    text, blob = json.dumps(skeleton).encode(), safetensors.numpy.save(arrays)
    if max(len(text), len(blob)) > MAX_BYTES:
        raise Refused("the results are too large to be right")
    stream.write(_HEAD.pack(len(text), len(blob)) + text + blob)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
        Refused: a message over the size limit, or one that is not well formed.
    """
    text_size, blob_size = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if max(text_size, blob_size) > MAX_BYTES + 2**16:
        raise Refused("a message over the size limit came")
    text, blob = _exactly(stream, text_size), _exactly(stream, blob_size)
    try:
        return unpack(json.loads(text), safetensors.numpy.load(blob))
    except (ValueError, KeyError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise Refused("a damaged message came") from error


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the other side closed the connection")
    return data


def save(path: Path, tree: Any) -> None:
    """Write a tree as `path`.json and `path`.safetensors."""
    skeleton, arrays = pack(tree)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(skeleton, indent=None, separators=(",", ":")) + "\n")
    path.with_suffix(".safetensors").write_bytes(safetensors.numpy.save(arrays))


def load(path: Path) -> Any:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: with a sentence, where either file is missing or damaged.
    """
    try:
        skeleton = json.loads(path.with_suffix(".json").read_text())
        return unpack(skeleton, safetensors.numpy.load(path.with_suffix(".safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise FileNotFoundError(
            f"{path.name}.json/.safetensors in {path.parent} is missing or damaged ({type(error).__name__}): "
            "install cs_vl again, or run `make build` in a clone of the course"
        ) from error
