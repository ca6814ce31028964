"""The training loop: one for every model of this course."""

import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from cs_vl.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cs_vl.train.device import borrowed_random_streams, pick_device
from cs_vl.train.history import History
from cs_vl.train.schedule import warmup_cosine

Loss = Tensor | tuple[Tensor, dict[str, Any]]


def fit(
    model: nn.Module,
    loss_fn: Callable[[nn.Module, Any], Loss],
    batches: Callable[[int, torch.Generator], Any] | Iterable[Any],
    *,
    steps: int,
    lr: float = 1e-3,
    warmup: int | None = None,
    weight_decay: float = 0.05,
    betas: tuple[float, float] = (0.9, 0.999),
    clip: float | None = 1.0,
    seed: int = 0,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    evaluate_every: int | Collection[int] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 200,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place: AdamW, linear warm-up, cosine decay, clipped gradients.

    The randomness of a step (its batch, its dropout) depends on `seed` and the step's number alone.  So a
    run that was killed and is started again with the same arguments goes on from its checkpoint, and on the
    CPU ends with exactly the weights of a run that was left in peace.  torch's global random streams are
    put back as they were found.

    Args:
        loss_fn: (model, batch) -> loss, or (loss, {"accuracy": ...}) with numbers to watch.
        batches: (step, generator) -> batch, with the step's own generator on the CPU to draw on; or an
            iterable of batches, the same each time, which is gone through again when it ends.  A batch may be
            a tensor, a tuple, list or dict of them, or anything with `.to(device)`.
        steps: number of updates.
        lr: the learning rate at its highest.
        warmup: steps to reach it (default: a tenth of `steps`).
        weight_decay: of matrices (and larger); biases, norms and other vectors and scalars have none.
        clip: the largest norm of all gradients together; None for no limit.
        evaluate: model -> {"accuracy": ...}, called without gradients and with dropout off, every
            `evaluate_every` steps (or after just those steps that it lists) and after the last one.
        after_step: called with the model after each update: to hold a parameter within bounds, say.
        checkpoint: a .safetensors file to write every `checkpoint_every` steps and at the end, and to go on
            from where it exists.
        device: where to train (default: `pick_device()`); the model stays there, in evaluation mode.
        progress: whether to show a bar.

    Raises:
        FloatingPointError: the loss became infinite or NaN.
        CheckpointError: the checkpoint is damaged, or of another model or run.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    device = torch.device(device) if device is not None else pick_device()
    warmup = max(1, steps // 10) if warmup is None else warmup
    recipe: dict[str, Any] = {"steps": steps, "lr": lr, "warmup": warmup, "weight_decay": weight_decay}
    recipe |= {"betas": list(betas), "clip": clip, "seed": seed}
    model.to(device)
    optimizer = make_optimizer(model, lr=lr, betas=betas, weight_decay=weight_decay)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    history, first = History(), 0
    if checkpoint is not None and Path(checkpoint).exists():
        history = _resume(checkpoint, model, optimizer, recipe)
        first = len(history.steps)

    bar = tqdm(total=steps, initial=first, unit="step", disable=not progress)
    if first and progress:
        bar.set_description("resumed")
    next_batch = _batch_source(batches, first)
    before = history.seconds
    start = time.perf_counter()
    model.train()
    with bar, borrowed_random_streams(device) as global_generators:
        for step in range(first, steps):
            for generator in global_generators:
                generator.manual_seed(step_seed(seed, step, "model"))
            batch = to_device(next_batch(step, seed), device)
            for group in optimizer.param_groups:
                group["lr"] = lr * warmup_cosine(step, steps=steps, warmup=warmup)

            result = loss_fn(model, batch)
            loss, metrics = result if isinstance(result, tuple) else (result, {})
            value = _finite(loss, step, lr)
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            if after_step is not None:
                with torch.no_grad():
                    after_step(model)

            history.record(step + 1, value, {name: float(metric) for name, metric in metrics.items()})
            last = step + 1 == steps
            if evaluate and (last or _is_due(step + 1, evaluate_every)):
                model.eval()
                with torch.no_grad():
                    values = evaluate(model)
                history.record_evaluation(step + 1, {name: float(v) for name, v in values.items()})
                model.train()
            history.seconds = before + time.perf_counter() - start
            if checkpoint is not None and (last or (step + 1) % checkpoint_every == 0):
                save_checkpoint(checkpoint, model, optimizer, recipe=recipe, history=history.as_dict())
            bar.set_postfix(_recent(history), refresh=False)
            bar.update()
    model.eval()
    return history


def make_optimizer(
    model: nn.Module, *, lr: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.05
) -> torch.optim.AdamW:
    """AdamW on all parameters that want a gradient; only those of two dimensions or more decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("nothing to train: no parameter of the model has requires_grad=True")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda", "mps") and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, fused=fused)


def step_seed(seed: int, step: int, what: str) -> int:
    """A seed for one use in one step, which no other use in any other step shares."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {what}".encode()).digest()[:4], "big")


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors in (nested) tuples, lists and dicts, and whatever else has `.to`."""
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named tuple
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def _is_due(step: int, every: int | Collection[int] | None) -> bool:
    if every is None or every == 0:
        return False
    return step % every == 0 if isinstance(every, int) else step in every


def _batch_source(batches: Any, first: int) -> Callable[[int, int], Any]:
    """(step, seed) -> batch, beginning with step `first`."""
    if callable(batches):
        return lambda step, seed: batches(
            step, torch.Generator("cpu").manual_seed(step_seed(seed, step, "batch"))
        )
    unseen = islice(_again_and_again(batches), first, None)
    return lambda step, seed: next(unseen)


def _again_and_again(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        exhausted = True
        for batch in batches:
            exhausted = False
            yield batch
        if exhausted:  # a generator, say, which can be gone through only once
            raise ValueError("there are no batches left: pass a list of batches, or a function of the step")


def _finite(loss: Any, step: int, lr: float) -> float:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"loss_fn must return one number as a tensor, or (loss, metrics); got {got}")
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss became {value} at step {step + 1}: try a smaller learning rate (lr={lr:g}), and look "
            f"for a logarithm of 0, a division by 0 or a wholly masked row"
        )
    return value


def _resume(path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict) -> History:
    info = load_checkpoint(path, model, optimizer)
    if info.get("recipe") != recipe:
        old = info.get("recipe") or {}
        changed = ", ".join(f"{k} was {old.get(k)}, is {v}" for k, v in recipe.items() if old.get(k) != v)
        raise CheckpointError(
            f"the checkpoint {path} belongs to a run with other settings ({changed}): delete it to train "
            f"anew, or choose another path"
        )
    return History(**info["history"])


def _recent(history: History, last: int = 20) -> dict[str, str]:
    """Loss and metrics, each the mean of the last few steps: single batches jump about."""
    values = {"loss": history.losses, **history.metrics}
    return {name: f"{sum(v[-last:]) / len(v[-last:]):.3f}" for name, v in values.items()}
