"""Scenes: a few objects on a plain canvas, and everything about them that is true.

All of a scene's chance is one row of uniform numbers, drawn before anything else.  So scene i depends on
the seed and on i alone: `make_scenes(10, seed=0)` are the first ten of `make_scenes(1000, seed=0)`.
"""

from dataclasses import dataclass, fields
from typing import Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs_vl.data.shapes import Shapes

RELATIONS = ("left of", "right of", "above", "below")
MAX_OBJECTS = 6
TRIES = 24  # positions tried for an object before it settles for the least crowded of them


class Bank(Protocol):
    """What scenes are made of: `cs_vl.data.shapes.Shapes`, `cs_vl.data.sprites.Sprites`."""

    @property
    def kind_names(self) -> tuple[str, ...]: ...
    @property
    def colour_names(self) -> tuple[str, ...]: ...
    def draw(self, kind: Tensor, colour: Tensor, x: Tensor, y: Tensor, pixel: Tensor) -> Tensor: ...


@dataclass(frozen=True, repr=False, eq=False)
class Scenes:
    """n scenes with room for `objects` objects each: hindmost first, and the absent ones after the present.

    Pixel (row, column) covers the half-open square [column, column + 1) x [row, row + 1).
    """

    images: Float[Tensor, "n 3 height width"]  # in [0, 1]
    masks: Bool[Tensor, "n objects height width"]  # the visible part: objects in front are cut out
    full_masks: Bool[Tensor, "n objects height width"]  # hidden parts too
    boxes: Int[Tensor, "n objects 4"]  # x0, y0, x1, y1, half-open, tight around the visible part; 0 if absent
    kind: Int[Tensor, "n objects"]  # index into kind_names; -1 where there is no object
    colour: Int[Tensor, "n objects"]  # index into colour_names; -1 where there is no object
    kind_names: tuple[str, ...]
    colour_names: tuple[str, ...]

    @property
    def present(self) -> Bool[Tensor, "n objects"]:
        return self.kind >= 0

    @property
    def count(self) -> Int[Tensor, " n"]:
        return self.present.sum(1)

    @property
    def centres(self) -> Float[Tensor, "n objects 2"]:
        """The boxes' centres (x, y) in pixels."""
        return (self.boxes[..., :2] + self.boxes[..., 2:]).float() / 2

    @property
    def size(self) -> int:
        """Height and width of the canvas in pixels."""
        return self.images.shape[-1]

    def __repr__(self) -> str:
        return f"Scenes({len(self)} of {self.size} x {self.size} pixels, {int(self.count.sum())} objects)"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> "Scenes":
        """Some of the scenes; an int gives the one scene, still as a `Scenes`."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"scene {index} of {len(self)}")
            index = [index % len(self)]
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> "Scenes":
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, function) -> "Scenes":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Scenes(**{k: function(v) if isinstance(v, Tensor) else v for k, v in values.items()})


def make_scenes(
    n: int,
    *,
    seed: int | torch.Generator,
    size: int = 64,
    objects: tuple[int, int] = (1, 4),
    layout: Literal["free", "grid"] = "free",
    grid: int = 2,
    bank: Bank | None = None,
    kinds: tuple[str, ...] | None = None,
    colours: tuple[str, ...] | None = None,
) -> Scenes:
    """Draw n random scenes.

    Args:
        seed: an int, or a generator (on the CPU) to draw on with.  torch's global stream is never touched.
        size: height and width in pixels, 16 or more.
        objects: fewest and most objects in a scene, 0 to 6; every number between is equally likely.
        layout: "free", anywhere with little overlap; "grid", at most one object in a cell of a grid x grid
            board, with some play inside its cell.
        bank: what to draw; by default coloured shapes.
        kinds, colours: names of the shapes and colours to use (default: all); not together with `bank`.
    """
    if bank is not None and (kinds is not None or colours is not None):
        raise ValueError("kinds and colours choose among the shapes; with a bank of your own, choose there")
    if bank is None:
        chosen = {"kinds": kinds, "colours": colours}
        bank = Shapes(**{name: tuple(value) for name, value in chosen.items() if value is not None})
    _check_arguments(n, size, objects, layout, grid)

    fewest, most = objects
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator("cpu").manual_seed(seed)
    columns = [1, 4, most, most, most, 2 * TRIES * most, grid * grid]
    uniform = torch.rand(n, sum(columns), generator=generator, device="cpu", dtype=torch.float32)
    u_count, u_canvas, u_kind, u_colour, u_radius, u_place, u_cell = uniform.split(columns, dim=1)
    u_place = u_place.unflatten(1, (most, TRIES, 2))

    count = fewest + (u_count * (most - fewest + 1)).long()  # (n, 1)
    absent = torch.arange(most, device="cpu") >= count  # (n, most)
    kind = (u_kind * len(bank.kind_names)).long().masked_fill(absent, -1)
    colour = (u_colour * len(bank.colour_names)).long().masked_fill(absent, -1)
    if layout == "grid":
        radius = (0.32 + 0.12 * u_radius) / grid
        cells = u_cell.argsort(dim=1)[:, :most]  # a random order of the cells: no two objects share one
        corner = torch.stack([cells % grid, cells // grid], dim=-1) / grid
        centre = corner + radius[..., None] + u_place[:, :, 0] * (1 / grid - 2 * radius[..., None])
    else:
        radius = (0.22 + 0.11 * u_radius) / max(most, 1) ** 0.5
        centre = _place_apart(u_place, radius)

    # A pale or a dark canvas, with a tint: too grey to be taken for an object's colour.
    canvas = 0.08 + 0.80 * u_canvas[:, :1].round() + 0.12 * u_canvas[:, 1:]
    images, full_masks = _paint(bank, kind, colour, centre * size, radius * size, canvas, size)

    in_front = torch.zeros_like(full_masks[:, 0]) if most else full_masks.new_zeros(n, size, size)
    masks = torch.empty_like(full_masks)
    for slot in reversed(range(most)):
        masks[:, slot] = full_masks[:, slot] & ~in_front
        in_front |= full_masks[:, slot]
    return Scenes(
        images, masks, full_masks, tight_boxes(masks), kind, colour, bank.kind_names, bank.colour_names
    )


def _check_arguments(n: int, size: int, objects: tuple[int, int], layout: str, grid: int) -> None:
    if n < 0:
        raise ValueError(f"the number of scenes can't be negative; got n={n}")
    if size < 16:
        raise ValueError(f"size must be 16 pixels or more, for shapes to be told apart; got {size}")
    if not (isinstance(objects, tuple | list) and len(objects) == 2):
        raise ValueError(f"objects must be a pair (fewest, most); got {objects!r}")
    fewest, most = objects
    if not 0 <= fewest <= most <= MAX_OBJECTS:
        raise ValueError(f"a scene can have 0 to {MAX_OBJECTS} objects, (fewest, most); got {objects}")
    if layout not in ("free", "grid"):
        raise ValueError(f'layout must be "free" or "grid"; got {layout!r}')
    if layout == "grid" and not (grid >= 1 and most <= grid * grid and size >= 8 * grid):
        raise ValueError(
            f"a {grid} x {grid} grid has {grid * grid} cells, at 8 pixels a side or more: it can't hold "
            f"{most} objects on {size} pixels; choose fewer objects, another grid or a larger size"
        )


def _place_apart(
    uniform: Float[Tensor, "n objects tries 2"], radius: Float[Tensor, "n objects"]
) -> Float[Tensor, "n objects 2"]:
    """Each object in turn takes the first try that is clear of the earlier ones, or else the clearest one."""
    centre = torch.zeros_like(uniform[:, :, 0])
    for slot in range(uniform.shape[1]):
        r = radius[:, slot, None, None]
        tries = r + uniform[:, slot] * (1 - 2 * r)  # (n, tries, 2): wholly on the canvas
        apart = torch.linalg.vector_norm(tries[:, :, None] - centre[:, None, :slot], dim=-1)
        clearance = apart - 0.85 * (radius[:, None, slot, None] + radius[:, None, :slot])  # (n, tries, slot)
        if slot:
            # Where several are clear (0 after clamping), argmax gives the first.
            best = clearance.amin(dim=-1).clamp(max=0).argmax(dim=1)
            centre[:, slot] = tries[torch.arange(len(tries), device="cpu"), best]
        else:
            centre[:, slot] = tries[:, 0]
    return centre


def _paint(
    bank: Bank, kind: Tensor, colour: Tensor, centre: Tensor, radius: Tensor, canvas: Tensor, size: int
) -> tuple[Float[Tensor, "n 3 size size"], Bool[Tensor, "n objects size size"]]:
    """Lay the objects over the canvas, one slot after the other.  Centres and radii are in pixels."""
    n, most = kind.shape
    images = canvas[:, :, None, None].repeat(1, 1, size, size)
    full_masks = torch.zeros(n, most, size, size, dtype=torch.bool, device="cpu")
    pixels = torch.arange(size, device="cpu", dtype=torch.float32) + 0.5
    for slot in range(most):
        for here in (kind[:, slot] >= 0).nonzero().squeeze(1).split(64):  # a few at a time stay in the cache
            r = radius[here, slot, None]
            x = (pixels - centre[here, slot, :1]) / r
            y = (pixels - centre[here, slot, 1:]) / r
            rgba = bank.draw(kind[here, slot], colour[here, slot], x[:, None, :], y[:, :, None], 1 / r[:, 0])
            images[here] = images[here] * (1 - rgba[:, 3:]) + rgba[:, :3]
            full_masks[here, slot] = rgba[:, 3] > 0.5
    return images, full_masks


def tight_boxes(masks: Bool[Tensor, "*batch height width"]) -> Int[Tensor, "*batch 4"]:
    """x0, y0, x1, y1 with x1, y1 just outside; zeros for an empty mask."""
    corners = []
    for across in (masks.any(dim=-2), masks.any(dim=-1)):  # which columns, which rows
        across = across.byte()
        first = across.argmax(dim=-1)
        end = across.shape[-1] - across.flip(-1).argmax(dim=-1)
        corners.append((first, end * across.amax(dim=-1)))
    (x0, x1), (y0, y1) = corners
    return torch.stack([x0, y0, x1, y1], dim=-1)


def spatial_relations(scenes: Scenes, margin: float = 0.1) -> Bool[Tensor, "n objects objects 4"]:
    """Whether object a is `RELATIONS[r]` object b, at [scene, a, b, r], judged by the boxes' centres.

    Args:
        margin: how much further along the axis, as a fraction of the canvas; nearer than that is neither.
    """
    x, y = (scenes.centres[:, :, None] - scenes.centres[:, None]).unbind(-1)  # of a, seen from b
    margin = margin * scenes.size
    holds = torch.stack([x < -margin, x > margin, y < -margin, y > margin], dim=-1)
    both = scenes.present[:, :, None] & scenes.present[:, None]
    return holds & both[..., None]


def cell_targets(scenes: Scenes, grid: int = 2) -> Int[Tensor, "n cells"]:
    """What is where: for each cell of a grid x grid board, row by row, the object whose centre lies there.

    0 for nothing, else 1 + kind * number of colours + colour; where several share a cell, the frontmost.
    """
    x, y = (scenes.centres * grid / scenes.size).long().unbind(-1)
    label = 1 + scenes.kind * len(scenes.colour_names) + scenes.colour
    # An extra cell takes what is absent, and is thrown away.
    targets = torch.zeros(len(scenes), grid * grid + 1, dtype=torch.long, device=x.device)
    cell = torch.where(scenes.present, y * grid + x, grid * grid)
    for slot in range(cell.shape[1]):
        targets.scatter_(1, cell[:, slot, None], label[:, slot, None])
    return targets[:, :-1]
