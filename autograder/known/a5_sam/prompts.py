"""Known answers: SAM's prompt encoder, from the waves of a place to a mask on the grid."""

import math

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.models.prompt_encoder import MaskEncoder, PointEncoder
from cs_vl.nn.fourier import fourier_positions

WAVES, POINTS, MASKS = "fourier_positions", "PointEncoder", "MaskEncoder"


# --- the waves of a place: right -----------------------------------------------------------------------


@alternative(WAVES)
def as_the_official_code(points, frequencies):
    coords = 2 * points - 1
    coords = coords @ frequencies
    coords = 2 * math.pi * coords
    return torch.cat((torch.sin(coords), torch.cos(coords)), dim=-1)


@alternative(WAVES)
def x_and_y_apart(points, frequencies):
    """Sums in place of a matrix product, and float64 in between and in what comes out."""
    x, y = (points.double() * 2 - 1).split(1, dim=-1)
    angles = (x * frequencies[0] + y * frequencies[1]) * (2 * torch.pi)
    both = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-2)
    return both.reshape(*points.shape[:-1], -1)


@alternative(WAVES)
def wave_by_wave(points, frequencies):
    centred = points - 0.5
    sines, cosines = [], []
    for fx, fy in frequencies.T.tolist():
        angle = 4 * math.pi * (fx * centred[..., 0] + fy * centred[..., 1])
        sines.append(angle.sin())
        cosines.append(angle.cos())
    return torch.stack(sines + cosines, dim=-1)


@alternative(WAVES)
def place_by_place(points, frequencies):
    half = frequencies.shape[1]
    flat = points.reshape(-1, 2)
    out = torch.zeros(len(flat), 2 * half)
    for i, p in enumerate(flat):
        for j in range(half):
            angle = 2 * math.pi * torch.dot(2 * p - 1, frequencies[:, j])
            out[i, j], out[i, half + j] = torch.sin(angle), torch.cos(angle)
    return out.reshape(*points.shape[:-1], 2 * half)


@alternative(WAVES)
def on_the_unit_circle(points, frequencies):
    """The waves as complex numbers; a linear layer makes the angles."""
    angles = F.linear(points, 4 * math.pi * frequencies.mT, -2 * math.pi * frequencies.sum(0))
    circle = torch.polar(torch.ones_like(angles), angles)
    return torch.cat([circle.imag, circle.real], dim=-1)


@alternative(WAVES)
def a_cosine_is_a_shifted_sine(points, frequencies):
    angles = 2 * math.pi * torch.einsum("...c,cw->...w", 2 * points - 1, frequencies)
    return torch.sin(torch.cat([angles, angles + math.pi / 2], -1))


# --- the waves of a place: wrong -----------------------------------------------------------------------


def centred(points):
    return 2 * points - 1


def projected(places, frequencies):
    return places @ frequencies


def side_by_side(angles):
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def encoded(points, frequencies, *, places=centred, angles=projected, turns=2 * math.pi, join=side_by_side):
    """Right where no option is given; each mistake changes one."""
    return join(turns * angles(places(points), frequencies))


def wrong_waves(name, sentence, **options):
    """A mistake that is `encoded` with other options."""

    def answer(points, frequencies):
        return encoded(points, frequencies, **options)

    answer.__name__ = name
    mistake(WAVES, sentence)(answer)


wrong_waves(
    "cosines_first",
    "Your cosines come first: first the sines of all waves, then their cosines.",
    join=lambda a: torch.cat([a.cos(), a.sin()], dim=-1),
)
wrong_waves(
    "interleaved",
    "Your sines and cosines take turns: first the sines of all waves, then all the cosines.",
    join=lambda a: torch.stack([a.sin(), a.cos()], dim=-1).flatten(-2),
)
wrong_waves("sines_alone", "You give the sines alone: the cosines follow them.", join=torch.sin)
wrong_waves("cosines_alone", "You give the cosines alone: the sines come before them.", join=torch.cos)
wrong_waves(
    "sines_twice",
    "Your second half has sines, too: it has the cosines.",
    join=lambda a: torch.cat([a.sin(), a.sin()], dim=-1),
)
wrong_waves(
    "added_up", "You added sines and cosines: put them side by side.", join=lambda a: a.sin() + a.cos()
)
wrong_waves(
    "angles_themselves",
    "You give the angles as they are: take their sines and their cosines.",
    join=lambda a: torch.cat([a, a], dim=-1),
)
wrong_waves(
    "joined_along_the_batch",
    "You put sines and cosines one below the other, along the batch: join them along the last axis.",
    join=lambda a: torch.cat([a.sin(), a.cos()], dim=0),
)
wrong_waves(
    "from_zero_to_one",
    "You took the points as they are: 2 p - 1 is from -1 to 1, with 0 in the middle of the image.",
    places=lambda p: p,
)
wrong_waves(
    "doubled_alone",
    "You doubled the points and forgot to subtract 1: 2 p - 1 is from -1 to 1.",
    places=lambda p: 2 * p,
)
wrong_waves(
    "mirrored",
    "You took 1 - 2 p: with 2 p - 1 the left and upper edges are at -1.",
    places=lambda p: 1 - 2 * p,
)
wrong_waves(
    "twice_p_minus_one",
    "You took 2 (p - 1), which is from -2 to 0: it is 2 p - 1, from -1 to 1.",
    places=lambda p: 2 * (p - 1),
)
wrong_waves("without_two_pi", "The factor 2 pi is missing: a frequency of 1 is one turn.", turns=1)
wrong_waves(
    "half_the_angles",
    "Your angles are half of what they should be: the factor is 2 pi, and 2 p - 1 is from -1 to 1.",
    turns=math.pi,
)
wrong_waves(
    "twice_the_angles",
    "Your angles are twice what they should be: the factor is 2 pi, and 2 p - 1 is from -1 to 1.",
    turns=4 * math.pi,
)
wrong_waves(
    "subtracted_after_the_product",
    "You subtracted 1 from the angle: it is subtracted from 2 p, before the product with 2 pi and G.",
    places=lambda p: 2 * p,
    angles=lambda p, g: 2 * math.pi * p @ g - 1,
    turns=1,
)
wrong_waves(
    "y_first",
    "You took y for x: row 0 of G has the frequencies in x, which is the points' first number.",
    angles=lambda p, g: p.flip(-1) @ g,
)
wrong_waves(
    "read_as_rows",
    "You turned G into (half, 2) by a reshape, which mixes x and y: it is (2, half) and needs no change.",
    angles=lambda p, g: p @ g.reshape(-1, 2).mT,
)
wrong_waves(
    "a_wave_each_for_x_and_y",
    "You made a wave of x and another of y: each wave has one angle, the sum over both.",
    angles=lambda p, g: (p[..., None] * g).flatten(-2),
)
wrong_waves(
    "x_alone",
    "Your waves look at x alone: y has frequencies, too, in row 1 of G.",
    angles=lambda p, g: p[..., :1] * g[0],
)
wrong_waves(
    "divided_by_the_frequencies",
    "You divided by G: a high frequency turns faster, so multiply.",
    angles=lambda p, g: p @ (1 / g),
)


@mistake(WAVES, "Your result is a flat list of points: keep the batch's own dimensions.")
def flat_list(points, frequencies):
    return encoded(points.reshape(-1, 2), frequencies)


@mistake(WAVES, "You change the points in place: p *= 2 changes what the caller still holds; write 2 * p.")
def in_place(points, frequencies):
    points *= 2
    points -= 1
    return encoded(points, frequencies, places=lambda p: p)


@mistake(WAVES, "No gradient reaches the points: do not detach anything.")
def detached(points, frequencies):
    return encoded(points.detach(), frequencies)


# --- points and boxes: right ---------------------------------------------------------------------------


@alternative(POINTS)
class AsTheOfficialPrompts(PointEncoder):
    """Named as in `modeling/prompt_encoder.py`; the pad point has a place until it is overwritten."""

    def forward(self, points, labels, boxes=None):
        found = [self.embed_points(points, labels, pad=boxes is None)]
        if boxes is not None:
            found.append(self.embed_boxes(boxes))
        return torch.cat(found, dim=-2)

    def embed_points(self, points, labels, pad):
        points = points + 0.5
        if pad:
            padding_point = torch.zeros((*points.shape[:-2], 1, 2), device=points.device)
            padding_label = -torch.ones((*labels.shape[:-1], 1), device=labels.device)
            points = torch.cat([points, padding_point], dim=-2)
            labels = torch.cat([labels, padding_label], dim=-1)
        embedding = fourier_positions(points / self.image_size, self.frequencies)
        embedding[labels == -1] = 0.0
        embedding[labels == -1] += self.not_a_point
        embedding[labels == 0] += self.kinds[0]
        embedding[labels == 1] += self.kinds[1]
        return embedding

    def embed_boxes(self, boxes):
        coords = (boxes + 0.5).reshape(*boxes.shape[:-1], 2, 2) / self.image_size
        embedding = fourier_positions(coords, self.frequencies)
        embedding[..., 0, :] += self.kinds[2]
        embedding[..., 1, :] += self.kinds[3]
        return embedding


@alternative(POINTS)
class ByWhere(PointEncoder):
    """Both cases chosen between, and the last token put there at the end."""

    def forward(self, points, labels, boxes=None):
        none = (labels < 0).unsqueeze(-1)
        tokens = torch.where(
            none, self.not_a_point, self.place(points) + F.embedding(labels.clamp(0), self.kinds)
        )
        if boxes is None:
            last = self.not_a_point.expand(*points.shape[:-2], 1, -1)
        else:
            last = torch.stack([self.place(boxes[..., :2]), self.place(boxes[..., 2:])], -2) + self.kinds[2:]
        return torch.cat((tokens, last), -2)

    def place(self, points):
        return fourier_positions(points / self.image_size + 0.5 / self.image_size, self.frequencies)


@alternative(POINTS)
class ByOneHot(PointEncoder):
    """A matrix product with one-hot kinds, and places multiplied by 0 or 1, in float64."""

    def forward(self, points, labels, boxes=None):
        batch = points.shape[:-2]
        if boxes is None:
            extra, kinds = torch.full((*batch, 1, 2), 3.0), torch.full((*batch, 1), -1)
        else:
            extra, kinds = boxes.reshape(*batch, 2, 2), torch.tensor([2, 3]).repeat(*batch, 1)
        points, labels = torch.cat([points, extra], -2).double(), torch.cat([labels, kinds], -1)
        what = F.one_hot(labels + 1, 5).double() @ torch.vstack([self.not_a_point, self.kinds]).double()
        where = fourier_positions((points + 0.5) / self.image_size, self.frequencies.double())
        return what + where * (labels != -1).unsqueeze(-1)


@alternative(POINTS)
class TokenByToken(PointEncoder):
    def forward(self, points, labels, boxes=None):
        *batch, n = labels.shape
        count = math.prod(batch)  # n may be 0, and so -1 would not do
        points, labels = points.reshape(count, n, 2), labels.reshape(count, n)
        boxes = [None] * count if boxes is None else boxes.reshape(count, 4)
        sets = [self.one_set(*one) for one in zip(points, labels, boxes, strict=True)]
        return torch.stack(sets).reshape(*batch, *sets[0].shape)

    def one_set(self, points, labels, box):
        tokens = [self.token(p, int(label)) for p, label in zip(points, labels, strict=True)]
        if box is None:
            return torch.stack([*tokens, self.not_a_point])
        return torch.stack([*tokens, self.token(box[:2], 2), self.token(box[2:], 3)])

    def token(self, point, kind):
        if kind == -1:
            return self.not_a_point
        return self.kinds[kind] + fourier_positions((point + 0.5) / self.image_size, self.frequencies)


@alternative(POINTS)
class BySumsOfMasks(PointEncoder):
    """The waves themselves, without a gradient, in place of `fourier_positions`."""

    def forward(self, points, labels, boxes=None):
        if boxes is not None:
            upper, lower = boxes.chunk(2, dim=-1)
            points = torch.cat([points, upper.unsqueeze(-2), lower.unsqueeze(-2)], dim=-2)
            corner = torch.ones_like(labels[..., :0].sum(-1, keepdim=True))
            labels = torch.cat([labels, 2 * corner, 3 * corner], dim=-1)
        with torch.no_grad():
            angles = 2 * math.pi * (2 * (points + 0.5) / self.image_size - 1) @ self.frequencies
            tokens = torch.cat([angles.sin(), angles.cos()], -1)
        tokens = tokens * (labels >= 0).float()[..., None]
        for kind, what in ((-1, self.not_a_point), *enumerate(self.kinds)):
            tokens = tokens + (labels == kind).float()[..., None] * what
        if boxes is None:
            nothing = torch.zeros_like(tokens[..., :1, :]) if tokens.shape[-2] else tokens.new_zeros(1, 1)
            tokens = torch.cat([tokens, nothing + self.not_a_point], dim=-2)
        return tokens


# --- points and boxes: wrong ---------------------------------------------------------------------------


class Points(PointEncoder):
    """Right as it stands; each mistake changes one step."""

    def cells(self, points):
        return (points + 0.5) / self.image_size

    def cells_of_corners(self, corners):
        return self.cells(corners)

    def place(self, cells):
        return fourier_positions(cells, self.frequencies)

    def kind(self, labels):
        return torch.cat([self.kinds, self.not_a_point[None]])[labels]

    def together(self, what, where, labels):
        return what + where * (labels != -1)[..., None]

    def of_points(self, points, labels):
        return self.together(self.kind(labels), self.place(self.cells(points)), labels)

    def corners(self, boxes):
        return boxes.unflatten(-1, (2, 2))

    def of_box(self, boxes):
        labels = torch.tensor([2, 3]).expand(*boxes.shape[:-1], 2)
        where = self.place(self.cells_of_corners(self.corners(boxes)))
        return self.together(self.kind(labels), where, labels)

    def nothing(self, points):
        return self.not_a_point.expand(*points.shape[:-2], 1, -1)

    def forward(self, points, labels, boxes=None):
        last = self.nothing(points) if boxes is None else self.of_box(boxes)
        return torch.cat([self.of_points(points, labels), last], dim=-2)


def wrong(sentence):
    return mistake(POINTS, sentence)


@wrong(
    "You forgot the half pixel: a pixel's middle is half a pixel from its corner; add 0.5 before dividing."
)
class WithoutHalfAPixel(Points):
    def cells(self, points):
        return points / self.image_size


@wrong("The half pixel is missing for boxes: their corners get it as points do.")
class CornersWithoutHalfAPixel(Points):
    def cells_of_corners(self, corners):
        return corners / self.image_size


@wrong("The half pixel is missing for points: they get it as corners of boxes do.")
class PointsWithoutHalfAPixel(Points):
    def cells(self, points):
        return points / self.image_size

    def cells_of_corners(self, corners):
        return (corners + 0.5) / self.image_size


@wrong("You added 0.5 after the division, which is half an image: add half a pixel before it.")
class HalfAnImage(Points):
    def cells(self, points):
        return points / self.image_size + 0.5


@wrong("You subtracted half a pixel: add it.")
class HalfAPixelSubtracted(Points):
    def cells(self, points):
        return (points - 0.5) / self.image_size


@wrong("You added a whole pixel: it is half of one.")
class AWholePixel(Points):
    def cells(self, points):
        return (points + 1) / self.image_size


@wrong("You added half a pixel to x alone: y gets it, too.")
class HalfAPixelInX(Points):
    def cells(self, points):
        return (points + torch.tensor([0.5, 0.0])) / self.image_size


@wrong("You divided by image_size - 1: the image is image_size pixels wide, counted from edge to edge.")
class DividedByOneLess(Points):
    def cells(self, points):
        return (points + 0.5) / (self.image_size - 1)


@wrong("Your box's lower right corner gets no half pixel: both corners get half a pixel added, as points do.")
class HalfAPixelForTheUpperLeftAlone(Points):
    def cells_of_corners(self, corners):
        return (corners + torch.tensor([[0.5], [0.0]])) / self.image_size


@wrong("Your box's corners are treated differently, + 0.5 and - 0.5: both get half a pixel added.")
class HalfAPixelOutwards(Points):
    def cells_of_corners(self, corners):
        return (corners + torch.tensor([[0.5], [-0.5]])) / self.image_size


@wrong("You divided the corners of boxes by nothing: they are in pixels, as points are.")
class CornersInPixels(Points):
    def cells_of_corners(self, corners):
        return corners + 0.5


@wrong("You did not divide by image_size: `fourier_positions` takes places from 0 to 1.")
class InPixels(Points):
    def cells(self, points):
        return points + 0.5


@wrong("You took 2 p - 1 yourself: `fourier_positions` does it, and takes places from 0 to 1.")
class CentredTwice(Points):
    def place(self, cells):
        return super().place(2 * cells - 1)


@wrong("You rounded the points to whole pixels: they may lie between.")
class Rounded(Points):
    def cells(self, points):
        return super().cells(points.floor())


@wrong("Your x and y have changed places: points are (x, y) already.")
class RowFirst(Points):
    def cells(self, points):
        return super().cells(points.flip(-1))


@wrong("Your tokens say what they are and not where: add the place's `fourier_positions`.")
class WithoutPlaces(Points):
    def place(self, cells):
        return torch.zeros_like(super().place(cells))


@wrong("Your tokens say where they are and not what: add the row of `kinds`.")
class WithoutKinds(Points):
    def kind(self, labels):
        return self.not_a_point * (labels == -1)[..., None]


@wrong("Your points say where and not what: add the row of `kinds` that belongs to the label.")
class PointsWithoutKinds(Points):
    def of_points(self, points, labels):
        return self.together(
            self.not_a_point * (labels == -1)[..., None], self.place(self.cells(points)), labels
        )


@wrong("The tokens of boxes lack their kinds: add rows 2 and 3 of `kinds`.")
class CornersWithoutKinds(Points):
    def of_box(self, boxes):
        return self.place(self.cells(self.corners(boxes)))


@wrong("You multiplied place and kind: add them.")
class Multiplied(Points):
    def together(self, what, where, labels):
        return torch.where((labels == -1)[..., None], what, what * where)


@wrong("Foreground and background are swapped: row 0 of `kinds` is background and row 1 foreground.")
class ForegroundFirst(Points):
    def of_points(self, points, labels):
        return super().of_points(points, torch.where(labels == -1, labels, 1 - labels))


@wrong("All your points are foreground: label 0 is background, row 0 of `kinds`.")
class AllForeground(Points):
    def of_points(self, points, labels):
        return super().of_points(points, torch.where(labels == 0, 1, labels))


@wrong("A point with the label -1 has a place in yours: its token is `not_a_point` alone.")
class NothingWithAPlace(Points):
    def together(self, what, where, labels):
        return what + where


@wrong(
    "The token that you add where there is no box has a place (that of a point at 0): it is `not_a_point` alone."
)
class LastWithAPlace(Points):
    def nothing(self, points):
        return super().nothing(points) + self.place(self.cells(torch.zeros(1, 2)))


@wrong("The tokens of label -1 are 0 in yours: they are `not_a_point`.")
class NothingIsZero(Points):
    def kind(self, labels):
        return super().kind(labels) * (labels != -1)[..., None]


@wrong("The last token is 0 in yours: it is `not_a_point`.")
class LastIsZero(Points):
    def nothing(self, points):
        return torch.zeros_like(super().nothing(points))


@wrong("kinds[labels] takes the *last* row, a box's corner, where the label is -1: use `not_a_point` there.")
class LastRow(Points):
    def kind(self, labels):
        return self.kinds[labels]


@wrong(
    "Your label -1 takes the last row of `kinds`, as a negative index does, and a place: such a token is "
    "`not_a_point` alone."
)
class LastRowWithAPlace(LastRow):
    def together(self, what, where, labels):
        return what + where


@wrong(
    "You add `not_a_point` to the last row of `kinds`, which is what kinds[-1] gives: it is `not_a_point` alone."
)
class NothingAndLastRow(Points):
    def kind(self, labels):
        return self.kinds[labels] + self.not_a_point * (labels == -1)[..., None]


@wrong("A point with the label -1 is background in yours: it is none, and its token is `not_a_point`.")
class NothingIsBackground(Points):
    def of_points(self, points, labels):
        return super().of_points(points, labels.clamp(min=0))


@wrong(
    "You left out the points with the label -1 by their place alone: their token is `not_a_point`, not theirs."
)
class BackgroundWithoutAPlace(Points):
    def kind(self, labels):
        return self.kinds[labels.clamp(min=0)]


@wrong("Without a box one more token comes last, `not_a_point`: yours is missing.")
class NoLast(Points):
    def nothing(self, points):
        return super().nothing(points)[..., :0, :]


@wrong("You leave the last token out where a point is none already: without boxes it always comes.")
class NoLastBesideANone(Points):
    def forward(self, points, labels, boxes=None):
        tokens = super().forward(points, labels, boxes)
        return tokens[..., :-1, :] if boxes is None and (labels == -1).any() else tokens


@wrong("The token of nothing comes first in yours: it comes last.")
class NothingFirst(Points):
    def forward(self, points, labels, boxes=None):
        tokens = super().forward(points, labels, boxes)
        return tokens if boxes is not None else tokens.roll(1, dims=-2)


@wrong("Without a box you add two tokens, as many as a box has: one is enough.")
class TwoLast(Points):
    def nothing(self, points):
        return super().nothing(points).expand(*points.shape[:-2], 2, -1)


@wrong("You add a token of nothing although there is a box: it is for prompts without boxes.")
class NothingBesideABox(Points):
    def of_box(self, boxes):
        return torch.cat([super().of_box(boxes), self.nothing(boxes[..., None])], dim=-2)


@wrong("Your token of nothing stands between points and box: with a box there is none.")
class NothingBeforeABox(Points):
    def of_box(self, boxes):
        return torch.cat([self.nothing(boxes[..., None]), super().of_box(boxes)], dim=-2)


@wrong("Your boxes come before the points: they come after them.")
class BoxFirst(Points):
    def forward(self, points, labels, boxes=None):
        tokens = super().forward(points, labels, boxes)
        return tokens if boxes is None else tokens.roll(2, dims=-2)


@wrong("The kinds of the corners are swapped: 2 is the upper left one, (x0, y0), and 3 the lower right one.")
class CornerKindsSwapped(Points):
    def of_box(self, boxes):
        places = self.place(self.cells(self.corners(boxes)))
        return places + self.kinds[[3, 2]]


@wrong("The lower right corner comes first in yours: first (x0, y0), then (x1, y1).")
class LowerRightFirst(Points):
    def of_box(self, boxes):
        return super().of_box(boxes).flip(-2)


@wrong("Both corners have the same kind in yours: the upper left one has 2, the lower right one 3.")
class CornersAlike(Points):
    def of_box(self, boxes):
        return self.place(self.cells(self.corners(boxes))) + self.kinds[2]


@wrong("Your corners have the kinds of points, 0 and 1: theirs are 2 and 3.")
class CornersAsPoints(Points):
    def of_box(self, boxes):
        return self.place(self.cells(self.corners(boxes))) + self.kinds[:2]


@wrong("Both corners are foreground points in yours: they have kinds of their own, 2 and 3.")
class CornersAreForeground(Points):
    def of_box(self, boxes):
        return self.place(self.cells(self.corners(boxes))) + self.kinds[1]


@wrong("You took a box as x0, x1, y0, y1: it is x0, y0, x1, y1, one corner and then the other.")
class BoxSplitByAxis(Points):
    def corners(self, boxes):
        return super().corners(boxes).mT


@wrong("You took a box as x, y, width, height: its last two numbers are the lower right corner already.")
class BoxAsSize(Points):
    def corners(self, boxes):
        return torch.stack([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-2)


@wrong("You made of a box its middle and its size: its tokens are its two corners.")
class BoxAsMiddle(Points):
    def corners(self, boxes):
        upper, lower = boxes[..., :2], boxes[..., 2:]
        return torch.stack([(upper + lower) / 2, lower - upper], dim=-2)


@wrong("You gave a box four tokens, one for each corner: it has two.")
class FourCorners(Points):
    def of_box(self, boxes):
        x0, y0, x1, y1 = boxes.unbind(-1)
        corners = torch.stack([x0, y0, x1, y0, x0, y1, x1, y1], dim=-1).unflatten(-1, (4, 2))
        return self.place(self.cells(corners)) + self.kinds[[2, 2, 3, 3]]


@wrong("With a box your points are gone: the box's tokens come after theirs.")
class BoxAlone(Points):
    def forward(self, points, labels, boxes=None):
        tokens = super().forward(points, labels, boxes)
        return tokens if boxes is None else tokens[..., -2:, :]


@wrong("You ignore the boxes: each has two tokens, after the points.")
class NoBoxes(Points):
    def forward(self, points, labels, boxes=None):
        return super().forward(points, labels)


@wrong("Your batch is flattened: keep its own dimensions.")
class FlatBatch(Points):
    def forward(self, points, labels, boxes=None):
        tokens = super().forward(points, labels, boxes)
        return tokens.reshape(-1, *tokens.shape[-2:])


@wrong(
    "You change the points in place: points += 0.5 changes what the caller still holds; write points + 0.5."
)
class PointsInPlace(Points):
    def of_points(self, points, labels):
        points += 0.5
        return super().of_points(points - 0.5, labels)


@wrong("You change the labels in place: make a new tensor of them, or use torch.where.")
class LabelsInPlace(Points):
    def of_points(self, points, labels):
        tokens = super().of_points(points, labels)
        labels[labels == -1] = 4
        return tokens


@wrong("You change the boxes in place: boxes += 0.5 changes what the caller still holds; write boxes + 0.5.")
class BoxesInPlace(Points):
    def of_box(self, boxes):
        boxes += 0.5
        return super().of_box(boxes - 0.5)


@wrong(
    "`kinds` and `not_a_point` never learn in yours: do not detach them, and use neither .data nor no_grad."
)
class NothingLearns(Points):
    def forward(self, points, labels, boxes=None):
        return super().forward(points, labels, boxes).detach()


@wrong("`not_a_point` never learns in yours: do not detach it.")
class NotAPointNeverLearns(Points):
    def kind(self, labels):
        return torch.cat([self.kinds, self.not_a_point.detach()[None]])[labels]


# --- a mask: right -------------------------------------------------------------------------------------


@alternative(MASKS)
class PromptByPrompt(MaskEncoder):
    def forward(self, masks, grid):
        if masks is None:
            return self.no_mask.reshape(1, 1, -1, 1, 1).repeat(1, 1, 1, *grid)
        out = []
        for image in range(masks.shape[0]):
            out.append([])
            for prompt in range(masks.shape[1]):
                x = masks[image, prompt].view(1, 1, *masks.shape[-2:])
                x = self.norm1(self.conv1(x))
                x = self.norm2(self.conv2(self.activation(x)))
                out[-1].append(self.conv3(self.activation(x))[0])
            out[-1] = torch.stack(out[-1])
        return torch.stack(out)


@alternative(MASKS)
class ImageByImage(MaskEncoder):
    """One batch of prompts after the other, in a chain of modules; torch's own GELU."""

    def forward(self, masks, grid):
        h, w = grid
        if masks is None:
            return torch.ones(1, 1, 1, h, w) * self.no_mask[:, None, None]
        chain = (self.conv1, self.norm1, F.gelu, self.conv2, self.norm2, F.gelu, self.conv3)
        x = masks.unsqueeze(2)
        for step in chain:
            x = torch.stack([step(one) for one in x.unbind(0)])
        return x


@alternative(MASKS)
class ByPatches(MaskEncoder):
    """A convolution whose stride is its size is a matrix product with each patch; norms by hand."""

    def forward(self, masks, grid):
        h, w = grid
        if masks is None:
            return self.no_mask.tile(h, w, 1).permute(2, 0, 1)[None, None]
        b, n = masks.shape[:2]
        x = masks.reshape(b, n, h, 4, w, 4).unsqueeze(-1)  # (b, n, h, 4, w, 4, 1)
        x = x.reshape(b, n, h, 2, 2, w, 2, 2, 1)
        x = torch.einsum("bnhyuwxvi,oiuv->bnhwyxo", x, self.conv1.weight) + self.conv1.bias
        x = self.activation(self.normed(x, self.norm1))
        x = torch.einsum("bnhwyxi,oiyx->bnhwo", x, self.conv2.weight) + self.conv2.bias
        x = self.activation(self.normed(x, self.norm2))
        x = x @ self.conv3.weight[:, :, 0, 0].T + self.conv3.bias
        return torch.movedim(x, -1, 2)

    def normed(self, x, norm):
        variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
        return (x - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


@alternative(MASKS)
class InOneBatch(MaskEncoder):
    def forward(self, masks, grid):
        if masks is not None:
            images, prompts, height, width = masks.size()
            x = masks.reshape(images * prompts, 1, height, width)
            for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
                x = self.activation(norm(conv(x)))
            return self.conv3(x).reshape(images, prompts, -1, height // 4, width // 4)
        dense = torch.zeros(1, 1, len(self.no_mask), grid[0], grid[1])
        dense += self.no_mask.view(-1, 1, 1)
        return dense


@alternative(MASKS)
class InFloat64(MaskEncoder):
    """Each convolution by its function."""

    def forward(self, masks, grid):
        if masks is None:
            return torch.broadcast_to(
                self.no_mask[None, None, ..., None, None], (1, 1, len(self.no_mask), *grid)
            )
        x = masks.transpose(0, 1).flatten(0, 1).unsqueeze(1).double()
        for conv, norm in zip((self.conv1, self.conv2), (self.norm1, self.norm2), strict=True):
            x = F.conv2d(x, conv.weight.double(), conv.bias.double(), stride=2).movedim(1, -1)
            x = F.layer_norm(x, x.shape[-1:], norm.weight.double(), norm.bias.double(), norm.eps)
            x = F.gelu(x).movedim(-1, 1)
        x = F.conv2d(x, self.conv3.weight.double(), self.conv3.bias.double())
        return x.unflatten(0, (masks.shape[1], masks.shape[0])).transpose(0, 1)


# --- a mask: wrong -------------------------------------------------------------------------------------


class Masks(MaskEncoder):
    """Right as it stands; each mistake changes one step."""

    def pictures(self, masks):
        return masks.flatten(0, 1)[:, None]

    def first(self, x):
        return self.activation(self.norm1(self.conv1(x)))

    def second(self, x):
        return self.activation(self.norm2(self.conv2(x)))

    def third(self, x):
        return self.conv3(x)

    def back(self, x, masks):
        return x.unflatten(0, masks.shape[:2])

    def without(self, grid):
        return self.no_mask[None, None, :, None, None].expand(1, 1, -1, *grid)

    def forward(self, masks, grid):
        if masks is None:
            return self.without(grid)
        return self.back(self.third(self.second(self.first(self.pictures(masks)))), masks)


def bad(sentence):
    return mistake(MASKS, sentence)


@bad("You took a sigmoid of the masks: they go in as logits, which say how sure the model was.")
class SigmoidFirst(Masks):
    def pictures(self, masks):
        return super().pictures(masks).sigmoid()


@bad("You cut the masks off at 0, in or out: they go in as logits, which say how sure the model was.")
class Thresholded(Masks):
    def pictures(self, masks):
        return (super().pictures(masks) > 0).float()


@bad("The norms are missing: norm1 and norm2 stand between convolution and activation.")
class WithoutNorms(Masks):
    def first(self, x):
        return self.activation(self.conv1(x))

    def second(self, x):
        return self.activation(self.conv2(x))


@bad("norm1 is missing: it stands between conv1 and the activation.")
class WithoutNorm1(Masks):
    def first(self, x):
        return self.activation(self.conv1(x))


@bad("norm2 is missing: it stands between conv2 and the activation.")
class WithoutNorm2(Masks):
    def second(self, x):
        return self.activation(self.conv2(x))


@bad("The activations are missing: one follows norm1 and one norm2.")
class WithoutActivations(Masks):
    def first(self, x):
        return self.norm1(self.conv1(x))

    def second(self, x):
        return self.norm2(self.conv2(x))


@bad("The activation after norm1 is missing.")
class WithoutFirstActivation(Masks):
    def first(self, x):
        return self.norm1(self.conv1(x))


@bad("The activation after norm2 is missing.")
class WithoutSecondActivation(Masks):
    def second(self, x):
        return self.norm2(self.conv2(x))


@bad("Your activations come before the norms: conv, norm, activation.")
class ActivationBeforeNorm(Masks):
    def first(self, x):
        return self.norm1(self.activation(self.conv1(x)))

    def second(self, x):
        return self.norm2(self.activation(self.conv2(x)))


@bad("There is an activation after conv3: it is the last step.")
class ActivationAtTheEnd(Masks):
    def third(self, x):
        return self.activation(super().third(x))


@bad("Your activation is a ReLU: use `self.activation`, a GELU.")
class ReLU(Masks):
    def first(self, x):
        return F.relu(self.norm1(self.conv1(x)))

    def second(self, x):
        return F.relu(self.norm2(self.conv2(x)))


@bad("You normalised over the channels and all places together: use the norms as they are, `self.norm1(x)`.")
class NormOverTheImage(Masks):
    def first(self, x):
        return self.activation(self.over_the_image(self.conv1(x), self.norm1))

    def second(self, x):
        return self.activation(self.over_the_image(self.conv2(x), self.norm2))

    def over_the_image(self, x, norm):
        return F.group_norm(x, 1, norm.weight, norm.bias, norm.eps)


@bad(
    "Images and prompts have changed places on the way in: after flatten(0, 1) an image's prompts lie together."
)
class PromptsFirst(Masks):
    def pictures(self, masks):
        return masks.transpose(0, 1).flatten(0, 1)[:, None]


@bad("Images and prompts are swapped in what comes out: unflatten to (images, prompts).")
class UnflattenedSwapped(Masks):
    def back(self, x, masks):
        return x.unflatten(0, (masks.shape[1], masks.shape[0]))


@bad("Your features have no dimension for the prompts: unflatten (images * prompts) to (images, prompts).")
class NotUnflattened(Masks):
    def back(self, x, masks):
        return x


@bad("You used the first prompt's mask for all prompts of an image: each has its own.")
class FirstMask(Masks):
    def pictures(self, masks):
        return super().pictures(masks[:, :1].expand_as(masks))


@bad("The prompts' features are added up in yours: each prompt has its own.")
class SummedOverPrompts(Masks):
    def back(self, x, masks):
        return super().back(x, masks).sum(1, keepdim=True)


@bad("Height and width are swapped in what comes out.")
class Transposed(Masks):
    def back(self, x, masks):
        return super().back(x, masks).mT


@bad("You added `no_mask` to the masks' features: it takes their place where there is no mask.")
class NoMaskAdded(Masks):
    def back(self, x, masks):
        return super().back(x, masks) + self.no_mask[:, None, None]


@bad("You give `no_mask` although there are masks: it is for masks = None.")
class NoMaskAlways(Masks):
    def back(self, x, masks):
        return self.without(x.shape[-2:]).expand(*masks.shape[:2], -1, -1, -1)


@bad("Without masks you give zeros: give `no_mask` at every place.")
class Zeros(Masks):
    def without(self, grid):
        return torch.zeros_like(super().without(grid))


@bad("Without masks you run the convolutions on a mask of zeros, which means “unsure”: give `no_mask`.")
class MaskOfZeros(Masks):
    def without(self, grid):
        return self.forward(torch.zeros(1, 1, 4 * grid[0], 4 * grid[1]), grid)


@bad("Without masks, yours is as large as a mask, 4 h by 4 w: it has the size of the features, h by w.")
class AsLargeAsAMask(Masks):
    def without(self, grid):
        return super().without((4 * grid[0], 4 * grid[1]))


@bad("Without masks your grid is transposed: it is h by w, in this order.")
class GridTransposed(Masks):
    def without(self, grid):
        return super().without(grid[::-1])


@bad("Without masks you give `no_mask` for one place: spread it over the grid, h by w.")
class OnePlace(Masks):
    def without(self, grid):
        return super().without((1, 1))


@bad("Without masks your result has one dimension too few: (1, 1, dim, h, w), for images and prompts.")
class OneDimensionTooFew(Masks):
    def without(self, grid):
        return super().without(grid)[0]


@bad("Without masks your result has no dimensions for images and prompts: (1, 1, dim, h, w).")
class TwoDimensionsTooFew(Masks):
    def without(self, grid):
        return super().without(grid)[0, 0]


@bad("Without masks your width (dim) comes last: (1, 1, dim, h, w).")
class WidthLast(Masks):
    def without(self, grid):
        return super().without(grid).movedim(2, -1)


@bad("Without masks you give the bare `no_mask`: it is wanted at every place, as (1, 1, dim, h, w).")
class BareNoMask(Masks):
    def without(self, grid):
        return self.no_mask


@bad("Where there is one image or one prompt its dimension is gone: squeeze nothing.")
class Squeezed(Masks):
    def back(self, x, masks):
        return super().back(x, masks).squeeze()


@bad("You change the shape of the caller's masks: unsqueeze_ works in place, unsqueeze does not.")
class UnsqueezedInPlace(Masks):
    def forward(self, masks, grid):
        out = super().forward(masks, grid)
        if masks is not None:
            masks.unsqueeze_(2)
        return out


@bad("`no_mask` never learns in yours: do not detach it.")
class NoMaskNeverLearns(Masks):
    def without(self, grid):
        return super().without(grid).detach()


@bad("No gradient reaches the masks: do not detach them.")
class MasksDetached(Masks):
    def pictures(self, masks):
        return super().pictures(masks.detach())


@bad("Your convolutions and norms never learn: do not detach what comes out, and use no_grad nowhere.")
class ConvolutionsNeverLearn(Masks):
    def back(self, x, masks):
        return super().back(x, masks).detach()
