"""Learn the vocabulary again: `python data/emoji/train_tokenizer.py [VOCAB_SIZE]` (after build.py).

It sees every caption of the training concepts in the three training styles, and captions and questions of
scenes; nothing of held-out concepts (whose words occur in training names all the same).
"""

import sys
from pathlib import Path

from cs_vl.data.bpe import Tokenizer
from cs_vl.data.captions import make_captions
from cs_vl.data.emoji import load_emoji
from cs_vl.data.emoji_captions import caption_variants
from cs_vl.data.questions import make_questions
from cs_vl.data.scenes import make_scenes

VOCAB_SIZE = 2048


def corpus() -> str:
    emoji = load_emoji()
    texts = [text for i in emoji.concepts(split="train").tolist() for text in caption_variants(emoji, i)]
    scenes = make_scenes(1000, seed=0, size=16)
    for style in ("objects", "kinds", "relation"):
        texts += make_captions(scenes, style)
    for question in make_questions(scenes, 2, seed=0):
        texts += [question.text, question.answer]
    return "\n".join(texts)


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else VOCAB_SIZE
    Tokenizer.train(corpus(), size).save(Path(__file__).parent / "tokenizer.json")
