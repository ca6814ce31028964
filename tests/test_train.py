"""The training loop: it learns, it can be killed, and it leaves no trace."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import safe_open, save_file
from torch import nn

from cs_vl.train import (
    CheckpointError,
    fit,
    load_checkpoint,
    make_optimizer,
    save_checkpoint,
    step_seed,
    warmup_cosine,
)


def small_model(seed: int = 0) -> nn.Module:
    """Dropout and batch norm, for the random streams and the buffers to matter; tied weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4), nn.Linear(4, 8)
        )
        model[4].weight = model[0].weight
    return model


def batches(step, generator):
    return torch.randn(16, 4, generator=generator)


def loss_fn(model, x):
    error = (model(x).mean(-1) - x.sum(-1)).pow(2).mean()
    return error, {"root": error.detach().sqrt()}


quiet = {"progress": False, "device": "cpu"}


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


# ---- The schedule ----


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.integers(0, 100), st.floats(0, 1))
def test_warmup_cosine(steps, warmup, floor):
    rates = [warmup_cosine(step, steps=steps, warmup=warmup, floor=floor) for step in range(steps + 1)]
    up, down = rates[:warmup], rates[warmup:]
    assert all(abs(rate - (i + 1) / warmup) < 1e-12 for i, rate in enumerate(up))
    assert all(a >= b - 1e-12 for a, b in pairwise(down))
    if warmup <= steps:
        assert down[0] == pytest.approx(1)
    if warmup < steps:
        assert down[-1] == pytest.approx(floor)
        half = (steps - warmup) // 2
        if (steps - warmup) % 2 == 0:
            assert down[half] == pytest.approx((1 + floor) / 2)


# ---- Learning ----


def test_it_learns_and_says_how():
    model = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 1)).train()
    asked = []

    def evaluate(model):
        assert not model.training and not torch.is_grad_enabled()
        asked.append(True)
        return {"error": 0.5}

    history = fit(model, loss_fn, batches, steps=200, lr=1e-2, evaluate=evaluate, evaluate_every=80, **quiet)
    assert history.steps == list(range(1, 201)) and len(history.losses) == len(history.metrics["root"]) == 200
    assert sum(history.losses[-20:]) < 0.05 * sum(history.losses[:20])
    assert history.metrics["root"][7] == pytest.approx(history.losses[7] ** 0.5)
    assert history.evaluated_at == [80, 160, 200] and history.evaluations == {"error": [0.5] * 3}
    assert len(asked) == 3 and history.seconds > 0 and not model.training


def test_every_update_is_adamw_with_clipping_and_the_schedule():
    model, twin = nn.Linear(4, 1), nn.Linear(4, 1)
    twin.load_state_dict(model.state_dict())
    fit(model, loss_fn, batches, steps=5, lr=0.1, warmup=2, weight_decay=0.3, clip=0.1, seed=7, **quiet)
    groups = [{"params": [twin.weight], "weight_decay": 0.3}, {"params": [twin.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, fused=False)
    for step, rate in enumerate([0.5, 1, 1, 0.75, 0.25]):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * rate
        x = batches(step, torch.Generator().manual_seed(step_seed(7, step, "batch")))
        optimizer.zero_grad()
        loss_fn(twin, x)[0].backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        optimizer.step()
    assert torch.allclose(model.weight, twin.weight, atol=1e-6) and torch.allclose(
        model.bias, twin.bias, atol=1e-6
    )


def test_what_decays_and_what_is_frozen():
    model = nn.ModuleDict({"a": nn.Linear(3, 2), "norm": nn.LayerNorm(3), "b": nn.Embedding(5, 3)})
    model["a"].weight.requires_grad_(False)
    decayed, others = make_optimizer(model, lr=1.0, weight_decay=0.1).param_groups
    assert [p.shape for p in decayed["params"]] == [(5, 3)] and decayed["weight_decay"] == 0.1
    assert (
        sorted(tuple(p.shape) for p in others["params"]) == [(2,), (3,), (3,)] and others["weight_decay"] == 0
    )
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(model.requires_grad_(False), lr=1.0)


def test_batches_may_be_a_list_and_nested():
    seen = []

    def loss_fn(model, batch):
        seen.append(batch["name"])
        return model(batch["pair"][0]).pow(2).mean()

    some = [{"name": name, "pair": (torch.ones(2, 4), [torch.zeros(1)])} for name in "abc"]
    fit(nn.Linear(4, 1), loss_fn, some, steps=5, **quiet)
    assert seen == list("abcab")
    with pytest.raises(ValueError, match="no batches left"):
        fit(nn.Linear(4, 1), loss_fn, iter(some), steps=5, **quiet)


def test_the_global_streams_are_put_back_and_do_not_matter():
    models = [small_model(), small_model()]
    for model in models:
        state = torch.get_rng_state()
        fit(model, loss_fn, batches, steps=5, **quiet)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(3)
    assert same(*models)
    other = small_model()
    fit(other, loss_fn, batches, steps=5, seed=1, **quiet)
    assert not same(models[0], other)


def test_the_bar_shows_loss_and_metrics(capsys):
    fit(nn.Linear(4, 1), loss_fn, batches, steps=3, device="cpu")
    shown = capsys.readouterr().err
    assert "3/3" in shown and "loss=" in shown and "root=" in shown


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_with_a_sentence(bad):
    model = nn.Linear(4, 1)

    def loss_fn(model, batch):
        step, x = batch
        loss = model(x).pow(2).mean()
        return loss * bad if step == 3 else loss

    with pytest.raises(
        FloatingPointError, match=f"the loss became {bad} at step 4: try a smaller learning rate"
    ):
        fit(model, loss_fn, lambda step, generator: (step, batches(step, generator)), steps=9, **quiet)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("wrong", [lambda m, x: m(x), lambda m, x: 3.0])
def test_a_loss_that_is_not_one_number_gets_a_sentence(wrong):
    with pytest.raises(TypeError, match="loss_fn must return one number"):
        fit(nn.Linear(4, 1), wrong, batches, steps=2, **quiet)


# ---- Checkpoints ----


def interrupted_at(step: int):
    def some(now, generator):
        if now == step:
            raise KeyboardInterrupt
        return batches(now, generator)

    return some


@pytest.mark.parametrize("source", ["function", "list"])
@pytest.mark.parametrize("killed_at", [1, 4, 6, 11])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, killed_at, source):
    path, settings_ = tmp_path / "run" / "a.safetensors", {"steps": 12, "lr": 1e-2, **quiet}
    drawn = [batches(i, torch.Generator().manual_seed(i)) for i in range(5)]
    given_ = batches if source == "function" else drawn
    whole, resumed = small_model(), small_model()
    expected = fit(whole, loss_fn, given_, **settings_)

    def dies(model, x):
        dies.calls += 1
        if dies.calls > killed_at:
            raise KeyboardInterrupt
        return loss_fn(model, x)

    dies.calls = 0
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, dies, given_, checkpoint=path, checkpoint_every=2, **settings_)
    resumed = small_model(seed=99)  # a new process starts from other weights
    if not path.exists():
        resumed = small_model()
    history = fit(resumed, loss_fn, given_, checkpoint=path, checkpoint_every=2, **settings_)
    assert same(whole, resumed)
    assert history.losses == expected.losses and history.metrics == expected.metrics

    again = fit(small_model(seed=5), loss_fn, interrupted_at(0), checkpoint=path, **settings_)
    assert again.losses == expected.losses, "a finished run isn't run again"


def test_the_optimiser_resumes_in_each_parameters_own_order_in_memory(tmp_path):
    """Else a fused optimiser on a GPU refuses to go on."""
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, lr=0.1)
    images = torch.rand(2, 3, 8, 8)
    model(images).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "a.safetensors", model, optimizer)
    before = optimizer.state[model.weight]["exp_avg"].clone()
    other = make_optimizer(model, lr=0.1)
    load_checkpoint(tmp_path / "a.safetensors", model, other)
    moment = other.state[model.weight]["exp_avg"]
    assert moment.stride() == model.weight.stride() != moment.contiguous().stride()
    assert torch.equal(moment, before)


SCRIPT = """
    import sys, time, torch
    sys.path.insert(0, sys.argv[2])
    from test_train import batches, fit, loss_fn, small_model
    torch.set_num_threads(1)
    def slow(step, generator):
        print(step, flush=True)
        time.sleep(0.02)
        return batches(step, generator)
    fit(small_model(), loss_fn, slow, steps=40, checkpoint=sys.argv[1], checkpoint_every=1, device="cpu",
        progress=False)
"""


def test_a_killed_process_loses_nothing(tmp_path):
    """Really killed (SIGKILL), twice, at moments of the clock's choice; then left to finish."""
    path = tmp_path / "killed.safetensors"
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), os.path.dirname(__file__)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first_steps = []
    for kill_after in (5, 9, None):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        first_steps.append(int(process.stdout.readline()))
        if kill_after is None:
            assert process.communicate()[0].split()[-1] == "39" and process.returncode == 0
        else:
            while int(process.stdout.readline()) < first_steps[-1] + kill_after:
                pass
            time.sleep(0.013)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            process.stdout.close()
            load_checkpoint(path, small_model())  # whole, whenever it was
    assert first_steps[0] == 0 < first_steps[1] < first_steps[2], "each went on where the one before was"

    undisturbed, killed = small_model(), small_model(seed=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fit(undisturbed, loss_fn, batches, steps=40, **quiet)
    torch.set_num_threads(threads)
    load_checkpoint(path, killed)
    assert same(undisturbed, killed)


def test_the_seconds_of_all_sessions_add_up(tmp_path):
    path, settings_ = tmp_path / "a.safetensors", {"steps": 4, **quiet}
    with pytest.raises(KeyboardInterrupt):
        fit(small_model(), loss_fn, interrupted_at(2), checkpoint=path, checkpoint_every=1, **settings_)
    with safe_open(path, framework="pt") as file:
        info = json.loads(file.metadata()["info"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    info["history"]["seconds"] = 1000.0
    save_file(tensors, path, metadata={"info": json.dumps(info)})
    assert 1000 < fit(small_model(), loss_fn, batches, checkpoint=path, **settings_).seconds < 1100


def test_a_checkpoint_holds_numbers_and_json_only(tmp_path):
    model = small_model()
    fit(model, loss_fn, batches, steps=3, checkpoint=tmp_path / "a.safetensors", **quiet)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        names = set(file.keys())
        info = json.loads(file.metadata()["info"])
    assert {"model.0.weight", "model.1.running_mean", "optimizer.0.weight.exp_avg"} <= names
    assert info["recipe"]["steps"] == 3 and len(info["history"]["losses"]) == 3


def test_weights_alone(tmp_path):
    model, other = small_model(0), small_model(1)
    save_checkpoint(tmp_path / "w.safetensors", model, accuracy=0.5)
    assert load_checkpoint(tmp_path / "w.safetensors", other) == {"accuracy": 0.5} and same(model, other)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nothing.safetensors", other)


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, small_model(), step=1)
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, small_model(1), step=2)
    assert load_checkpoint(path, small_model(2)) == {"step": 1}


@pytest.mark.parametrize("damage", ["empty", "short", "noise", "not ours"])
def test_a_damaged_checkpoint_gets_a_sentence(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    settings_ = {"steps": 2, "checkpoint": path, **quiet}
    fit(small_model(), loss_fn, batches, **settings_)
    whole = path.read_bytes()
    if damage == "not ours":
        save_file({"x": torch.ones(2)}, path)
    else:
        path.write_bytes({"empty": b"", "short": whole[:-10], "noise": os.urandom(len(whole))}[damage])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged .*delete it and train anew"):
        fit(small_model(), loss_fn, batches, **settings_)


def test_a_checkpoint_of_another_run_or_model_gets_a_sentence(tmp_path):
    settings_ = {"checkpoint": tmp_path / "a.safetensors", "lr": 1e-2, **quiet}
    fit(nn.Linear(4, 1), loss_fn, batches, steps=2, **settings_)
    with pytest.raises(CheckpointError, match=r"other settings .steps was 2, is 3.: delete it to train anew"):
        fit(nn.Linear(4, 1), loss_fn, batches, steps=3, **settings_)
    with pytest.raises(
        CheckpointError, match=r"another model: for bias it has \(1,\), the model wants \(2,\)"
    ):
        fit(nn.Linear(4, 2), loss_fn, batches, steps=2, **settings_)
    frozen = nn.Linear(4, 1)
    frozen.bias.requires_grad_(False)
    with pytest.raises(CheckpointError, match="trained bias, which is frozen now"):
        fit(frozen, loss_fn, batches, steps=2, **settings_)
