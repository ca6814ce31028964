"""The small tasks: what is where, and the language model of captions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.data.bpe import Tokenizer
from cs_vl.nn.vit import ViT
from cs_vl.tasks import caption_lm
from cs_vl.tasks import what_is_where as board
from cs_vl.train import fit

SHAPES = {"kinds": ("circle", "square"), "colours": ("red", "blue")}


def small_reader(positions: bool = True) -> board.BoardReader:
    torch.manual_seed(0)
    vit = ViT(image_size=board.SIZE, patch_size=8, dim=32, depth=1, heads=2)
    return board.BoardReader(vit, classes=5, positions=positions)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(board.ORDERS))
def test_shuffling_moves_patches_and_changes_none(seed, kind):
    scenes = board.board_scenes(3, seed)
    order = board.patch_orders(kind, 3, 16, torch.Generator().manual_seed(seed))
    shuffled = board.shuffle_patches(scenes.images, 8, order)
    back = board.shuffle_patches(shuffled, 8, order.argsort(dim=1))
    assert torch.equal(back, scenes.images)
    assert torch.equal(shuffled, scenes.images) == (kind == "right")


def test_the_fixed_shuffle_is_one_for_all_and_the_other_is_not():
    fixed = board.patch_orders("one shuffle for all", 4, 16)
    assert (fixed == fixed[0]).all()
    each = board.patch_orders("a shuffle for each", 4, 16, torch.Generator().manual_seed(0))
    assert not (each == each[0]).all()


def test_scores_of_a_perfect_and_of_a_constant_reader():
    scenes = board.board_scenes(200, 0, **SHAPES)
    batch = board.board_data(scenes, 8)
    classes = board.board_classes(scenes)
    right = torch.nn.functional.one_hot(batch[1], classes).float() * 20

    class Constant(torch.nn.Linear):
        def forward(self, images):
            return self.answer

    model = Constant(1, 1)
    model.answer = right
    scores = board.board_scores(model, batch, classes)
    assert scores["where"] == 1 and scores["what"] == 1
    # The right things in the wrong cells: what, but not where.
    model.answer = right.roll(1, dims=1)
    scores = board.board_scores(model, batch, classes)
    assert scores["what"] == 1 and scores["where"] < 0.7
    model.answer = torch.zeros_like(right)
    model.answer[..., 0] = 1
    scores = board.board_scores(model, batch, classes)
    assert abs(scores["where"] - scores["where by chance"]) < 1e-6


def test_without_positions_the_order_of_patches_means_nothing():
    scenes = board.board_scenes(4, 1, **SHAPES)
    shuffled, _ = board.board_data(scenes, 8, "one shuffle for all")
    for positions in (True, False):
        model = small_reader(positions).eval()
        same = torch.allclose(model(scenes.images), model(shuffled), atol=1e-5)
        assert same == (not positions)


def test_a_reader_learns_and_says_what_it_sees():
    scenes = board.board_scenes(256, 2, **SHAPES)
    model = small_reader()
    history = fit(
        model,
        board.board_loss,
        board.board_batches(scenes, 32, 8),
        steps=60,
        lr=3e-3,
        device="cpu",
        progress=False,
    )
    assert sum(history.losses[-10:]) < 0.9 * sum(history.losses[:10])
    readings, right = board.board_readings(model, scenes[:3])
    assert len(readings) == len(right) == 3 and all(r.count(",") == 3 for r in readings)


def test_the_language_model_learns_its_captions_by_heart():
    captions = ["a red circle", "a blue square and a red ring"] * 4
    tokenizer = Tokenizer.train("\n".join(captions), 270)
    ids, lengths = tokenizer.batch(captions)
    torch.manual_seed(0)
    model = caption_lm.make_language_model(tokenizer, context_length=ids.shape[1], dim=32, depth=1, heads=2)
    batches = caption_lm.caption_batches(ids, lengths, 8)
    fit(model, caption_lm.caption_loss, batches, steps=150, lr=1e-2, device="cpu", progress=False)
    assert caption_lm.write(model, tokenizer, "a blue", longest=ids.shape[1]) == captions[1]


def test_padding_does_not_count_in_the_loss():
    logits = torch.randn(2, 6, 9)
    ids = torch.randint(9, (2, 6))
    lengths = torch.tensor([4, 6])
    loss = caption_lm.next_token_loss(logits, ids, lengths)
    changed = ids.clone()
    changed[0, 4:] = 0
    assert torch.equal(loss, caption_lm.next_token_loss(logits, changed, lengths))
    by_hand = torch.cat(
        [-logits[b, : n - 1].log_softmax(-1).gather(1, ids[b, 1:n, None]) for b, n in ((0, 4), (1, 6))]
    )
    assert torch.allclose(loss, by_hand.mean())
