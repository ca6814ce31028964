"""Train the models of a2 whose results, and one of which, are committed here: `make checkpoints`.

    python data/checkpoints/train.py                     all runs that are not finished, each with its seeds
    python data/checkpoints/train.py --run cnn --seeds 0 1
    python data/checkpoints/train.py --table             the table of what is stored, without training

A run writes `results/<run>-<seed>.json` (scores along the way, seconds, number of images) when it ends.
Killed, it goes on from its unfinished state when it is called again.  The weights of `vit`, seed 0, become
`emoji_clip.safetensors`.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from cs_vl.data.emoji import Emoji, load_emoji
from cs_vl.data.emoji_captions import CaptionTable, load_tokenizer
from cs_vl.tasks.emoji_classifier import EmojiClassifier, classifier_answers, classifier_loss
from cs_vl.tasks.emoji_clip import (
    clamp_scale,
    clip_answers,
    clip_loss,
    emoji_batches,
    emoji_scores,
    make_emoji_clip,
    make_vision_tower,
    training_pictures,
)
from cs_vl.train import fit, pick_device

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """How a model is trained; the same in all else."""

    tower: str
    steps: int
    batch_size: int = 256
    lr: float = 1e-3
    colours: bool = True  # whether augmentation changes colours, too: costs early and pays late
    supervised: bool = False  # the twin: a linear head over the concepts in the text tower's place
    shuffled: bool = False  # the control: every concept has another one's captions
    seeds: tuple[int, ...] = (0, 1, 2)


SHORT = {"steps": 450, "lr": 3e-3, "colours": False}
RUNS = {
    "vit": Run("vit", 4800),
    "cnn": Run("cnn", **SHORT),
    "cnn-supervised": Run("cnn", **SHORT, supervised=True),
    "cnn-shuffled": Run("cnn", **SHORT, shuffled=True),
    "vit-supervised": Run("vit", 2400, supervised=True),
}


def train(name: str, seed: int) -> None:
    """Train one run with one seed, and store what came out."""
    run = RUNS[name]
    emoji, tokenizer = load_emoji(), load_tokenizer()
    captions = CaptionTable(emoji, tokenizer)
    if run.shuffled:
        captions = shuffle(captions, emoji)
    pictures = training_pictures(emoji)
    batches = emoji_batches(pictures, captions, run.batch_size, colours=run.colours)
    torch.manual_seed(seed)
    if run.supervised:
        model: torch.nn.Module = EmojiClassifier(*make_vision_tower(run.tower), len(emoji))
    else:
        model = make_emoji_clip(tokenizer, run.tower)

    def evaluate(model, every: int = 4) -> dict[str, float]:
        answer = classifier_answers(model) if run.supervised else clip_answers(model, tokenizer, emoji)
        return emoji_scores(answer, emoji, unseen=None if run.supervised else "held_out", every=every)

    due = {math.ceil(run.steps / 2**k) for k in range(7)}
    history = fit(
        model,
        classifier_loss if run.supervised else clip_loss,
        batches,
        steps=run.steps,
        lr=run.lr,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        seed=seed,
        evaluate=evaluate,
        evaluate_every=due,
        after_step=None if run.supervised else clamp_scale,
        checkpoint=HERE / "unfinished" / f"{name}-{seed}.safetensors",
        progress=False,
    )
    with torch.no_grad():
        final = evaluate(model, every=1)
    (HERE / "results").mkdir(exist_ok=True)
    result = {
        "run": name,
        "seed": seed,
        **asdict(run),
        "device": str(pick_device()),
        "seconds": round(history.seconds),
        "images": run.steps * run.batch_size,
        "final": {key: round(value, 4) for key, value in final.items()},
        "at": history.evaluated_at,  # steps; seen concepts: every fourth of them
        "scores": {key: [round(v, 4) for v in values] for key, values in history.evaluations.items()},
        "loss": round(sum(history.losses[-20:]) / 20, 4),
    }
    (HERE / "results" / f"{name}-{seed}.json").write_text(json.dumps(result, indent=1) + "\n")
    if name == "vit" and seed == 0:
        weights = {key: value.half().contiguous() for key, value in model.cpu().state_dict().items()}
        save_file(weights, HERE / "emoji_clip.safetensors")


def shuffle(captions: CaptionTable, emoji: Emoji) -> Callable:
    """The captions of other concepts, the same ones each time: a world whose texts say nothing true."""
    other = torch.randperm(len(emoji), generator=torch.Generator().manual_seed(0))
    return lambda concept, style, generator: captions(other[concept], style, generator)


def stored(name: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((HERE / "results").glob(f"{name}-[0-9].json"))]


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
    """All stored results in percent, mean and range over the seeds, as a Markdown table."""
    lines = [
        f"| run | seeds | images | minutes | {' | '.join(COLUMNS.values())} |",
        "|---" * (4 + len(COLUMNS)) + "|",
    ]
    for name in RUNS:
        results = stored(name)
        if not results:
            continue
        cells = [name, str(len(results)), f"{results[0]['images']:,}"]
        cells.append(f"{sum(r['seconds'] for r in results) / len(results) / 60:.0f}")
        for key in COLUMNS:
            values = [100 * r["final"][key] for r in results if key in r["final"]]
            spread = f" ({min(values):.0f} to {max(values):.0f})" if len(values) > 1 else ""
            cells.append(f"{sum(values) / len(values):.1f}{spread}" if values else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--again", action="store_true", help="train what is stored already, too")
    parser.add_argument("--table", action="store_true", help="print what is stored, and train nothing")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    for name in [] if options.table else options.run:
        for seed in RUNS[name].seeds if options.seeds is None else options.seeds:
            if options.again or not (HERE / "results" / f"{name}-{seed}.json").exists():
                print(f"{name}, seed {seed}", flush=True)
                train(name, seed)
    print(table())


if __name__ == "__main__":
    main()
