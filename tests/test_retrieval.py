"""Retrieval: recall@k against counting by hand, and search against sorting everything."""

import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cs_vl.tasks.retrieval import recall_at_k, retrieval_scores, search


@st.composite
def rankings(draw):
    queries, candidates = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    similarity = torch.rand(queries, candidates, generator=generator).argsort(1).float()
    relevant = torch.rand(queries, candidates, generator=generator) < 0.3
    relevant[torch.arange(queries), torch.randint(candidates, (queries,), generator=generator)] = True
    return similarity, relevant


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_recall_grows_to_one_and_counts_each_query_once(ranking):
    similarity, relevant = ranking
    queries, candidates = similarity.shape
    recalls = [recall_at_k(similarity, relevant, k) for k in range(1, candidates + 1)]
    assert recalls == sorted(recalls) and recalls[-1] == 1
    for k, value in enumerate(recalls, start=1):
        found = 0
        for scores, right in zip(similarity.tolist(), relevant.tolist(), strict=True):
            best = sorted(range(candidates), key=lambda j: -scores[j])[:k]
            found += any(right[j] for j in best)
        assert value == pytest.approx(found / queries)
    order = torch.randperm(candidates, generator=torch.Generator().manual_seed(0))
    assert recall_at_k(5 * similarity[:, order] - 3, relevant[:, order], 1) == pytest.approx(recalls[0])


def test_recall_of_a_clip_s_diagonal():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.5], [0.1, 0.2, 0.7]])
    relevant = torch.eye(3, dtype=torch.bool)
    assert recall_at_k(similarity, relevant, 1) == pytest.approx(2 / 3)
    assert recall_at_k(similarity, relevant, 2) == pytest.approx(2 / 3)
    assert recall_at_k(similarity, relevant, 3) == 1


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_search_finds_the_most_similar(chunk_size):
    generator = torch.Generator().manual_seed(0)
    queries, candidates = (torch.randn(n, 6, generator=generator) for n in (23, 40))
    values, indices = search(queries, candidates, 5, chunk_size=chunk_size)
    similarity = queries @ candidates.T
    assert torch.equal(indices, similarity.argsort(1, descending=True)[:, :5])
    assert torch.allclose(values, similarity.gather(1, indices))


def test_approximate_search_finds_nearly_all_of_the_same():
    pytest.importorskip("faiss", reason="FAISS is an optional extra: pip install faiss-cpu")
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(100, 16, generator=generator)

    def features(n: int) -> torch.Tensor:
        """In clusters, as a model's features of things of some kinds are."""
        kind = torch.randint(100, (n,), generator=generator)
        return F.normalize(centres[kind] + 0.5 * torch.randn(n, 16, generator=generator), dim=1)

    queries, candidates = features(50), features(3000)
    values, indices = search(queries, candidates, 10, approximate=True)
    _, exact = search(queries, candidates, 10)
    shared = (indices[:, :, None] == exact[:, None, :]).any(-1).float().mean()
    assert shared > 0.95
    assert torch.allclose(values, (queries @ candidates.T).gather(1, indices), atol=1e-5)
    assert (values.diff(dim=1) <= 1e-6).all() and indices.dtype == exact.dtype
    # As many as there are, however few cells were looked into at first.
    _, everyone = search(queries, candidates, 3000, approximate=True)
    assert torch.equal(everyone.sort(dim=1).values, torch.arange(3000).expand(50, -1))
    _, of_few = search(queries, candidates[:7], 7, approximate=True)
    assert torch.equal(of_few, search(queries, candidates[:7], 7)[1])


def test_without_faiss_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        search(torch.randn(2, 3), torch.randn(4, 3), 1, approximate=True)


def test_scores_of_both_directions():
    # Two images of concept 7; three concepts; texts in another order.  The last image looks like text 0.
    texts = torch.eye(3)
    images = torch.tensor([[0.0, 0, 1], [0, 1, 0], [0.2, 0.9, 0], [0.9, 0, 0.1]])
    scores = retrieval_scores(
        images,
        texts,
        torch.tensor([5, 7, 7, 5]),
        torch.tensor([9, 7, 5]) - torch.tensor([2, 0, 0]),
        ks=(1, 2),
    )
    # Texts 0 and 1 are both of concept 7, text 2 is of concept 5.
    assert scores["image to text"] == pytest.approx({"R@1": 3 / 4, "R@2": 1})
    assert scores["text to image"] == pytest.approx({"R@1": 2 / 3, "R@2": 1})


def test_mistakes_get_a_sentence():
    square = torch.rand(3, 3)
    with pytest.raises(ValueError, match=r"both be .queries, candidates.; got .3, 3. and .3, 2."):
        recall_at_k(square, torch.ones(3, 2, dtype=torch.bool), 1)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k must be 1 to 3.*got {k}"):
            recall_at_k(square, square > 0, k)
        with pytest.raises(ValueError, match=f"k must be 1 to 3.*got {k}"):
            search(square, square, k)
    with pytest.raises(ValueError, match="same dim"):
        search(torch.rand(2, 3), torch.rand(2, 4), 1)
    with pytest.raises(ValueError, match="text 1 has no image of its concept"):
        retrieval_scores(square, square, torch.tensor([0, 0, 2]), torch.tensor([2, 1, 0]), ks=(1,))
    with pytest.raises(ValueError, match="image 2 has no text of its concept"):
        retrieval_scores(square, square, torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0]), ks=(1,))
