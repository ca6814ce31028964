"""Attention on a grid: with relative positions, and within windows."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.nn.mlp import MLP


def to_windows(x: Float[Tensor, "batch h w dim"], window: int) -> Float[Tensor, "windows window window dim"]:
    """Cut a grid into square windows, row by row; below and to the right it is filled up with zeros."""
    h, w = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -w % window, 0, -h % window))
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # (batch, rows, window, columns, window, dim)
    return x.transpose(2, 3).flatten(0, 2)


def from_windows(
    windows: Float[Tensor, "windows window window dim"], size: tuple[int, int]
) -> Float[Tensor, "batch h w dim"]:
    """Put windows together again, and cut off what `to_windows` had filled up.

    Args:
        size: height and width of the grid.
    """
    window = windows.shape[1]
    rows, columns = (-(-side // window) for side in size)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(
        2, 3
    )  # (batch, rows, window, columns, window, dim)
    return x.flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]


class GridAttention(nn.Module):
    """Self-attention of a grid, with decomposed relative positions (Li et al. 2022, MViTv2, sec. 4.1).

    How much a query cares for "three rows up" and for "two columns to the left" is its product with a
    learned vector for each: offset + size - 1 is the row of `relative_rows`, `relative_columns`.

    Args:
        dim, heads: width of the tokens, number of heads.
        size: height and width of the grid, for the tables.
        relative: whether there are relative positions.
    """

    def __init__(self, dim: int, heads: int, size: int, *, relative: bool):
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be divisible by heads; got dim={dim} and heads={heads}")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        shape = (2 * size - 1, dim // heads)
        self.relative_rows = nn.Parameter(torch.zeros(shape)) if relative else None
        self.relative_columns = nn.Parameter(torch.zeros(shape)) if relative else None

    def forward(self, x: Float[Tensor, "batch h w dim"]) -> Float[Tensor, "batch h w dim"]:
        h, w = x.shape[1:3]
        qkv = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, h w, head_dim) each
        bias = None
        if self.relative_rows is not None and self.relative_columns is not None:
            of_query = q.unflatten(2, (h, w))
            rows = torch.einsum("bnhwd,hkd->bnhwk", of_query, _by_offset(self.relative_rows, h))
            columns = torch.einsum("bnhwd,wkd->bnhwk", of_query, _by_offset(self.relative_columns, w))
            bias = rows[..., :, None] + columns[..., None, :]  # (batch, heads, h, w, h, w)
            bias = bias.flatten(4).flatten(2, 3)
        # torch's own attention: nobody looks at the weights, and they are large.
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        side_by_side = heads.unflatten(2, (h, w)).permute(0, 2, 3, 1, 4)  # (batch, h, w, heads, head_dim)
        return self.out_proj(side_by_side.flatten(3))


def _by_offset(table: Float[Tensor, "offsets d"], size: int) -> Float[Tensor, "size size d"]:
    """The vector for each query and key: that of the offset query - key."""
    at = torch.arange(size, device=table.device)
    return table[at[:, None] - at + (len(table) - 1) // 2]


class GridBlock(nn.Module):
    """A pre-norm transformer block on a grid, within windows or over all of it.

    Args:
        dim, heads, mlp_dim: as in `cs_vl.nn.block.TransformerBlock`.
        grid: height and width of the whole grid.
        window: side of the windows; 0 for none.
        relative: whether attention has relative positions.
        eps: of both layer norms.
    """

    def __init__(
        self, dim: int, heads: int, mlp_dim: int, *, grid: int, window: int, relative: bool, eps: float
    ):
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = GridAttention(dim, heads, window or grid, relative=relative)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, mlp_dim)

    def forward(self, x: Float[Tensor, "batch h w dim"]) -> Float[Tensor, "batch h w dim"]:
        y = self.norm1(x)
        if self.window:
            y = from_windows(self.attn(to_windows(y, self.window)), (x.shape[1], x.shape[2]))
        else:
            y = self.attn(y)
        x = x + y
        return x + self.mlp(self.norm2(x))
