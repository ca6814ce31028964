"""What the tests of parity share: noise on every parameter, then the same numbers and gradients."""

from collections.abc import Callable

import torch
from torch import nn


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    """Add noise to every parameter, see that it moved, and switch dropout off."""
    torch.manual_seed(seed)
    for name, p in model.named_parameters():
        before = p.detach().clone()
        p.data += 0.1 * torch.randn_like(p)
        assert p.numel() < 30 or 0.05 < (p - before).std() < 0.2, name
        assert (p != before).all(), name
    return model.eval()


def assert_close(ours: list, theirs: list) -> None:
    """Forward: at most 1e-5 apart."""
    assert len(ours) == len(theirs) > 0
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-5, f"output {i} differs by {(a - b).abs().max():.1e}"


def weigh(outputs: list) -> torch.Tensor:
    """A scalar that every entry of every output moves."""
    generator = torch.Generator().manual_seed(1)
    return sum((o * torch.randn(o.shape, generator=generator)).mean() * 10 for o in outputs)


def assert_parity(model: nn.Module, ours: list, oracle: nn.Module, theirs: list, convert: Callable) -> None:
    """Outputs, and backward: every parameter's gradient at most 1e-4 apart, and none of them vacuous.

    Args:
        convert: the oracle's tensors under our names; linear, so that it maps gradients too.
    """
    assert_close(ours, theirs)
    weigh(ours).backward()
    oracle.zero_grad()  # where a head of the oracle's was used on our outputs
    weigh(theirs).backward()
    expected = convert({name: p.grad for name, p in oracle.named_parameters() if p.grad is not None})
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        difference = (p.grad - expected[name]).abs().max()
        assert difference <= 1e-4, f"{name}: gradients differ by {difference:.1e}"
        # a key's bias adds the same to all scores of a query: softmax does not see it
        assert p.grad.abs().max() > 5e-3 or name.endswith("k_proj.bias"), f"{name}: nearly no gradient"


def split_in_proj(state: dict) -> dict:
    """torch keeps queries', keys' and values' projections in one tensor."""
    for name in [name for name in state if "in_proj_" in name]:
        for part, piece in zip("qkv", state.pop(name).chunk(3), strict=True):
            state[name.replace("in_proj_", f"{part}_proj.")] = piece
    return state
