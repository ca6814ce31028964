"""What the models learn from.

Read in this order: `bpe` (from text to token ids and back), `scenes` (pictures with captions, boxes, masks
and questions, drawn from a seed).
"""
