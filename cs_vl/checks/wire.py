"""Carry named results between processes and into files: JSON for the tree, safetensors for its arrays.

Never pickle: what comes from a student's process is data, whatever was put into it.
"""

import json
import struct
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors.numpy
import torch

MAX_BYTES = 64 * 2**20  # of all arrays of one message
MAX_TEXT = 4 * 2**20  # of its JSON, which takes many times as much memory once it is read
_HEAD = struct.Struct(">QQ")
_OWN = (torch.Tensor, torch.nn.Parameter)  # what a subclass does could be anything


class Source(Protocol):
    """A stream to read from: fewer bytes come at its end only."""

    def read(self, size: int, /) -> bytes: ...


class Sink(Protocol):
    """A stream to write to."""

    def write(self, data: bytes, /) -> Any: ...

    def flush(self) -> None: ...


class Refused(ValueError):
    """Something that the wire does not carry; the message is one sentence."""


def pack(tree: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Split a tree of dicts, lists, tuples, scalars, bytes, arrays and tensors into JSON and arrays.

    Raises:
        Refused: an object of another type, or one that is too large.
    """
    arrays: dict[str, np.ndarray] = {}
    names: dict[Any, str] = {}  # equal arrays are stored once
    room = _Room()

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
            array = _to_numpy(x, room)
            name = names.setdefault((array.dtype.str, array.shape, array.tobytes()), str(len(names)))
            arrays[name] = array
            return {"$array": name, "torch": isinstance(x, torch.Tensor)}
        raise Refused(f"a {type(x).__name__} came where a tensor, array, number, string or list was expected")

    return visit(tree), arrays


class _Room:
    """How many bytes of arrays a message may still hold."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def take(self, size: int, what: str) -> None:
        self.left -= size
        if self.left < 0:
            raise Refused(f"{what} came: too large to be right")


def _to_numpy(x: Any, room: _Room) -> np.ndarray:
    if isinstance(x, torch.Tensor):
        if type(x) not in _OWN:
            raise Refused(f"a {type(x).__name__} came, a class of its own; return a plain torch.Tensor")
        if x.layout != torch.strided or x.is_complex() or x.is_quantized:
            raise Refused(f"a tensor of an unusual kind came ({x.dtype}, {x.layout}); use a plain dense one")
        if x.is_meta:
            raise Refused("a tensor on the device “meta” came, which holds no numbers")
        room.take(x.numel() * x.element_size(), f"a tensor of shape {tuple(x.shape)}")
        x = x.detach().to("cpu").resolve_neg()
        try:
            x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).contiguous().numpy()
        except TypeError as error:  # float8 and its kind
            raise Refused(f"a tensor of type {x.dtype} came; use numbers or booleans") from error
    elif isinstance(x, np.ndarray):
        if type(x) is not np.ndarray:
            raise Refused(f"a {type(x).__name__} came, a class of its own; return a plain numpy.ndarray")
        room.take(x.nbytes, f"an array of shape {x.shape}")
    x = np.asarray(x)
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise Refused(f"an array of type {x.dtype} came; use numbers or booleans")
    return np.array(x, order="C")  # a plain copy: no odd strides


def unpack(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `pack`.

    Raises:
        Refused: the same few arrays are named so often that all together are too large.
    """
    room = _Room()

    def visit(x: Any) -> Any:
        if isinstance(x, list):
            return [visit(y) for y in x]
        if not isinstance(x, dict):
            return x
        if "$array" in x:
            array = arrays[x["$array"]]
            room.take(array.nbytes, "an array named many times")
            return torch.from_numpy(array.copy()) if x["torch"] else array.copy()
        if "$tuple" in x:
            return tuple(visit(y) for y in x["$tuple"])
        if "$bytes" in x:
            return bytes.fromhex(x["$bytes"])
        if "$float" in x:
            return float(x["$float"])
        if "$dict" in x:
            return {visit(key): visit(value) for key, value in x["$dict"]}
        return {key: visit(value) for key, value in x.items()}

    return visit(tree)


def copy(tree: Any) -> Any:
    """A deep copy that shares no memory with the original."""
    return unpack(*pack(tree))


def send(stream: Sink, tree: Any, most: int = MAX_TEXT) -> None:
    """Write one message: two lengths, then JSON (of `most` bytes at most), then safetensors.

    Raises:
        Refused: it is larger than a message may be, or of what the wire does not carry.
    """
    skeleton, arrays = pack(tree)
    text, blob = json.dumps(skeleton).encode(), safetensors.numpy.save(arrays)
    if len(text) > most:
        raise Refused("the results are too large to be right")
    stream.write(_HEAD.pack(len(text), len(blob)) + text + blob)
    stream.flush()


def receive(stream: Source, most: int = MAX_TEXT) -> Any:
    """Read one message, which may be anything: whoever sent it may be a student's code.

    Raises:
        EOFError: the other side is gone.
        Refused: a message over the size limit, or one that is not well formed.
    """
    text_size, blob_size = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if text_size > most or blob_size > MAX_BYTES + MAX_TEXT:
        raise Refused("a message over the size limit came")
    text, blob = _exactly(stream, text_size), _exactly(stream, blob_size)
    if int.from_bytes(blob[:8], "little") > MAX_TEXT:  # the list of arrays
        raise Refused("a message over the size limit came")
    try:
        return unpack(json.loads(text), safetensors.numpy.load(blob))
    except Refused:
        raise
    except Exception as error:  # whatever JSON, safetensors or an odd tree raises
        raise Refused("a damaged message came") from error


def _exactly(stream: Source, size: int) -> bytes:
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
