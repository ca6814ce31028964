"""Byte-level BPE against an example by hand, and against Hugging Face's `tokenizers`; then `Tokenizer`."""

import json
import random
import re
import time
from collections import Counter

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.data.bpe import END, MASK, PAD, WORDS, Tokenizer, bpe_decode, bpe_encode, bpe_train, merge_pair

few = settings(max_examples=40, deadline=None)

# Letters of several scripts, digits, signs, blanks, NUL, a combining accent, emoji with and without joiners.
TRICKY = [
    *"aabbcst'' \t\n\0\x7f\x85\xa0",
    *"éßжλ中文أक़",
    "½",
    "٣",
    "e\u0301",
    "🙂",
    "👩\u200d🚀",
    "🇨🇭",
    "'s",
    "'ll",
    "  ",
]
tricky = st.lists(st.sampled_from(TRICKY), max_size=40).map("".join)
# No surrogates (UTF-8 has none), no unassigned characters (Unicode versions differ in what they are).
any_text = tricky | st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40)

CORPUS = (
    "the cat sat on the mat, and it's the cat's mat. They'll see 12 cats in 2012! "
    "Une fenêtre près de l'été; кошка сидит на коврике; 猫在垫子上, 猫. 🙂🙂 🙂 👩\u200d🚀👩\u200d🚀\n\n"
    "\tif x == 1:\n\t\treturn  x\n"
) * 3
MERGES = bpe_train(CORPUS, 200)


# ---- training


def test_merge_pair_goes_from_left_to_right_without_overlap():
    assert merge_pair([7, 7, 7, 8], (7, 7), 256) == [256, 7, 8]
    assert merge_pair([1, 2, 2, 1, 2], (1, 2), 300) == [300, 2, 300]
    assert merge_pair([], (1, 2), 300) == []


def test_training_by_hand():
    """Sennrich et al.'s words, low x5, lower x2, newest x6, widest x3, with the counts on paper."""
    text = " ".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    l, o, w, e, s, t, n, space = b"lowestn "
    assert bpe_train(text, 9) == [
        (e, s),  # 9: newest 6, widest 3; so often occurs (s, t); (101, 115) < (115, 116)
        (256, t),  # 257 = est, 9
        (l, o),  # 7: low 5, lower 2; so often occurs (o, w); (108, 111) < (111, 119)
        (258, w),  # 259 = low, 7
        (space, n),  # 6; so often occur (space, low), (n, e), (e, w), (w, est); the space has the smallest id
        (space, 259),  # 6: every low and lower but the text's first word; (32, 259) < (101, 119)
        (e, w),  # 6; (101, 119) < (119, 257) < (260, 101)
        (260, 262),  # 263 = " new", 6; (260, 262) < (262, 257)
        (263, 257),  # 264 = " newest", 6
    ]


def test_ties_and_overlaps():
    a, b, c, d = b"abcd"
    assert bpe_train("cd\nab\ncd\nab", 1) == [(a, b)]
    assert bpe_train("cdabcdab", 1) == [(a, b)]
    assert bpe_train("ba\nab\nba\nab", 1) == [(a, b)]
    assert bpe_train("aaa", 5) == [(a, a)]  # two overlapping pairs; then (256, a) occurs once
    assert bpe_train("aaabcbc", 1) == [(a, a)]  # 2 against 2: neighbours count where they overlap, too
    # A new id is larger than every byte: (c, d) wins over (256, c) though both occur twice.
    assert bpe_train("abcd\nabcd\nab", 2) == [(a, b), (c, d)]


def test_training_stops_early():
    assert bpe_train("", 10) == []
    assert bpe_train("abc", 10) == []
    assert bpe_train("abc abc", 0) == []
    assert bpe_train("x y z", 10) == []
    assert bpe_train("no no", 10) == [(ord("n"), ord("o"))]


def test_no_merge_crosses_a_word():
    text = "a b a b a b 1a 1a 1a a's a's a's"
    words = set(WORDS.findall(text))
    merges = bpe_train(text, 100)
    assert merges
    for i in range(len(merges)):
        token = bpe_decode([256 + i], merges)
        assert any(token in word for word in words), token


def test_a_prefix_of_the_merges_is_the_shorter_training():
    assert bpe_train(CORPUS, 60) == MERGES[:60]


def hf_merges(text: str, merges: int) -> list[tuple[int, int]]:
    """`tokenizers`' training on our words: a byte b becomes the character 256 + b, to keep their order."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + merges,
        min_frequency=2,
        initial_alphabet=[chr(256 + b) for b in range(256)],
        show_progress=False,
    )
    model.train_from_iterator(
        ["".join(chr(256 + b) for b in w.encode()) for w in WORDS.findall(text)], trainer
    )
    vocab = model.get_vocab()
    return [(vocab[left], vocab[right]) for left, right in json.loads(model.to_str())["model"]["merges"]]


@few
@given(any_text | st.text("ab ", min_size=20, max_size=100), st.integers(0, 30))
def test_training_equals_tokenizers(text, merges):
    text = 2 * text
    assert bpe_train(text, merges) == hf_merges(text, merges)


def test_training_equals_tokenizers_on_a_longer_text():
    assert len(MERGES) > 60
    assert hf_merges(CORPUS, 200) == MERGES


def test_training_is_fast_enough():
    rng = random.Random(0)
    lexicon = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(3000)]
    text = " ".join(rng.choices(lexicon, weights=[1 / (i + 1) for i in range(3000)], k=17_000))
    assert len(text) > 90_000
    start = time.process_time()
    merges = bpe_train(text, 300)
    assert time.process_time() - start < 15  # about 2 s on an idle core
    assert len(merges) == 300


# ---- encoding and decoding


def hf_tokenizer(merges: list[tuple[int, int]]) -> tokenizers.Tokenizer:
    """`tokenizers` with our merges, in GPT-2's alphabet: bytes that do not print become 256, 257, ..."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [b for b in range(256) if b not in printable]
    tokens = [chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256)]
    named = []
    for left, right in merges:
        named.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    assert len(set(tokens)) == len(tokens)
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=named))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


HF = hf_tokenizer(MERGES)


@few
@given(any_text)
def test_words_partition_the_text(text):
    assert "".join(WORDS.findall(text)) == text


def test_words_are_gpt2s():
    text = "It's 12   cats,\n\n they'll"
    assert WORDS.findall(text) == ["It", "'s", " 12", "  ", " cats", ",", "\n\n", " they", "'ll"]
    for clitic in ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]:
        assert WORDS.findall(f"a{clitic}a") == ["a", clitic, "a"]
    assert WORDS.findall("'x 'S") == ["'", "x", " '", "S"]


@few
@given(any_text)
def test_round_trip(text):
    assert bpe_decode(bpe_encode(text, MERGES), MERGES) == text
    assert bpe_encode(text, []) == list(text.encode())
    assert bpe_decode(list(text.encode()), []) == text


@few
@given(any_text | st.lists(st.sampled_from(WORDS.findall(CORPUS)), max_size=20).map("".join))
def test_encoding_equals_tokenizers(text):
    assert bpe_encode(text, MERGES) == HF.encode(text).ids


def test_encoding_of_the_corpus_equals_tokenizers():
    ids = bpe_encode(CORPUS, MERGES)
    assert ids == HF.encode(CORPUS).ids
    assert len(ids) < len(CORPUS.encode()) / 3


def test_the_lowest_rank_goes_first():
    a, b, c, d = b"abcd"
    assert bpe_encode("abc", [(b, c), (a, b)]) == [a, 256]  # not from left to right: (a, b), c
    assert bpe_encode("abcd", [(a, b), (b, c), (257, d)]) == [256, c, d]  # not the longest token: a, (bc, d)
    assert bpe_encode("abcab", [(a, b), (256, c)]) == [257, 256]  # every occurrence; then pairs of the new id
    assert bpe_encode("aaaaa", [(a, a), (256, 256)]) == [257, a]
    assert bpe_encode("a b", [(a, ord(" ")), (ord(" "), b)]) == [a, 257]  # no merge crosses a word


@few
@given(st.binary(max_size=30))
def test_decoding_any_bytes(data):
    assert bpe_decode(list(data), []) == data.decode(errors="replace")


@few
@given(st.lists(st.integers(0, 255 + len(MERGES)), max_size=30))
def test_decoding_any_ids_equals_tokenizers(ids):
    assert bpe_decode(ids, MERGES) == HF.decode(ids, skip_special_tokens=False)


def test_decoding_a_character_that_is_cut():
    ids = bpe_encode("a🙂", [])
    assert bpe_decode(ids, []) == "a🙂"
    assert bpe_decode(ids[:-1], []) == "a\ufffd"
    assert bpe_decode([], []) == ""


@pytest.mark.parametrize("bad", [-1, 256 + 200, 10**6])
def test_decoding_an_invalid_id(bad):
    merges = [(i, i) for i in range(200)]
    with pytest.raises(ValueError, match=rf"between 0 and 455; got {bad}$"):
        bpe_decode([65, bad, 66], merges)
    assert bpe_decode([455], merges) == bytes([199, 199]).decode(errors="replace")


# ---- Tokenizer

TOKENIZER = Tokenizer(MERGES)


@few
@given(st.lists(any_text | st.sampled_from([END, PAD, MASK, "<", "|>"]), max_size=6).map("".join))
def test_tokenizer_round_trip(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text == TOKENIZER.decode(torch.tensor(ids, dtype=torch.int64))
    counts = Counter(ids)
    for special, i in TOKENIZER.specials.items():
        assert counts[i] == text.count(special)
    plain = re.sub(r"<\|endoftext\|>|<pad>|<mask>", "", text)
    assert TOKENIZER.decode(ids, skip_specials=True) == plain


def test_specials_come_after_the_merges_and_are_never_split():
    n = 256 + len(MERGES)
    assert TOKENIZER.specials == {END: n, PAD: n + 1, MASK: n + 2}
    assert TOKENIZER.vocab_size == n + 3
    assert TOKENIZER.encode(f"the{MASK}cat{END}") == [
        *bpe_encode("the", MERGES), n + 2, *bpe_encode("cat", MERGES), n,
    ]  # fmt: skip
    assert Tokenizer([], specials=["<a>", "<a><b>"]).encode("<a><b><a>") == [257, 256]  # the longer one wins
    assert Tokenizer([], specials=[]).encode("<pad>") == list(b"<pad>")


def test_train():
    tokenizer = Tokenizer.train(CORPUS, vocab_size=300)
    assert tokenizer.merges == MERGES[: 300 - 256 - 3]
    assert tokenizer.vocab_size == 300
    assert max(tokenizer.encode(CORPUS + MASK)) == 299
    assert Tokenizer.train("no no", vocab_size=300, specials=["<x>"]).vocab_size == 256 + 1 + 1
    assert Tokenizer.train("ab<pad>ab<pad>a", vocab_size=300).merges == [(ord("a"), ord("b"))]
    assert Tokenizer.train("a<pad>b a<pad>b", vocab_size=300).merges == []
    with pytest.raises(ValueError, match="at least 259"):
        Tokenizer.train(CORPUS, vocab_size=258)


def test_batch():
    end, pad = TOKENIZER.specials[END], TOKENIZER.specials[PAD]
    the, cat = bpe_encode("the", MERGES), bpe_encode(" cat", MERGES)
    assert len(the) == len(cat) == 1
    ids, lengths = TOKENIZER.batch(["the cat the", "the", ""], length=3)
    assert ids.tolist() == [[*the, *cat, end], [*the, end, pad], [end, pad, pad]]
    assert lengths.tolist() == [3, 2, 1]
    assert ids.dtype == lengths.dtype == torch.int64
    ids, lengths = TOKENIZER.batch(["the", "the cat"])
    assert ids.tolist() == [[*the, end, pad], [*the, *cat, end]]
    ids, lengths = TOKENIZER.batch(["the", "the cat", ""], length=4, end=False)
    assert ids.tolist() == [[*the, pad, pad, pad], [*the, *cat, pad, pad], [pad] * 4]
    assert lengths.tolist() == [1, 2, 0]
    assert TOKENIZER.batch([], length=4)[0].shape == (0, 4)


def test_save_and_load(tmp_path):
    specials = [END, "<größe>"]
    Tokenizer(MERGES, specials).save(tmp_path / "bpe.json")
    loaded = Tokenizer.load(tmp_path / "bpe.json")
    assert loaded.merges == MERGES
    assert list(loaded.specials) == specials
    assert loaded.encode(CORPUS + END) == Tokenizer(MERGES, specials).encode(CORPUS + END)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"5", b"{}", b"\xff\xfe", b'{"merges": [[1, 2]]}',
        b'{"merges": 5, "specials": []}', b'{"merges": [[1]], "specials": []}',
        b'{"merges": [[1, 256]], "specials": []}', b'{"merges": [["a", "b"]], "specials": []}',
        b'{"merges": [[-1, 2]], "specials": []}', b'{"merges": [], "specials": ["<x>", "<x>"]}',
        b'{"merges": [], "specials": [""]}', b'{"merges": [], "specials": "<x>"}',
    ],
)  # fmt: skip
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "bpe.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"bpe\.json is not a whole tokenizer file"):
        Tokenizer.load(tmp_path / "bpe.json")


def test_other_mistakes_get_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer at .*nothing\.json"):
        Tokenizer.load(tmp_path / "nothing.json")
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        Tokenizer.load(tmp_path)
    with pytest.raises(TypeError, match="list of strings"):
        TOKENIZER.batch("a cat")
    with pytest.raises(ValueError, match="needs the special token <pad>"):
        Tokenizer([], specials=[END]).batch(["a"])
    with pytest.raises(ValueError, match="length should be at least 1; got 0"):
        TOKENIZER.batch(["a"], length=0)
    with pytest.raises(
        ValueError, match=f"between 0 and {TOKENIZER.vocab_size - 1}; got {TOKENIZER.vocab_size}$"
    ):
        TOKENIZER.decode([TOKENIZER.vocab_size])
    with pytest.raises(ValueError, match=r"one row of ids at a time; got shape \(2, 3\)"):
        TOKENIZER.decode(torch.zeros(2, 3, dtype=torch.int64))
