"""What the models learn from.

Read in this order: `bpe` (from text to token ids and back), `scenes` (pictures with captions, boxes, masks
and questions, drawn from a seed), `emoji` (real pictures with names, by nine artists) with `emoji_captions`
and `parts`, `features` (what two pretrained networks say of them), `augment` and `balance`.
"""
