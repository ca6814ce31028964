"""Checks of LLaVA: the projector, images among words, which tokens are learned, and what learns when.

None runs a language model or a vision tower: hidden states, embeddings and features are drawn.
"""

import torch
from torch import nn

from cs_vl.checks.probes import build, gradients, leaf, normal, pair, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.models.llava import LLaVA, Projector

# --- the projector -----------------------------------------------------------------------------------

IMAGES, TOKENS = 3, 5
LAYERS = (-1, -3, 0, 1)


def projector_case(dtype=torch.float32, states=7, **init):
    def case(rng):
        arguments = {"visual_dim": 6, "dim": 4, **init}
        params = parameters(rng, Projector(**arguments), scale=0.7)
        return {
            "init": arguments,
            "params": {name: value.to(dtype) for name, value in params.items()},
            "hidden_states": normal(rng, states, IMAGES, TOKENS, arguments["visual_dim"], dtype=dtype),
        }

    return case


def project(cls, inputs, **init):
    projector = build(cls, {**inputs["init"], **init}, inputs["params"])
    return projector(tuple(inputs["hidden_states"].clone().unbind()))


def projector_value(cls, inputs):
    return {"features": project(cls, inputs)}


def projector_layers(cls, inputs):
    return {f"features of layer {layer}": project(cls, inputs, layer=layer) for layer in LAYERS}


def projector_gradient(cls, inputs):
    """In the projector's parameters: the tower is frozen."""
    projector = build(cls, inputs["init"], inputs["params"])
    features = projector(tuple(inputs["hidden_states"].unbind()))
    return gradients(features, **dict(projector.named_parameters()))


PROJECTOR = Exercise(
    name="Projector",
    module="cs_vl.models.llava",
    stages=(
        Stage(name="one linear layer", points=2, case=projector_case(), probe=projector_value),
        Stage(name="the MLP", points=1.5, case=projector_case(mlp=True, states=4), probe=projector_value),
        Stage(
            name="other layers",
            points=1,
            case=projector_case(states=5),
            probe=projector_layers,
            hint="`layer` is an index like any other in Python: 0 is the first hidden state, -1 the last.",
        ),
        Stage(
            name="no class token",
            points=0.5,
            case=projector_case(class_token=False),
            probe=projector_value,
            hint="Where class_token is False all tokens are patches.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            cases=1,
            case=projector_case(torch.float64, mlp=True),
            probe=projector_gradient,
            needs=("the MLP",),
            hint="The projector is what learns in both phases.",
        ),
    ),
)

# --- images among words ------------------------------------------------------------------------------

LENGTH, PATCHES, WIDTH, VOCAB = 7, 4, 5, 19
PLACES = {  # of the images in each of three texts: at the start, at the end, in a row, with words between
    0: ((), (), ()),
    1: ((0,), (2,), (LENGTH - 1,)),
    2: ((0, 1), (1, LENGTH - 1), (3, 4)),
}


def splice_case(images, labels=False):
    """`images`: in each text.  Labels are other numbers than ids, and <image> has one, too.

    All is float32, gradients too: nothing is computed, so nothing is rounded.
    """

    def case(rng):
        places = [PLACES[images][i] for i in rng.permutation(len(PLACES[images]))]
        image_id = int(rng.integers(1, VOCAB))
        ids = torch.from_numpy(rng.integers(1, VOCAB - 1, (len(places), LENGTH)))
        ids[ids >= image_id] += 1  # any id but the image's
        given = torch.from_numpy(rng.integers(VOCAB, 2 * VOCAB, ids.shape))
        given[torch.from_numpy(rng.random(ids.shape) < 0.4)] = -100
        given[torch.from_numpy(rng.random(ids.shape) < 0.2)] = 0
        for row, here in enumerate(places):
            ids[row, list(here)] = image_id
            given[row, list(here)] = VOCAB + row
        return {
            "ids": ids,
            "text_embeds": normal(rng, *ids.shape, WIDTH),
            "image_features": normal(rng, len(places) * images, PATCHES, WIDTH),
            "image_id": image_id,
            "labels": given if labels else None,
        }

    return case


def spliced(fn, inputs, **changed):
    x = {**inputs, **changed}
    result = fn(x["ids"], x["text_embeds"], x["image_features"], x["image_id"], x["labels"])
    return pair(result, "embeds", "labels")


def splice_value(fn, inputs):
    return spliced(fn, inputs)


def splice_labels(fn, inputs):
    """The labels alone: the embeddings were judged before."""
    labels = spliced(fn, inputs).get("labels")
    return {"labels": labels, "dtype of the labels": dtype_of(labels)}


def dtype_of(labels):
    """A loss takes int64 only."""
    return str(getattr(labels, "dtype", type(labels).__name__))


def splice_nothing(fn, inputs):
    without = spliced(fn, inputs, labels=None)
    return {**spliced(fn, inputs), **{f"{name} without labels": value for name, value in without.items()}}


def splice_gradient(fn, inputs):
    leaves = {name: leaf(inputs[name]) for name in ("text_embeds", "image_features")}
    copies = {name: tensor.clone() for name, tensor in leaves.items()}
    return gradients(spliced(fn, inputs, **copies)["embeds"], **leaves)


def splice_leaves_inputs(fn, inputs):
    names = ("ids", "text_embeds", "image_features", "labels")
    copies = {name: inputs[name].clone() for name in names}
    spliced(fn, inputs, **copies)
    return {f"{name} as before": torch.equal(copies[name], inputs[name]) for name in names}


SPLICE_IMAGES = Exercise(
    name="splice_images",
    module="cs_vl.models.llava",
    stages=(
        Stage(
            name="one image a text",
            points=2.5,
            case=splice_case(1),
            probe=splice_value,
            hint="The texts have their image in different places: at the start, inside, at the end.",
        ),
        Stage(
            name="two images a text",
            points=2,
            case=splice_case(2),
            probe=splice_value,
            hint="Images come in the order of reading: those of the first text, then those of the second.",
        ),
        Stage(name="labels", points=1.5, case=splice_case(2, labels=True), probe=splice_labels),
        Stage(
            name="no image",
            points=0.5,
            cases=1,
            case=splice_case(0, labels=True),
            probe=splice_nothing,
            hint="Texts without <image> stay as they are.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            cases=1,
            case=splice_case(2),
            probe=splice_gradient,
            needs=("one image a text", "two images a text"),
            hint="Each feature learns, and each word's embedding; that at <image> gets exactly zero.",
        ),
        Stage(
            name="what was given stays as it was",
            kind="property",
            points=0.5,
            cases=1,
            case=splice_case(1, labels=True),
            probe=splice_leaves_inputs,
            needs=("one image a text", "labels"),
            hint="The caller still holds these tensors: build new ones, or change a clone.",
        ),
    ),
)

# --- which tokens are learned ------------------------------------------------------------------------

PAD = 2


class Script:
    """Writes conversations in ids: words are numbers that mean nothing else."""

    def __init__(self, rng):
        self.rng = rng
        self.assistant, self.end = (int(i) for i in 3 + rng.permutation(17)[:2])

    def words(self, number):
        ids = self.rng.integers(0, 40, number)
        taken = (ids == self.assistant) | (ids == self.end) | (ids == PAD)
        return [int(i) for i in ids + 40 * taken]

    def turn(self, question, answer, closed=True):
        return [*self.words(question), self.assistant, *self.words(answer), *[self.end] * closed]

    def inputs(self, rows, padding):
        longest = max(map(len, rows))
        ids = [row + [padding] * (longest - len(row)) for row in rows]
        return {"ids": torch.tensor(ids), "assistant_id": self.assistant, "end_id": self.end}


def labels_case(write, padding=PAD):
    """`write`: a script's rows.  padding=None: with the end token, as GPT-2 has no other."""

    def case(rng):
        script = Script(rng)
        return script.inputs(write(script), script.end if padding is None else padding)

    return case


def one_turn(script):
    return [script.turn(*lengths) for lengths in script.rng.permutation([(3, 4), (2, 1), (5, 2)])]


def several_turns(script):
    return [
        script.turn(2, 3) + script.turn(1, 2) + script.turn(3, 1),
        script.turn(4, 2) + script.turn(2, 5),
        script.turn(0, 3) + script.turn(3, 1),
    ]


def cut_off(script):
    """Inside an answer, right after <assistant>, inside a question: 10 tokens each, so without padding."""
    return [
        script.turn(2, 2) + script.turn(1, 2, closed=False),
        script.turn(2, 2) + script.turn(3, 0, closed=False),
        script.turn(3, 2) + script.words(3),
        script.turn(3, 6, closed=False),
    ]


def stray_ends(script):
    """Ends that end nothing: at the start, inside a question, several in a row; and an empty answer."""
    end = [script.end]
    return [
        end + script.turn(3, 2),
        script.words(2) + end + script.turn(2, 1) + end + script.words(2),
        script.turn(1, 2) + end + end + script.turn(2, 3),
        script.turn(2, 0) + script.turn(1, 1),
        script.words(4) + end + script.words(3) + end,
    ]


def labels_value(fn, inputs):
    labels = fn(inputs["ids"], inputs["assistant_id"], inputs["end_id"])
    return {"labels": labels, "dtype of the labels": dtype_of(labels)}


def labels_of_one_row(fn, inputs):
    rows = [fn(row.clone(), inputs["assistant_id"], inputs["end_id"]) for row in inputs["ids"]]
    return {f"labels of row {i}": row for i, row in enumerate(rows)}


def labels_leave_ids(fn, inputs):
    ids = inputs["ids"].clone()
    fn(ids, inputs["assistant_id"], inputs["end_id"])
    return {"ids as before": torch.equal(ids, inputs["ids"])}


ANSWER_LABELS = Exercise(
    name="answer_labels",
    module="cs_vl.data.chat",
    stages=(
        Stage(name="one turn", points=1.5, case=labels_case(one_turn), probe=labels_value),
        Stage(name="several turns", points=1, case=labels_case(several_turns), probe=labels_value),
        Stage(
            name="end tokens outside of answers",
            points=1,
            case=labels_case(stray_ends, padding=None),
            probe=labels_value,
            hint="An end token counts where it ends an answer, as the first one after <assistant>, only.",
        ),
        Stage(
            name="an answer that is cut off",
            points=0.5,
            cases=1,
            case=labels_case(cut_off),
            probe=labels_value,
            hint="An answer that the row's end cuts off counts up to there.",
        ),
        Stage(
            name="one row alone",
            points=0.5,
            cases=1,
            case=labels_case(several_turns),
            probe=labels_of_one_row,
            hint="ids may have no batch dimension.",
        ),
        Stage(
            name="ids stay as they were",
            kind="property",
            points=0.5,
            cases=1,
            case=labels_case(several_turns),
            probe=labels_leave_ids,
            hint="labels = ids.clone() makes a new tensor; labels = ids is another name for the old one.",
        ),
    ),
)

# --- what learns when --------------------------------------------------------------------------------


class Block(nn.Module):
    """Stands in for a transformer's block; the names are those of real ones."""

    def __init__(self, dim):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.Module()
        self.attn.q_proj, self.attn.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.mlp = nn.Linear(dim, dim)

    def forward(self, x):
        x = x + self.attn.out_proj(torch.tanh(self.attn.q_proj(self.norm1(x))))
        return x + torch.tanh(self.mlp(x))


class Eye(nn.Module):
    """Stands in for a `ViT`."""

    def __init__(self, dim):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Linear(3, dim)
        self.position_embed = nn.Parameter(torch.zeros(1, PATCHES, dim))
        self.blocks = nn.ModuleList([Block(dim)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, patches):
        return self.norm(self.blocks[0](self.patch_embed.proj(patches) + self.position_embed))


class Bridge(nn.Module):
    """Stands in for `Projector`."""

    def __init__(self, visual_dim, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(visual_dim, dim), nn.Linear(dim, dim)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


class Reader(nn.Module):
    """Stands in for a `Decoder` whose head is its own."""

    def __init__(self, dim):
        super().__init__()
        self.token_embed = nn.Embedding(VOCAB, dim)
        self.position_embed = None
        self.blocks = nn.ModuleList([Block(dim), Block(dim)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, VOCAB, bias=False)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def phase_case(*phases, dtype=torch.float32):
    """`learning` says, in the order of names, what learns before."""

    def case(rng):
        params = parameters(rng, LLaVA(Eye(5), Bridge(5, 4), Reader(4), image_id=1))
        return {
            "params": {name: value.to(dtype) for name, value in params.items()},
            "learning": [bool(x) for x in rng.random(len(params)) < 0.5],
            "phases": list(phases),
            "patches": normal(rng, 2, PATCHES, 3, dtype=dtype),
            "ids": torch.from_numpy(rng.integers(0, VOCAB, (2, 3))),
        }

    return case


def make_model(inputs, learning):
    parts = {"visual": Eye(5), "projector": Bridge(5, 4), "lm": Reader(4)}
    model = build(LLaVA, {**parts, "image_id": 1}, inputs["params"])
    for (_, p), learns in zip(sorted(model.named_parameters()), learning, strict=True):
        p.requires_grad = learns
    return model


def learners(model):
    return sorted(name for name, p in model.named_parameters() if p.requires_grad)


def phase_of_all(fn, inputs):
    """Everything learns before, as in a model that was just made."""
    model = make_model(inputs, [True] * len(inputs["params"]))
    for phase in inputs["phases"]:
        fn(model, phase)
    return {"what learns": learners(model)}


def phase_of_any(fn, inputs):
    found = {}
    before = {"everything was frozen": [False] * len(inputs["params"]), "some was frozen": inputs["learning"]}
    for name, learning in before.items():
        for phase in inputs["phases"]:
            model = make_model(inputs, learning)
            fn(model, phase)
            found[f"what learns in phase {phase}, where {name}"] = learners(model)
    return found


def phase_back_and_forth(fn, inputs):
    model = make_model(inputs, [True] * len(inputs["params"]))
    found = {}
    for i, phase in enumerate(inputs["phases"]):
        fn(model, phase)
        found[f"what learns after {i + 1} calls, in phase {phase}"] = learners(model)
    return found


def phase_gradient(fn, inputs):
    """Of a loss that every parameter moves; zero where none arrives."""
    found = {}
    for phase in inputs["phases"]:
        model = make_model(inputs, inputs["learning"])
        fn(model, phase)
        seen = model.projector(model.visual(inputs["patches"]))
        logits = model.lm(torch.cat([seen, model.lm.token_embed(inputs["ids"])], dim=1))
        wave = torch.cos(torch.arange(logits.numel(), dtype=logits.dtype)).reshape(logits.shape)
        (logits * wave).sum().backward()
        for name, tensor in model.named_parameters():
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            found[f"gradient of {name} in phase {phase}"] = gradient
    return found


SET_PHASE = Exercise(
    name="set_phase",
    module="cs_vl.models.llava",
    stages=(
        Stage(name="phase 1", points=1, cases=1, case=phase_case(1), probe=phase_of_all),
        Stage(name="phase 2", points=1, cases=1, case=phase_case(2), probe=phase_of_all),
        Stage(
            name="from one phase to the other",
            points=0.5,
            cases=1,
            case=phase_case(1, 2, 1),
            probe=phase_back_and_forth,
            hint="What the other phase froze or let learn must not stay so.",
        ),
        Stage(
            name="whatever was frozen before",
            points=0.5,
            case=phase_case(1, 2),
            probe=phase_of_any,
            hint="Parts may be frozen when you get them: say of each parameter whether it learns.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            cases=1,
            case=phase_case(1, 2, dtype=torch.float64),
            probe=phase_gradient,
            needs=("phase 1", "phase 2", "whatever was frozen before"),
            hint="Exactly zero for all that is frozen; for the rest what backward() gives.",
        ),
    ),
)

EXERCISES = (PROJECTOR, SPLICE_IMAGES, ANSWER_LABELS, SET_PHASE)
