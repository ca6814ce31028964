"""The MLP of a transformer block: what each token does on its own, between two looks at the others."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by a tanh (Hendrycks & Gimpel 2016, sec. 2): GPT-2, T5 v1.1 and SigLIP were trained with it."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """GELU by a sigmoid, x sigmoid(1.702 x) (Hendrycks & Gimpel 2016, sec. 2): OpenAI's CLIP."""
    return x * torch.sigmoid(1.702 * x)


# Up to 0.02 apart, but a model wants the very one that it was trained with.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
}


class MLP(nn.Module):
    """Linear, activation, linear, on every token alike (Vaswani et al. 2017, eq. 2).

    Args:
        dim: width of input and output.
        hidden: width between the two linear layers, usually 4 * dim.
        activation: a key of `ACTIVATIONS`.
    """

    def __init__(self, dim: int, hidden: int, activation: str = "gelu"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
        self.fc1 = nn.Linear(dim, hidden)
        self.activation = ACTIVATIONS[activation]
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.fc2(self.activation(self.fc1(x)))
