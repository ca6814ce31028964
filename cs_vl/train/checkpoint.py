"""Checkpoints: one safetensors file (numbers only, no code) that is always whole, whenever the power goes."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn


class CheckpointError(ValueError):
    """A checkpoint that can't be read, or that belongs to another run."""


def save_checkpoint(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, **info: Any
) -> None:
    """Write the model's state, the optimiser's where given, and `info` (anything that JSON can say).

    The file appears whole or not at all: it is written under another name first, and then renamed.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimizer is not None:
        for name, state in zip(_names(model, optimizer), _states(optimizer), strict=True):
            tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
    # Copies, because safetensors takes no two names for the same memory (tied weights).
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(tensors, unfinished, metadata={"info": json.dumps(info)})
    with open(unfinished, "rb+") as file:
        os.fsync(file.fileno())  # on the disk before the name points to it
    os.replace(unfinished, path)


def load_checkpoint(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> dict[str, Any]:
    """Put a checkpoint back into the model (and the optimiser where given), and return its `info`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or its names or shapes are not the model's.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            info = json.loads((file.metadata() or {})["info"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged or was not written by save_checkpoint ({error}): "
            f"delete it and train anew, or restore a copy"
        ) from error

    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    _check_same(
        path, {k: v.shape for k, v in weights.items()}, {k: v.shape for k, v in model.state_dict().items()}
    )
    model.load_state_dict(weights)
    if optimizer is not None:
        names, parameters = _names(model, optimizer), dict(model.named_parameters())
        state: dict[int, dict[str, torch.Tensor]] = {}
        for full_name, tensor in tensors.items():
            if full_name.startswith("optimizer."):
                name, key = full_name.removeprefix("optimizer.").rsplit(".", 1)
                if name not in names:
                    raise CheckpointError(f"the checkpoint {path} trained {name}, which is frozen now")
                # In the parameter's own order in memory (channels_last, say): fused optimisers ask for it.
                like = parameters[name] if tensor.shape == parameters[name].shape else tensor
                tensor = torch.empty_like(like, dtype=tensor.dtype, device="cpu").copy_(tensor)
                state.setdefault(names.index(name), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return info


def _check_same(path: str | Path, saved: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in sorted(saved.keys() | expected.keys()):
        if saved.get(name) != expected.get(name):
            has, wants = (tuple(s[name]) if name in s else "nothing" for s in (saved, expected))
            raise CheckpointError(
                f"the checkpoint {path} belongs to another model: for {name} it has {has}, the model wants "
                f"{wants}; choose another path, or delete it"
            )


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """The parameters' names in the optimiser's order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _states(optimizer: torch.optim.Optimizer) -> list[dict[str, torch.Tensor]]:
    return [optimizer.state[parameter] for group in optimizer.param_groups for parameter in group["params"]]
