"""What two frozen networks see in the emoji data set: ready-made features, for training linear heads on top.

`text`: MiniLM (all-MiniLM-L6-v2), trained on a billion pairs of sentences, of the names.
`image`: EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet's 1,000 classes, of the pictures on white:
what it computes before its classes, in 256 principal components of the training styles' training concepts.

The weights are not part of the course; `data/features/build.py` says where they come from.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.data.emoji import STYLES, EmojiSet, load_emoji
from cs_vl.data.files import DamagedFile, data_file, read_tensors


@dataclass(frozen=True)
class Features:
    """Frozen features.

    Attributes:
        text: of each concept's name, of length 1, in the order of `Emoji.names`.
        image: by style, in the order of `Emoji.concepts(style)`; not normalised, their mean near zero.
        concept: by style, what each row of `image` shows, an index into `Emoji.names`; ascending.
    """

    text: Float[Tensor, "concepts 384"]
    image: dict[str, Float[Tensor, "n 256"]]
    concept: dict[str, Int[Tensor, " n"]]

    def of(self, pictures: EmojiSet) -> Float[Tensor, "n 256"]:
        """The image features of some pictures."""
        found = torch.empty(len(pictures), next(iter(self.image.values())).shape[1])
        for index in pictures.style.unique().tolist():
            style, here = STYLES[index], pictures.style == index
            found[here] = self.image[style][torch.searchsorted(self.concept[style], pictures.concept[here])]
        return found


def load_features() -> Features:
    """Read the committed features, as float32.

    Raises:
        FileNotFoundError: a file is missing.
        DamagedFile (a ValueError): a file is not whole, or was made for other pictures.
    """
    emoji = load_emoji()
    path = data_file("features/text.safetensors")
    text = read_tensors(path).get("text")
    if text is None or len(text) != len(emoji):
        raise DamagedFile(path, f"it should have a row for each of {len(emoji)} names")
    path = data_file("features/images.safetensors")
    image = read_tensors(path)
    concept = {style: emoji.concepts(style) for style in STYLES}
    for style, shown in concept.items():
        if style not in image or len(image[style]) != len(shown):
            raise DamagedFile(path, f"it should have {len(shown)} rows for the style {style}")
    return Features(text.float(), {style: image[style].float() for style in STYLES}, concept)
