"""Train the models of a4: the vision tower, the language model, LLaVA and Flamingo: `make checkpoints`.

    python data/vlm/train.py                       all runs that are not finished, each with its seeds
    python data/vlm/train.py --run lm llava --seeds 0
    python data/vlm/train.py --jobs 12             so many at a time (on a GPU)
    python data/vlm/train.py --table               the tables of what is stored, without training

A run writes `results/<run>-<seed>.json` when it ends; its weights lie in `unfinished/` for the runs that
build on it.  Killed, it goes on from its unfinished state when it is called again.  Those of seed 0 that the
notebook uses become `<name>.safetensors` here, as float16.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cs_vl.data.bpe import END, PAD, Tokenizer
from cs_vl.data.captions import a
from cs_vl.data.chat import chat
from cs_vl.data.instructions import (
    FAMILIES,
    Example,
    evaluation_questions,
    final_answer,
    knowledge_questions,
    make_instructions,
)
from cs_vl.data.scenes import Scenes
from cs_vl.data.world import World, encode_all, load_world, load_world_tokenizer, make_world_scenes
from cs_vl.data.world_text import DOCUMENTS, NICKNAMES, OF_FACTS, world_documents
from cs_vl.models.decoder import Decoder
from cs_vl.models.flamingo import Flamingo
from cs_vl.models.generate import generate, left_pad
from cs_vl.models.llava import LLaVA, set_phase
from cs_vl.nn.vit import ViT, ViTOutput
from cs_vl.tasks.emoji_clip import clamp_scale, clip_loss
from cs_vl.tasks.scene_answers import LLaVAAnswerer, few_shot_accuracy, few_shot_episodes
from cs_vl.tasks.scene_models import (
    make_flamingo,
    make_llava,
    make_scene_clip,
    make_scene_tower,
    make_world_lm,
)
from cs_vl.tasks.scene_results import CONTROLS, FACTS, SHOTS
from cs_vl.tasks.scene_training import (
    EpisodeMaker,
    Table,
    as_bytes,
    caption_table,
    conversation_batches,
    flamingo_loss,
    in_bfloat16,
    llava_loss,
    make_table,
    pair_batches,
    scene_captions,
    text_batches,
    text_loss,
    text_stream,
)
from cs_vl.tasks.stored import score_table
from cs_vl.train import device_name, fit, pick_device
from cs_vl.train.runs import (
    result_path,
    rounded,
    runs_parser,
    save_half,
    save_weights,
    still_to_train,
    stored_results,
    write_json,
)

HERE = Path(__file__).parent
UNFINISHED = HERE / "unfinished"

CHUNK = 4000  # scenes that are made at a time, from one seed
TRAIN_CHUNKS = range(1000, 1030)  # their seeds; those of evaluation lie elsewhere
EVALUATION_SEED = 7
DOCUMENTS_A_CHUNK = 10_000


@dataclass(frozen=True)
class Run:
    """How a model is trained; the same in all else."""

    kind: str  # a key of KINDS
    steps: int
    batch_size: int
    lr: float
    steps_before: int = 0  # of phase 1
    mlp: bool = True
    layer: int | None = -2
    lm: str = "lm"  # the run that gives the language model
    seeds: tuple[int, ...] = (0, 1, 2)


LONG = {"kind": "llava", "steps": 2200, "batch_size": 192, "lr": 1e-3, "steps_before": 400}
SHORT = {"kind": "llava", "steps": 800, "batch_size": 192, "lr": 1e-3, "steps_before": 200}
RUNS = {
    "tower": Run("tower", steps=2600, batch_size=768, lr=1e-3, seeds=(0,)),
    "lm": Run("lm", steps=2000, batch_size=96, lr=2e-3, seeds=(0,)),
    # Its text lacks the facts of what is not taught: what is left to know of them is what can be seen.
    "lm-unread": Run("lm", steps=2000, batch_size=96, lr=2e-3, seeds=(0,)),
    "llava": Run(**LONG),
    # Shorter ones that differ in one thing each.
    "llava-short": Run(**SHORT),
    "llava-linear": Run(**SHORT, mlp=False),
    "llava-last": Run(**SHORT, layer=-1),
    "llava-pooled": Run(**SHORT, layer=None),
    "llava-unread": Run(**SHORT, lm="lm-unread"),
    "flamingo": Run("flamingo", steps=2000, batch_size=48, lr=1e-3),
}


# ---- Data ----


def make_chunk(seed: int) -> dict[str, Any]:
    """Scenes, with all that is written about them."""
    torch.set_num_threads(1)
    world, tokenizer = load_world(), load_world_tokenizer()
    scenes = make_world_scenes(CHUNK, seed=seed)
    described = make_instructions(world, scenes, seed=seed, kinds=["description"], per_scene=1)
    instructions = make_instructions(world, scenes, seed=seed, per_scene=4)
    documents = world_documents(world, seed=seed, n=DOCUMENTS_A_CHUNK)
    return {
        "images": as_bytes(scenes.images),
        "kind": torch.where(scenes.count == 1, scenes.kind[:, 0], -1),  # of scenes with a single thing
        "captions": caption_table(scene_captions(scenes), tokenizer),
        "described": tokenized(described, tokenizer),
        "instructed": tokenized(instructions, tokenizer),
        "lm": text_stream(documents, tokenizer),
        "lm-unread": text_stream(documents_unread(world, seed), tokenizer),
    }


def documents_unread(world: World, seed: int) -> list[str]:
    """As many documents of each kind, but facts of what is taught only."""
    shares = {kind: share for kind, (_, share) in DOCUMENTS.items()}
    others = [kind for kind in shares if kind not in OF_FACTS]
    told = world.some([i for i, may_be in enumerate(world.taught) if may_be])
    n = round(DOCUMENTS_A_CHUNK * sum(shares[kind] for kind in OF_FACTS) / sum(shares.values()))
    documents = world_documents(told, seed=seed, n=n, kinds=OF_FACTS)
    documents += world_documents(world, seed=seed, n=DOCUMENTS_A_CHUNK - n, kinds=others)
    random.Random(seed).shuffle(documents)
    return documents


def tokenized(examples: Sequence[Example], tokenizer: Tokenizer) -> tuple[Tensor, Table]:
    """The scene of each example, and its tokens."""
    ids = encode_all(tokenizer, [chat(example.turns) for example in examples])
    table = make_table(ids, tokenizer.specials[PAD], 96)
    return torch.tensor([example.scene for example in examples]), table


def prepare(jobs: int) -> None:
    """Make the training data, once."""
    path = UNFINISHED / "data.pt"
    if path.exists():
        return
    UNFINISHED.mkdir(exist_ok=True)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        chunks = list(pool.map(make_chunk, TRAIN_CHUNKS))
    joined: dict[str, Any] = {
        key: torch.cat([chunk[key] for chunk in chunks]) for key in ("images", "kind", "lm", "lm-unread")
    }
    joined["captions"] = (
        [*map(torch.cat, zip(*(chunk["captions"][0] for chunk in chunks), strict=True))],
        torch.cat([chunk["captions"][1] for chunk in chunks]),
    )
    for key in ("described", "instructed"):
        scene = torch.cat([CHUNK * i + chunk[key][0] for i, chunk in enumerate(chunks)])
        joined[key] = (scene, [*map(torch.cat, zip(*(chunk[key][1] for chunk in chunks), strict=True))])
    torch.save(joined, path)


@cache
def data() -> dict[str, Any]:
    """The training data; the pictures stay on the CPU."""
    loaded = torch.load(UNFINISHED / "data.pt", weights_only=True, mmap=True)
    loaded["captions"] = (Table(*loaded["captions"][0]), loaded["captions"][1])
    for key in ("described", "instructed"):
        loaded[key] = (loaded[key][0], Table(*loaded[key][1]))
    return loaded


class Remembered(nn.Module):
    """Stands in for a frozen tower that has seen all images before: what it saw is handed in."""

    def forward(self, seen: Tensor) -> ViTOutput:
        return ViTOutput(seen, seen, (seen, seen))


@torch.no_grad()
def remember(tower: ViT, images: Tensor, layer: int | None) -> Tensor:
    """One hidden state of all images, or (None) what the tower pools; float16, where training is."""
    device = pick_device()
    tower.to(device).eval()
    seen = []
    for some in images.split(1000):
        output = tower(some.to(device).float() / 255)
        seen.append((output.pooled if layer is None else output.hidden_states[layer]).half())
    return torch.cat(seen)


# ---- Kinds of training ----

Scores = dict[str, Any]


def keep(name: str, seed: int, model: nn.Module) -> None:
    """The weights that a run leaves for those that build on it."""
    save_weights(model.state_dict(), UNFINISHED / f"{name}-{seed}.safetensors")


def publish(seed: int, **modules: nn.Module) -> None:
    """The weights of seed 0, as they are committed."""
    for name, module in modules.items() if seed == 0 else ():
        save_half(module, HERE / f"{name.replace('_', '-')}.safetensors")


def train_tower(name: str, run: Run, seed: int, fit: Callable) -> Scores:
    tokenizer = load_world_tokenizer()
    model = make_scene_clip(tokenizer)
    batches = pair_batches(data()["images"].to(pick_device()), *data()["captions"], run.batch_size)
    history = fit(model, in_bfloat16(clip_loss), batches, after_step=clamp_scale)
    keep(name, seed, model.visual)
    publish(seed, tower=model.visual)
    return {"accuracy in its batch": history.metrics["accuracy"][-1]}


def train_lm(name: str, run: Run, seed: int, fit: Callable) -> Scores:
    tokenizer = load_world_tokenizer()
    model = make_world_lm(tokenizer)
    batches = text_batches(data()[name].to(pick_device()), 128, run.batch_size)
    fit(model, in_bfloat16(text_loss), batches)
    keep(name, seed, model)
    if name == "lm":
        publish(seed, lm=model)
    return lm_scores(model)


@torch.no_grad()
def lm_scores(lm: nn.Module) -> Scores:
    """How often it knows what kind of thing each is: those taught with pictures, and the others."""
    world, tokenizer = load_world(), load_world_tokenizer()
    prompts = [chat([(f"What kind of thing is {a(name)}?", None)], image=False) for name in world.names]
    ids, real = left_pad(encode_all(tokenizer, prompts), 0)
    device = pick_device()
    new = generate(
        lm, ids.to(device), real=real.to(device), max_new_tokens=24, end_id=tokenizer.specials[END]
    )
    said = [final_answer(tokenizer.decode(row, skip_specials=True).strip()) for row in new.cpu()]
    right = torch.tensor([answer == kind for answer, kind in zip(said, world.kinds, strict=True)])
    may_be = torch.tensor(world.taught)
    return {
        "knows taught": float(right[may_be].float().mean()),
        "knows others": float(right[~may_be].float().mean()),
    }


def parts(run: Run) -> tuple[ViT, Decoder]:
    """The frozen tower and the language model that a run begins with: the same for all seeds."""
    tower, lm = make_scene_tower(), make_world_lm(load_world_tokenizer())
    for name, model in (("tower", tower), (run.lm, lm)):
        model.load_state_dict(load_file(UNFINISHED / f"{name}-0.safetensors"))
    return tower, lm


@contextmanager
def remembering(model: LLaVA | Flamingo) -> Iterator[None]:
    """In here the model is handed what its tower has seen, in place of images."""
    tower, model.visual = model.visual, Remembered()
    try:
        yield
    finally:
        model.visual = tower


def train_llava(name: str, run: Run, seed: int, fit: Callable) -> Scores:
    tokenizer = load_world_tokenizer()
    tower, lm = parts(run)
    seen = remember(tower, data()["images"], run.layer)
    model = make_llava(tower, lm, tokenizer, mlp=run.mlp, layer=run.layer).to(pick_device())
    text = text_batches(data()[run.lm].to(pick_device()), 64, run.batch_size // 3)
    scores: Scores = {}
    if name == "llava":
        scores["before"] = answer_scores(model, controls=False)
    set_phase(model, 1)
    described = conversation_batches(seen, *data()["described"], tokenizer, run.batch_size)
    with remembering(model):
        fit(model, in_bfloat16(llava_loss), described, steps=run.steps_before, lr=2e-3, part="phase 1")
    if name == "llava":
        scores["phase 1"] = answer_scores(model, controls=False)
        publish(seed, projector_1=model.projector)
    set_phase(model, 2)
    instructed = conversation_batches(seen, *data()["instructed"], tokenizer, run.batch_size, text=text)
    with remembering(model):
        fit(model, in_bfloat16(llava_loss), instructed)
    scores["phase 2"] = answer_scores(model, short=run.steps < 1000)
    if name == "llava":
        publish(seed, projector_2=model.projector, llava_lm=model.lm)
    return scores


def train_flamingo(name: str, run: Run, seed: int, fit: Callable) -> Scores:
    tokenizer, world = load_world_tokenizer(), load_world()
    tower, lm = parts(run)
    single = data()["kind"] >= 0
    seen = remember(tower, data()["images"][single], -2)
    model = make_flamingo(tower, lm, tokenizer)
    maker = EpisodeMaker(seen, data()["kind"][single], world.names, NICKNAMES["train"], tokenizer)
    with remembering(model):
        fit(model, in_bfloat16(flamingo_loss), maker.batches(run.batch_size))
    publish(seed, resampler=model.resampler, gated=model.gated)
    scenes = make_world_scenes(1000, seed=EVALUATION_SEED, objects=(1, 1))
    images, kind = as_bytes(scenes.images).to(pick_device()), scenes.kind[:, 0]
    scores: Scores = {}
    for split, words in NICKNAMES.items():
        held_out = EpisodeMaker(images, kind, world.names, words, tokenizer)
        for shots in SHOTS:
            episodes = few_shot_episodes(held_out, 150, shots, seed=EVALUATION_SEED)
            scores[f"{split} words, {shots} shots"] = few_shot_accuracy(model, held_out, episodes)
            if split == "test" and shots:
                control = few_shot_accuracy(model, held_out, episodes, shuffled=True)
                scores[f"test words, {shots} shots, shuffled"] = control
    return scores


KINDS: dict[str, Callable[[str, Run, int, Callable], Scores]] = {
    "tower": train_tower,
    "lm": train_lm,
    "llava": train_llava,
    "flamingo": train_flamingo,
}


# ---- Evaluation ----


@cache
def evaluation() -> tuple[Scenes, dict[str, list[Example]]]:
    """Scenes that no model has seen, and questions about them, also such as only knowledge can answer."""
    world = load_world()
    scenes = make_world_scenes(3000, seed=EVALUATION_SEED)
    questions = {
        family: evaluation_questions(world, scenes, seed=EVALUATION_SEED, family=family, n=300)
        for family in (*FAMILIES, "reasoning")
    }
    for fact in FACTS:
        for form in ("knowledge", "choice", "direct"):
            for which in (True, False):
                title = f"{form}: {fact}, {'taught' if which else 'others'}"
                questions[title] = knowledge_questions(
                    world, scenes, taught=which, fact=fact, form=form, n=250
                )
    return scenes, questions


def answer_scores(model: LLaVA, *, controls: bool = True, short: bool = False) -> Scores:
    """{family: {control: share of right answers}}: with the picture, with another's, with none."""
    answer = LLaVAAnswerer(model, load_world_tokenizer(), batch_size=256)
    model.eval()
    scenes, questions = evaluation()
    scores: Scores = {}
    for family, examples in questions.items():
        if (not controls and ":" in family) or (short and family.startswith(("choice", "direct"))):
            continue
        asked = [example.turns[0][0] for example in examples]
        expected = [final_answer(example.turns[0][1]) for example in examples]
        rows = torch.tensor([example.scene for example in examples])
        pictures: dict[str, Tensor | None] = {"picture": scenes.images[rows]}
        if controls:
            pictures |= {"shuffled": scenes.images[rows.roll(len(rows) // 2)], "text only": None}
        scores[family] = {
            control: share(expected, answer(images, asked)) for control, images in pictures.items()
        }
    return scores


def share(expected: Sequence[str], answers: Sequence[str]) -> float:
    right = [final_answer(answer) == truth for answer, truth in zip(answers, expected, strict=True)]
    return sum(right) / len(right)


# ---- Running ----


def train(name: str, seed: int) -> None:
    """Train one run with one seed, and store what came out."""
    run, begun = RUNS[name], time.perf_counter()
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    losses: dict[str, float] = {}

    def fit_part(
        model: nn.Module, loss: Callable, batches: Callable, *, part: str = "", **options: Any
    ) -> Any:
        settings = {
            "steps": run.steps,
            "lr": run.lr,
            "weight_decay": 0.05,
            "betas": (0.9, 0.98),
            "seed": seed,
        }
        checkpoint = UNFINISHED / f"{name}-{seed}{part.replace(' ', '-')}-state.safetensors"
        history = fit(
            model,
            loss,
            batches,
            **(settings | options),
            checkpoint=checkpoint,
            checkpoint_every=2000,
            progress=False,
        )
        losses[part or "loss"] = sum(history.losses[-50:]) / len(history.losses[-50:])
        return history

    scores = KINDS[run.kind](name, run, seed, fit_part)
    result = {
        "run": name,
        "seed": seed,
        **asdict(run),
        "device": device_name(pick_device()),
        "seconds": round(time.perf_counter() - begun),
        "loss": rounded(losses),
        "scores": rounded(scores),
    }
    write_json(result, result_path(HERE, name, seed))
    print(f"{name}, seed {seed}: {result['seconds']} s", flush=True)


def stored(name: str) -> list[Scores]:
    return [result["scores"] for result in stored_results(HERE, name)]


def tables() -> str:
    """What is stored, as Markdown: LLaVA by family and control, what it knows, Flamingo by shots."""
    rows, known = [], []
    for name, run in RUNS.items():
        results = stored(name) if run.kind == "llava" else []
        for phase in ("before", "phase 1", "phase 2") if results else ():
            for control in CONTROLS:
                if control in results[0].get(phase, {}).get("kind", {}):
                    scores = [{key: x[control] for key, x in one[phase].items()} for one in results]
                    rows.append(([name, phase, control], scores))
                    if phase == "phase 2":
                        known.append(([name, control], scores))
    families = {family: family for family in (*FAMILIES, "reasoning")}
    facts = {
        f"{form}: {fact}, {which}": f"{fact}, {which}" + (" (one word)" if form == "direct" else "")
        for which in ("others", "taught")
        for form in ("knowledge", "direct")
        for fact in FACTS
    }
    shots = stored("flamingo")
    columns = {key: key for key in shots[0]} if shots else {}
    return "\n\n".join(
        [
            score_table(["run", "phase", "picture"], rows, families),
            score_table(["run", "picture"], known, facts),
            score_table(["run"], [(["flamingo"], shots)] if shots else [], columns),
        ]
    )


def main() -> None:
    parser = runs_parser(__doc__ or "", RUNS)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    options = parser.parse_args()
    if not options.table:
        prepare(max(options.jobs, 1))
        # What others build on comes first.
        for stage in (("tower", "lm"), ("llava", "flamingo")):
            todo = [
                (name, seed) for name, seed in still_to_train(HERE, RUNS, options) if RUNS[name].kind in stage
            ]
            if options.jobs == 1:
                for name, seed in todo:
                    train(name, seed)
            elif todo:
                with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
                    list(pool.map(train, *zip(*todo, strict=True)))
    print(tables())


if __name__ == "__main__":
    main()
