"""Learn the world's vocabulary again: `python data/world/train_tokenizer.py [VOCAB_SIZE]` (after build.py).

It sees what the language model reads, and questions and answers about scenes; but no nicknames, so that those
of "train" and of "test" fall into pieces alike.
"""

import sys
from pathlib import Path

from cs_vl.data.bpe import END, PAD, Tokenizer
from cs_vl.data.chat import ASSISTANT, EOC, IMAGE, USER, chat
from cs_vl.data.instructions import make_instructions
from cs_vl.data.world import load_world, make_world_scenes
from cs_vl.data.world_text import DOCUMENTS, world_documents

VOCAB_SIZE = 1500


def corpus() -> str:
    world = load_world()
    kinds = [kind for kind in DOCUMENTS if kind != "nickname"]
    texts = world_documents(world, seed=0, n=40_000, kinds=kinds)
    scenes = make_world_scenes(2000, seed=0, size=16)
    texts += [chat(example.turns) for example in make_instructions(world, scenes, seed=0, per_scene=3)]
    return "\n".join(texts)


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else VOCAB_SIZE
    specials = (END, PAD, IMAGE, EOC, USER, ASSISTANT)
    Tokenizer.train(corpus(), size, specials).save(Path(__file__).parent / "tokenizer.json")
