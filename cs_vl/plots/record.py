"""Looking inside a model while it runs."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def attention_weights(
    model: nn.Module, *inputs: Any, **options: Any
) -> list[Float[Tensor, "batch heads queries keys"]]:
    """Run `model(*inputs, **options)`; the weights of each `MultiHeadAttention`, in the order of the calls.

    The model runs without dropout and without gradients; the weights are on the CPU.

    Raises:
        ValueError: no `MultiHeadAttention` of the model was called.
    """
    recorded: list[Tensor] = []
    was_training = {module: module.training for module in model.modules()}
    # By name, so that a class that a student has written anew counts too.
    hooks = [
        module.register_forward_hook(lambda module, arguments, output: recorded.append(output[1].cpu()))
        for module in model.modules()
        if any(base.__name__ == "MultiHeadAttention" for base in type(module).__mro__)
    ]
    try:
        with torch.no_grad():
            model.eval()(*inputs, **options)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in was_training.items():
            module.training = training
    if not recorded:
        raise ValueError(
            f"{type(model).__name__} called no MultiHeadAttention: there are no weights to look at"
        )
    return recorded
