"""Memory and time of contrastive losses, forward and backward, one thread: python -m tests.bench.losses

Memory is how far the resident set of a fresh process grows at its peak, in N x N matrices of float32; the
features are there before.  Time is CPU time relative to InfoNCE, the median over runs in turn in one process.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from cs_vl.losses import info_nce, siglip_loss, siglip_loss_chunked

DIM, CHUNK = 256, 512
CASES: dict[str, Callable[..., torch.Tensor]] = {
    "InfoNCE": lambda images, texts, scale, bias: info_nce(images, texts, scale),
    "SigLIP": siglip_loss,
    "SigLIP in chunks": lambda *inputs: siglip_loss_chunked(*inputs, CHUNK),
}


class Row(NamedTuple):
    """One row of the table; `ours` is in `unit`."""

    what: str
    peer: str
    ratio: float
    ours: float
    unit: str


def inputs(n: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    images, texts = F.normalize(torch.randn(2, n, DIM), dim=-1)
    return [x.clone().requires_grad_() for x in (images, texts, torch.tensor(10.0), torch.tensor(-10.0))]


def step(case: str, given: list[torch.Tensor]) -> None:
    for x in given:
        x.grad = None
    CASES[case](*given).backward()


# --- memory --------------------------------------------------------------------------------------------


def forget_peak() -> None:
    """The largest resident set so far is the one now (on Linux)."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def resident_peak() -> int:
    """Bytes.  On Linux not from getrusage, whose figure a child takes over from its parent."""
    if Path("/proc/self/status").exists():
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def grow(case: str, n: int) -> int:
    """Bytes by which this process grows at the peak of one step."""
    torch.set_num_threads(1)
    step(case, inputs(64))  # what is loaded or set up once
    given = inputs(n)
    forget_peak()
    before = resident_peak()
    step(case, given)
    return resident_peak() - before


def memory(case: str, n: int) -> int:
    """`grow`, in a fresh process."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench.losses", case, str(n)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(run.stdout)


# --- time ----------------------------------------------------------------------------------------------


def seconds_in_turn(n: int, runs: int) -> dict[str, list[float]]:
    """CPU seconds of each case in each round, after one warm-up on a small batch."""
    given = inputs(n)
    found: dict[str, list[float]] = {case: [] for case in CASES}
    for case in CASES:
        step(case, inputs(256))
    for _ in range(runs):
        for case in CASES:
            start = time.process_time()
            step(case, given)
            found[case].append(time.process_time() - start)
    return found


def losses(sizes: dict[int, int] | None = None) -> Iterator[Row]:
    """Rows of the table: memory, then time, for each size.

    Args:
        sizes: {N: rounds in which times are taken}.
    """
    torch.set_num_threads(1)
    for n, runs in (sizes or {4096: 7, 16384: 3}).items():
        for case in CASES:
            taken = memory(case, n)
            what = f"memory of {case} at N = {n}"
            yield Row(what, "one N x N matrix", taken / (4 * n * n), taken / 2**30, "GB")
        seconds = seconds_in_turn(n, runs)
        for case in CASES:
            ratio = statistics.median(a / b for a, b in zip(seconds[case], seconds["InfoNCE"], strict=True))
            yield Row(f"time of {case} at N = {n}", "InfoNCE", ratio, statistics.median(seconds[case]), "s")


def main(*case_and_size: str) -> None:
    if case_and_size:
        case, n = case_and_size
        print(grow(case, int(n)))
        return
    print("| what | peer | ours / peer | ours |\n|---|---|---|---|")
    for what, peer, ratio, ours, unit in losses():
        print(f"| {what} | {peer} | {ratio:.2f} | {ours:.2f} {unit} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
