"""Train the models of a2 whose results, and one of which, are committed here: `make checkpoints`.

    python data/checkpoints/train.py                     all runs that are not finished, each with its seeds
    python data/checkpoints/train.py --run cnn --seeds 0 1
    python data/checkpoints/train.py --table             the table of what is stored, without training

A run writes `results/<run>-<seed>.json` (scores along the way, seconds, number of images) when it ends.
Killed, it goes on from its unfinished state when it is called again.  The weights of `vit`, seed 0, become
`emoji_clip.safetensors`.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cs_vl.data.emoji import Emoji, EmojiSet, Split, load_emoji
from cs_vl.data.emoji_captions import CaptionTable, load_tokenizer
from cs_vl.data.features import load_features
from cs_vl.tasks.emoji_classifier import EmojiClassifier, classifier_answers, classifier_loss
from cs_vl.tasks.emoji_clip import (
    Answer,
    clamp_scale,
    clip_answers,
    clip_loss,
    emoji_batches,
    emoji_scores,
    make_emoji_clip,
    make_vision_tower,
    training_pictures,
)
from cs_vl.tasks.lit import LinearHeads, feature_batches, lit_answers
from cs_vl.tasks.stored import score_table
from cs_vl.train import device_name, fit, pick_device
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


@dataclass(frozen=True)
class Run:
    """How a model is trained; the same in all else."""

    kind: str  # a key of KINDS
    steps: int
    tower: str = "cnn"
    batch_size: int = 256
    lr: float = 1e-3
    colours: bool = True  # whether augmentation changes colours, too: costs early and pays late
    gentle: float = 0.0  # the share of the steps in which changed colours become common, from none to all
    tower_options: dict[str, Any] = field(default_factory=dict)  # of `make_vision_tower`
    shuffled: bool = False  # the control: every concept has another one's captions
    seeds: tuple[int, ...] = (0, 1, 2)

    def share_of_colours(self, step: int) -> float:
        """In how many pictures the colours change at a step."""
        if not self.colours:
            return 0.0
        return min(1.0, step / (self.gentle * self.steps)) if self.gentle else 1.0


SAME = {"steps": 4000, "batch_size": 512, "lr": 2e-3, "gentle": 0.4}
PLAIN = {"steps": 450, "lr": 3e-3, "colours": False}
RUNS = {
    "vit": Run("clip", tower="vit", **SAME),
    "vit-supervised": Run("supervised", tower="vit", **SAME),
    "cnn": Run("clip", **SAME),
    "cnn-supervised": Run("supervised", **SAME),
    "cnn-shuffled": Run("clip", **SAME, shuffled=True),
    # Short ones, on pictures as they were drawn.
    "cnn-plain": Run("clip", **PLAIN),
    "cnn-supervised-plain": Run("supervised", **PLAIN),
    # The ViT's first recipe: half of the patches, all colours changed from the first step, a plainer stem.
    "vit-half": Run(
        "clip", 4800, tower="vit", tower_options={"keep": 0.5, "depth": 4, "convolutions": 1}, seeds=(0,)
    ),
    "lit": Run("lit", 150, tower="efficientnet-lite0", batch_size=512),
}


@dataclass(frozen=True)
class Parts:
    """What differs between kinds of training."""

    model: nn.Module
    loss: Callable
    batches: Callable
    answers: Callable[[nn.Module], Answer]
    after_step: Callable[[nn.Module], None] | None = clamp_scale
    unseen: Split | None = "held_out"


def pairs(run: Run, pictures: EmojiSet, captions: Callable) -> Callable:
    """A run's batches, augmented where it is trained."""
    return emoji_batches(
        pictures, captions, run.batch_size, colours=run.share_of_colours, device=pick_device()
    )


def clip_parts(run: Run, emoji: Emoji, pictures: EmojiSet) -> Parts:
    """CLIP, from scratch."""
    tokenizer = load_tokenizer()
    captions: Callable = CaptionTable(emoji, tokenizer)
    if run.shuffled:
        captions = shuffle(captions, emoji)
    return Parts(
        make_emoji_clip(tokenizer, run.tower, **run.tower_options),
        clip_loss,
        pairs(run, pictures, captions),
        lambda model: clip_answers(model, tokenizer, emoji),
    )


def supervised_parts(run: Run, emoji: Emoji, pictures: EmojiSet) -> Parts:
    """The twin: a linear head over the concepts stands in the text tower's place."""
    captions = CaptionTable(emoji, load_tokenizer())
    return Parts(
        EmojiClassifier(*make_vision_tower(run.tower, **run.tower_options), len(emoji)),
        classifier_loss,
        pairs(run, pictures, captions),
        classifier_answers,
        after_step=None,
        unseen=None,
    )


def lit_parts(run: Run, emoji: Emoji, pictures: EmojiSet) -> Parts:
    """The twin with locked towers, which others have trained on far more: two linear heads on features."""
    features = load_features()
    image = features.of(pictures)
    return Parts(
        LinearHeads(image.shape[1], features.text.shape[1], 256),
        clip_loss,
        feature_batches(image, pictures.concept, features.text, run.batch_size),
        lambda model: lit_answers(model, features),
    )


KINDS = {"clip": clip_parts, "supervised": supervised_parts, "lit": lit_parts}


def train(name: str, seed: int) -> None:
    """Train one run with one seed, and store what came out."""
    run, emoji = RUNS[name], load_emoji()
    torch.manual_seed(seed)
    parts = KINDS[run.kind](run, emoji, training_pictures(emoji))
    model = parts.model

    def evaluate(model: nn.Module, every: int = 4) -> dict[str, float]:
        return emoji_scores(parts.answers(model), emoji, unseen=parts.unseen, every=every)

    history = fit(
        model,
        parts.loss,
        parts.batches,
        steps=run.steps,
        lr=run.lr,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        seed=seed,
        evaluate=evaluate,
        evaluate_every={math.ceil(run.steps / 2**k) for k in range(7)},
        after_step=parts.after_step,
        checkpoint=HERE / "unfinished" / f"{name}-{seed}.safetensors",
        progress=False,
    )
    with torch.no_grad():
        final = evaluate(model, every=1)
    result = {
        "run": name,
        "seed": seed,
        **asdict(run),
        "device": device_name(pick_device()),
        "seconds": round(history.seconds),
        "images": run.steps * run.batch_size,
        "final": rounded(final),
        "at": history.evaluated_at,  # steps; seen concepts: every fourth of them
        "scores": rounded(history.evaluations),
        "loss": rounded(sum(history.losses[-20:]) / 20),
    }
    write_json(result, result_path(HERE, name, seed))
    if name == "vit" and seed == 0:
        save_half(model, HERE / "emoji_clip.safetensors")


def shuffle(captions: CaptionTable, emoji: Emoji) -> Callable:
    """The captions of other concepts, the same ones each time: a world whose texts say nothing true."""
    other = torch.randperm(len(emoji), generator=torch.Generator().manual_seed(0))
    return lambda concept, style, generator: captions(other[concept], style, generator)


COLUMNS = {
    "unseen top1": "held out, top-1 of 140",
    "unseen top5": "top-5",
    "unseen of all top1": "top-1 of 1,374",
    "unseen of all top5": "top-5",
    "twemoji": "Twemoji (seen)",
    "fluent_3d": "3D",
    "noto_v1": "Noto v1",
    "fxemoji": "FxEmoji",
    "openmoji": "OpenMoji",
    "openmoji_line": "line",
    "fluent_contrast": "contrast",
}


def table() -> str:
    """All stored results; see `score_table`."""
    rows = []
    for name in RUNS:
        results = stored_results(HERE, name)
        if results:
            minutes = sum(result["seconds"] for result in results) / len(results) / 60
            first = [name, f"{results[0]['images']:,}", f"{minutes:.0f}" if minutes >= 1 else "< 1"]
            rows.append((first, [result["final"] for result in results]))
    return score_table(["run", "images", "minutes"], rows, COLUMNS)


def main() -> None:
    parser = runs_parser(__doc__ or "", RUNS)
    parser.add_argument("--again", action="store_true", help="train what is stored already, too")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")  # TF32 where a GPU has it
    for name, seed in [] if options.table else still_to_train(HERE, RUNS, options, again=options.again):
        print(f"{name}, seed {seed}", flush=True)
        train(name, seed)
    print(table())


if __name__ == "__main__":
    main()
