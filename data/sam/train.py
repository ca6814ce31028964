"""Train the models of a5: SAM, its twin with one mask, and a SAM by the data engine: `make checkpoints`.

    python data/sam/train.py                       all runs that are not finished, each with its seeds
    python data/sam/train.py --run sam --seeds 0
    python data/sam/train.py --jobs 9              so many at a time (on a GPU)
    python data/sam/train.py --table               the tables of what is stored, without training

A run writes `results/<run>-<seed>.json` when it ends.  Killed, it goes on from its unfinished state when it
is called again.  The weights of seed 0 become `<run>.safetensors` here, as float16, and so all are scored.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from cs_vl.data.part_scenes import PartScenes, make_part_scenes
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.models.sam import SAM
from cs_vl.tasks.annotator import SAME, Annotator, as_scenes
from cs_vl.tasks.automatic_masks import automatic_masks
from cs_vl.tasks.data_engine import STAGES, data_engine
from cs_vl.tasks.sam_models import EVERYTHING, make_scene_sam
from cs_vl.tasks.sam_scores import click_scores, everything_scores
from cs_vl.tasks.sam_training import Targets, draw_targets, sam_loss
from cs_vl.tasks.stored import score_table
from cs_vl.train import History, device_name, fit, pick_device
from cs_vl.train.runs import (
    result_path,
    rounded,
    runs_parser,
    save_half,
    still_to_train,
    stored_results,
    write_json,
)

HERE = Path(__file__).parent
UNFINISHED = HERE / "unfinished"

CHUNK = 1000  # scenes that are made at a time, from one seed
TRAIN_CHUNKS = range(1000, 1012)  # their seeds; those of evaluation lie elsewhere
SCORED: dict[str, Any] = {"n": 60, "seed": 8, "split": "held_out"}  # the scenes of the notebook
ALONG: dict[str, Any] = {"n": 16, "seed": 9, "split": "held_out"}  # what is looked at during training
PROPOSED: dict[str, Any] = {"min_iou": 0.8, "min_stability": 0.9, "min_area": 8}  # what the engine is sure of
COUNTS = ("masks", "by_hand", "found, an image")  # scores that are no shares


@dataclass(frozen=True)
class Batch:
    """One kind of batch: so many prompts in each of so many images, each followed by so many clicks."""

    share: float  # of all batches
    images: int
    prompts: int
    clicks: int


# A first prompt alone is much the cheapest to learn from, so most batches are of that kind.
MIX = (Batch(0.7, 32, 16, clicks=0), Batch(0.2, 16, 8, clicks=2), Batch(0.1, 16, 4, clicks=8))


@dataclass(frozen=True)
class Run:
    """How a model is trained; the same in all else."""

    kind: str  # a key of KINDS
    steps: int  # of the engine: in each of four trainings
    lr: float = 1.5e-3
    multimask: bool = True
    scenes: int = 0  # of the engine: so many in each stage, and a quarter of it to begin with
    seeds: tuple[int, ...] = (0, 1, 2)


# As many steps as nine trainings side by side made in eight minutes of one H200.
RUNS = {
    "sam": Run("sam", steps=2029),
    "single": Run("sam", steps=2029, multimask=False),
    "engine": Run("engine", steps=422, scenes=120),
}


# ---- Data ----


def prepare(jobs: int) -> None:
    """Make the training scenes, once."""
    path = UNFINISHED / "scenes.pt"
    if path.exists():
        return
    UNFINISHED.mkdir(exist_ok=True)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        chunks = list(pool.map(make_chunk, TRAIN_CHUNKS))
    torch.save({key: torch.cat([chunk[key] for chunk in chunks]) for key in chunks[0]}, path)


def make_chunk(seed: int) -> dict[str, Tensor]:
    """Training scenes of both styles, alternating by chunk, as a few long tensors."""
    torch.set_num_threads(1)
    scenes = make_part_scenes(CHUNK, seed=seed, style=("twemoji", "fluent")[seed % 2])
    return {
        "images": scenes.images,
        "masks": torch.cat(scenes.masks),
        "level": torch.cat(scenes.level),
        "thing": torch.cat(scenes.thing),
        "count": torch.tensor([len(masks) for masks in scenes.masks]),
    }


@cache
def training_scenes() -> PartScenes:
    """All of them, on the device where training is."""
    stored = torch.load(UNFINISHED / "scenes.pt", weights_only=True, mmap=True)
    count = stored["count"].tolist()
    masks = stored["masks"].to(pick_device()).split(count)
    level, thing = stored["level"].split(count), stored["thing"].split(count)
    return PartScenes(stored["images"].to(pick_device()), masks, level, thing, ((),) * len(count))


# ---- Training ----

Scores = dict[str, Any]
Fit = Callable[..., History]


def batches(scenes: PartScenes) -> Callable[[int, torch.Generator], tuple[Targets, int]]:
    """(step, chance) -> targets, and the clicks that follow the first prompt: one of `MIX`."""
    shares = torch.tensor([batch.share for batch in MIX])

    def batch(step: int, generator: torch.Generator) -> tuple[Targets, int]:
        kind = MIX[int(torch.multinomial(shares, 1, generator=generator))]
        rows = torch.randint(len(scenes), (kind.images,), generator=generator)
        return draw_targets(scenes, rows, kind.prompts, generator), kind.clicks

    return batch


def train_sam(name: str, run: Run, seed: int, fit: Fit) -> Scores:
    held_out = make_part_scenes(**ALONG)

    def look(model: SAM) -> dict[str, float]:
        table = click_scores(model, held_out, multimask=run.multimask).table()
        return {key: table[key] for key in ("1 clicks", "8 clicks")}

    model = make_scene_sam()
    at = {run.steps * i // 8 for i in range(1, 8)}
    history = fit(model, batches(training_scenes()), evaluate=look, evaluate_every=at)
    save_half(model, UNFINISHED / f"{name}-{seed}.safetensors")
    return {"along": {"step": history.evaluated_at, **history.evaluations}}


def train_engine(name: str, run: Run, seed: int, fit: Fit) -> Scores:
    """A SAM that helps to label its own training scenes, a new set of them in each stage."""
    n, begin_with = run.scenes, run.scenes // 4
    scenes = make_part_scenes(begin_with + n * len(STAGES), seed=2000 + seed)
    held_out = make_part_scenes(**SCORED)
    annotator = Annotator(scenes)
    stages: dict[str, Scores] = {}

    def propose(model: SAM, scene: int) -> list[Tensor]:
        return list(automatic_masks(model, scenes.images[scene], **PROPOSED).masks)

    def learn(model: SAM, labelled: list[tuple[int, list[Tensor]]], stage: str) -> SAM:
        rows, masks = zip(*labelled, strict=True)
        fit(model, batches(as_scenes(scenes.images[list(rows)], masks).to(pick_device())), part=stage)
        return model

    def train(model: SAM, labelled: list[tuple[int, list[Tensor]]]) -> SAM:
        stage = STAGES[len(stages)]
        stages[stage] = label_scores(scenes, labelled[-n:], annotator.clicks)
        annotator.clicks = 0
        learn(model, others + labelled, stage)
        stages[stage]["after"] = click_scores(model, held_out, clicks=1).table()["1 clicks"]
        return model

    others = [(i, list(scenes.masks[i])) for i in range(begin_with)]  # labelled by somebody else, before
    model = learn(make_scene_sam(), others, "before")
    before = click_scores(model, held_out, clicks=1).table()["1 clicks"]
    unlabelled = torch.arange(begin_with, len(scenes)).split(n)
    data_engine(
        model,
        [(stage, rows.tolist()) for stage, rows in zip(STAGES, unlabelled, strict=True)],
        propose=propose,
        annotate=annotator.annotate,
        train=train,
    )
    return {"before": before, "stages": stages}


def label_scores(scenes: PartScenes, labelled: list[tuple[int, list[Tensor]]], clicks: int) -> Scores:
    """Of what was labelled: how much it is, what it cost, how good it is, and how much is missing."""
    quality, found = [], []
    for scene, masks in labelled:
        there = scenes.masks[scene]
        overlap = mask_iou(torch.stack([*masks, torch.zeros_like(there[0])])[:, None], there)
        quality.append(overlap[:-1].amax(dim=1))  # (labels,): without the empty one
        found.append(overlap.amax(dim=0) > SAME)
    labels = torch.cat(quality)
    return {
        "masks": len(labels) / len(labelled),
        "by_hand": clicks / max(len(labels), 1),
        "quality": float(labels.mean()) if len(labels) else 0.0,
        "found": float(torch.cat(found).float().mean()),
    }


KINDS: dict[str, Callable[[str, Run, int, Fit], dict[str, Any]]] = {"sam": train_sam, "engine": train_engine}


# ---- Running ----


def train(name: str, seed: int) -> None:
    """Train one run with one seed; what comes of it is left in `unfinished/`."""
    run, begun = RUNS[name], time.perf_counter()
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    torch.set_flush_denormal(True)
    losses: dict[str, float] = {}

    def loss(model: SAM, batch: tuple[Targets, int]) -> tuple[Tensor, dict[str, Tensor]]:
        targets, clicks = batch
        return sam_loss(model, targets, points=clicks, multimask=run.multimask)

    def fit_part(model: SAM, batches: Callable, *, part: str = "", **options: Any) -> History:
        history = fit(
            model, loss, batches, steps=run.steps, lr=run.lr, betas=(0.9, 0.98), seed=seed, progress=False,
            checkpoint=UNFINISHED / f"{name}-{seed}{part}-state.safetensors", checkpoint_every=500, **options,
        )  # fmt: skip
        losses[part or "loss"] = sum(history.losses[-100:]) / len(history.losses[-100:])
        return history

    found = KINDS[run.kind](name, run, seed, fit_part)
    about = {"run": name, "seed": seed, **asdict(run), "device": device_name(pick_device())}
    about |= {"seconds": round(time.perf_counter() - begun), "loss": rounded(losses)}
    write_json(about | rounded(found), UNFINISHED / f"{name}-{seed}.json")
    print(f"{name}, seed {seed}: {about['seconds']} s", flush=True)


def score(name: str, seed: int) -> None:
    """Ask a trained model for all masks of the scored scenes, and store what came out."""
    result = json.loads((UNFINISHED / f"{name}-{seed}.json").read_text())
    if RUNS[name].kind == "sam":
        model, multimask = make_scene_sam(), RUNS[name].multimask
        model.load_state_dict(load_file(UNFINISHED / f"{name}-{seed}.safetensors"))
        model.to(pick_device()).eval()
        scenes = make_part_scenes(**SCORED)
        scores = click_scores(model, scenes, multimask=multimask).table()
        if multimask:
            scores |= everything_scores(model, scenes, **EVERYTHING)
        result["scores"] = rounded(scores)
        if seed == 0:
            save_half(model, HERE / f"{name}.safetensors")
    write_json(result, result_path(HERE, name, seed))


def train_and_score(name: str, seed: int) -> None:
    if not (UNFINISHED / f"{name}-{seed}.json").exists():
        train(name, seed)
    score(name, seed)


def tables() -> str:
    """What is stored, as Markdown: the models by clicks, and the engine by stages."""
    clicked = [
        ([name], [one["scores"] for one in stored_results(HERE, name)])
        for name in RUNS
        if RUNS[name].kind == "sam"
    ]
    engine = stored_results(HERE, "engine")
    stages = [(["before"], [{"after": one["before"]} for one in engine])]
    stages += [([stage], [one["stages"][stage] for one in engine]) for stage in STAGES]
    return "\n\n".join(
        score_table([heading], rows, {name: name for name in max((r[1][0] for r in rows), key=len)}, COUNTS)
        for heading, rows in (("run", clicked), ("stage", stages))
        if all(seeds for _, seeds in rows)
    )


def main() -> None:
    parser = runs_parser(__doc__ or "", RUNS)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    options = parser.parse_args()
    if not options.table:
        prepare(max(options.jobs, 1))
        if todo := still_to_train(HERE, RUNS, options):
            with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
                list(pool.map(train_and_score, *zip(*todo, strict=True)))
    print(tables())


if __name__ == "__main__":
    main()
