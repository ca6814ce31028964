"""ELMo: word vectors from two language models, one reading forward, one backward (Peters et al. 2018)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class LSTM(nn.Module):
    """One layer, reading from the first token to the last (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    The rows of both weights are the gates input, forget, cell and output, as in `torch.nn.LSTM`.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.from_input = nn.Linear(dim, 4 * hidden)
        self.from_hidden = nn.Linear(hidden, 4 * hidden, bias=False)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens hidden"]:
        from_input = self.from_input(x)  # needs no past: all tokens at once
        h = c = x.new_zeros(x.shape[0], self.from_hidden.in_features)
        states = []
        for t in range(x.shape[1]):
            i, f, g, o = (from_input[:, t] + self.from_hidden(h)).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()  # a sum: the gradient reaches far back in time
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return torch.stack(states, dim=1)


class ELMoOutput(NamedTuple):
    """What an ELMo returns.

    vectors: each token in its context, the weighted sum of the layers (eq. 1).
    layers: depth + 1 of them: the embedding twice, then [forward; backward] of each LSTM layer.
    forward_logits: at k: of token k + 1, by those up to k.
    backward_logits: at k: of token k - 1, by those from k on.
    """

    vectors: Float[Tensor, "batch tokens 2*dim"]
    layers: Float[Tensor, "depth+1 batch tokens 2*dim"]
    forward_logits: Float[Tensor, "batch tokens vocab"]
    backward_logits: Float[Tensor, "batch tokens vocab"]


class ELMo(nn.Module):
    """Both directions share the embedding and the softmax layer, and nothing else (sec. 3.1).

    Simpler than the published model: whole tokens for characters, no projections, no residual connection.

    Args:
        vocab_size: number of token ids; let sentences begin and end with ids of their own.
        dim: width of the embedding and of each direction's states.
        depth: LSTM layers a direction.
    """

    def __init__(self, *, vocab_size: int, dim: int, depth: int = 2):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)
        self.forward_lstms = nn.ModuleList(LSTM(dim, dim) for _ in range(depth))
        self.backward_lstms = nn.ModuleList(LSTM(dim, dim) for _ in range(depth))
        self.head = nn.Linear(dim, vocab_size)
        self.mix = nn.Parameter(torch.zeros(depth + 1))  # before the softmax: all layers alike at the start
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, ids: Int[Tensor, "batch tokens"], lengths: Int[Tensor, "batch"]) -> ELMoOutput:
        """Every token's vector in its context.

        Args:
            ids: token ids, padded at the end.
            lengths: how many tokens each sample has.  What comes out at the padding means nothing.
        """
        if lengths.max() > ids.shape[1]:
            raise ValueError(f"ids hold {ids.shape[1]} tokens a sample; got lengths {lengths.tolist()}")
        position = torch.arange(ids.shape[1], device=ids.device)
        # Turn each sample around within its own length: its padding stays at the end, after all real tokens.
        turn = torch.where(position < lengths[:, None], lengths[:, None] - 1 - position, position)

        x = self.embed(ids)
        layers = [torch.cat([x, x], dim=-1)]
        ahead, turned = x, _take(x, turn)
        for forward_lstm, backward_lstm in zip(self.forward_lstms, self.backward_lstms, strict=True):
            ahead, turned = forward_lstm(ahead), backward_lstm(turned)
            layers.append(torch.cat([ahead, _take(turned, turn)], dim=-1))  # turning twice is standing still
        h = torch.stack(layers)

        s = self.mix.softmax(dim=0)
        vectors = self.gamma * torch.einsum("l,lbtd->btd", s, h)  # eq. 1
        return ELMoOutput(vectors, h, self.head(ahead), self.head(_take(turned, turn)))

    def loss(self, ids: Int[Tensor, "batch tokens"], lengths: Int[Tensor, "batch"]) -> Float[Tensor, ""]:
        """Mean negative log-likelihood (nats) of the next token, plus that of the previous one (sec. 3.1).

        Every token but the padding is predicted, by the neighbours that it has; some sample has two at least.
        """
        out = self(ids, lengths)
        padding = torch.arange(1, ids.shape[1], device=ids.device) >= lengths[:, None]  # (batch, tokens - 1)
        following = ids[:, 1:].masked_fill(padding, -100)  # cross_entropy ignores -100
        previous = ids[:, :-1].masked_fill(padding, -100)
        forward = F.cross_entropy(out.forward_logits[:, :-1].transpose(1, 2), following)
        backward = F.cross_entropy(out.backward_logits[:, 1:].transpose(1, 2), previous)
        return forward + backward


def _take(x: Float[Tensor, "batch tokens dim"], index: Tensor) -> Float[Tensor, "batch tokens dim"]:
    """x[b, index[b, t]] for all b and t."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
