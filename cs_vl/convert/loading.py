"""What the converters share: read a config, refuse what we do not have, rename, load strictly."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

# Hugging Face's names of activations -> ours
ACTIVATION_NAMES = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
}


def read_config(config: Any, **expected: Any) -> dict[str, Any]:
    """A config as a dict; it may be the content of config.json or a transformers config object.

    Args:
        expected: options at the value that our classes implement.  An option that the config lacks has it.

    Raises:
        ValueError: an option has another value, so that the converted model would silently differ.
    """
    config = config if isinstance(config, Mapping) else config.to_dict()
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"cannot convert a model with {name}={config[name]!r}: only {value!r} is supported"
            )
    return dict(config)


def activation_name(name: str) -> str:
    """Our name of one of Hugging Face's activations."""
    if name not in ACTIVATION_NAMES:
        raise ValueError(f"no activation for {name!r}; there is {', '.join(ACTIVATION_NAMES)}")
    return ACTIVATION_NAMES[name]


def body(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The bare model's tensors, without `prefix`; tensors of task heads are left out.

    Where any name has the prefix, names without it are a head's.  The pooler is a head too.
    """
    if any(name.startswith(prefix) for name in state_dict):
        state_dict = {n.removeprefix(prefix): t for n, t in state_dict.items() if n.startswith(prefix)}
    return {name: tensor for name, tensor in state_dict.items() if not name.startswith("pooler.")}


def rename(name: str, renames: Iterable[tuple[str, str]]) -> str:
    """Replace parts of a name, in the order given."""
    for theirs, ours in renames:
        name = name.replace(theirs, ours)
    return name


def load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill every parameter of a model, and use up every tensor.

    Raises:
        ValueError: a tensor is missing, left over or of another shape; named by its name in our model.
    """
    own = model.state_dict()
    if missing := own.keys() - state.keys():
        raise ValueError(f"the state dict lacks {len(missing)} tensors of the model, such as {min(missing)}")
    if unexpected := state.keys() - own.keys():
        raise ValueError(f"the model has no place for {len(unexpected)} tensors, such as {min(unexpected)}")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            expected, got = tuple(tensor.shape), tuple(state[name].shape)
            raise ValueError(f"{name} should be {expected} by the config, but the state dict has {got}")
    model.load_state_dict(state)
