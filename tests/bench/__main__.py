"""Print all ratios as a Markdown table.  Each is a median over runs in turn: ours, the peer's, ours, ..."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from tests.bench.clip import clip_step
from tests.bench.decoding import decoding
from tests.bench.grading import rows as grading_rows
from tests.bench.losses import losses
from tests.bench.sam import sam

torch.set_num_threads(1)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(ours: Callable[[], object], peer: Callable[[], object], runs: int) -> tuple[float, float]:
    """The median ratio ours / peer over pairs of runs, after one warm-up, and our median seconds."""
    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(runs)]
    return statistics.median(a / b for a, b in pairs), statistics.median(a for a, _ in pairs)


def step(model: torch.nn.Module, forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
    def run() -> None:
        model.zero_grad()
        forward().square().mean().backward()

    return run


def vit_step() -> tuple[str, str, float, float]:
    from transformers import ViTConfig, ViTModel

    from cs_vl.convert import vit_from_hf

    config = ViTConfig(
        image_size=64, patch_size=8, hidden_size=192, num_hidden_layers=6, num_attention_heads=3,
        intermediate_size=768, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    theirs = ViTModel(config, add_pooling_layer=False).train()
    ours = vit_from_hf(config, theirs.state_dict()).train()
    images = torch.randn(16, 3, 64, 64)
    ratio, time_ = in_turn(
        step(ours, lambda: ours(images).tokens),
        step(theirs, lambda: theirs(pixel_values=images).last_hidden_state),
        9,
    )
    return "training step of a ViT (6 x 192, 16 images of 64 px)", "transformers' ViTModel", ratio, time_


def gpt2_step() -> tuple[str, str, float, float]:
    from transformers import GPT2Config, GPT2Model

    from cs_vl.convert import gpt2_from_hf

    config = GPT2Config(
        vocab_size=1000,
        n_positions=128,
        n_embd=192,
        n_layer=6,
        n_head=3,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
    )
    theirs = GPT2Model(config).train()
    ours = gpt2_from_hf(config, theirs.state_dict()).train()
    transformer = getattr(ours, "transformer", ours)
    ids = torch.randint(1000, (8, 128))
    ratio, time_ = in_turn(
        step(transformer, lambda: transformer(ids).tokens),
        step(theirs, lambda: theirs(ids).last_hidden_state),
        9,
    )
    return (
        "training step of a GPT-2 (6 x 192, 8 texts of 128 tokens)",
        "transformers' GPT2Model",
        ratio,
        time_,
    )


def checks(name: str) -> tuple[str, str, float, float]:
    """All checks of an assignment in a notebook, against the time a student is promised (0.5 s each)."""
    from cs_vl.checks.visible import judge_here

    assignment = load_assignment(name)
    every = [(e, e.answer) for e in assignment.exercises]
    for exercise, answer in every:
        judge_here(assignment, exercise, answer)
    slowest = max(seconds(lambda e=e, a=a: judge_here(assignment, e, a)) for e, a in every)
    return f"the slowest check of {name}, after the first", "0.5 s", slowest / 0.5, slowest


def scenes() -> tuple[str, str, float, float]:
    from cs_vl.data.scenes import make_scenes

    time_ = min(seconds(lambda: make_scenes(1200, seed=0, size=64)) for _ in range(3))
    return "1,200 scenes of 64 px with masks", "1 s", time_, time_


def main() -> None:
    print("| what | peer | ours / peer | ours |\n|---|---|---|---|")
    for bench in (vit_step, gpt2_step, partial(clip_step, in_turn), scenes):
        say(*bench(), "s")
    for decoding_row in decoding(in_turn):
        say(*decoding_row, "s")
    for sam_row in sam(in_turn):
        say(*sam_row, "s")
    for name in ASSIGNMENTS:
        say(*checks(name), "s")
    for grading_row in grading_rows():
        say(*grading_row)
    for loss_row in losses():
        say(*loss_row)


def say(what: str, peer: str, ratio: float, ours: float, unit: str) -> None:
    print(f"| {what} | {peer} | {ratio:.2f} | {ours:.2f} {unit} |", flush=True)


if __name__ == "__main__":
    main()
