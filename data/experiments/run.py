"""The experiments of a2 that take too long for a notebook: small trainings that differ in one thing each.

    python data/experiments/run.py                      all of them, as far as they are not stored
    python data/experiments/run.py batch_size --seeds 0 1
    python data/experiments/run.py --table              the table of what is stored, without training

Each writes `<experiment>.json` beside this file, a record for each setting and seed, as soon as that one has
ended; called again, it goes on with what is missing.  All have the image tower of `make_emoji_clip("cnn")`, a
little narrower, and equally many images (not steps), unless these are what is compared.  Where two
experiments have a setting in common, it is trained once.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cs_vl.data.balance import balanced_sample, long_tail_counts, metadata_matches
from cs_vl.data.bpe import Tokenizer
from cs_vl.data.emoji import NEAR_STYLES, TRAIN_STYLES, Emoji, EmojiSet, load_emoji
from cs_vl.data.emoji_captions import CaptionTable, load_tokenizer
from cs_vl.losses.siglip import siglip_loss
from cs_vl.models.clip import CLIP
from cs_vl.tasks.caption_prediction import (
    captioner_answers,
    captioner_loss,
    make_emoji_captioner,
    make_word_predictor,
    word_answers,
    word_loss,
)
from cs_vl.tasks.emoji_clip import (
    COMPLETE_STYLES,
    Answer,
    EmojiBatch,
    clamp_scale,
    clip_answers,
    clip_loss,
    emoji_batches,
    emoji_scores,
    make_emoji_clip,
    training_pictures,
    unseen_scores,
)
from cs_vl.tasks.emoji_levels import level_scores
from cs_vl.tasks.stored import score_table
from cs_vl.train import device_name, fit, pick_device, to_device

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """What a training is made of."""

    images: int = 512_000  # seen in all
    batch_size: int = 256
    lr: float = 3e-3
    width: int = 24  # of the tower's first stage
    styles: tuple[str, ...] = TRAIN_STYLES
    share: float = 1.0  # of the concepts
    loss: str = "infonce"  # a key of LOSSES
    pool: str = ""  # "raw": a few concepts are everywhere; "balanced": that pool, balanced as by MetaCLIP


SMALL = Setting()
RARE = replace(SMALL, batch_size=64, lr=1.5e-3)  # a batch of 256 distinct concepts would hide what is rare
EXPERIMENTS: dict[str, dict[str, Setting]] = {
    "objective": {loss: replace(SMALL, loss=loss) for loss in ("infonce", "words", "captions")},
    "loss": {loss: replace(SMALL, loss=loss) for loss in ("infonce", "siglip")},
    "batch_size": {
        str(n): replace(SMALL, batch_size=n, lr=3e-3 * math.sqrt(n / 256)) for n in (64, 256, 1024)
    },
    "styles": {
        "1": replace(SMALL, styles=TRAIN_STYLES[:1]),
        "3": SMALL,
        "5": replace(SMALL, styles=(*TRAIN_STYLES, *NEAR_STYLES[1:])),
    },
    "balance": {pool: replace(RARE, pool=pool) for pool in ("raw", "balanced")},
    "data_size": {f"{share:.0%}": replace(SMALL, share=share) for share in (0.25, 0.5, 1.0)},
    "model_size": {str(width): replace(SMALL, width=width) for width in (8, 24, 40)},
}
POOL, LIMIT = 8_000, 4  # pairs in the long-tailed pool, and how many of each concept balancing leaves
WATCHED = (0.125, 0.25, 0.5, 1.0)  # when, as shares of the training, to ask for held-out concepts


# ---- What can be learned, and how it answers ----


def sigmoid_loss(model: CLIP, batch: EmojiBatch) -> Tensor:
    """SigLIP's loss on a batch."""
    out = model(batch.images, batch.ids, batch.lengths)
    return siglip_loss(out.image_features, out.text_features, model.logit_scale.exp(), model.logit_bias)


def make_siglip(tokenizer: Tokenizer, *, width: int) -> CLIP:
    model = make_emoji_clip(tokenizer, "cnn", width=width, logit_bias=-10.0)
    nn.init.constant_(model.logit_scale, math.log(10))  # Zhai et al. 2023, sec. 3.2
    return model


def bare_clip_answers(model: CLIP, tokenizer: Tokenizer, emoji: Emoji) -> Answer:
    """By the phrases alone, so that all kinds of models are asked with one text for each concept."""
    return clip_answers(model, tokenizer, emoji, ["{}"])


def held_out_only(answers: Callable) -> Callable[[Any, Tokenizer, Emoji], Answer]:
    """For models that read each name with each picture, which takes long: the held-out names alone."""

    def for_all(model: nn.Module, tokenizer: Tokenizer, emoji: Emoji) -> Answer:
        concepts = emoji.concepts(COMPLETE_STYLES, "held_out")
        some = answers(model, tokenizer, [emoji.phrases[i] for i in concepts.tolist()])

        def answer(pictures: EmojiSet) -> Tensor:
            scores = torch.full((len(pictures), len(emoji)), -torch.inf)
            scores[:, concepts] = some(pictures)
            return scores

        return answer

    return for_all


@dataclass(frozen=True)
class Way:
    """A way to learn from captions: (tokenizer, width) -> model; its loss; (model, ...) -> `Answer`."""

    make: Callable[..., nn.Module]
    loss: Callable
    answers: Callable[[Any, Tokenizer, Emoji], Answer]
    contrastive: bool = True


LOSSES = {
    "infonce": Way(
        lambda tokenizer, width: make_emoji_clip(tokenizer, "cnn", width=width), clip_loss, bare_clip_answers
    ),
    "siglip": Way(make_siglip, sigmoid_loss, bare_clip_answers),
    "words": Way(make_word_predictor, word_loss, held_out_only(word_answers), contrastive=False),
    "captions": Way(
        make_emoji_captioner, captioner_loss, held_out_only(captioner_answers), contrastive=False
    ),
}


# ---- Training ----


def train(setting: Setting, seed: int) -> dict:
    """One training; its scores, and what it took."""
    emoji, tokenizer = load_emoji(), load_tokenizer()
    pictures = training_pictures(emoji, setting.styles, share=setting.share)
    if setting.pool:
        pictures = long_tailed(pictures, emoji, balanced=setting.pool == "balanced", seed=seed)
    way = LOSSES[setting.loss]
    torch.manual_seed(seed)
    model = way.make(tokenizer, width=setting.width)
    steps = setting.images // setting.batch_size
    captions, device = CaptionTable(emoji, tokenizer), pick_device()
    batches = emoji_batches(pictures, captions, setting.batch_size, colours=False, device=device)
    cost = teraflops(model, way.loss, to_device(batches(0, torch.Generator()), "cpu"))

    def evaluate(model: nn.Module) -> dict[str, float]:
        return unseen_scores(way.answers(model, tokenizer, emoji), emoji)

    history = fit(
        model,
        way.loss,
        batches,
        steps=steps,
        lr=setting.lr,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        seed=seed,
        evaluate=evaluate,
        evaluate_every={round(share * steps) for share in WATCHED},
        after_step=clamp_scale if way.contrastive else None,
        progress=False,
    )
    scores = {key: values[-1] for key, values in history.evaluations.items()}
    if way.contrastive:
        with torch.no_grad():
            answer = clip_answers(model.cpu(), tokenizer, emoji)
            scores = emoji_scores(answer, emoji) | level_scores(answer, emoji)
    return {
        "device": device_name(device),
        "seconds": round(history.seconds),
        "teraflops": round(steps * cost, 1),
        "final_loss": round(sum(history.losses[-20:]) / len(history.losses[-20:]), 4),
        "scores": {key: round(value, 4) for key, value in scores.items()},
        "along": {
            "images": [step * setting.batch_size for step in history.evaluated_at],
            "teraflops": [round(step * cost, 1) for step in history.evaluated_at],
            **{key: [round(value, 4) for value in values] for key, values in history.evaluations.items()},
        },
    }


def teraflops(model: nn.Module, loss: Callable, batch: Any) -> float:
    """10^12 multiplications and additions of a step, forward and backward: the same on any machine."""
    with FlopCounterMode(display=False) as counter:
        result = loss(model, batch)
        (result[0] if isinstance(result, tuple) else result).backward()
    model.zero_grad()
    return counter.get_total_flops() / 1e12


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
            if any((r["setting"], r["seed"]) == (label, seed) for r in read(name)):
                continue
            made_of = {"seed": seed, **json.loads(json.dumps(asdict(setting)))}
            result = elsewhere(made_of)
            if result is None:
                print(f"{name} {label}, seed {seed}", flush=True)
                result = made_of | train(setting, seed)
            command = f"python data/experiments/run.py {name}"
            runs = [*read(name), {"setting": label, **result}]
            unfinished = HERE / f"{name}.json.unfinished"
            unfinished.write_text(json.dumps({"command": command, "runs": runs}, indent=1) + "\n")
            unfinished.replace(HERE / f"{name}.json")


def elsewhere(made_of: dict) -> dict | None:
    """The result of another experiment that has the very same setting and seed, where there is one."""
    for name in EXPERIMENTS:
        for result in read(name):
            if made_of.items() <= result.items():
                return {key: value for key, value in result.items() if key != "setting"}
    return None


COLUMNS = {
    "unseen top1": "held out, top-1 of 140",
    "unseen top5": "top-5",
    "group": "group",
    "subgroup": "subgroup",
    "name": "name",
    "noto": "seen",
    "fluent_3d": "3D",
    "openmoji": "OpenMoji",
    "openmoji_line": "line",
}


def table() -> str:
    """All that is stored; see `score_table`."""
    rows = []
    for name, settings in EXPERIMENTS.items():
        for label in settings:
            runs = [r for r in read(name) if r["setting"] == label]
            if runs:
                rows.append(([name, label, f"{runs[0]['teraflops']:.0f}"], [r["scores"] for r in runs]))
    return score_table(["experiment", "setting", "TFLOP"], rows, COLUMNS)


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
    torch.set_float32_matmul_precision("high")  # TF32 where a GPU has it
    for name in [] if options.table else options.names or EXPERIMENTS:
        run(name, tuple(options.seeds))
    print(table())


if __name__ == "__main__":
    main()
