"""Checks of byte-pair encoding: training, encoding, decoding."""

from typing import Any

from cs_vl.checks.spec import Exercise, Stage

TWO_BYTES = "àáâãäåæçèéêëìíîïñòóôõöøùúûüý"  # all begin with byte 195
FOUR_BYTES = "😀😁😂😃😄😅😆😇😈😉"  # all begin with bytes 240, 159, 152


def letters(rng, count, ordered=False):
    """Different small letters: a case's pattern stays, its ids change."""
    chosen = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), count, replace=False)
    return [str(x) for x in (sorted(chosen) if ordered else chosen)]


def shuffled(rng, items):
    return [items[i] for i in rng.permutation(len(items))]


# ---- training.  Only the stage on ties has ties.


def train_one_word_case(rng):
    pattern = ("eabcdabcabcdeabcdabeabcdab", "abcdeabcabeabcdeabcabcdeabc", "eabcdabeabceabcdeabeabcdabea")
    word = str(rng.choice(pattern)).translate(str.maketrans(dict(zip("abcde", letters(rng, 5), strict=True))))
    return {"text": word, "merges": 4}


def train_words_case(rng):
    a, b, c, d, e = letters(rng, 5)
    wide = str(rng.choice(list(TWO_BYTES)))
    groups = [
        f" {a}{b}" * 9,
        f"\n{a}{b}" * 3,
        f"  {a}{b}",
        f"\n{wide}" * 4,
        f"\n{a.upper()}{b}" * 5,
        f"\n{c}{wide}" * 3,
        f"\u00a0{d}{e} 12!",
    ]
    return {"text": "".join(shuffled(rng, groups)), "merges": 5}


def train_overlap_case(rng):
    a, b, c, d = letters(rng, 4)
    return {"text": "\n".join(shuffled(rng, [d * 11] + [a * 3] * 3 + [b + c] * 5)), "merges": 5}


def train_ties_case(rng):
    """The first pair seen is neither the smallest nor the largest."""
    a, b, c, d, e, f, g, h = letters(rng, 8, ordered=True)
    return {"text": "\n".join([e + f, g + h, a + d, a + b + c] * 2), "merges": 5}


def train_stop_case(rng):
    a, b, c, d, e, f, g, h, i = letters(rng, 9)
    words = [a + b] * 3 + [a + b + c] * 2 + [d + e, f + g, d + c + g]
    return {"text": "\n".join(shuffled(rng, words)), "one word": f"{h}{i}\n{h}{i}", "merges": 256}


def train_value(fn, inputs):
    return {"merges": fn(inputs["text"], inputs["merges"])}


def train_stop(fn, inputs):
    return {
        "merges": fn(inputs["text"], inputs["merges"]),
        "merges of one word": fn(inputs["one word"], inputs["merges"]),
        "merges of no text": fn("", inputs["merges"]),
    }


BPE_TRAIN = Exercise(
    name="bpe_train",
    module="cs_vl.data.bpe",
    stages=(
        Stage(name="one word", points=2, case=train_one_word_case, probe=train_value),
        Stage(
            name="many words",
            points=1,
            case=train_words_case,
            probe=train_value,
            hint="The text has words that occur several times, blanks, and letters of more than one byte.",
        ),
        Stage(
            name="pairs that overlap",
            points=1,
            case=train_overlap_case,
            probe=train_value,
            hint="Count and replace by hand in “aaaaa”.",
        ),
        Stage(
            name="ties",
            points=1,
            case=train_ties_case,
            probe=train_value,
            hint="Several pairs occur equally often: which comes first?",
        ),
        Stage(
            name="when to stop",
            points=1,
            case=train_stop_case,
            probe=train_stop,
            hint="More merges were asked for than the text has pairs that occur twice.",
        ),
    ),
)


# ---- encoding


def pair_of(text):
    """The pair of two characters of one byte each."""
    left, right = text.encode()
    return left, right


def encode_one_word_case(rng):
    a, b, c, d, e, f = letters(rng, 6)
    merges = [pair_of(a + b), (256, ord(c)), pair_of(d + d), (257, 256), (258, 258)]
    parts = [a + b, a + b + c, a + b + c + a + b, d * 3, d * 4, b + a]
    return {
        "text": "".join(part + str(rng.choice([e, f])) for part in shuffled(rng, parts)),
        "merges": merges,
    }


def encode_ranks_case(rng):
    """Words in which rank order, longest match, left to right, and late merges first all differ."""
    a, b, c, d, e, f, g, h, i, j = letters(rng, 10, ordered=True)
    merges = [
        pair_of(b + c),  # 256
        pair_of(a + b),
        (257, ord(c)),  # abc, out of reach: bc comes first
        pair_of(d + e),
        pair_of(e + f),
        pair_of(h + i),  # 261
        (ord(g), 261),
        pair_of(g + h),
        (ord(i), ord(j)),
    ]
    words = [a + b + c, d + e + f, g + h + i + j, e + f + d + e + f + e + f]
    return {"text": "\n".join(shuffled(rng, words)), "merges": merges}


def encode_words_case(rng):
    a, b = letters(rng, 2)
    merges = [
        pair_of(a + b),
        pair_of(" " + a),
        (32, 256),  # " ab"
        (256, 32),  # from here on only across words
        (256, ord("7")),
        (256, ord("!")),
        pair_of("  "),
        (256, 10),
    ]
    before = ["", " ", "   ", "\n", "\u00a0"]
    parts = [*(f"{blank}{a}{b}" for blank in before), f"{a}{b}7", f"{a}{b}!", f" {a.upper()}{b}"]
    return {"text": "".join(shuffled(rng, parts)) + f"{a}{b}  {a}{b} ", "merges": merges}


def encode_bytes_case(rng):
    (a,) = letters(rng, 1)
    wide, plain = str(rng.choice(list(TWO_BYTES))), str(rng.choice(list("žłő")))
    smile, other = (str(x) for x in rng.choice(list(FOUR_BYTES), 2, replace=False))
    first, second = wide.encode()
    merges = [(240, 159), (256, 152), (257, smile.encode()[-1]), (ord(a), first), (first, second)]
    parts = [a + wide, wide, plain, smile, other, " 語", "e\u0301", "&amp;"]  # nothing is to be tidied up
    return {"text": "".join(shuffled(rng, parts)), "merges": merges}


def encode_value(fn, inputs):
    return {"ids": fn(inputs["text"], inputs["merges"])}


def encode_and_nothing(fn, inputs):
    return {"ids": fn(inputs["text"], inputs["merges"]), "ids of no text": fn("", inputs["merges"])}


AFTER_ONE_WORD: dict[str, Any] = {"needs": ("one word",)}

BPE_ENCODE = Exercise(
    name="bpe_encode",
    module="cs_vl.data.bpe",
    stages=(
        Stage(name="one word", points=2, case=encode_one_word_case, probe=encode_value),
        Stage(
            name="the order of merges",
            points=1,
            case=encode_ranks_case,
            probe=encode_value,
            hint="A merge that was learned earlier goes first, wherever it stands in the word.",
            **AFTER_ONE_WORD,
        ),
        Stage(
            name="many words",
            points=1,
            case=encode_words_case,
            probe=encode_and_nothing,
            hint="No merge crosses a word, and no blank is lost.",
            **AFTER_ONE_WORD,
        ),
        Stage(
            name="letters of several bytes",
            points=1,
            case=encode_bytes_case,
            probe=encode_value,
            hint="A word starts as its UTF-8 bytes.",
            **AFTER_ONE_WORD,
        ),
    ),
)


# ---- decoding


def decode_text_case(rng):
    """Merges of merges, in ASCII, with blanks at both ends."""
    a, b, c, d = (ord(x) for x in letters(rng, 4))
    merges = [(a, b), (256, c), (32, 257), (256, 258), (d, 259), (260, 10)]
    ids = [32, *shuffled(rng, [0, a, d, 127, 256, 257, 258, 259, 260, 261]), 10]
    return {"ids": ids, "merges": merges}


def decode_bytes_case(rng):
    """Characters whose bytes come from several tokens; then bytes that are no characters."""
    wide, smile = str(rng.choice(list(TWO_BYTES))).encode(), str(rng.choice(list(FOUR_BYTES))).encode()
    (a,) = (ord(x) for x in letters(rng, 1))
    merges = [(a, wide[0]), (wide[1], smile[0]), (smile[1], smile[2]), (258, smile[3]), (smile[0], smile[1])]
    whole = [256, 257, 259, a, *wide, smile[0], 258, smile[3], *"語".encode()]
    broken = shuffled(rng, [255, wide[1], 256, 260])
    return {"ids": whole, "broken ids": [*broken, a, *smile[:3]], "merges": merges}


def decode_invalid_case(rng):
    a, b = (ord(x) for x in letters(rng, 2))
    merges = [(a, b), (b, 256), (257, a)]
    count = 256 + len(merges)
    far = int(rng.integers(2, 100))
    return {
        "ids": [a, count - 1, 0],
        "an id too large by 1": [a, count, b],
        "an id much too large": [a, b, count + far],
        "the id -1": [a, -1],
        "a negative id": [-far, a],
        "merges": merges,
    }


def decode_value(fn, inputs):
    return {"text": fn(inputs["ids"], inputs["merges"])}


def decode_bytes(fn, inputs):
    """A decoder that does not replace what is no character says so by an exception."""
    results = {}
    for name in ("ids", "broken ids"):
        try:
            results[f"text of {name}"] = fn(inputs[name], inputs["merges"])
        except UnicodeDecodeError:
            results[f"text of {name}"] = "(UnicodeDecodeError)"
    return results


def decode_invalid(fn, inputs):
    results = {
        "text of valid ids": fn(inputs["ids"], inputs["merges"]),
        "text of no ids": fn([], inputs["merges"]),
    }
    for name, ids in inputs.items():
        if name not in ("ids", "merges"):
            try:
                results[name] = ["returned", fn(ids, inputs["merges"])]
            except UnicodeError:
                results[name] = ["raised", "UnicodeError"]
            except ValueError:
                results[name] = ["raised", "ValueError"]
            except (LookupError, TypeError, OverflowError, AssertionError) as error:
                results[name] = ["raised", type(error).__name__]
    return results


BPE_DECODE = Exercise(
    name="bpe_decode",
    module="cs_vl.data.bpe",
    stages=(
        Stage(name="merges of merges", points=1, case=decode_text_case, probe=decode_value),
        Stage(
            name="characters cut in pieces",
            points=1,
            case=decode_bytes_case,
            probe=decode_bytes,
            hint="A character's bytes may come from several tokens, and some bytes are no character at all.",
        ),
        Stage(
            name="invalid ids",
            kind="property",
            points=1,
            case=decode_invalid_case,
            probe=decode_invalid,
            hint="A negative or too large id should raise ValueError.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (BPE_TRAIN, BPE_ENCODE, BPE_DECODE)
