"""Known answers: rotary positions."""

import math

import torch

from autograder.known import alternative, mistake

ROTARY = "rotary_embed"


def halves(x):
    return x.chunk(2, dim=-1)


def neighbours(x):
    return x[..., ::2], x[..., 1::2]


def interleave(first, second):
    return torch.stack([first, second], dim=-1).flatten(-2)


def side_by_side(first, second):
    return torch.cat([first, second], dim=-1)


def for_all_heads(angle):
    return angle.unsqueeze(-3)


def counterclockwise(first, second, cos, sin):
    return first * cos - second * sin, first * sin + second * cos


def exponent_of(half):
    return -torch.arange(half) / half


def rotate(
    x,
    positions,
    base=10000.0,
    *,
    exponent=exponent_of,
    angle=None,
    spread=for_all_heads,
    split=halves,
    turn=counterclockwise,
    join=side_by_side,
):
    """Right where no option is given; each mistake changes one."""
    frequency = base ** exponent(x.shape[-1] // 2)
    angles = positions[..., None] * frequency if angle is None else angle(positions, frequency)
    angles = spread(angles)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return join(*turn(*split(x), cos, sin))


# --- right ---------------------------------------------------------------------------------------------


@alternative(ROTARY)
def as_in_transformers(x, positions, base=10000.0):
    """cos and sin for the whole width, and `rotate_half`."""

    def rotate_half(x):
        return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)

    dim = x.shape[-1]
    inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim))
    position_ids = positions[None] if positions.dim() == 1 else positions
    freqs = (inv_freq[None, :, None] @ position_ids[:, None, :].float()).transpose(1, 2)
    emb = torch.cat((freqs, freqs), dim=-1)
    cos, sin = emb.cos().to(x.dtype).unsqueeze(1), emb.sin().to(x.dtype).unsqueeze(1)
    return (x * cos) + (rotate_half(x) * sin)


@alternative(ROTARY)
def by_complex_numbers(x, positions, base=10000.0):
    """As in Llama's own code, but for the layout."""
    half = x.shape[-1] // 2
    freqs = 1.0 / (base ** (torch.arange(0, 2 * half, 2)[:half].float() / (2 * half)))
    freqs_cis = torch.polar(torch.ones(()), positions.unsqueeze(-1) * freqs)
    freqs_cis = freqs_cis[None, None] if positions.ndim == 1 else freqs_cis[:, None]
    points = torch.view_as_complex(x.float().unflatten(-1, (2, half)).transpose(-1, -2).contiguous())
    return torch.view_as_real(points * freqs_cis).transpose(-1, -2).flatten(-2).type_as(x)


@alternative(ROTARY)
def in_float64(x, positions, base=10000.0):
    """exp and log in place of the power; all heads' angles written out."""
    dim = x.size(-1)
    theta = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(base) / dim))
    angle = torch.einsum("...l,d->...ld", positions.double(), theta)
    angle = angle.expand(len(x), -1, -1)[:, None].expand(-1, x.size(1), -1, -1)
    a, b = x.double().split(dim // 2, dim=-1)
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1).to(x.dtype)


@alternative(ROTARY)
def by_matrices(x, positions, base=10000.0):
    """A 2 x 2 rotation matrix for each token and pair."""
    half = x.shape[-1] // 2
    angle = positions[..., None] / torch.pow(torch.tensor(base), torch.linspace(0, 1, half + 1)[:half])
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    matrix = matrix if positions.ndim == 2 else matrix.expand(len(x), *matrix.shape)
    points = x.unflatten(-1, (2, half)).float()
    return torch.einsum("bljrc,bhlcj->bhlrj", matrix, points).flatten(-2).to(x.dtype)


@alternative(ROTARY)
def by_loops(x, positions, base=10000.0):
    half = x.shape[-1] // 2
    out = torch.empty_like(x)
    for b in range(x.shape[0]):
        places = (positions if positions.dim() == 1 else positions[b]).tolist()
        for i, m in enumerate(places):
            for j in range(half):
                cos, sin = math.cos(m * base ** (-j / half)), math.sin(m * base ** (-j / half))
                out[b, :, i, j] = x[b, :, i, j] * cos - x[b, :, i, j + half] * sin
                out[b, :, i, j + half] = x[b, :, i, j] * sin + x[b, :, i, j + half] * cos
    return out


@alternative(ROTARY)
def by_a_table(x, positions, base=10000.0):
    """All positions up to the last in a table, then those asked for."""
    half = x.shape[-1] // 2
    table = torch.outer(torch.arange(int(positions.max()) + 1).float(), base ** -(torch.arange(half) / half))
    cos, sin = table.cos()[positions], table.sin()[positions]
    if positions.ndim == 2:
        cos, sin = cos[:, None], sin[:, None]
    x1, x2 = x[..., :half], x[..., half:]
    y = torch.zeros_like(x)
    y[..., :half] += (x1 * cos - x2 * sin).to(x.dtype)
    y[..., half:] += (x2 * cos + x1 * sin).to(x.dtype)
    return y


# --- wrong: which numbers are a pair -------------------------------------------------------------------


@mistake(
    ROTARY,
    "You paired neighbours, 2j and 2j + 1 (GPT-J's layout): here number j goes with number j + head_dim / 2.",
)
def paired_neighbours(x, positions, base=10000.0):
    return rotate(x, positions, base, split=neighbours, join=interleave)


@mistake(
    ROTARY,
    "You read the pairs from the two halves but write them side by side: what was in the halves goes back there.",
)
def written_interleaved(x, positions, base=10000.0):
    return rotate(x, positions, base, join=interleave)


@mistake(
    ROTARY,
    "You read neighbours as pairs but write the results into the two halves: read them from the halves, too.",
)
def read_interleaved(x, positions, base=10000.0):
    return rotate(x, positions, base, split=neighbours)


@mistake(
    ROTARY,
    "Your angles are repeated as for pairs of neighbours (0, 0, 1, 1, ...), your numbers are paired by halves: "
    "repeat the angles as a whole, cat([angle, angle]).",
)
def angles_for_neighbours(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        cos, sin = (a.repeat_interleave(2, dim=-1) for a in (cos, sin))
        x, turned = side_by_side(first, second), side_by_side(-second, first)
        return halves(x * cos + turned * sin)

    return rotate(x, positions, base, turn=turn)


@mistake(
    ROTARY,
    "You turn neighbours (-x1, x0, -x3, x2, ...), but your angles are those of halves: turn the halves, "
    "cat([-second, first]).",
)
def turned_neighbours(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        x = side_by_side(first, second)
        even, odd = neighbours(x)
        return halves(x * torch.cat([cos, cos], -1) + interleave(-odd, even) * torch.cat([sin, sin], -1))

    return rotate(x, positions, base, turn=turn)


@mistake(
    ROTARY,
    "You put the two halves back in the wrong order: the first half, first * cos - second * sin, comes first.",
)
def halves_swapped(x, positions, base=10000.0):
    return rotate(x, positions, base, join=lambda first, second: side_by_side(second, first))


@mistake(
    ROTARY, "You turned one half of the numbers only and left the rest as it was: all of head_dim turns."
)
def half_of_the_width(x, positions, base=10000.0):
    moved, left = halves(x)
    return side_by_side(rotate(moved, positions, base), left)


# --- wrong: the rotation -------------------------------------------------------------------------------


@mistake(ROTARY, "You turned clockwise: the minus belongs to first * cos - second * sin.")
def clockwise(x, positions, base=10000.0):
    return rotate(x, positions, base, angle=lambda m, frequency: -m[..., None] * frequency)


@mistake(
    ROTARY,
    "There is no minus in your rotation (in rotate_half: -second): without it lengths change.",
)
def without_minus(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        return first * cos + second * sin, first * sin + second * cos

    return rotate(x, positions, base, turn=turn)


@mistake(ROTARY, "There is a minus in both halves of your rotation: it belongs to the first only.")
def two_minuses(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        return first * cos - second * sin, second * cos - first * sin

    return rotate(x, positions, base, turn=turn)


@mistake(ROTARY, "Your second half is mirrored: it is first * sin + second * cos, both with a plus.")
def mirrored(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        return first * cos - second * sin, first * sin - second * cos

    return rotate(x, positions, base, turn=turn)


@mistake(
    ROTARY,
    "Your second half is first * cos + second * sin: cos and sin change places there, first * sin + second * cos.",
)
def same_factors_in_both_halves(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        return first * cos - second * sin, first * cos + second * sin

    return rotate(x, positions, base, turn=turn)


@mistake(ROTARY, "You have sin where cos belongs, and cos where sin does: at position 0 nothing may change.")
def sin_for_cos(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        return counterclockwise(first, second, sin, cos)

    return rotate(x, positions, base, turn=turn)


@mistake(
    ROTARY,
    "You wrote the new first half over the old one before the second was computed: keep a copy, or put both "
    "together at the end.",
)
def overwritten(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        first = first * cos - second * sin
        return first, first * sin + second * cos

    return rotate(x, positions, base, turn=turn)


@mistake(ROTARY, "You left the second number of a pair out: each half takes from both, first and second.")
def halves_by_themselves(x, positions, base=10000.0):
    def turn(first, second, cos, sin):
        return first * cos - first * sin, second * cos + second * sin

    return rotate(x, positions, base, turn=turn)


@mistake(
    ROTARY, "You multiplied by cos alone: a rotation moves part of each number into the other of its pair."
)
def cos_alone(x, positions, base=10000.0):
    return rotate(x, positions, base, turn=lambda a, b, cos, sin: (a * cos, b * cos))


@mistake(
    ROTARY,
    "You multiplied the first half by cos and the second by sin: a rotation takes both numbers of a pair for each.",
)
def cos_and_sin_by_halves(x, positions, base=10000.0):
    return rotate(x, positions, base, turn=lambda a, b, cos, sin: (a * cos, b * sin))


@mistake(
    ROTARY,
    "You added sin and cos to x, as the first Transformer does: rotary positions multiply, and keep the length.",
)
def added(x, positions, base=10000.0):
    return rotate(x, positions, base, turn=lambda a, b, cos, sin: (a + sin, b + cos))


# --- wrong: the angles ---------------------------------------------------------------------------------


@mistake(
    ROTARY,
    "Your exponent is j / head_dim: it is 2j / head_dim (j counts the pairs), so that it gets close to 1.",
)
def exponent_too_small(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: -torch.arange(half) / (2 * half))


@mistake(
    ROTARY,
    "Your exponent is 4j / head_dim, as if it counted both the pairs and the numbers: it is 2j / head_dim.",
)
def exponent_too_large(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: -2 * torch.arange(half) / half)


@mistake(
    ROTARY, "Your angles grow from pair to pair: the exponent of the base is negative, or you divide by it."
)
def exponent_positive(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: torch.arange(half) / half)


@mistake(ROTARY, "You count the pairs from 1: pair 0 turns by the position itself, base^0 = 1.")
def pairs_from_one(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: -torch.arange(1, half + 1) / half)


@mistake(ROTARY, "Your frequencies are in the wrong order: pair 0 turns fastest.")
def slowest_first(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: -torch.arange(half).flip(0) / half)


@mistake(
    ROTARY,
    "Your slowest pair turns by m / base itself: the exponents stop before 1, at (head_dim - 2) / head_dim.",
)
def exponents_up_to_one(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: torch.linspace(0, -1, half))


@mistake(ROTARY, "All your pairs turn by the same angle: pair j turns by m * base^(-2j / head_dim).")
def same_angle(x, positions, base=10000.0):
    return rotate(x, positions, base, exponent=lambda half: torch.zeros(half))


@mistake(ROTARY, "You divide by base * 2j / head_dim: the base is raised to that power.")
def without_power(x, positions, base=10000.0):
    def angle(m, frequency):
        half = len(frequency)
        return m[..., None] / (base * torch.arange(half) / half).clamp(min=1)

    return rotate(x, positions, base, angle=angle)


@mistake(ROTARY, "You turn by 2 pi * the angle: m * base^(-2j / head_dim) is in radians already.")
def whole_turns(x, positions, base=10000.0):
    return rotate(x, positions, base, angle=lambda m, frequency: 2 * math.pi * m[..., None] * frequency)


@mistake(ROTARY, "You count positions from 1: a token at position 0 does not turn.")
def positions_from_one(x, positions, base=10000.0):
    return rotate(x, positions + 1, base)


@mistake(
    ROTARY,
    "Your code does not use `positions`: they may begin anywhere, skip, and come twice.",
)
def ignored_positions(x, positions, base=10000.0):
    return rotate(x, torch.arange(x.shape[2]), base)


@mistake(ROTARY, "You took `positions` from its first entry on by steps of 1: each token has its own.")
def first_position_only(x, positions, base=10000.0):
    return rotate(x, positions[..., :1] + torch.arange(x.shape[2]), base)


@mistake(ROTARY, "You count from the first token's position: positions may begin anywhere.")
def relative_to_the_first(x, positions, base=10000.0):
    return rotate(x, positions - positions[..., :1], base)


@mistake(
    ROTARY, "You used the first text's positions for all: where they are (batch, length) each has its own."
)
def first_text_for_all(x, positions, base=10000.0):
    return rotate(x, positions if positions.ndim == 1 else positions[0], base)


@mistake(ROTARY, "You turned by the number of the head: it is the token's position that counts, axis 2 of x.")
def by_heads(x, positions, base=10000.0):
    return rotate(x, torch.arange(x.shape[1]), base, spread=lambda angle: angle[:, None])


@mistake(ROTARY, "You wrote 10000 where the argument `base` belongs.")
def fixed_base(x, positions, base=10000.0):
    return rotate(x, positions)


# --- wrong: types and gradients ------------------------------------------------------------------------


@mistake(
    ROTARY,
    "You return float32 whatever x is: bring the result back to x.dtype.",
)
def always_float32(x, positions, base=10000.0):
    return rotate(x.float(), positions, base)


@mistake(
    ROTARY,
    "Your float32 angles make float32 of a float16 x: bring cos and sin, or the result, to x.dtype.",
)
def promoted(x, positions, base=10000.0):
    return rotate(x.to(torch.promote_types(x.dtype, torch.float32)), positions, base)


@mistake(ROTARY, "You return float64, whatever x is: bring the result back to x.dtype.")
def always_float64(x, positions, base=10000.0):
    return rotate(x.double(), positions, base)


@mistake(
    ROTARY,
    "You computed the angles in x's dtype: in float16 they are off by whole turns; compute them in float32 and turn "
    "only cos and sin into x's dtype.",
)
def angles_of_its_type(x, positions, base=10000.0):
    return rotate(
        x, positions, base, angle=lambda m, frequency: m[..., None].to(x.dtype) * frequency.to(x.dtype)
    )


@mistake(
    ROTARY,
    "You turned the positions into x's dtype, and float16 has no odd numbers above 2048: turn only cos and sin into it.",
)
def positions_of_its_type(x, positions, base=10000.0):
    return rotate(x, positions, base, angle=lambda m, frequency: m.to(x.dtype)[..., None].float() * frequency)


@mistake(
    ROTARY,
    "You turned the frequencies into x's dtype: float16 has three digits, too few for far positions; turn only cos and "
    "sin into it.",
)
def frequencies_of_its_type(x, positions, base=10000.0):
    return rotate(x, positions, base, angle=lambda m, frequency: m[..., None] * frequency.to(x.dtype).float())


@mistake(ROTARY, "No gradient gets through: leave out detach, .data and no_grad.")
def without_gradient(x, positions, base=10000.0):
    return rotate(x.detach(), positions, base)
