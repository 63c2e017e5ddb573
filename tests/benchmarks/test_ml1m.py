"""The models on a fixed split of the literature, judged by the code that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import als, nmf, popularity
from training.evaluate import Rules, judge, split_of_files
from training.learner import Given, Learner, learn

SOME = Rules(most_users=600, signals_per_user=1_000_000)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("learner", "recall", "ndcg"),
    [
        pytest.param(popularity.make_learner(), 0.1145, 0.1090, id="popularity"),
        pytest.param(nmf.make_learner(nmf.NmfConfig()), 0.2640, 0.2480, id="nmf"),
        pytest.param(als.make_learner(als.AlsConfig()), 0.2830, 0.2650, id="als"),
    ],
)
def test_movielens_figures_are_reached(shared: Path, learner: Learner, recall: float, ndcg: float) -> None:
    """Recall@20 and NDCG@20 on 600 drawn users of the MovieLens-1M split are no worse than when this was written."""
    folder = shared / "data" / "ml1m_split"
    halves, pool = split_of_files(folder / "train.txt", folder / "test.txt")
    found = judge(learn(learner, Given(halves.train, pool)), halves, pool, SOME).metrics
    assert found["users_judged"] == 600
    assert found["recall_at_20"] >= recall
    assert found["ndcg_at_20"] >= ndcg
