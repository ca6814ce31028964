"""Captions for emoji: many ways to say what a picture shows, as people on the web would.

If every caption were a bare name, a model could not learn what a prompt such as "a flat sticker of a fox"
adds, and prompts would not matter.  So the captions of a concept take four forms, equally often:

- "name": its bare name, "red apple";
- "plain": its name in a sentence that fits any picture, `TEMPLATES`, "a drawing of a red apple";
- "style": its name in words for the picture's style, `STYLE_TEMPLATES`, "a flat sticker of a red apple";
- "keywords": with some of its keywords, or those alone, "a red apple, tagged fruit and health".
"""

import re
from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Int, Int64
from torch import Tensor

from cs_vl.data.bpe import END, PAD, WORDS, Tokenizer
from cs_vl.data.emoji import STYLES, Emoji
from cs_vl.data.files import data_file

# The noun with its article goes in (`Emoji.phrases`).
TEMPLATES = (
    "{}",
    "a picture of {}",
    "a drawing of {}",
    "an emoji of {}",
    "a small icon of {}",
    "this is {}",
    "{} on a plain background",
    "an illustration that shows {}",
)

STYLE_TEMPLATES: dict[str, tuple[str, str, str]] = {
    "twemoji": ("a flat sticker of {}", "{} as a simple flat sticker", "a flat picture of {} in few colours"),
    "noto": ("a soft cartoon of {}", "{} as a softly shaded cartoon", "a rounded cartoon drawing of {}"),
    "fluent": ("a modern vector icon of {}", "{} as bright vector art", "a bright modern picture of {}"),
    "fluent_3d": ("a glossy 3D render of {}", "{} as a 3D model", "a shiny plastic toy of {}"),
    "noto_v1": ("an old cartoon of {}", "{} as an early cartoon", "an old soft drawing of {}"),
    "fxemoji": ("a friendly flat cartoon of {}", "{} as a flat cartoon", "a plain cartoon icon of {}"),
    "openmoji": ("a drawing of {} with thick outlines", "{} outlined and coloured in", "a comic of {}"),
    "openmoji_line": ("a line drawing of {}", "{} in black outlines", "a sketch of {} in thin black lines"),
    "fluent_contrast": ("a black and white icon of {}", "{} as a black silhouette", "a stencil of {}"),
}

# {0} is the noun with its article, the others are keywords.
KEYWORD_TEMPLATES = (
    "{0}: {1}, {2}",
    "{0}, {1}",
    "{1}, {2}, {0}",
    "{0}, tagged {1} and {2}",
    "{1}: {0}",
    "{1}, {2}, {3}",
)
SHORT_KEYWORD_TEMPLATES = ("{0}", "{0}, {1}", "{0}: {1}, {2}")  # where there are 0, 1, 2 keywords only

FORMS = ("name", "plain", "style", "keywords")
# Where the variants of each form begin in `caption_variants`, and how many they are.
_COUNTS = {"name": 1, "plain": len(TEMPLATES), "keywords": len(KEYWORD_TEMPLATES), "style": 3}
_STARTS = {
    "name": 0,
    "plain": 1,
    "keywords": 1 + len(TEMPLATES),
    "style": 1 + len(TEMPLATES) + len(KEYWORD_TEMPLATES),
}

CONTEXT_LENGTH = 24  # tokens, the end included: no caption needs more


def caption_variants(emoji: Emoji, concept: int) -> list[str]:
    """All captions of a concept: its name, `TEMPLATES`, with keywords, then three for each of `STYLES`."""
    phrase = emoji.phrases[concept]
    plain = [template.format(phrase) for template in TEMPLATES]
    styled = [template.format(phrase) for style in STYLES for template in STYLE_TEMPLATES[style]]
    return [emoji.names[concept], *plain, *_with_keywords(phrase, emoji.keywords[concept]), *styled]


def _with_keywords(phrase: str, keywords: Sequence[str]) -> list[str]:
    words = [keyword for keyword in keywords if re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", keyword)]
    captions = []
    for i, template in enumerate(KEYWORD_TEMPLATES):
        # Each caption begins elsewhere in the list of keywords.
        shift = i * len(words) // len(KEYWORD_TEMPLATES)
        if len(words) < 3:
            template = SHORT_KEYWORD_TEMPLATES[len(words)]
        captions.append(template.format(phrase, *words[shift:], *words[:shift]))
    return captions


def draw_variants(
    style: Int[Tensor, " n"], generator: torch.Generator, forms: Sequence[str] = FORMS
) -> Int64[Tensor, " n"]:
    """Which of `caption_variants` to use for pictures in these styles: a form at random, then one of it.

    Args:
        style: indices into `STYLES`.
        forms: to choose from.
    """
    unknown = [form for form in forms if form not in FORMS]
    if unknown or not forms or isinstance(forms, str):
        raise ValueError(f"forms should be some of {', '.join(FORMS)}; got {forms!r}")
    form = torch.randint(len(forms), style.shape, generator=generator)
    start = torch.tensor([_STARTS[name] for name in forms])[form]
    count = torch.tensor([_COUNTS[name] for name in forms])[form]
    styled = torch.tensor([name == "style" for name in forms])[form]
    place = (torch.rand(style.shape, generator=generator) * count).long()
    return start + place + torch.where(styled, style.cpu() * _COUNTS["style"], 0)


def make_emoji_captions(
    emoji: Emoji,
    concept: Int[Tensor, " n"],
    style: Int[Tensor, " n"],
    generator: torch.Generator,
    forms: Sequence[str] = FORMS,
) -> list[str]:
    """A random caption for each picture.

    Args:
        concept, style: as in `EmojiSet`.
        generator: on the CPU.
        forms: see this module's first lines.
    """
    variants = draw_variants(style, generator, forms).tolist()
    return [caption_variants(emoji, c)[v] for c, v in zip(concept.tolist(), variants, strict=True)]


class CaptionTable:
    """All captions of all concepts as token ids, so that a batch of random ones is one look-up.

    Calling it with (concept, style, generator), as `make_emoji_captions`, draws the same captions and gives
    their ids, as `Tokenizer.batch`: (ids (n, length), lengths (n,)), where length is that of the longest.

    Attributes:
        ids: (concepts, variants, `CONTEXT_LENGTH`), in the order of `caption_variants`.
        lengths: (concepts, variants), the end included.
    """

    def __init__(self, emoji: Emoji, tokenizer: Tokenizer, forms: Sequence[str] = FORMS):
        self.forms = forms
        known: dict[str, list[int]] = {}  # no merge crosses a word, so each word is encoded once only

        def encode(text: str) -> list[int]:
            ids = []
            for word in WORDS.findall(text):
                if word not in known:
                    known[word] = tokenizer.encode(word)
                ids += known[word]
            return [*ids[: CONTEXT_LENGTH - 1], tokenizer.specials[END]]

        rows = [[encode(text) for text in caption_variants(emoji, i)] for i in range(len(emoji))]
        self.lengths = torch.tensor([[len(ids) for ids in row] for row in rows])
        pad = [tokenizer.specials[PAD]] * CONTEXT_LENGTH
        self.ids = torch.tensor([[ids + pad[len(ids) :] for ids in row] for row in rows])

    def __call__(
        self, concept: Int[Tensor, " n"], style: Int[Tensor, " n"], generator: torch.Generator
    ) -> tuple[Int64[Tensor, "n length"], Int64[Tensor, " n"]]:
        variant = draw_variants(style, generator, self.forms)
        lengths = self.lengths[concept.cpu(), variant]
        longest = int(lengths.max()) if len(lengths) else 0
        return self.ids[concept.cpu(), variant, :longest], lengths


@cache
def load_tokenizer() -> Tokenizer:
    """The course's vocabulary: BPE, trained on the captions of emoji and of scenes.

    Raises:
        FileNotFoundError, ValueError: the file is missing, or damaged.
    """
    return Tokenizer.load(data_file("emoji/tokenizer.json"))
