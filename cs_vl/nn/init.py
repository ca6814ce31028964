"""How a model starts."""

from torch import nn


def init_weights(module: nn.Module) -> None:
    """Small random weights and zero biases, as BERT and ViT start; for `model.apply(init_weights)`.

    Weights of linear layers and embeddings come from a normal distribution of standard deviation 0.02, cut
    off at two of them (Devlin et al. 2019, official code).  Layer norms keep torch's start, 1 and 0.
    """
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
