"""Building blocks of cases and probes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def normal(rng: np.random.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A standard normal tensor from the case's own generator."""
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def parameters(rng: np.random.Generator, module: nn.Module, scale: float = 0.3) -> dict[str, Tensor]:
    """Values for every parameter and buffer-free weight, by sorted name: none is 0 or 1 by chance.

    Weights of norms are centred on 1, everything else on 0.
    """
    values = {}
    for name, parameter in sorted(module.named_parameters()):
        centre = 1.0 if "norm" in name.split(".")[-2:][0] and name.endswith("weight") else 0.0
        values[name] = centre + scale * normal(rng, *parameter.shape)
    return values


class WrongParameters(ValueError):
    """The class's parameters are not those of its given `__init__`."""


def build(cls: type[nn.Module], init: dict[str, Any], values: dict[str, Tensor], **parts: nn.Module) -> Any:
    """An instance of the student's class, its parameters filled by name, in the values' dtype.

    Args:
        init: arguments of `__init__`.
        values: as `parameters` makes them, for the class with `parts` in place.
        parts: sub-modules to put in place of the class's own, so that no exercise depends on another.

    Raises:
        WrongParameters: names or shapes differ from those expected; the message names the first.
    """
    module = cls(**init)
    for name, part in parts.items():
        setattr(module, name, part)
    mine = dict(module.named_parameters())
    for name in sorted(values):
        shape = tuple(values[name].shape)
        if name not in mine:
            others = [n for n in sorted(mine) if n not in values]
            yours = f"; yours has `{others[0]}`" if others else ""
            raise WrongParameters(
                f"{cls.__name__} should have `{name}` {shape}{yours}: keep `__init__` as given."
            )
        if tuple(mine[name].shape) != shape:
            raise WrongParameters(
                f"{cls.__name__} should have `{name}` {shape}; yours is {tuple(mine[name].shape)}: "
                "keep `__init__` as given."
            )
    extra = sorted(set(mine) - set(values))
    if extra:
        raise WrongParameters(
            f"{cls.__name__} has a parameter `{extra[0]}` of its own: keep `__init__` as given."
        )
    with torch.no_grad():
        for name, value in values.items():
            mine[name].data = value.clone()
    return module


def leaf(x: Tensor) -> Tensor:
    """A copy that collects a gradient."""
    return x.detach().clone().requires_grad_()


def gradients(output: Tensor, **leaves: Tensor) -> dict[str, Tensor | None]:
    """d(weighted sum of output)/d(each leaf); None where no gradient reaches it.

    The weights are a fixed wave, so that every element counts, each differently.
    """
    wave = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    if not output.requires_grad:
        return {f"gradient of {name}": None for name in leaves}
    grads = torch.autograd.grad((output * wave).sum(), list(leaves.values()), allow_unused=True)
    return {f"gradient of {name}": grad for name, grad in zip(leaves, grads, strict=True)}


def pair(result: Any, first: str = "output", second: str = "weights") -> dict[str, Any]:
    """Name the two parts of a returned pair; a single tensor is named `first` alone."""
    if isinstance(result, tuple | list) and len(result) == 2:
        return {first: result[0], second: result[1]}
    return {first: result}


def number(x: Any) -> Any:
    """One number of whatever kind (float, NumPy's, an array or a tensor of one element) as a scalar array."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    is_number = isinstance(x, bool | int | float | np.generic | np.ndarray) and np.size(x) == 1
    return np.asarray(x, dtype=np.float64).reshape(()) if is_number else x
