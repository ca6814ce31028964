"""The chat template, and which of its tokens are answers."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from cs_vl.data.bpe import END, PAD
from cs_vl.data.chat import ASSISTANT, EOC, IGNORE, IMAGE, USER, answer_labels, chat
from cs_vl.data.world import encode_all, load_world_tokenizer


def test_the_template():
    assert (IMAGE, EOC, USER, ASSISTANT, IGNORE) == ("<image>", "<eoc>", "<user>", "<assistant>", -100)
    turns = [("What is this?", "a fox"), ("How many?", "one")]
    assert chat(turns) == (
        "<user><image>What is this?<assistant>a fox<|endoftext|><user>How many?<assistant>one<|endoftext|>"
    )
    assert chat(turns, image=False) == chat(turns).replace(IMAGE, "")
    assert chat([("What is this?", None)]) == "<user><image>What is this?<assistant>"


@pytest.mark.parametrize("turns", [[], "What?", [("What is this?", None), ("How many?", "one")]])
def test_what_is_no_conversation(turns):
    with pytest.raises(ValueError, match="turns should be"):
        chat(turns)


def test_labels_of_a_conversation():
    tokenizer = load_world_tokenizer()
    rows = encode_all(tokenizer, [chat([("What is this?", "a fox"), ("Is there an owl?", "no")]), PAD])
    rows[1] = rows[1] * len(rows[0])
    ids = torch.tensor(rows)
    labels = answer_labels(ids, tokenizer.specials[ASSISTANT], tokenizer.specials[END])
    learned = labels[labels != IGNORE]
    assert tokenizer.decode(learned) == f"a fox{END}no{END}"
    assert torch.equal(ids[labels != IGNORE], learned) and (labels[1] == IGNORE).all()
    assert labels.shape == ids.shape and labels is not ids


A, E = 8, 9


@pytest.mark.parametrize(
    ("ids", "learned"),
    [
        ([1, A, 2, 3, E, 4, 4], "0011100"),  # padding after the end
        ([1, A, 2, 3], "0011"),  # cut off
        ([1, A, E, E, E], "00100"),  # an empty answer; the end token as padding
        ([E, 1, A, 2, E, E, 1], "0001100"),  # an end that ends nothing
        ([A, 2, E, A, 3, E, A], "0110110"),  # a marker at the start, and one at the end
        ([1, 2, 3], "000"),
        ([], ""),
    ],
)
def test_labels_of_single_rows(ids, learned):
    ids = torch.tensor(ids, dtype=torch.long)
    expected = [i if yes == "1" else -100 for i, yes in zip(ids.tolist(), learned, strict=True)]
    assert answer_labels(ids, A, E).tolist() == expected


@given(st.lists(st.sampled_from([1, 2, A, E]), max_size=12), st.integers(0, 12))
def test_labels_as_a_reader_would_give_them(ids, cut):
    """One token at a time; and what comes later changes no earlier label."""
    inside, expected = False, []
    for i in ids:
        assume(not (inside and i == A))  # no answer has a marker in it
        expected.append(i if inside else -100)
        inside = i == A or (inside and i != E)
    labels = answer_labels(torch.tensor(ids, dtype=torch.long), A, E)
    assert labels.tolist() == expected
    assert answer_labels(torch.tensor(ids[:cut], dtype=torch.long), A, E).tolist() == expected[:cut]
