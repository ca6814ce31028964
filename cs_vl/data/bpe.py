"""Byte-level byte-pair encoding: from text to token ids and back, without an unknown token.

GPT-2's tokenizer (Radford et al. 2019, sec. 2.2), after Sennrich et al. 2016 (algorithm 1): start from the
256 bytes, and again and again make one token of the pair of tokens that occurs most often.

Conventions:
- A text is split into words by `WORDS`; each word becomes its UTF-8 bytes; no merge crosses a word.
- Ids 0 ... 255 are the bytes, id 256 + i is what merge i makes, special tokens (see `Tokenizer`) come last.
- A merge is the pair of the ids that it joins.  Merge i joins ids below 256 + i only; i is its *rank*.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import regex
import torch
from jaxtyping import Int64
from torch import Tensor

from cs_vl.exercise import exercise

# English clitics, letters, digits, other signs (each with the space before it), white space.  Of several
# blanks the last one stays with the word after it.  Every character falls into exactly one word.
WORDS = regex.compile(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

END, PAD, MASK = "<|endoftext|>", "<pad>", "<mask>"


def merge_pair(ids: Iterable[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """`ids` with every occurrence of `pair` replaced by `new_id`, from left to right without overlap.

    >>> merge_pair([7, 7, 7, 8], (7, 7), 256)
    [256, 7, 8]
    """
    merged: list[int] = []
    for i in ids:
        if merged and (merged[-1], i) == pair:
            merged[-1] = new_id
        else:
            merged.append(i)
    return merged


@exercise
def bpe_train(text: str, merges: int) -> list[tuple[int, int]]:
    """Learn up to `merges` merges from `text`, in the order in which they are to be applied.

    In each round the pair of neighbouring ids that occurs most often becomes a token, everywhere in the text:

    - Pairs are counted inside the words of `WORDS.findall(text)`, once for every time that a word occurs.
      Every two neighbours count, also where they overlap: "aaa" holds the pair (97, 97) twice.
    - Of pairs that occur equally often the smallest tuple wins: (97, 300) before (98, 97).
    - It is replaced by the next free id, 256, 257, ..., in the way of `merge_pair`.
    - When no pair occurs at least twice, training stops early.

    Returns:
        The merges, each a pair of ids.
    """
    ### BEGIN SOLUTION
    counts = Counter(WORDS.findall(text))
    spelling = {word: list(word.encode()) for word in counts}  # of which ids each word consists by now
    learned: list[tuple[int, int]] = []
    for new_id in range(256, 256 + merges):
        pairs: Counter[tuple[int, int]] = Counter()
        for word, ids in spelling.items():
            for pair in pairwise(ids):
                pairs[pair] += counts[word]
        frequent = sorted(pair for pair, count in pairs.items() if count >= 2)
        if not frequent:
            return learned
        best = max(frequent, key=lambda pair: pairs[pair])  # the first, so the smallest, of equals
        learned.append(best)
        spelling = {word: merge_pair(ids, best, new_id) for word, ids in spelling.items()}
    return learned
    ### END SOLUTION


@exercise
def bpe_encode(text: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of `text`: those of its words (`WORDS.findall(text)`), one after the other.

    A word starts as its UTF-8 bytes.  As long as it holds pairs that are among `merges`, the one of the
    lowest rank is replaced by its id (wherever it occurs, in the way of `merge_pair`): merges happen in the
    order in which they were learned, whatever longer token might have matched.

    Args:
        text: any string, the empty one too (lone surrogates excepted: UTF-8 has no bytes for them).
        merges: what `bpe_train` returned; merge i makes id 256 + i.
    """
    ### BEGIN SOLUTION
    new_ids = {pair: new_id for new_id, pair in enumerate(merges, start=256)}  # by rank
    encoded: list[int] = []
    for word in WORDS.findall(text):
        ids = list(word.encode())
        while known := [pair for pair in pairwise(ids) if pair in new_ids]:
            first = min(known, key=lambda pair: new_ids[pair])
            ids = merge_pair(ids, first, new_ids[first])
        encoded += ids
    return encoded
    ### END SOLUTION


@exercise
def bpe_decode(ids: Sequence[int], merges: list[tuple[int, int]]) -> str:
    """The text of any sequence of ids.

    One id may hold a part of a character only, and ids that a model made up need not be UTF-8 at all: bytes
    that do not form a character become U+FFFD, as in `bytes.decode(errors="replace")`.

    Args:
        ids: between 0 and 255 + len(merges).
        merges: what `bpe_train` returned; merge i makes id 256 + i.

    Raises:
        ValueError: for an id that is negative or too large.
    """
    ### BEGIN SOLUTION
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    largest = len(tokens) - 1
    for i in ids:
        if not 0 <= i <= largest:
            raise ValueError(f"ids should lie between 0 and {largest}; got {i}")
    # Join first: the bytes of one character may come from several tokens.
    return b"".join(tokens[i] for i in ids).decode(errors="replace")
    ### END SOLUTION


class Tokenizer:
    """Merges and special tokens, with what a model needs around them.

    A special token such as `<mask>` has one id, after those of the merges, and is never split.

    Args:
        merges: what `bpe_train` returned.
        specials: the special tokens, in the order of their ids.

    Attributes:
        specials: the special tokens' ids, by their text: `tokenizer.specials["<mask>"]`.
        vocab_size: bytes, merges and special tokens together: ids lie in 0 ... vocab_size - 1.
    """

    def __init__(self, merges: Iterable[tuple[int, int]], specials: Sequence[str] = (END, PAD, MASK)):
        self.merges = [(left, right) for left, right in merges]
        for new_id, pair in enumerate(self.merges, start=256):
            if not all(isinstance(i, int) and 0 <= i < new_id for i in pair):
                raise ValueError(
                    f"merge {new_id - 256} should join two ids between 0 and {new_id - 1}; got {pair}"
                )
        if isinstance(specials, str) or not all(isinstance(special, str) and special for special in specials):
            raise TypeError(f"specials should be a sequence of non-empty strings; got {specials!r}")
        if len(set(specials)) < len(specials):
            raise ValueError(f"specials should differ from one another; got {list(specials)}")
        self.specials = {special: 256 + len(self.merges) + i for i, special in enumerate(specials)}
        self.vocab_size = 256 + len(self.merges) + len(self.specials)

    @classmethod
    def train(cls, text: str, vocab_size: int, specials: Sequence[str] = (END, PAD, MASK)) -> "Tokenizer":
        """Learn from `text` a vocabulary of `vocab_size` ids, or fewer where no pair occurs twice any more.

        A special token in `text` (`<|endoftext|>` between documents, say) counts as a line break.
        """
        merges = vocab_size - 256 - len(specials)
        if merges < 0:
            raise ValueError(
                f"vocab_size should be at least {256 + len(specials)}: 256 bytes and "
                f"{len(specials)} special tokens; got {vocab_size}"
            )
        for special in specials:
            text = text.replace(special, "\n")
        return cls(bpe_train(text, merges), specials)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; a special token that stands in it becomes its one id."""
        if not self.specials:
            return bpe_encode(text, self.merges)
        # The longest first, where one special token is the beginning of another.
        longest_first = sorted(self.specials, key=len, reverse=True)
        pieces = regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text)
        ids: list[int] = []
        for piece in pieces:
            ids += [self.specials[piece]] if piece in self.specials else bpe_encode(piece, self.merges)
        return ids

    def decode(self, ids: Sequence[int] | Int64[Tensor, " tokens"], skip_specials: bool = False) -> str:
        """The text of `ids`, with the special tokens written out, or left out where `skip_specials`."""
        if isinstance(ids, Tensor):
            if ids.ndim != 1:
                raise ValueError(f"decode takes one row of ids at a time; got shape {tuple(ids.shape)}")
            ids = ids.tolist()
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"ids should lie between 0 and {self.vocab_size - 1}; got {i}")
        texts = {i: special for special, i in self.specials.items()}
        decoded = ""
        for is_special, run in groupby(ids, key=texts.__contains__):
            if not is_special:
                decoded += bpe_decode(list(run), self.merges)
            elif not skip_specials:
                decoded += "".join(texts[i] for i in run)
        return decoded

    def batch(
        self, texts: Sequence[str], length: int | None = None, *, end: bool = True
    ) -> tuple[Int64[Tensor, "batch tokens"], Int64[Tensor, " batch"]]:
        """Encode several texts into one tensor, filled up at the right with `<pad>`.

        Args:
            length: number of columns (default: as many as the longest text needs).  A longer text is cut.
            end: whether `<|endoftext|>` follows each text, a cut one too, as its last token.

        Returns:
            (ids, lengths): ids (batch, length), and how many of each row are not padding, the end included.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts should be a list of strings; got one string: write batch([{texts!r}])")
        for special in [PAD, END] if end else [PAD]:
            if special not in self.specials:
                raise ValueError(
                    f"batch needs the special token {special}; this tokenizer has {list(self.specials)}"
                )
        if length is not None and length < 1:
            raise ValueError(f"length should be at least 1; got {length}")
        tail = [self.specials[END]] if end else []
        rows = [self.encode(text) for text in texts]
        if length is None:
            length = max((len(row) for row in rows), default=0) + len(tail)
        rows = [row[: length - len(tail)] + tail for row in rows]
        ids = torch.full((len(rows), length), self.specials[PAD], dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return ids, torch.tensor([len(row) for row in rows], dtype=torch.int64)

    def save(self, path: str | Path) -> None:
        """Write merges and special tokens as JSON."""
        Path(path).write_text(json.dumps({"merges": self.merges, "specials": list(self.specials)}), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no tokenizer at {path}: check the path, or train one and save it there")
        try:
            saved = json.loads(Path(path).read_text("utf-8"))
            return cls(saved["merges"], saved["specials"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path} is not a whole tokenizer file ({type(error).__name__}: {error}): save it again"
            ) from error
