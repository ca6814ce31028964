"""What models are for: small tasks, each with its data, its loss and its score.

Read in this order: `caption_lm` (write captions), `what_is_where` (read scenes).
"""
