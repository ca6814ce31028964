"""What long trainings left behind, and the comparison that the notebook makes with it."""

import pytest

from cs_vl.data.emoji import TRAIN_STYLES, load_emoji
from cs_vl.data.emoji_captions import load_tokenizer
from cs_vl.data.files import DamagedFile
from cs_vl.tasks.emoji_clip import clip_answers, emoji_scores
from cs_vl.tasks.few_shot import few_shot_scores
from cs_vl.tasks.stored import (
    along,
    final_scores,
    load_emoji_clip,
    score_table,
    scores_along,
    stored_experiment,
    stored_runs,
)

EXPERIMENTS = {
    "objective": {"infonce", "words", "captions"},
    "loss": {"infonce", "siglip"},
    "batch_size": {"64", "256", "1024"},
    "styles": {"1", "3", "5"},
    "balance": {"raw", "balanced"},
    "data_size": {"25%", "50%", "100%"},
    "model_size": {"8", "24", "40"},
}


def test_the_committed_clip_names_things_that_it_has_never_seen():
    emoji, tokenizer, model = load_emoji(), load_tokenizer(), load_emoji_clip()
    assert not model.training
    scores = emoji_scores(clip_answers(model, tokenizer, emoji), emoji, styles=TRAIN_STYLES, every=16)
    stored = stored_runs("vit")[0]["final"]
    for key in ("unseen top1", "unseen top5"):
        assert abs(scores[key] - stored[key]) < 0.02, key  # float16, and other machines
    assert scores["unseen top5"] > 0.3  # chance is 0.036
    few = few_shot_scores(model, tokenizer, emoji, finetune_steps=5)
    assert few["fine-tuning"] > few["zero-shot"]
    assert few["nearest neighbours"] > few["zero-shot"] > 5 * few["chance"]
    assert few["linear probe"] > few["zero-shot"]


def test_stored_runs_have_seeds_and_curves():
    runs = stored_runs("cnn")
    assert len({run["seed"] for run in runs}) == len(runs) >= 1
    assert scores_along(runs, TRAIN_STYLES).shape == (len(runs), len(runs[0]["at"]))
    assert len(final_scores(runs, ["twemoji"])["twemoji"]) == len(runs)
    with pytest.raises(FileNotFoundError, match="no stored run 'nothing'"):
        stored_runs("nothing")


def test_stored_experiments_have_all_settings_and_seeds():
    for name, settings in EXPERIMENTS.items():
        records = stored_experiment(name)
        assert set(records) == settings, name
        for setting, seeds in records.items():
            assert sorted(record["seed"] for record in seeds) == [0, 1, 2], (name, setting)
            watched = along(seeds, "unseen top5")
            assert watched.shape == along(seeds, "teraflops").shape == (3, 4)
            assert final_scores(seeds, ["unseen top5"], of="scores")["unseen top5"][0] > 0
    with pytest.raises(FileNotFoundError, match="nothing"):
        stored_experiment("nothing")


def test_a_table_shows_means_ranges_and_what_is_missing():
    table = score_table(
        ["run"], [(["a"], [{"x": 0.1}, {"x": 0.2}]), (["b"], [{"y": 1.0}])], {"x": "X", "y": "Y"}
    )
    assert table.split("\n") == [
        "| run | seeds | X | Y |",
        "|---|---|---|---|",
        "| a | 2 | 15.0 (10 to 20) | - |",
        "| b | 1 | - | 100.0 |",
    ]


def test_without_true_captions_nothing_is_known_of_unseen_things():
    true, shuffled = (
        final_scores(stored_runs(name), ["unseen top5"])["unseen top5"] for name in ("cnn", "cnn-shuffled")
    )
    assert max(shuffled) < 0.1 < 0.3 < min(true)


def test_a_damaged_checkpoint_is_told_in_a_sentence(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "emoji_clip.safetensors").write_bytes(b"nothing")
    monkeypatch.setenv("CS_VL_DATA", str(tmp_path))
    with pytest.raises(DamagedFile, match="emoji_clip"):
        load_emoji_clip()
