"""Captions: scenes in words."""

from collections import Counter
from itertools import permutations
from typing import Literal

import torch

from cs_vl.data.scenes import RELATIONS, Scenes, spatial_relations

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def name(scenes: Scenes, kind: int, colour: int) -> str:
    """For instance "red circle"; the kind alone where the bank has no colours."""
    return f"{scenes.colour_names[colour]} {scenes.kind_names[kind]}".strip()


def object_names(scenes: Scenes) -> list[list[str]]:
    """The names of each scene's objects, in the order of their slots."""
    pairs = torch.stack([scenes.kind, scenes.colour], dim=-1).tolist()
    return [[name(scenes, kind, colour) for kind, colour in row if kind >= 0] for row in pairs]


def make_captions(
    scenes: Scenes, style: Literal["objects", "kinds", "relation"] = "objects", *, margin: float = 0.1
) -> list[str]:
    """One caption a scene.

    Args:
        style: "objects": all objects, "a red circle and two green stars";
            "kinds": without colours, "a circle and two stars";
            "relation": the first pair that is apart, "a red circle left of a green star", where neither
            name occurs twice in the scene; a scene without such a pair gets its "objects" caption.
        margin: how far apart, as in `spatial_relations`.
    """
    if style == "kinds":
        kinds = [[scenes.kind_names[kind] for kind in row if kind >= 0] for row in scenes.kind.tolist()]
        return [_list_all(names) for names in kinds]
    if style == "objects":
        return [_list_all(names) for names in object_names(scenes)]
    if style != "relation":
        raise ValueError(f'style must be "objects", "kinds" or "relation"; got {style!r}')

    captions = []
    holds, centres = spatial_relations(scenes, margin), scenes.centres.tolist()
    for names, related, centre in zip(object_names(scenes), holds.tolist(), centres, strict=True):
        captions.append(_first_relation(names, related, centre) or _list_all(names))
    return captions


def _first_relation(names: list[str], related: list, centre: list) -> str | None:
    for i, j in permutations(range(len(names)), 2):
        if any(related[i][j]) and names.count(names[i]) == names.count(names[j]) == 1:
            # Of two that hold, say the one that is more plainly to be seen.
            dx, dy = abs(centre[i][0] - centre[j][0]), abs(centre[i][1] - centre[j][1])
            axis = slice(0, 2) if dx > dy else slice(2, 4)
            relation = RELATIONS[axis][related[i][j][axis].index(True)]
            return f"{a(names[i])} {relation} {a(names[j])}"
    return None


def _list_all(names: list[str]) -> str:
    """Equal names are counted; the order is that of their first occurrence."""
    if not names:
        return "nothing"
    times = Counter(names).items()
    return join([a(noun) if n == 1 else f"{NUMBERS[n]} {plural(noun)}" for noun, n in times])
