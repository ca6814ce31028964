"""Where to train, and whose random streams training may use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pick_device() -> torch.device:
    """The fastest device of this machine: a GPU (CUDA, else Apple's MPS) where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """What to call it in a table: "cpu", "mps", or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def borrowed_random_streams(device: torch.device) -> Iterator[list[torch.Generator]]:
    """The global generators that a model on `device` draws on (for dropout, say); put back as found."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        generators.append(torch.cuda.default_generators[device.index or 0])
    elif device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())
    before = [generator.get_state() for generator in generators]
    try:
        yield generators
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)
