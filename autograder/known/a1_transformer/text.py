"""Known answers: text transformers."""

import torch

from autograder.known import alternative, mistake

POOL = "pool_text"


def at(tokens, position):
    return tokens[torch.arange(len(tokens)), position]


def first_end(ids, end_id):
    return (ids == end_id).int().argmax(1)


def mean_of_real(tokens, lengths):
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    return (tokens * real[..., None]).sum(1) / lengths[:, None]


class Pool:
    """Right as it stands; each mistake changes one way."""

    def first(self, tokens):
        return tokens[:, 0]

    def last(self, tokens, lengths):
        return at(tokens, lengths - 1)

    def end(self, tokens, ids, end_id):
        return at(tokens, first_end(ids, end_id))

    def mean(self, tokens, lengths):
        return mean_of_real(tokens, lengths)

    def __call__(self, tokens, ids, how, *, end_id=-1, lengths=None):
        if lengths is None:
            lengths = torch.full_like(ids[:, 0], ids.shape[1])
        if how == "first":
            return self.first(tokens)
        if how == "eot":
            return self.end(tokens, ids, end_id)
        return (self.last if how == "last" else self.mean)(tokens, lengths)


def pool(**ways):
    """A pooling in which some ways are other functions."""
    instance = Pool()
    vars(instance).update(ways)
    return instance


@alternative(POOL)
def by_loops(tokens, ids, how, *, end_id=-1, lengths=None):
    pooled = []
    for b, text in enumerate(tokens):
        real = text if lengths is None else text[: int(lengths[b])]
        if how == "first":
            pooled.append(real[0])
        elif how == "last":
            pooled.append(real[-1])
        elif how == "mean":
            pooled.append(real.mean(dim=0))
        else:
            pooled.append(text[ids[b].tolist().index(end_id)])
    return torch.stack(pooled)


@alternative(POOL)
def by_gather(tokens, ids, how, *, end_id=-1, lengths=None):
    batch, length, dim = tokens.size()
    if lengths is None:
        lengths = ids.new_full((batch,), length)
    if how == "mean":
        padding = torch.arange(length).unsqueeze(0) >= lengths.unsqueeze(1)
        return tokens.masked_fill(padding.unsqueeze(-1), 0.0).sum(1).div(lengths.to(tokens.dtype).view(-1, 1))
    if how == "eot":
        position = torch.stack([(row == end_id).nonzero()[0, 0] for row in ids])
    else:
        position = torch.zeros_like(lengths) if how == "first" else lengths - 1
    return tokens.gather(1, position.view(-1, 1, 1).expand(-1, 1, dim)).squeeze(1)


@alternative(POOL)
def by_matrix_product(tokens, ids, how, *, end_id=-1, lengths=None):
    """Each way is a row of weights."""
    batch, length = ids.shape
    real = torch.ones(batch, length, dtype=tokens.dtype)
    if lengths is not None:
        real = real.tril(length) * (torch.arange(1, length + 1)[None] <= lengths[:, None]).to(tokens.dtype)
    if how == "mean":
        weights = real / real.sum(-1, keepdim=True)
    else:
        if how == "eot":
            position = torch.where(ids == end_id, torch.arange(length), length).amin(-1)
        else:
            position = real.sum(-1).long() - 1 if how == "last" else torch.zeros(batch, dtype=torch.long)
        weights = torch.nn.functional.one_hot(position, length).to(tokens.dtype)
    return torch.bmm(weights[:, None], tokens)[:, 0]


@mistake(POOL, "Your “first” is the second token: count from 0.")
def second_token(*args, **options):
    return pool(first=lambda tokens: tokens[:, 1])(*args, **options)


@mistake(POOL, "Your “last” is the last column, which may be padding: take each text's last real token.")
def last_column(*args, **options):
    return pool(last=lambda tokens, lengths: tokens[:, -1])(*args, **options)


@mistake(POOL, "Your “last” is the token behind the last real one: counting from 0, that one is lengths - 1.")
def one_behind(*args, **options):
    behind = pool(last=lambda tokens, lengths: at(tokens, lengths.clamp(max=tokens.shape[1] - 1)))
    return behind(*args, **options)


@mistake(POOL, "Your “last” takes the same position in all texts: each text has its own length.")
def same_position_for_all(*args, **options):
    return pool(last=lambda tokens, lengths: tokens[:, int(lengths.max()) - 1])(*args, **options)


@mistake(POOL, "tokens[:, position] picks every position from every text: pick position b from text b.")
def every_position_from_every_text(*args, **options):
    return pool(
        last=lambda tokens, lengths: tokens[:, lengths - 1],
        end=lambda tokens, ids, end_id: tokens[:, first_end(ids, end_id)],
    )(*args, **options)


@mistake(
    POOL, "Your “eot” takes the last token whose id is end_id: padding may repeat it, so take the first."
)
def last_end(*args, **options):
    def end(tokens, ids, end_id):
        return at(tokens, ids.shape[1] - 1 - first_end(ids.flip(1), end_id))

    return pool(end=end)(*args, **options)


@mistake(
    POOL,
    "Your “eot” takes the token with the largest id: that is the end token in CLIP's own vocabulary only.",
)
def largest_id(*args, **options):
    return pool(end=lambda tokens, ids, end_id: at(tokens, ids.argmax(1)))(*args, **options)


@mistake(POOL, "Your “eot” takes the token before the end token: take the end token itself.")
def before_the_end(*args, **options):
    return pool(end=lambda tokens, ids, end_id: at(tokens, first_end(ids, end_id) - 1))(*args, **options)


@mistake(POOL, "Your “eot” takes the last column: take the first token whose id is end_id.")
def end_is_last_column(*args, **options):
    return pool(end=lambda tokens, ids, end_id: tokens[:, -1])(*args, **options)


@mistake(POOL, "Your “eot” takes the vector of number end_id: look where in `ids` that id stands.")
def end_id_as_position(*args, **options):
    return pool(end=lambda tokens, ids, end_id: tokens[:, end_id % tokens.shape[1]])(*args, **options)


@mistake(POOL, "Your “eot” averages over all end tokens: take the first one alone.")
def mean_of_ends(*args, **options):
    def end(tokens, ids, end_id):
        found = (ids == end_id).to(tokens.dtype)[..., None]
        return (tokens * found).sum(1) / found.sum(1)

    return pool(end=end)(*args, **options)


@mistake(POOL, "Your “mean” runs over the padding, too: average over each text's real tokens.")
def mean_with_padding(*args, **options):
    return pool(mean=lambda tokens, lengths: tokens.mean(1))(*args, **options)


@mistake(
    POOL,
    "Your “mean” leaves the padding out of the sum, but divides by the whole length: divide by `lengths`.",
)
def divided_by_whole_length(*args, **options):
    return pool(mean=lambda t, lengths: mean_of_real(t, lengths) * lengths[:, None] / t.shape[1])(
        *args, **options
    )


@mistake(POOL, "Your “mean” is a sum: divide it by the number of real tokens.")
def sum_only(*args, **options):
    return pool(mean=lambda tokens, lengths: mean_of_real(tokens, lengths) * lengths[:, None])(
        *args, **options
    )


@mistake(
    POOL, "Your “mean” takes one token of padding in: counting from 0, the last real one is lengths - 1."
)
def mean_one_too_many(*args, **options):
    def mean(tokens, lengths):
        return mean_of_real(tokens, (lengths + 1).clamp(max=tokens.shape[1]))

    return pool(mean=mean)(*args, **options)


@mistake(POOL, "No gradient reaches the tokens: pool the tensor that you were given, "
         "without detach, no_grad or NumPy.")  # fmt: skip
def detached(tokens, *args, **options):
    return Pool()(tokens.detach(), *args, **options)
