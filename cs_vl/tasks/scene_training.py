"""What the models of `scene_models` learn from: batches for `cs_vl.train.fit`, and their losses.

Pictures lie in memory as bytes, on the device that trains; a batch is a choice of rows.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from cs_vl.data.bpe import END, PAD, Tokenizer
from cs_vl.data.captions import a, make_captions
from cs_vl.data.chat import ASSISTANT, EOC, IMAGE, answer_labels
from cs_vl.data.scenes import Scenes
from cs_vl.data.world import WordCache
from cs_vl.losses.next_token import IGNORED, next_token_loss
from cs_vl.models.decoder import Decoder
from cs_vl.models.flamingo import Flamingo
from cs_vl.models.llava import LLaVA
from cs_vl.tasks.scene_models import CAPTION_LENGTH

Batches = Callable[[int, torch.Generator], NamedTuple]


def as_bytes(images: Float[Tensor, "n 3 size size"]) -> UInt8[Tensor, "n 3 size size"]:
    """A quarter of the memory, and no visible difference."""
    return (images * 255).round().byte()


class Table(NamedTuple):
    """Many texts of different lengths, padded."""

    ids: Int[Tensor, "texts longest"]  # int16: a vocabulary of 32,767 at most
    lengths: Int[Tensor, " texts"]


def make_table(texts: Sequence[Sequence[int]], pad_id: int, width: int | None = None) -> Table:
    """Args: width: of the table (default: that of the longest text); longer texts are cut."""
    width = width or max(map(len, texts))
    ids = torch.full((len(texts), width), pad_id, dtype=torch.int16)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text[:width], dtype=torch.int16)
    return Table(ids, torch.tensor([min(len(text), width) for text in texts]))


# ---- The vision tower: CLIP on scenes ----


class Pairs(NamedTuple):
    """Images and their captions; no two captions of a batch are the same."""

    images: Float[Tensor, "batch 3 size size"]
    ids: Int[Tensor, "batch length"]
    lengths: Int[Tensor, " batch"]


def scene_captions(scenes: Scenes) -> list[tuple[str, str]]:
    """What is there; and that with where it is: two captions of each scene."""
    objects, relations = make_captions(scenes, "objects"), make_captions(scenes, "relation")
    return [(what, f"{what}; {where}") for what, where in zip(objects, relations, strict=True)]


def caption_table(captions: Sequence[tuple[str, ...]], tokenizer: Tokenizer) -> tuple["Table", Tensor]:
    """All captions, those of the first scene first, and a number for each text, the same for the same."""
    encode, end = WordCache(tokenizer).encode, tokenizer.specials[END]
    texts = [text for of_scene in captions for text in of_scene]
    rows = [[*encode(text)[: CAPTION_LENGTH - 1], end] for text in texts]
    table = make_table(rows, tokenizer.specials[PAD], CAPTION_LENGTH)
    return table, torch.tensor([zlib.crc32(text.encode()) for text in texts])


def pair_batches(
    images: UInt8[Tensor, "n 3 size size"], captions: "Table", number: Int[Tensor, " texts"], batch_size: int
) -> Batches:
    """Random pairs; of each scene one of its captions.

    Args:
        captions, number: see `caption_table`.
    """
    variants = len(number) // len(images)
    table, lengths = captions.ids.to(images.device), captions.lengths

    def batch(step: int, generator: torch.Generator) -> Pairs:
        scene = torch.randint(len(images), (batch_size,), generator=generator)
        row = scene * variants + torch.randint(variants, (batch_size,), generator=generator)
        # The first of those with the same caption: another one would count as a wrong text.
        _, group = number[row].unique(return_inverse=True)
        first = torch.full((batch_size,), batch_size).scatter_reduce(
            0, group, torch.arange(batch_size), reduce="amin"
        )
        keep = first[first < batch_size]
        scene, row = scene[keep], row[keep]
        longest = int(lengths[row].max())
        pictures = shifted(images[scene.to(images.device)].float() / 255, generator)
        return Pairs(pictures, table[row.to(table.device), :longest].long(), lengths[row])

    return batch


def shifted(
    images: Float[Tensor, "batch 3 size size"], generator: torch.Generator, most: int = 5
) -> Float[Tensor, "batch 3 size size"]:
    """All images of a batch, up to `most` pixels to a side and up or down, the border drawn out.

    What is where stays true, and no pixel is where it was: a tower can't learn the pictures by heart.
    """
    down, right = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
    size = images.shape[-1]
    wider = F.pad(images, (most, most, most, most), mode="replicate")
    return wider[..., down : down + size, right : right + size]


# ---- The language model: text alone ----


class Text(NamedTuple):
    ids: Int[Tensor, "batch length"]


def text_stream(documents: Sequence[str], tokenizer: Tokenizer) -> Int[Tensor, " tokens"]:
    """All documents in one row, an end-of-text token before each."""
    encode, end = WordCache(tokenizer).encode, tokenizer.specials[END]
    tokens: list[int] = []
    for document in documents:
        ids = encode(document)
        tokens += [end, *ids] if not tokens or tokens[-1] != end else ids
    return torch.tensor(tokens, dtype=torch.int16)


def text_batches(stream: Int[Tensor, " tokens"], length: int, batch_size: int) -> Batches:
    """Random windows of the stream."""
    offsets = torch.arange(length, device=stream.device)

    def batch(step: int, generator: torch.Generator) -> Text:
        start = torch.randint(len(stream) - length, (batch_size, 1), generator=generator)
        return Text(stream[start.to(stream.device) + offsets].long())

    return batch


def text_loss(lm: Decoder, batch: Text) -> Tensor:
    """Every token is to be guessed."""
    return next_token_loss(lm(batch.ids), batch.ids)


# ---- LLaVA: conversations about pictures ----


class Conversations(NamedTuple):
    """Texts with one image each, and texts without, so that what was read is not forgotten."""

    images: Float[Tensor, "batch 3 size size"]
    ids: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"]
    text: Int[Tensor, "some length"] | None


def conversation_batches(
    images: UInt8[Tensor, "n 3 size size"],
    scene: Int[Tensor, " texts"],
    conversations: "Table",
    tokenizer: Tokenizer,
    batch_size: int,
    *,
    text: Batches | None = None,
) -> Batches:
    """Random conversations.

    Args:
        images: as bytes; or what a frozen tower made of them, as floats.
        scene: which picture each conversation is about.
        conversations: their tokens.
        text: batches of text alone that go with each (`text_batches`), or None.
    """
    pad = tokenizer.specials[PAD]
    table, lengths = conversations.ids.to(images.device), conversations.lengths
    scene = scene.to(images.device)
    marks = tokenizer.specials[ASSISTANT], tokenizer.specials[END]

    def batch(step: int, generator: torch.Generator) -> Conversations:
        row = torch.randint(len(lengths), (batch_size,), generator=generator)
        longest = int(lengths[row].max())
        row = row.to(images.device)
        ids = table[row, :longest].long()
        labels = answer_labels(ids, *marks).masked_fill(ids == pad, IGNORED)
        pictures = images[scene[row]].float()
        beside = None if text is None else text(step, generator)[0]
        return Conversations(pictures / 255 if images.dtype == torch.uint8 else pictures, ids, labels, beside)

    return batch


def llava_loss(model: LLaVA, batch: Conversations) -> Tensor:
    """The answers are to be guessed, and of the text beside them every token."""
    logits, labels = model(batch.ids, batch.images, batch.labels)
    loss = next_token_loss(logits, labels)
    if batch.text is not None and model.lm.token_embed.weight.requires_grad:  # phase 2
        loss = loss + next_token_loss(model.lm(batch.text), batch.text)
    return loss


# ---- Flamingo: episodes ----


class Episodes(NamedTuple):
    """Interleaved texts: an image, what it is called, the next image ..."""

    images: Float[Tensor, "batch images 3 size size"]
    ids: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"]


class EpisodeMaker:
    """Texts that alternate with pictures of single things.

    In half of the episodes the things have their own names; in the others each of two to five things has a
    made-up word for a name, drawn anew for each episode: who reads on can only know it from the examples.

    Args:
        images: pictures of one thing each, as bytes; or what a frozen tower made of them, as floats.
        kind: which thing, an index into `names`.
        nicknames: made-up words to draw from.
        most: pictures in an episode, at most.
    """

    PREFIX = "This is"

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 size size"],
        kind: Int[Tensor, " n"],
        names: Sequence[str],
        nicknames: Sequence[str],
        tokenizer: Tokenizer,
        *,
        most: int = 9,
    ):
        encode = WordCache(tokenizer).encode
        self.images = images
        rows = [torch.nonzero(kind == i).flatten().tolist() for i in range(len(names))]
        # Of each thing that there are pictures of.
        self.pictures = [of_it for of_it in rows if of_it]
        self.names = [encode(f" {a(name)}") for name, of_it in zip(names, rows, strict=True) if of_it]
        self.nicknames = [encode(f" {word}") for word in nicknames]
        self.prefix = encode(self.PREFIX)
        self.image_id, self.eoc_id = tokenizer.specials[IMAGE], tokenizer.specials[EOC]
        self.pad_id = tokenizer.specials[PAD]
        self.most = most

    def batches(self, batch_size: int) -> Batches:
        """For `fit`."""

        def batch(step: int, generator: torch.Generator) -> Episodes:
            rng = random.Random(int(torch.randint(2**31, (), generator=generator)))
            n = rng.randint(2, self.most)  # pictures in each episode of this batch
            pictures, rows, labels = [], [], []
            for _ in range(batch_size):
                some = rng.sample(range(len(self.pictures)), rng.randint(2, 5))
                words, known = [self.names[i] for i in some], True
                if rng.random() < 0.5:
                    words, known = rng.sample(self.nicknames, len(some)), False
                shown = [rng.randrange(len(some)) for _ in range(n)]
                pictures.append([rng.choice(self.pictures[some[i]]) for i in shown])
                ids, label = self.write([words[i] for i in shown], known=known)
                rows.append(ids)
                labels.append(label)
            device = self.images.device
            images = self.images[torch.tensor(pictures, device=device)].float()
            if self.images.dtype == torch.uint8:
                images = images / 255
            ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_id)
            targets = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
            return Episodes(images, ids, targets)

        return batch

    def write(self, words: Sequence[Sequence[int]], *, known: bool) -> tuple[Tensor, Tensor]:
        """An episode's tokens, and the labels: names, and the end of each chunk.

        Args:
            known: whether the names can be known beforehand.  Else each counts from its second time on:
                nobody could guess the first.
        """
        ids: list[int] = []
        labels: list[int] = []
        told = set(map(tuple, words)) if known else set()
        for word in words:
            before, name = [self.image_id, *self.prefix], [*word, self.eoc_id]
            ids += [*before, *name]
            labels += [IGNORED] * len(before) + (name if tuple(word) in told else [IGNORED] * len(name))
            told.add(tuple(word))
        return torch.tensor(ids), torch.tensor(labels)


def flamingo_loss(model: Flamingo, batch: Episodes) -> Tensor:
    """The names are to be guessed."""
    return next_token_loss(model(batch.ids, batch.images), batch.labels)


def in_bfloat16(loss: Callable[[nn.Module, NamedTuple], Tensor]) -> Callable[[nn.Module, NamedTuple], Tensor]:
    """The same loss, half as precise and twice as fast on a GPU; on a CPU it changes nothing."""

    def faster(model: nn.Module, batch: NamedTuple) -> Tensor:
        device = next(model.parameters()).device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            return loss(model, batch)

    return faster
