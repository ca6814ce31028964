"""Augmentation: the same thing drawn differently, so that a model learns the thing and not the drawing.

A pixel with alpha is four numbers.  With its colour already multiplied by its alpha (premultiplied, Porter &
Duff 1984), any change of colours by a matrix M and an offset o, laid over a background b, is one product:

    alpha * (M colour + o) + (1 - alpha) * b  =  [M | o - b] [alpha * colour, alpha] + b

So one `grid_sample` and one product turn, scale, move and recolour a batch and put it on its background.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)
EDGES = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # the Sobel filter, from left to right


def augment(
    rgba: Float[Tensor, "n 4 height width"],
    generator: torch.Generator | None = None,
    *,
    colours: float = 1.0,
    outlines: float = 0.1,
) -> Float[Tensor, "n 3 height width"]:
    """Random pictures of the same things, in [0, 1]: shifted in shape, in colours and in background.

    Args:
        rgba: colours and alpha in [0, 1], the colours not premultiplied.
        generator: what to draw on with; on the CPU.
        colours: the share of pictures whose colours change; the others stay as they are, on white.
        outlines: the share of those whose colours change that become a line drawing.
    """
    premultiplied = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    premultiplied = random_affine(premultiplied, generator)
    n, device = len(rgba), rgba.device
    matrix, offset, background = torch.eye(3).repeat(n, 1, 1), torch.zeros(n, 3), torch.ones(n, 3)
    drawn = torch.zeros(n, dtype=torch.bool)
    if colours:
        changed = torch.rand(n, generator=generator) < colours
        matrix[changed], offset[changed] = random_colours(int(changed.sum()), generator)
        background[changed] = random_backgrounds(int(changed.sum()), generator)
        drawn = changed & (torch.rand(n, generator=generator) < outlines)
    images = recolour(premultiplied, matrix.to(device), offset.to(device), background.to(device))
    drawn = drawn.to(device)
    images[drawn] = outline(images[drawn])
    return images


def random_affine(
    images: Float[Tensor, "n channels height width"],
    generator: torch.Generator | None = None,
    *,
    degrees: float = 15,
    scale: tuple[float, float] = (0.75, 1.1),
    stretch: float = 0.1,
    shift: float = 0.08,
    flip: float = 0.5,
) -> Float[Tensor, "n channels height width"]:
    """Each image turned, scaled, stretched, mirrored and moved; what comes in from outside is 0.

    Args:
        degrees: turned by at most so much, either way.
        scale: smallest and largest size, 1 = as it is.
        stretch: width against height, at most by this share.
        shift: moved by at most this share of the width and of the height.
        flip: the share of images that are mirrored.
    """
    turn, size, wide, x, y, mirror = torch.rand(6, len(images), generator=generator)
    angle = math.radians(degrees) * (2 * turn - 1)
    size = scale[0] + (scale[1] - scale[0]) * size
    wide = 1 + stretch * (2 * wide - 1)
    mirror = torch.where(mirror < flip, -1.0, 1.0)
    # Where each pixel of the result looks in the original: the inverse of the map.
    across = torch.stack([angle.cos() / (size * wide) * mirror, angle.sin() / (size * wide) * mirror], dim=1)
    down = torch.stack([-angle.sin() / size * wide, angle.cos() / size * wide], dim=1)
    move = 2 * shift * (2 * torch.stack([x, y], dim=1) - 1)
    theta = torch.cat([torch.stack([across, down], dim=1), move[:, :, None]], dim=2)  # (n, 2, 3)
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def random_colours(
    n: int, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
    """n random changes of colour, colour -> matrix @ colour + offset.

    Saturation (every fifth loses its colours altogether), tint, contrast, brightness; every seventh is
    turned into its negative.
    """
    saturation, contrast, brightness, grey, negative = torch.rand(5, n, generator=generator)
    saturation = torch.where(grey < 0.2, 0.0, 0.3 + 1.2 * saturation)
    contrast = 0.5 + contrast
    contrast = torch.where(negative < 1 / 7, -contrast, contrast)
    tint = 0.75 + 0.5 * torch.rand(n, 3, generator=generator)

    luma = torch.tensor(LUMA).expand(3, 3)  # each row: grey from red, green and blue
    matrix = saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * luma
    matrix = contrast[:, None, None] * tint[:, :, None] * matrix
    # Contrast turns about the middle, 0.5; brightness moves that by up to 0.2.
    offset = 0.5 - 0.5 * contrast + 0.4 * (brightness - 0.5)
    return matrix, offset[:, None].expand(n, 3)


def random_backgrounds(n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3"]:
    """A plain colour for each: white for half of them, any for the others."""
    plain = torch.rand(n, 1, generator=generator)
    return torch.where(plain < 0.5, 1.0, torch.rand(n, 3, generator=generator))


def recolour(
    premultiplied: Float[Tensor, "n 4 height width"],
    matrix: Float[Tensor, "*n 3 3"],
    offset: Float[Tensor, "*n 3"],
    background: Float[Tensor, "*n 3"],
) -> Float[Tensor, "n 3 height width"]:
    """Change the colours, lay the picture over its background, cut off what leaves [0, 1]."""
    over = torch.cat([matrix, (offset - background)[..., None]], dim=-1)  # (*n, 3, 4)
    pixels = over @ premultiplied.flatten(2) + background[..., None]
    return pixels.clamp(0, 1).unflatten(2, premultiplied.shape[2:])


def outline(images: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n channels height width"]:
    """A line drawing, dark on white: the darker, the steeper the brightness (Sobel)."""
    grey = images.mean(dim=1, keepdim=True)
    across = torch.tensor(EDGES, device=images.device)
    kernels = torch.stack([across, across.T])[:, None]  # (2, 1, 3, 3)
    slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)  # (n, 2, height, width)
    steepness = slopes.square().sum(dim=1, keepdim=True).sqrt()
    return (1 - steepness).clamp(0, 1).expand_as(images)
