"""What the models learn from.

Read in this order: `bpe` (from text to token ids and back), `scenes` (pictures with captions, boxes, masks
and questions, drawn from a seed), `emoji` (real pictures with names, by nine artists) with `emoji_captions`
and `parts`, `part_scenes` (scenes with every mask that a click could mean), `square` (pictures of any size
for a model that reads squares), `features` (what two pretrained networks say of them), `augment` and
`balance`.  For models that talk: `world` (things with facts), `world_text` (what a language model reads of
them), `chat`, `instructions` (what it is asked about pictures), `multiple_choice` and `tasks_as_text`.
"""
