"""ELMo: torch's LSTM at the same weights, eq. 1, and nothing leaks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from cs_vl.nn.elmo import LSTM, ELMo

LENGTHS = torch.tensor([7, 1, 4])


def elmo(depth: int = 2, dim: int = 6) -> ELMo:
    """All parameters random: at the start the layers' mix is 0 and gamma is 1."""
    torch.manual_seed(0)
    model = ELMo(vocab_size=23, dim=dim, depth=depth).double()
    for p in model.parameters():
        p.data += 0.3 * torch.randn_like(p)
    return model


def torch_lstm(layers: list[LSTM]) -> nn.LSTM:
    """torch's LSTM at our weights; torch splits each bias in two, here unevenly."""
    dim, hidden = layers[0].from_input.in_features, layers[0].from_hidden.in_features
    theirs = nn.LSTM(dim, hidden, num_layers=len(layers), batch_first=True, dtype=torch.float64)
    for i, ours in enumerate(layers):
        bias = ours.from_input.bias.data
        getattr(theirs, f"weight_ih_l{i}").data.copy_(ours.from_input.weight)
        getattr(theirs, f"weight_hh_l{i}").data.copy_(ours.from_hidden.weight)
        getattr(theirs, f"bias_ih_l{i}").data.copy_(bias - 0.5)
        getattr(theirs, f"bias_hh_l{i}").data.fill_(0.5)
    return theirs


def test_lstm_against_torch():
    torch.manual_seed(0)
    ours = LSTM(5, 3).double()
    theirs = torch_lstm([ours])
    x = torch.randn(4, 11, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 11, 3, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x)[0])
    (expected,) = torch.autograd.grad((theirs(x)[0] * weights).sum(), x)
    (ours(x) * weights).sum().backward()
    torch.testing.assert_close(x.grad, expected)
    (theirs(x.detach())[0] * weights).sum().backward()
    torch.testing.assert_close(ours.from_input.weight.grad, theirs.weight_ih_l0.grad)
    torch.testing.assert_close(ours.from_hidden.weight.grad, theirs.weight_hh_l0.grad)
    torch.testing.assert_close(ours.from_input.bias.grad, theirs.bias_ih_l0.grad)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_each_direction_is_a_stack_of_its_own(depth):
    """Sample by sample without padding, the backward one on the text turned around by hand."""
    model = elmo(depth)
    ahead, back = torch_lstm(list(model.forward_lstms)), torch_lstm(list(model.backward_lstms))
    ids = torch.randint(23, (3, 7))
    out = model(ids, LENGTHS)
    assert out.layers.shape == (depth + 1, 3, 7, 12) and out.vectors.shape == (3, 7, 12)
    for b, length in enumerate(LENGTHS):
        x = model.embed(ids[b : b + 1, :length])
        forward, backward = ahead(x)[0], back(x.flip(1))[0].flip(1)
        torch.testing.assert_close(out.layers[0, b, :length], torch.cat([x, x], -1)[0])
        torch.testing.assert_close(out.layers[-1, b, :length], torch.cat([forward, backward], -1)[0])
        torch.testing.assert_close(out.forward_logits[b, :length], model.head(forward)[0])
        torch.testing.assert_close(out.backward_logits[b, :length], model.head(backward)[0])


def test_mix_of_layers():
    """Eq. 1: softmax weights, then gamma."""
    model = elmo()
    model.mix.data = torch.tensor([1.0, 2.0, 5.0]).double().log()
    model.gamma.data.fill_(4.0)
    out = model(torch.randint(23, (3, 7)), LENGTHS)
    expected = 4 * (out.layers[0] * 1 + out.layers[1] * 2 + out.layers[2] * 5) / 8
    torch.testing.assert_close(out.vectors, expected)


def test_loss():
    """Each direction's mean over the pairs of neighbours, one by one."""
    model = elmo()
    ids = torch.randint(23, (3, 7))
    out = model(ids, LENGTHS)
    forward, backward = [], []
    for b, length in enumerate(LENGTHS):
        for k in range(length - 1):
            forward.append(F.cross_entropy(out.forward_logits[b, k], ids[b, k + 1]))
            backward.append(F.cross_entropy(out.backward_logits[b, k + 1], ids[b, k]))
    assert len(forward) == 6 + 0 + 3
    expected = torch.stack(forward).mean() + torch.stack(backward).mean()
    torch.testing.assert_close(model.loss(ids, LENGTHS), expected)


def test_every_parameter_learns():
    model = elmo()
    ids = torch.randint(23, (3, 7))
    (model.loss(ids, LENGTHS) + model(ids, LENGTHS).vectors.square().sum()).backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 1e-3, name


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(1, 8), data=st.data())
def test_nothing_leaks(tokens, data):
    """Forward logits read up to a token, backward ones from it on: elsewhere the gradient is exactly 0."""
    model = elmo()
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, tokens), min_size=3, max_size=3)))
    sample = data.draw(st.integers(0, 2))
    length = int(lengths[sample])
    token = data.draw(st.integers(0, length - 1))
    embedded = []
    model.embed.register_forward_hook(lambda module, inputs, output: embedded.append(output))
    out = model(torch.randint(23, (3, tokens)), lengths)
    weights = torch.randn(23).double()
    position = torch.arange(tokens)
    is_sample = (torch.arange(3) == sample)[:, None]

    def reads(scalar):
        (gradient,) = torch.autograd.grad(scalar, embedded[0], retain_graph=True)
        return (gradient != 0).any(-1)

    assert torch.equal(reads(out.forward_logits[sample, token] @ weights), is_sample & (position <= token))
    assert torch.equal(
        reads(out.backward_logits[sample, token] @ weights),
        is_sample & (position >= token) & (position < length),
    )
    assert torch.equal(reads(out.vectors[sample, token].sum()), is_sample & (position < length))


def test_lengths_beyond_the_batch():
    with pytest.raises(ValueError, match=r"hold 7 tokens a sample; got lengths \[7, 8, 4\]"):
        elmo()(torch.randint(23, (3, 7)), torch.tensor([7, 8, 4]))
