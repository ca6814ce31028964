"""Known answers: byte-pair encoding."""

import codecs
from collections import Counter, defaultdict
from itertools import pairwise

from autograder.known import alternative, mistake
from cs_vl.data.bpe import WORDS, merge_pair

TRAIN, ENCODE, DECODE = "bpe_train", "bpe_encode", "bpe_decode"


def spell(word):
    return list(word.encode())


def characters(word):
    return [ord(character) for character in word]


def merge_from_right(ids, pair, new_id):
    return merge_pair(ids[::-1], pair[::-1], new_id)[::-1]


def merge_first(ids, pair, new_id):
    """The first occurrence only."""
    for i, found in enumerate(pairwise(ids)):
        if found == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return ids


# --- training ----------------------------------------------------------------------------------------


def without_overlap(ids):
    """Neighbours, but of "aaa" only the first two."""
    pairs, last = [], None
    for i, pair in enumerate(pairwise(ids)):
        if pair == last and pairs and pairs[-1] == (i - 1, pair):
            last = None
            continue
        pairs.append((i, pair))
        last = pair
    return [pair for _, pair in pairs]


def smallest(pairs):
    return min(pairs, key=lambda pair: (-pairs[pair], pair))


def train(
    text, merges, *, words=WORDS.findall, spell=spell, pairs_of=pairwise, times=lambda n: n, best=smallest,
    merge=merge_pair, first_id=256, at_least=2,
):  # fmt: skip
    """Right where no option is given; each mistake changes one."""
    counts = Counter(words(text))
    spelling = {word: spell(word) for word in counts}
    learned = []
    for new_id in range(first_id, first_id + merges):
        pairs = Counter()
        for word, ids in spelling.items():
            for pair in pairs_of(ids):
                pairs[pair] += times(counts[word])
        if not pairs or max(pairs.values()) < at_least:
            break
        learned.append(best(pairs))
        spelling = {word: merge(ids, learned[-1], new_id) for word, ids in spelling.items()}
    return learned


@alternative(TRAIN)
def by_replacing_in_strings(text, merges):
    """Ids as characters: `str.replace` goes from left to right without overlap, too."""
    words = ["".join(map(chr, word.encode())) for word in WORDS.findall(text)]
    learned = []
    while len(learned) < merges:
        counts = defaultdict(int)
        for word in words:
            for left, right in pairwise(word):
                counts[left + right] += 1
        if not counts or max(counts.values()) == 1:
            return learned
        pair = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[0][0]
        words = [word.replace(pair, chr(256 + len(learned))) for word in words]
        learned.append([ord(pair[0]), ord(pair[1])])
    return learned


@alternative(TRAIN)
def by_updating_counts(text, merges):
    """Only words that hold the pair are counted anew."""
    words = [(list(word.encode("utf-8")), n) for word, n in Counter(WORDS.findall(text)).items()]
    counts, learned = Counter(), []
    for ids, n in words:
        for i in range(len(ids) - 1):
            counts[ids[i], ids[i + 1]] += n
    for step in range(merges):
        most = max(counts.values(), default=0)
        if most <= 1:
            break
        pair = min(p for p, n in counts.items() if n == most)
        learned.append(pair)
        for k, (ids, n) in enumerate(words):
            if pair in pairwise(ids):
                new, i = [], 0
                while i < len(ids):
                    found = tuple(ids[i : i + 2]) == pair
                    new.append(256 + step if found else ids[i])
                    i += 2 if found else 1
                counts.subtract({p: n * m for p, m in Counter(pairwise(ids)).items()})
                counts.update({p: n * m for p, m in Counter(pairwise(new)).items()})
                words[k] = (new, n)
    return learned


@alternative(TRAIN)
def by_options(text, merges):
    return train(text, merges)


@mistake(
    TRAIN, "Your pairs reach from one word into the next: count and merge inside each word of `WORDS` alone."
)
def across_words(text, merges):
    return train(text, merges, words=lambda text: [text])


@mistake(
    TRAIN,
    "You split the text at white space and lost it: `WORDS` keeps every blank, mostly in front of its word.",
)
def split_at_blanks(text, merges):
    return train(text, merges, words=str.split)


@mistake(TRAIN, "You stop too soon: a pair that occurs exactly twice is still merged.")
def stopped_at_two(text, merges):
    return train(text, merges, at_least=3)


@mistake(TRAIN, "You count each different word once: a word that occurs nine times counts nine times.")
def each_word_once(text, merges):
    return train(text, merges, times=lambda n: 1)


@mistake(
    TRAIN, "You start from characters: each word should become its UTF-8 bytes, and some letters are several."
)
def of_characters(text, merges):
    return train(text, merges, spell=characters)


@mistake(
    TRAIN,
    "You count the pairs only once, at the start: after each merge the new token forms pairs of its own.",
)
def counted_at_the_start(text, merges):
    pairs = Counter()
    for word in WORDS.findall(text):
        pairs.update(pairwise(word.encode()))
    best = sorted((-n, pair) for pair, n in pairs.items() if n >= 2)
    return [pair for _, pair in best[:merges]]


@mistake(TRAIN, "You replace only the first occurrence of the pair in a word: replace all of them.")
def merged_once_a_word(text, merges):
    return train(text, merges, merge=merge_first)


@mistake(
    TRAIN, "You never put a merge in place: from the second round on the pairs are those of the merged words."
)
def never_merged(text, merges):
    return train(text, merges, merge=lambda ids, pair, new_id: ids)


@mistake(TRAIN, "You return no merges at all: keep each pair that you merge.")
def nothing_kept(text, merges):
    return []


@mistake(
    TRAIN,
    "You turn capitals into small letters: they are other bytes, and the text should come back as it was.",
)
def small_letters(text, merges):
    return train(text.lower(), merges)


@mistake(TRAIN, "Your first new id is 257, but the bytes end at 255: merge i makes id 256 + i.")
def ids_from_257(text, merges):
    return train(text, merges, first_id=257)


@mistake(TRAIN, "Your merges hold the bytes of the two tokens; a merge is the pair of their ids.")
def pairs_of_bytes(text, merges):
    tokens = [bytes([i]) for i in range(256)]
    for left, right in train(text, merges):
        tokens.append(tokens[left] + tokens[right])
    return [(tokens[left], tokens[right]) for left, right in train(text, merges)]


@mistake(TRAIN, "You count a pair at most once a word: every two neighbours count, as often as they occur.")
def once_in_a_word(text, merges):
    return train(text, merges, pairs_of=lambda ids: set(pairwise(ids)))


@mistake(
    TRAIN, "You count pairs without overlap: “aaa” has two pairs of neighbours, so (97, 97) counts twice."
)
def counted_without_overlap(text, merges):
    return train(text, merges, pairs_of=without_overlap)


@mistake(
    TRAIN, "You replace from right to left: “aaa” becomes the new id and then “a”, not the other way round."
)
def merged_from_right(text, merges):
    return train(text, merges, merge=merge_from_right)


@mistake(
    TRAIN, "Among equally frequent pairs you take the first that you met: meant is the smallest tuple of ids."
)
def ties_to_the_first(text, merges):
    return train(text, merges, best=lambda pairs: max(pairs, key=pairs.__getitem__))


@mistake(TRAIN, "Among equally frequent pairs you take the largest: meant is the smallest tuple of ids.")
def ties_to_the_largest(text, merges):
    return train(text, merges, best=lambda pairs: max(pairs, key=lambda pair: (pairs[pair], pair)))


@mistake(TRAIN, "Among equally frequent pairs you compare the tokens' bytes: compare the tuples of ids.")
def ties_by_bytes(text, merges):
    tokens = {i: bytes([i]) for i in range(256)}

    def best(pairs):
        def key(pair):
            return -pairs[pair], tokens[pair[0]], tokens[pair[1]]

        left, right = min(pairs, key=key)
        tokens[len(tokens)] = tokens[left] + tokens[right]
        return left, right

    return train(text, merges, best=best)


@mistake(TRAIN, "You go on with pairs that occur only once: stop when no pair occurs at least twice.")
def never_stopped(text, merges):
    return train(text, merges, at_least=1)


# --- encoding ----------------------------------------------------------------------------------------


def lowest(known, rank):
    return min(known, key=rank.__getitem__)


def encode(
    text,
    merges,
    *,
    words=WORDS.findall,
    spell=spell,
    choose=lowest,
    merge=merge_pair,
    first_id=256,
    rounds=10**6,
):
    """Right where no option is given; each mistake changes one."""
    rank = {pair: i for i, pair in enumerate(merges)}
    encoded = []
    for word in words(text):
        ids = spell(word)
        for _ in range(rounds):
            known = [pair for pair in pairwise(ids) if pair in rank]
            if not known:
                break
            pair = choose(known, rank)
            ids = merge(ids, pair, first_id + rank[pair])
        encoded += ids
    return encoded


@alternative(ENCODE)
def merge_after_merge(text, merges):
    """What a merge makes has no pair of lower rank: one pass over all of them does."""
    encoded = []
    for match in WORDS.finditer(text):
        ids = list(bytearray(match.group(), "utf-8"))
        for i, (left, right) in enumerate(merges):
            ids = merge_pair(ids, (left, right), 256 + i)
        encoded.extend(ids)
    return encoded


@alternative(ENCODE)
def one_place_at_a_time(text, merges):
    """As in GPT-2's own: on tuples, the leftmost place of the lowest rank, until none is left."""
    ranks = dict(zip(merges, range(len(merges)), strict=True))

    def bpe(word):
        while True:
            places = [(ranks.get(pair, float("inf")), i) for i, pair in enumerate(pairwise(word))]
            rank, i = min(places, default=(float("inf"), 0))
            if rank == float("inf"):
                return word
            word = (*word[:i], 256 + rank, *word[i + 2 :])

    return [i for word in WORDS.findall(text) for i in bpe(tuple(word.encode("utf-8")))]


@alternative(ENCODE)
def by_recursion(text, merges):
    def reduce(ids):
        known = {pair for pair in pairwise(ids) if pair in merges}
        if not known:
            return ids
        i = min(map(merges.index, known))
        return reduce(merge_pair(ids, merges[i], 256 + i))

    return [i for word in WORDS.findall(text) for i in reduce(list(word.encode()))]


@mistake(
    ENCODE, "You take the longest token that matches: apply merges in the order in which they were learned."
)
def longest_match(text, merges):
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    ids = {token: i for i, token in reversed(list(enumerate(tokens)))}
    encoded = []
    for word in WORDS.findall(text):
        rest = word.encode()
        while rest:
            token = next(rest[:n] for n in range(len(rest), 0, -1) if rest[:n] in ids)
            encoded.append(ids[token])
            rest = rest[len(token) :]
    return encoded


@mistake(
    ENCODE,
    "You take the leftmost pair that is a merge: of all in the word take the one that was learned first.",
)
def leftmost_pair(text, merges):
    return encode(text, merges, choose=lambda known, rank: known[0])


@mistake(ENCODE, "You apply the merge that was learned last: begin with the one that was learned first.")
def last_learned_first(text, merges):
    return encode(text, merges, choose=lambda known, rank: max(known, key=rank.__getitem__))


@mistake(
    ENCODE, "You apply the smallest pair of ids first: a merge's rank is its place in the list `merges`."
)
def smallest_pair_first(text, merges):
    return encode(text, merges, choose=lambda known, rank: min(known))


@mistake(
    ENCODE,
    "You apply the pair that is most frequent in this text: its frequency counted while training only.",
)
def most_frequent_first(text, merges):
    return encode(
        text, merges, choose=lambda known, rank: max(known, key=lambda p: (known.count(p), -rank[p]))
    )


@mistake(ENCODE, "You merge only once: go on as long as the word holds a pair that is among the merges.")
def one_round(text, merges):
    return encode(text, merges, rounds=1)


@mistake(
    ENCODE, "You replace only the first occurrence of each pair: replace it wherever it occurs in the word."
)
def one_occurrence(text, merges):
    encoded = []
    for word in WORDS.findall(text):
        ids = spell(word)
        for new_id, pair in enumerate(merges, 256):
            ids = merge_first(ids, pair, new_id)
        encoded += ids
    return encoded


@mistake(
    ENCODE, "You replace from right to left: “aaa” becomes the new id and then “a”, not the other way round."
)
def replaced_from_right(text, merges):
    return encode(text, merges, merge=merge_from_right)


@mistake(ENCODE, "Your ids are one too large: the bytes end at 255, so merge i makes id 256 + i.")
def ids_too_large(text, merges):
    moved = [tuple(i + (i > 255) for i in pair) for pair in merges]
    return encode(text, moved, first_id=257)


@mistake(
    ENCODE,
    "Your new ids are one too large, so that later merges don't find them: the bytes end at 255, and merge i makes "
    "id 256 + i.",
)
def new_ids_not_found(text, merges):
    return encode(text, merges, first_id=257)


@mistake(
    ENCODE,
    "Your new ids are one too small, so that later merges don't find them: merge i makes id 256 + i.",
)
def new_ids_too_small(text, merges):
    return encode(text, merges, first_id=255)


@mistake(
    ENCODE,
    "You turn capitals into small letters: they are other bytes, and the text should come back as it was.",
)
def encoded_small(text, merges):
    return encode(text.lower(), merges)


@mistake(ENCODE, "You write a merge's rank where its id belongs: merge i makes id 256 + i.")
def ranks_as_ids(text, merges):
    return [i if i < 256 else i - 256 for i in encode(text, merges)]


@mistake(ENCODE, "You return a list for each word: one flat list of all ids is meant.")
def nested(text, merges):
    return [encode(word, merges) for word in WORDS.findall(text)]


@mistake(ENCODE, "You return tokens as bytes: their ids are meant.")
def bytes_of_tokens(text, merges):
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return [tokens[i] for i in encode(text, merges)]


@mistake(ENCODE, "Your merges cross from one word to the next: encode each word of `WORDS` alone.")
def encoded_across_words(text, merges):
    return encode(text, merges, words=lambda text: [text] if text else [])


@mistake(ENCODE, "You split the text at white space and lost it: `WORDS` keeps every blank.")
def encoded_without_blanks(text, merges):
    return encode(text, merges, words=str.split)


@mistake(ENCODE, "You start from characters: a word starts as its UTF-8 bytes, and some letters are several.")
def encoded_characters(text, merges):
    return encode(text, merges, spell=characters)


# --- decoding ----------------------------------------------------------------------------------------


def vocabulary(merges, first_id=256, join=lambda left, right: left + right):
    tokens = {i: bytes([i % 256]) for i in range(first_id)}
    for i, (left, right) in enumerate(merges, first_id):
        tokens[i] = join(tokens[left], tokens[right])
    return tokens


def decode(ids, merges, *, text=lambda b: b.decode(errors="replace"), **options):
    """Right where no option is given; each mistake changes one."""
    tokens = vocabulary(merges, **options)
    if not all(i in tokens for i in ids):
        raise ValueError(f"ids should be below {len(tokens)}; got {ids}")
    return text(b"".join(tokens[i] for i in ids))


@alternative(DECODE)
def by_splitting(ids, merges):
    """Ids become pairs until only bytes are left."""
    stack, data = list(ids)[::-1], bytearray()
    while stack:
        i = stack.pop()
        if i < 0 or i > 255 + len(merges):
            raise ValueError("no such id")
        if i < 256:
            data.append(i)
        else:
            left, right = merges[i - 256]
            stack += [right, left]
    return data.decode("utf-8", errors="replace")


@alternative(DECODE)
def by_one_recursive_function(ids, merges):
    def token(i):
        return bytes([i]) if i < 256 else token(merges[i - 256][0]) + token(merges[i - 256][1])

    if any(i not in range(256 + len(merges)) for i in ids):
        raise ValueError
    return str(b"".join(map(token, ids)), "utf8", "replace")


@alternative(DECODE)
def token_by_token_with_memory(ids, merges):
    """An incremental decoder keeps the bytes of an unfinished character."""
    tokens, decoder, text = vocabulary(merges), codecs.getincrementaldecoder("utf-8")("replace"), ""
    for i in ids:
        try:
            text += decoder.decode(tokens[i])
        except KeyError:
            raise ValueError(f"{i} is no id") from None
    return text + decoder.decode(b"", final=True)


@mistake(
    DECODE, "You decode each token alone, which breaks characters that lie in several: join the bytes first."
)
def each_token_alone(ids, merges):
    decode(ids, merges)
    tokens = vocabulary(merges)
    return "".join(tokens[i].decode(errors="replace") for i in ids)


@mistake(DECODE, "Bytes that form no character vanish: each should become U+FFFD, with errors=“replace”.")
def dropped_broken_bytes(ids, merges):
    return decode(ids, merges, text=lambda b: b.decode(errors="ignore"))


@mistake(DECODE, "Bytes that form no character raise UnicodeDecodeError: they should become U+FFFD.")
def strict(ids, merges):
    return decode(ids, merges, text=bytes.decode)


@mistake(DECODE, "You turn each byte into a character of its own: in UTF-8 several bytes may form one.")
def a_character_a_byte(ids, merges):
    return decode(ids, merges, text=lambda b: "".join(map(chr, b)))


@mistake(DECODE, "You join the two parts of a merge the wrong way round: the left id's bytes come first.")
def right_before_left(ids, merges):
    return decode(ids, merges, join=lambda left, right: right + left)


@mistake(DECODE, "You put a space between tokens: a token's own bytes hold its space already.")
def joined_by_spaces(ids, merges):
    decode(ids, merges)
    tokens = vocabulary(merges)
    return b" ".join(tokens[i] for i in ids).decode(errors="replace")


@mistake(DECODE, "You strip the text: blanks at its ends belong to it.")
def stripped(ids, merges):
    return decode(ids, merges, text=lambda b: b.decode(errors="replace").strip())


@mistake(DECODE, "Your merges are shifted by one: merge 0 makes id 256, right after the bytes.")
def shifted_by_one(ids, merges):
    moved = [(merges[-1]), *merges[:-1]]
    tokens = vocabulary(merges)
    tokens |= {256 + i: tokens[left] + tokens[right] for i, (left, right) in enumerate(moved)}
    if not all(i in tokens for i in ids):
        raise ValueError
    return b"".join(tokens[i] for i in ids).decode(errors="replace")


@mistake(DECODE, "You expand a merge one level deep: its parts may be merges themselves, down to the bytes.")
def one_level(ids, merges):
    decode(ids, merges)
    flat = [j for i in ids for j in (merges[i - 256] if i > 255 else [i])]
    return bytes(j for j in flat if j < 256).decode(errors="replace")


@mistake(DECODE, "You return bytes: decode them to a string.")
def still_bytes(ids, merges):
    return decode(ids, merges, text=bytes)


@mistake(
    DECODE,
    "A negative id counts from the list's end in Python: check that ids are at least 0, and raise ValueError.",
)
def negative_ids_wrap(ids, merges):
    tokens = list(vocabulary(merges).values())
    if any(i >= len(tokens) for i in ids):
        raise ValueError
    return b"".join(tokens[i] for i in ids).decode(errors="replace")


@mistake(DECODE, "An id that is too large by 1 raises IndexError: the largest is 255 + len(merges).")
def one_id_raises_index_error(ids, merges):
    if any(i < 0 or i > 256 + len(merges) for i in ids):
        raise ValueError
    tokens = list(vocabulary(merges).values())
    return b"".join(tokens[i] for i in ids).decode(errors="replace")


@mistake(
    DECODE,
    "An unknown id raises IndexError or gives some other token: check all ids first, and raise ValueError.",
)
def unchecked_list(ids, merges):
    tokens = list(vocabulary(merges).values())
    return b"".join(tokens[i] for i in ids).decode(errors="replace")


@mistake(DECODE, "An unknown id raises KeyError: check ids first, and raise ValueError.")
def unchecked_dict(ids, merges):
    tokens = vocabulary(merges)
    return b"".join(tokens[i] for i in ids).decode(errors="replace")


@mistake(DECODE, "You skip ids that do not exist: raise ValueError for them.")
def skipped_unknown_ids(ids, merges):
    tokens = vocabulary(merges)
    return b"".join(tokens.get(i, b"") for i in ids).decode(errors="replace")


@mistake(
    DECODE,
    "Unknown ids become U+FFFD: that is for broken bytes; an id that does not exist should raise ValueError.",
)
def replaced_unknown_ids(ids, merges):
    tokens = vocabulary(merges)
    return b"".join(tokens.get(i, "\ufffd".encode()) for i in ids).decode(errors="replace")


@mistake(DECODE, "You accept one id too many: the largest is 255 + len(merges).")
def one_id_too_many(ids, merges):
    if any(i < 0 or i > 256 + len(merges) for i in ids):
        raise ValueError
    tokens = vocabulary(merges)
    return b"".join(tokens.get(i, b"") for i in ids).decode(errors="replace")
