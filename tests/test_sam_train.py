"""data/sam/train.py: its mix of batches, what it says of labels, and a run from end to end, in small."""

import json
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from cs_vl.data.part_scenes import make_part_scenes
from cs_vl.tasks.data_engine import STAGES
from tests.scripts import load_script


@pytest.fixture
def script(tmp_path, monkeypatch) -> ModuleType:
    """The script as a module, with everything in small and its files elsewhere."""
    module = load_script("sam/train.py", monkeypatch)
    few = {"n": 2, "seed": 9, "split": "held_out"}
    small = {"HERE": tmp_path, "UNFINISHED": tmp_path / "unfinished", "CHUNK": 4, "ALONG": few, "SCORED": few}
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    mix = tuple(replace(batch, images=1, prompts=2) for batch in module.MIX)
    monkeypatch.setattr(module, "MIX", mix)
    (tmp_path / "unfinished").mkdir()
    return module


def test_batches_are_mixed_as_it_says(script):
    scenes = make_part_scenes(3, seed=1)
    batch = script.batches(scenes)
    drawn = [batch(step, torch.Generator().manual_seed(step))[1] for step in range(300)]
    for kind in script.MIX:
        assert abs(drawn.count(kind.clicks) / 300 - kind.share) < 0.08
    targets, _ = batch(0, torch.Generator().manual_seed(0))
    assert targets.images.shape == (1, 3, 64, 64) and targets.masks.shape == (1, 2, 64, 64)
    assert sum(kind.share for kind in script.MIX) == pytest.approx(1)


def test_labels_are_judged_by_all_that_is_there(script):
    scenes = make_part_scenes(2, seed=1)
    masks = list(scenes.masks[0])
    scores = script.label_scores(scenes, [(0, masks[:1]), (1, [])], clicks=5)
    assert scores["masks"] == 0.5 and scores["by_hand"] == 5 and scores["quality"] == 1
    same = float(
        ((scenes.masks[0] & masks[0]).sum((1, 2)) / (scenes.masks[0] | masks[0]).sum((1, 2)) > 0.5).sum()
    )
    assert scores["found"] == pytest.approx(same / (len(scenes.masks[0]) + len(scenes.masks[1])))
    assert script.label_scores(scenes, [(0, [])], clicks=0)["quality"] == 0


@pytest.mark.slow
def test_all_runs_from_end_to_end(script, monkeypatch):
    scenes = make_part_scenes(3, seed=1)
    monkeypatch.setattr(script, "training_scenes", lambda: scenes)
    runs = {name: replace(run, steps=2, scenes=min(run.scenes, 4)) for name, run in script.RUNS.items()}
    monkeypatch.setattr(script, "RUNS", runs)
    for name in runs:
        script.train(name, 0)
        script.score(name, 0)
        assert json.loads((script.HERE / "results" / f"{name}-0.json").read_text())["steps"] == 2
    assert (script.HERE / "sam.safetensors").exists() and (script.HERE / "single.safetensors").exists()
    tables = script.tables()
    assert all(word in tables for word in ("| sam |", "| single |", "| before |", *STAGES))
