"""What the scripts share that train the committed models: options, and how results and weights are stored."""

import argparse
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


class HasSeeds(Protocol):
    """A run as a script lists it: trained once with each seed."""

    @property
    def seeds(self) -> tuple[int, ...]: ...


def runs_parser(text: str, runs: Collection[str]) -> ArgumentParser:
    """`--run`, `--seeds` and `--table`; `text` is the script's own."""
    parser = ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", choices=runs, default=list(runs))
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--table", action="store_true", help="print what is stored, and train nothing")
    return parser


def result_path(folder: Path, name: str, seed: int) -> Path:
    return folder / "results" / f"{name}-{seed}.json"


def still_to_train(
    folder: Path, runs: Mapping[str, HasSeeds], options: Namespace, *, again: bool = False
) -> list[tuple[str, int]]:
    """(run, seed) of what was asked for and has no result yet.

    Args:
        folder: the script's; its `results` hold a file for each run and seed.
        options: as `runs_parser` reads them.
        again: what has a result, too.
    """
    return [
        (name, seed)
        for name in options.run
        for seed in (runs[name].seeds if options.seeds is None else options.seeds)
        if again or not result_path(folder, name, seed).exists()
    ]


def stored_results(folder: Path, name: str) -> list[dict[str, Any]]:
    """The results of a run, a dict a seed; none where it has not been trained."""
    return [json.loads(path.read_text()) for path in sorted((folder / "results").glob(f"{name}-[0-9].json"))]


def write_json(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def rounded(x: Any) -> Any:
    """Measurements, in dicts and lists, with four digits behind the point."""
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [rounded(value) for value in x]
    return round(x, 4) if isinstance(x, float) else x


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.contiguous().cpu() for name, value in weights.items()}, path)


def save_half(model: nn.Module, path: Path) -> None:
    """A model's weights as they are committed: float16."""
    state: dict[str, torch.Tensor] = model.state_dict()
    save_weights({name: x.half() if x.is_floating_point() else x for name, x in state.items()}, path)
