"""The experiments of a2 that take too long for a notebook: small trainings that differ in one thing each.

    python data/experiments/run.py                      all of them, as far as they are not stored
    python data/experiments/run.py batch_size --seeds 0 1
    python data/experiments/run.py --table              the table of what is stored, without training

Each writes `<experiment>.json` beside this file, a record for each setting and seed, as soon as that one has
ended; called again, it goes on with what is missing.  All are the convolutional CLIP of `make_emoji_clip`, a
little narrower, with equally many images (not steps), unless these are what is compared.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cs_vl.data.balance import balanced_sample, long_tail_counts, metadata_matches
from cs_vl.data.emoji import FAR_STYLES, NEAR_STYLES, TRAIN_STYLES, Emoji, EmojiSet, load_emoji
from cs_vl.data.emoji_captions import CaptionTable, load_tokenizer
from cs_vl.losses.siglip import siglip_loss
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import (
    EmojiBatch,
    clamp_scale,
    clip_answers,
    clip_loss,
    emoji_batches,
    emoji_scores,
    make_emoji_clip,
    training_pictures,
)
from cs_vl.tasks.emoji_levels import level_scores
from cs_vl.train import fit, pick_device

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """What a training is made of."""

    images: int = 76_800  # seen in all
    batch_size: int = 256
    lr: float = 3e-3
    width: int = 24  # of the tower's first stage
    styles: tuple[str, ...] = TRAIN_STYLES
    share: float = 1.0  # of the concepts
    loss: str = "infonce"  # or "siglip"
    pool: str = ""  # "raw": a few concepts are everywhere; "balanced": that pool, balanced as by MetaCLIP


SMALL = Setting()
RARE = replace(SMALL, batch_size=64, lr=1.5e-3)  # a batch of 256 distinct concepts would hide what is rare
EXPERIMENTS: dict[str, dict[str, Setting]] = {
    "styles": {
        "1": replace(SMALL, styles=TRAIN_STYLES[:1]),
        "3": SMALL,
        "5": replace(SMALL, styles=(*TRAIN_STYLES, *NEAR_STYLES[1:])),
    },
    "batch_size": {
        str(n): replace(SMALL, batch_size=n, lr=3e-3 * math.sqrt(n / 256)) for n in (16, 64, 256, 512)
    },
    "loss": {"infonce": SMALL, "siglip": replace(SMALL, loss="siglip")},
    "balance": {pool: replace(RARE, pool=pool) for pool in ("raw", "balanced")},
    "model_size": {str(width): replace(SMALL, width=width) for width in (8, 16, 32)},
    "data_size": {f"{share:.0%}": replace(SMALL, share=share) for share in (0.25, 0.5, 1.0)},
}
POOL, LIMIT = 8_000, 4  # pairs in the long-tailed pool, and how many of each concept balancing leaves


def train(setting: Setting, seed: int) -> dict:
    """One training; its scores, and what it took."""
    emoji, tokenizer = load_emoji(), load_tokenizer()
    pictures = training_pictures(emoji, setting.styles, share=setting.share)
    if setting.pool:
        pictures = long_tailed(pictures, emoji, balanced=setting.pool == "balanced", seed=seed)
    torch.manual_seed(seed)
    sigmoid = setting.loss == "siglip"
    model = make_emoji_clip(tokenizer, "cnn", width=setting.width, logit_bias=-10.0 if sigmoid else None)
    if sigmoid:
        torch.nn.init.constant_(model.logit_scale, math.log(10))  # Zhai et al. 2023, sec. 3.2
    captions = CaptionTable(emoji, tokenizer)
    start = time.process_time()
    history = fit(
        model,
        sigmoid_loss if sigmoid else clip_loss,
        emoji_batches(pictures, captions, setting.batch_size, colours=False),
        steps=setting.images // setting.batch_size,
        lr=setting.lr,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        seed=seed,
        after_step=clamp_scale,
        progress=False,
    )
    seconds = time.process_time() - start
    with torch.no_grad():
        answer = clip_answers(model, tokenizer, emoji)
        scores = emoji_scores(answer, emoji) | level_scores(answer, emoji)
    return {
        "cpu_seconds": round(seconds),
        "loss": round(sum(history.losses[-20:]) / len(history.losses[-20:]), 4),
        "scores": {key: round(value, 4) for key, value in scores.items()},
    }


def sigmoid_loss(model: CLIP, batch: EmojiBatch) -> Tensor:
    """SigLIP's loss on a batch."""
    out = model(batch.images, batch.ids, batch.lengths)
    return siglip_loss(out.image_features, out.text_features, model.logit_scale.exp(), model.logit_bias)


def long_tailed(pictures: EmojiSet, emoji: Emoji, *, balanced: bool, seed: int) -> EmojiSet:
    """A raw pool, in which a few concepts are everywhere, drawn from the pictures; or that pool, balanced.

    The same seed gives the same raw pool to both.
    """
    generator = torch.Generator().manual_seed(seed)
    concepts = pictures.concept.unique()
    counts = long_tail_counts(len(concepts), POOL, generator)
    pool = concepts.repeat_interleave(counts)
    order = torch.randperm(len(pictures), generator=generator)
    rows_of: dict[int, list[int]] = {}
    for row, concept in zip(order.tolist(), pictures.concept[order].tolist(), strict=True):
        rows_of.setdefault(concept, []).append(row)
    taken: dict[int, int] = {}
    rows = []
    for concept in pool.tolist():  # a concept's pictures in turn
        taken[concept] = taken.get(concept, -1) + 1
        rows.append(rows_of[concept][taken[concept] % len(rows_of[concept])])
    if balanced:
        matches = metadata_matches([emoji.names[concept] for concept in pool.tolist()], emoji.names)
        rows = [rows[i] for i in balanced_sample(matches, LIMIT, generator).tolist()]
    return pictures[torch.tensor(rows)]


# ---- What is stored ----


def read(name: str) -> list[dict]:
    path = HERE / f"{name}.json"
    return json.loads(path.read_text())["runs"] if path.exists() else []


def run(name: str, seeds: tuple[int, ...] = SEEDS, *, train: Callable[[Setting, int], dict] = train) -> None:
    """Train what is missing of an experiment: all settings with one seed, then with the next."""
    for seed in seeds:
        for label, setting in EXPERIMENTS[name].items():
            runs = read(name)
            if any((r["setting"], r["seed"]) == (label, seed) for r in runs):
                continue
            print(f"{name} {label}, seed {seed}", flush=True)
            runs.append({"setting": label, "seed": seed, **asdict(setting), **train(setting, seed)})
            command = f"python data/experiments/run.py {name}"
            stored = {"command": command, "device": str(pick_device()), "runs": runs}
            unfinished = HERE / f"{name}.json.unfinished"
            unfinished.write_text(json.dumps(stored, indent=1) + "\n")
            unfinished.replace(HERE / f"{name}.json")


COLUMNS = {
    "unseen top1": "held out, top-1 of 140",
    "unseen top5": "top-5",
    "group": "group",
    "subgroup": "subgroup",
    "name": "name",
    "noto": "seen",
    "fluent_3d": "3D",
    FAR_STYLES[0]: "OpenMoji",
    "openmoji_line": "line",
}


def table() -> str:
    """All that is stored, in percent: the mean over the seeds, and from the lowest to the highest."""
    lines = [
        f"| experiment | setting | seeds | CPU-s | {' | '.join(COLUMNS.values())} |",
        "|---" * (4 + len(COLUMNS)) + "|",
    ]
    for name, settings in EXPERIMENTS.items():
        for label in settings:
            runs = [r for r in read(name) if r["setting"] == label]
            if not runs:
                continue
            cells = [name, label, str(len(runs)), f"{sum(r['cpu_seconds'] for r in runs) / len(runs):.0f}"]
            for key in COLUMNS:
                values = [100 * r["scores"][key] for r in runs]
                cells.append(f"{sum(values) / len(values):.1f} ({min(values):.0f} to {max(values):.0f})")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="experiment", help=f"some of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--table", action="store_true", help="print what is stored, and train nothing")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"experiments are {', '.join(EXPERIMENTS)}; got {', '.join(unknown)}")
    torch.set_flush_denormal(True)
    for name in [] if options.table else options.names or EXPERIMENTS:
        run(name, tuple(options.seeds))
    print(table())


if __name__ == "__main__":
    main()
