"""Known answers: masks."""

import torch

from autograder.known import alternative, mistake

PADDED, LANGUAGE = "attention_mask", "language_model_mask"


def visible(
    query_len, key_lengths, key_len, causal, *, real=torch.lt, past=torch.le, offset=None, combine=torch.logical_and
):  # fmt: skip
    """Right where no option is given; each mistake changes one."""
    key = torch.arange(key_len)
    query = torch.arange(query_len)[:, None] + (key_len - query_len if offset is None else offset)
    mask = real(key, key_lengths[:, None, None, None]).expand(-1, 1, query_len, -1)
    return combine(mask, past(key, query)) if causal else mask


@alternative(PADDED)
def by_loops(query_len, key_lengths, key_len, *, causal=False):
    mask = torch.zeros(len(key_lengths), 1, query_len, key_len, dtype=torch.bool)
    for b, length in enumerate(key_lengths.tolist()):
        for i in range(query_len):
            seen = min(length, key_len - query_len + i + 1) if causal else length
            mask[b, 0, i, :seen] = True
    return mask


@alternative(PADDED)
def from_what_is_hidden(query_len, key_lengths, key_len, *, causal=False):
    hidden = torch.zeros(key_lengths.size(0), query_len, key_len)
    hidden = hidden.masked_fill(
        torch.arange(key_len).view(1, 1, -1) >= key_lengths.view(-1, 1, 1), float("-inf")
    )
    if causal:
        hidden = hidden + torch.full((query_len, key_len), float("-inf")).triu(key_len - query_len + 1)
    return (hidden == 0).unsqueeze(1)


@alternative(PADDED)
def by_cutting_a_square(query_len, key_lengths, key_len, *, causal=False):
    batch = key_lengths.shape[0]
    square = torch.ones((key_len, key_len), dtype=torch.bool)
    rows = torch.tril(square)[-query_len:] if causal else square.new_ones(query_len, key_len)
    real = torch.stack([torch.arange(key_len) < n for n in key_lengths])
    return rows.repeat(batch, 1, 1, 1) & real.reshape(batch, 1, 1, key_len)


@mistake(PADDED, "Your mask is inverted: True means that a query may look at the key.")
def inverted(query_len, key_lengths, key_len, *, causal=False):
    return ~visible(query_len, key_lengths, key_len, causal)


@mistake(PADDED, "Your mask is one to add to the scores; a boolean one is meant, True = may look.")
def additive(query_len, key_lengths, key_len, *, causal=False):
    mask = visible(query_len, key_lengths, key_len, causal)
    return torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)


@mistake(PADDED, "Your mask lacks the axis for the heads: (batch, 1, queries, keys).")
def without_axis_of_heads(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, causal)[:, 0]


@mistake(PADDED, "Your causal mask forgets the padding: a key must be real *and* not in the future.")
def causal_forgets_padding(query_len, key_lengths, key_len, *, causal=False):
    return visible(
        query_len, torch.full_like(key_lengths, key_len) if causal else key_lengths, key_len, causal
    )


@mistake(PADDED, "Your mask does not hide the padding: sample b has only key_lengths[b] real keys.")
def padding_seen(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, torch.full_like(key_lengths, key_len), key_len, causal)


@mistake(
    PADDED, "Your mask shows one key of padding: counting from 0, the last real key is key_lengths[b] - 1."
)
def one_key_too_many(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, causal, real=torch.le)


@mistake(PADDED, "Your mask hides the last real key: counting from 0, that is key_lengths[b] - 1.")
def one_key_too_few(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths - 1, key_len, causal)


@mistake(PADDED, "Your mask hides the first keys: the real keys come first, the padding stands behind them.")
def padding_in_front(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_len - key_lengths, key_len, causal, real=torch.ge)


@mistake(PADDED, "Your mask uses the longest sample's length for all: each sample has its own.")
def longest_for_all(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, torch.full_like(key_lengths, int(key_lengths.max())), key_len, causal)


@mistake(
    PADDED,
    "Your mask hides the padded queries' rows: it is the padded keys' columns that nobody may look at.",
)
def rows_hidden(query_len, key_lengths, key_len, *, causal=False):
    real = torch.arange(query_len)[:, None] < key_lengths[:, None, None, None]
    return real & visible(query_len, torch.full_like(key_lengths, key_len), key_len, causal)


@mistake(PADDED, "Your mask also hides everything from queries that are padding: that leaves them nothing to look at, "
         "so they see the real keys like any other.")  # fmt: skip
def rows_hidden_too(query_len, key_lengths, key_len, *, causal=False):
    real = torch.arange(query_len)[:, None] < key_lengths[:, None, None, None]
    return real & visible(query_len, key_lengths, key_len, causal)


@mistake(PADDED, "Your mask is always causal: only where `causal` is True.")
def always_causal(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, True)


@mistake(PADDED, "Your code ignores `causal`: then no query may look at later keys.")
def never_causal(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, False)


@mistake(
    PADDED, "Your causal mask shows the future and hides the past: swap queries and keys in your comparison."
)
def future_only(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, causal, past=torch.ge)


@mistake(PADDED, "Your causal mask hides a query from itself: it sees itself and what comes before it.")
def not_itself(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, causal, past=torch.lt)


@mistake(PADDED, "You joined the two conditions with “or”: a key must be real *and* not in the future.")
def real_or_past(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, causal, combine=torch.logical_or)


@mistake(
    PADDED,
    "Your queries end with each sample's real keys: they are the last query_len of all key_len positions.",
)
def ends_with_real_keys(query_len, key_lengths, key_len, *, causal=False):
    return visible(
        query_len, key_lengths, key_len, causal, offset=key_lengths[:, None, None, None] - query_len
    )


@mistake(PADDED, "Your first query stands at the first key: queries and keys *end* together, so with fewer queries "
         "than keys the first query already has a past.")  # fmt: skip
def starts_with_first_key(query_len, key_lengths, key_len, *, causal=False):
    return visible(query_len, key_lengths, key_len, causal, offset=0)


# --- language models ---------------------------------------------------------------------------------


def who_sees(kind, length, prefix_length, *, masked=None, causal=None, prefix=None):
    """Right where no option is given; each mistake changes what one kind may see, of (row, column, prefix)."""
    rules = {
        "masked": masked or (lambda i, j, p: i == i),
        "causal": causal or (lambda i, j, p: j <= i),
        "prefix": prefix or (lambda i, j, p: (j <= i) | (j < p)),
    }
    i, j = torch.meshgrid(torch.arange(length), torch.arange(length), indexing="ij")
    return rules[kind](i, j, prefix_length)


@alternative(LANGUAGE)
def all_are_prefix_lms(kind, length, prefix_length=0):
    seen_by_all = {"masked": length, "causal": 0, "prefix": prefix_length}[kind]
    return torch.tensor([[j <= i or j < seen_by_all for j in range(length)] for i in range(length)])


@alternative(LANGUAGE)
def in_blocks(kind, length, prefix_length=0):
    if kind == "masked":
        return torch.full((length, length), True)
    mask = torch.triu(torch.ones(length, length), diagonal=1) == 0
    if kind == "prefix":
        mask[:prefix_length, :prefix_length] = True
    return mask


@alternative(LANGUAGE)
def by_cumulative_sum(kind, length, prefix_length=0):
    before = torch.eye(length).cumsum(dim=0).bool()
    if kind == "masked":
        return before | before.T
    return before if kind == "causal" else before.logical_or(torch.arange(length)[None] < prefix_length)


@mistake(LANGUAGE, "Your masks are inverted: True means that a token may look.")
def inverted_kinds(kind, length, prefix_length=0):
    return ~who_sees(kind, length, prefix_length)


@mistake(LANGUAGE, "Your masks are ones to add to the scores; boolean ones are meant, True = may look.")
def additive_kinds(kind, length, prefix_length=0):
    return torch.zeros(length, length).masked_fill(~who_sees(kind, length, prefix_length), -torch.inf)


@mistake(LANGUAGE, "Rows and columns are swapped: row i is the token that looks, column j the one looked at.")
def transposed(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length).T


@mistake(LANGUAGE, "Your causal LM does not see the token itself: it sees itself and those before it.")
def causal_without_itself(kind, length, prefix_length=0):
    return who_sees(
        kind, length, prefix_length, causal=lambda i, j, p: j < i, prefix=lambda i, j, p: (j < i) | (j < p)
    )


@mistake(LANGUAGE, "Your masked LM hides each token from itself: it reads the whole text; what to guess is hidden by "
         "the <mask> token, not by the mask.")  # fmt: skip
def masked_without_itself(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, masked=lambda i, j, p: i != j)


@mistake(
    LANGUAGE,
    "Your masked and causal LM are swapped: BERT reads in both directions, GPT only what came before.",
)
def swapped_kinds(kind, length, prefix_length=0):
    return who_sees({"masked": "causal", "causal": "masked"}.get(kind, kind), length, prefix_length)


@mistake(LANGUAGE, "Your masked LM is causal: it reads the whole text in both directions.")
def masked_is_causal(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, masked=lambda i, j, p: j <= i)


@mistake(LANGUAGE, "Your causal LM sees the future: it reads only the token itself and those before it.")
def causal_sees_all(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, causal=lambda i, j, p: i == i)


@mistake(
    LANGUAGE,
    "Your prefix LM ignores the prefix: its tokens should see the whole prefix, also what comes later.",
)
def prefix_ignored(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, prefix=lambda i, j, p: j <= i)


@mistake(
    LANGUAGE, "Your causal LM has a prefix, too: `prefix_length` is for the kind “prefix”, whatever it is."
)
def causal_with_a_prefix(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, causal=lambda i, j, p: (j <= i) | (j < p))


@mistake(
    LANGUAGE,
    "You shifted the diagonal by the prefix: so every token sees ahead, not only those of the prefix.",
)
def diagonal_shifted(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, prefix=lambda i, j, p: j <= i + p)


@mistake(
    LANGUAGE,
    "Your prefix sees the continuation: the prefix is columns that all may look at, not rows that see all.",
)
def prefix_sees_all(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, prefix=lambda i, j, p: (j <= i) | (i < p))


@mistake(LANGUAGE, "Your prefix LM's continuation does not see the prefix: it continues what it has read.")
def blocks_apart(kind, length, prefix_length=0):
    return who_sees(
        kind,
        length,
        prefix_length,
        prefix=lambda i, j, p: ((i < p) & (j < p)) | ((i >= p) & (j >= p) & (j <= i)),
    )


@mistake(
    LANGUAGE,
    "Your prefix LM's continuation sees the prefix only: it also sees itself and what it said before.",
)
def prefix_only(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, prefix=lambda i, j, p: (j < p) & (i >= 0))


@mistake(
    LANGUAGE,
    "Your prefix LM is causal in the prefix and reads on in both directions; it is the other way round.",
)
def swapped_parts(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, prefix=lambda i, j, p: (j <= i) | (i >= p))


@mistake(LANGUAGE, "Your prefix is one token too long: counting from 0, its last token is prefix_length - 1.")
def prefix_too_long(kind, length, prefix_length=0):
    return who_sees(kind, length, prefix_length, prefix=lambda i, j, p: (j <= i) | (j <= p))
