"""What models are for: small tasks, each with its data, its loss and its score.

Read in this order:

- `caption_lm` (write captions), `what_is_where` (read scenes);
- what a trained CLIP can do: `zero_shot` (classify by names), `retrieval` (search), `linear_probe` and `knn`
  (read its features), `finetune` (go on training it), `few_shot` (what helps most with few pictures);
- `emoji_clip` (train one, and ask it for what it has never seen), `emoji_levels` (coarse and fine questions),
  `emoji_classifier` (its supervised twin), `lit` (its twin with locked towers), `caption_prediction` (models
  that predict the caption instead), `stored` (those that have been trained already).
- models that answer in words: `vqa` (ask, and compare), `controls` (without the picture, or the question),
  `caption_metrics`, `hallucination` (POPE), `relative_score` (a judge's);
- language models that see: `scene_models` (their sizes, and those that have been trained), `scene_training`
  (what they learn from), `scene_answers` (ask them), `in_context` (show examples), `scene_results`;
- masks: `clicks` (an annotator who clicks on what is wrong), `sam_models`, `sam_training`, `sam_scores`,
  `sam_results`; everything in a picture: `point_grid` (ask everywhere), `stability` and `nms` (keep what is
  steady and new), `automatic_masks`, `rle` (store them); `data_engine` (a model that helps to label) with its
  `annotator`;
- masks for everyone: `predictor` (pictures of any size), `click_figure` (click at them), `edges`,
  `text_prompt` (name what is to be cut out).
"""
