"""SwiGLU: an MLP with a gate.  One projection says what, the other how much of it."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))   (Shazeer 2020, eq. 6), without biases, as in Llama.

    Args:
        dim: width of input and output.
        hidden: width between.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.down(F.silu(self.gate(x)) * self.up(x))
