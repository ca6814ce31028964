"""The emoji CLIP: its batches, its towers, and how it is scored."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cs_vl.data.emoji import SPLITS, TRAIN_STYLES, EmojiSet, load_emoji, on_background
from cs_vl.data.emoji_captions import CaptionTable, load_tokenizer
from cs_vl.nn.conv_net import ConvNet
from cs_vl.nn.conv_stem import ConvStem
from cs_vl.nn.keep_tokens import KeepTokens
from cs_vl.tasks.caption_prediction import (
    captioner_answers,
    captioner_loss,
    make_emoji_captioner,
    make_word_predictor,
    word_answers,
    word_loss,
)
from cs_vl.tasks.emoji_classifier import EmojiClassifier, classifier_answers, classifier_loss
from cs_vl.tasks.emoji_clip import (
    COMPLETE_STYLES,
    EmojiBatch,
    clamp_scale,
    clip_answers,
    clip_loss,
    distinct_rows,
    emoji_batches,
    emoji_scores,
    make_emoji_clip,
    make_vision_tower,
    scored_concepts,
    training_pictures,
    unseen_scores,
)
from cs_vl.tasks.emoji_levels import LEVELS, level_scores, levels_by_chance
from cs_vl.train import fit
from tests.scripts import load_script

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def emoji():
    return load_emoji()


@pytest.fixture(scope="module")
def captions(emoji):
    return CaptionTable(emoji, load_tokenizer())


def test_training_never_sees_what_is_held_out(emoji):
    pictures = training_pictures(emoji)
    assert (emoji.split[pictures.concept] != SPLITS.index("held_out")).all()
    assert set(pictures.style.tolist()) == set(range(len(TRAIN_STYLES)))
    chosen = training_pictures(emoji, splits=("train",))
    assert (emoji.split[chosen.concept] == SPLITS.index("train")).all() and len(chosen) < len(pictures)


def test_a_share_is_of_concepts_in_all_their_styles(emoji):
    whole, half = training_pictures(emoji), training_pictures(emoji, share=0.5)
    kept = half.concept.unique()
    assert len(kept) == round(0.5 * len(whole.concept.unique()))
    assert len(half) == torch.isin(whole.concept, kept).sum()


def test_no_two_of_a_batch_are_of_the_same_concept():
    concept = torch.tensor([7, 7, 7, 2, 2, 9, 0, 7])
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        rows = distinct_rows(concept, 100, generator)
        assert concept[rows].sort().values.tolist() == [0, 2, 7, 9]
        assert len(distinct_rows(concept, 3, generator)) == 3
    drawn = {
        int(row) for s in range(60) for row in distinct_rows(concept, 9, torch.Generator().manual_seed(s))
    }
    assert drawn == set(range(8))


def test_a_batch_holds_pictures_and_their_captions(emoji, captions):
    batch = emoji_batches(training_pictures(emoji), captions, 64)(0, torch.Generator().manual_seed(0))
    assert batch.images.shape == (64, 3, 32, 32) and len(batch.concept.unique()) == 64
    for ids, length, concept in zip(batch.ids, batch.lengths, batch.concept, strict=True):
        assert (captions.ids[concept, :, :length] == ids[:length]).all(dim=1).any()


@pytest.mark.parametrize("kind", ["vit", "cnn"])
def test_a_step_of_training_reaches_every_parameter(emoji, captions, kind):
    torch.manual_seed(0)
    model = make_emoji_clip(load_tokenizer(), kind)
    batch = emoji_batches(training_pictures(emoji), captions, 16)(0, torch.Generator().manual_seed(0))
    loss, metrics = clip_loss(model, batch)
    loss.backward()
    assert 0 <= metrics["accuracy"] <= 1
    # A key's bias adds the same to all scores of a query: softmax does not see it.
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(name.endswith("k_proj.bias") for name in idle), idle


def test_the_scale_stays_within_bounds():
    model = make_emoji_clip(load_tokenizer())
    for start, end in ((9.0, 100.0), (-1.0, 1.0)):
        torch.nn.init.constant_(model.logit_scale, start)
        clamp_scale(model)
        assert model.logit_scale.exp().item() == pytest.approx(end, rel=1e-5)


def test_a_stem_gives_a_token_for_each_patch_in_reading_order():
    stem = ConvStem(8, 3, 16).eval()
    images = torch.rand(2, 3, 24, 40)
    assert stem(images).shape == (2, 15, 16)
    changed = images.clone()
    changed[:, :, 17:23, 33:39] += 1  # within the last patch
    difference = (stem(images) - stem(changed)).abs().sum(dim=(0, 2))
    assert difference[14] > 0 and difference[:8].max() == 0
    for size in (1, 6):
        with pytest.raises(ValueError, match="power of 2"):
            ConvStem(size, 3, 16)


def test_tokens_are_dropped_in_training_only():
    keep, tokens = KeepTokens(0.5), torch.arange(2 * 8.0).reshape(2, 8, 1)
    kept = keep(tokens)
    assert kept.shape == (2, 4, 1)
    for mine, all_of_mine in zip(kept, tokens, strict=True):
        assert len(set(mine.flatten().tolist()) & set(all_of_mine.flatten().tolist())) == 4
    assert torch.equal(keep.eval()(tokens), tokens)
    with pytest.raises(ValueError, match="share"):
        KeepTokens(0)


def test_a_conv_net_averages_its_last_maps():
    net = ConvNet(width=4, stages=3).eval()
    out = net(torch.rand(2, 3, 16, 32))
    assert out.maps.shape == (2, net.dim, 2, 4) and net.dim == 16
    torch.testing.assert_close(out.pooled, out.maps.mean(dim=(2, 3)))


def oracle(emoji):
    return lambda pictures: torch.nn.functional.one_hot(pictures.concept, len(emoji)).float()


def test_an_oracle_is_always_right_and_a_constant_never(emoji):
    scores = emoji_scores(oracle(emoji), emoji, styles=("twemoji", "noto", "fluent", "openmoji_line"))
    assert set(scores.values()) == {1.0}
    blank = emoji_scores(lambda p: torch.zeros(len(p), len(emoji)), emoji, styles=TRAIN_STYLES)
    assert set(blank.values()) == {0.0}


def test_scores_know_who_is_asked_among_whom(emoji):
    """A model that confuses every held-out concept with one seen concept is right among the unseen alone."""
    seen = int(emoji.concepts(COMPLETE_STYLES, "train")[0])

    def answer(pictures: EmojiSet) -> torch.Tensor:
        scores = torch.nn.functional.one_hot(pictures.concept, len(emoji)).float()
        scores[emoji.split[pictures.concept] == SPLITS.index("held_out"), seen] = 2.0
        return scores

    scores = emoji_scores(answer, emoji, styles=TRAIN_STYLES)
    assert scores["noto"] == 1 and scores["unseen top1"] == 1
    assert scores["unseen of all top1"] == 0 and scores["unseen of all top5"] == 1


def test_colours_are_not_asked_of_sketches(emoji):
    complete = emoji.concepts(COMPLETE_STYLES)
    assert not emoji.colour_only[scored_concepts(emoji, "openmoji_line", complete)].any()
    assert emoji.colour_only[scored_concepts(emoji, "openmoji", complete)].any()


def test_levels_from_coarse_to_fine(emoji):
    assert level_scores(oracle(emoji), emoji) == dict.fromkeys(LEVELS, 1.0)

    def neighbour(pictures: EmojiSet) -> torch.Tensor:
        """Another concept of the same subgroup, wherever there is one."""
        same = emoji.subgroup[pictures.concept][:, None] == emoji.subgroup
        own = torch.arange(len(emoji)) == pictures.concept[:, None]
        return same.float() - 0.5 * own.float()

    scores = level_scores(neighbour, emoji)
    assert scores["subgroup"] == scores["group"] == 1 and scores["name"] < 0.1
    chance = levels_by_chance(emoji)
    assert 0 < chance["name"] < chance["subgroup"] < chance["group"] < 0.5


def test_a_few_steps_learn(emoji, captions):
    """A dozen concepts: CLIP and its supervised twin both tell them apart."""
    pictures = training_pictures(emoji, share=0.01)
    batches = emoji_batches(pictures, captions, 12, colours=0.0)
    torch.manual_seed(0)
    clip = make_emoji_clip(load_tokenizer(), "cnn", width=8)
    twin = EmojiClassifier(*make_vision_tower("cnn", width=8), len(emoji))
    options = {"steps": 60, "lr": 3e-3, "device": "cpu", "progress": False}
    for model, loss, hook in ((clip, clip_loss, clamp_scale), (twin, classifier_loss, None)):
        history = fit(model, loss, batches, after_step=hook, **options)
        assert sum(history.metrics["accuracy"][-10:]) / 10 > 0.5
    few = pictures.concept.unique()
    place = {int(c): i for i, c in enumerate(few)}
    labels = torch.tensor([place[int(c)] for c in pictures.concept])
    for answer in (clip_answers(clip, load_tokenizer(), emoji), classifier_answers(twin)):
        assert (answer(pictures)[:, few].argmax(dim=1) == labels).float().mean() > 0.5


# ---- data/experiments/run.py ----


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    module = load_script("experiments/run.py", monkeypatch)
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def test_an_experiment_goes_on_with_what_is_missing(experiments, tmp_path):
    done = []

    def train(setting, seed):
        done.append((setting.loss, seed))
        if len(done) == 3:
            raise KeyboardInterrupt
        return {"teraflops": 1.0, "final_loss": 0.0, "scores": dict.fromkeys(experiments.COLUMNS, 0.5)}

    with pytest.raises(KeyboardInterrupt):
        experiments.run("loss", (0, 1), train=train)
    experiments.run("loss", (0, 1), train=train)
    assert done == [("infonce", 0), ("siglip", 0), ("infonce", 1), ("infonce", 1), ("siglip", 1)]
    assert len(json.loads((tmp_path / "loss.json").read_text())["runs"]) == 4
    experiments.run("styles", (0,), train=train)  # "3" is what "infonce" is: trained once
    assert len(done) == 7 and len(experiments.read("styles")) == 3
    assert "| loss | siglip | 1 | 2 | 50.0 (50 to 50) |" in experiments.table()


def test_a_raw_pool_has_a_long_tail_and_balancing_shortens_it(experiments, emoji):
    pictures = training_pictures(emoji, share=0.3)
    counts = {}
    for balanced in (False, True):
        pool = experiments.long_tailed(pictures, emoji, balanced=balanced, seed=0)
        counts[balanced] = torch.bincount(pool.concept)
        assert torch.isin(pool.concept, pictures.concept).all()
    assert counts[False].sum() == experiments.POOL
    assert counts[True].max() < counts[False].max() / 10
    # Of a frequent concept about LIMIT = 4 pairs are kept, by chance none of some: e^-4, 2 in a hundred.
    assert (counts[True] > 0).sum() >= 0.97 * (counts[False] > 0).sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, label",
    [
        ("loss", "siglip"),
        ("balance", "balanced"),
        ("styles", "5"),
        ("objective", "words"),
        ("objective", "captions"),
    ],
)
def test_a_training_of_two_steps_gives_all_scores(experiments, name, label):
    setting = replace(experiments.EXPERIMENTS[name][label], batch_size=16)
    result = experiments.train(replace(setting, images=32), 0)
    predicts = name == "objective"
    assert ({"unseen top1", "unseen top5"} if predicts else set(experiments.COLUMNS)) <= set(result["scores"])
    along = result["along"]
    assert along["images"] == [16, 32] and len(along["teraflops"]) == 2 and result["teraflops"] >= 0
    assert len(along["unseen top5"]) == 2


# ---- Predicting captions ----


def test_a_captioner_and_a_word_predictor_score_names_by_what_they_were_trained_for(emoji, captions):
    """The score of a name is its loss with that name as the caption."""
    tokenizer, names = load_tokenizer(), ["red apple", "fox", "cat with tears of joy"]
    pictures = emoji.select("noto", "held_out")
    pictures = pictures[torch.arange(3)]
    images = on_background(pictures.rgba)
    ids, lengths = tokenizer.batch(names)
    torch.manual_seed(0)
    for make, answers, loss, per_token in (
        (make_emoji_captioner, captioner_answers, captioner_loss, True),
        (make_word_predictor, word_answers, word_loss, False),
    ):
        model = make(tokenizer, width=4).eval()
        scores = answers(model, tokenizer, names)(pictures)
        for i in range(3):
            for j in range(3):
                one = slice(j, j + 1)
                batch = EmojiBatch(images[i : i + 1], ids[one], lengths[one], pictures.concept[i : i + 1])
                nats = loss(model, batch).item() * (lengths[j].item() if per_token else 1)
                assert scores[i, j].item() == pytest.approx(-nats, abs=1e-3)
        batch = emoji_batches(training_pictures(emoji), captions, 8)(0, torch.Generator().manual_seed(0))
        loss(model.train(), batch).backward()
        idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert all(name.endswith("k_proj.bias") for name in idle), idle


def test_unseen_scores_are_those_of_all_scores(emoji):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(emoji), len(emoji), generator=generator)

    def answer(pictures):
        return noise[pictures.concept]

    some = unseen_scores(answer, emoji)
    everything = emoji_scores(answer, emoji, styles=TRAIN_STYLES, every=16)
    assert some == {key: everything[key] for key in ("unseen top1", "unseen top5")}
