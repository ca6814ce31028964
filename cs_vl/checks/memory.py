"""Count the memory that a piece of code takes, by bytes and not by the clock: the same on every machine.

    with MemoryMeter() as meter:
        loss.backward()
    meter.peak, meter.largest

Every operation of torch passes the meter, those of a backward pass too (on a CPU it runs in the thread that
calls it).  What an operation returns in memory of its own counts from then on until nothing refers to it; a
view counts nothing.  What a kernel allocates and frees inside one operation is not seen, nor are NumPy's
arrays.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


class OverCap(MemoryError):
    """More memory at a time than was allowed."""


class MemoryMeter(TorchDispatchMode):
    """Within `with`: how much memory is taken, beyond what was there before.

    Args:
        cap: bytes; the operation that goes over it raises.

    Attributes:
        peak: most bytes at a time.
        largest: bytes of the largest tensor, of those that own their memory.

    Raises:
        OverCap: over the cap.
    """

    def __init__(self, cap: float = math.inf):
        super().__init__()
        self.cap = cap
        self.peak = self.largest = 0
        # A storage's address can't be given to another as long as a weak reference to it is kept.
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._at_most = 0  # what those take together, if none has gone yet

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler at the first operation, which takes seconds

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for storage in storages(result):
            at, size = storage._cdata, storage.nbytes()
            ref, before = self._live.get(at, (None, 0))
            if ref is None and any(at == given._cdata for given in storages((args, kwargs))):
                continue  # it was there before
            self._live[at] = ref or StorageWeakRef(storage), size  # `out=` may have made it larger
            self._at_most += size - before
            self.largest = max(self.largest, size)
        if self._at_most > self.peak:  # only then it matters which of them have gone
            self._live = {at: kept for at, kept in self._live.items() if not kept[0].expired()}
            self._at_most = sum(size for _, size in self._live.values())
            self.peak = max(self.peak, self._at_most)
        if self.peak > self.cap:
            raise OverCap(f"{self.peak:,} bytes at a time, where {self.cap:,.0f} are allowed")
        return result


def storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    """The memory of all dense tensors in nested lists, tuples and dicts."""
    if isinstance(tree, torch.Tensor):
        if tree.layout is torch.strided:
            yield tree.untyped_storage()
    elif isinstance(tree, list | tuple | dict):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from storages(part)
