"""Vision + language foundation models from scratch.

Read in this order: `nn` (attention, blocks, ViT, text transformer), `data` (tokenizer, scenes),
`train`, `plots`, `tasks` (what models are for), `convert` (load other people's weights), `checks` (how
answers are judged).
"""

__version__ = "0.1.0"
