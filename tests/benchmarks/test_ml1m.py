"""The models on a fixed split of the literature, judged by the code that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import als, item_item, nmf, popularity
from training.evaluate import Rules, judge, split_of_files
from training.learner import Given, Learner, learn

EVERYBODY = Rules(most_users=1_000_000, signals_per_user=1_000_000)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("learner", "recall", "ndcg"),
    [
        pytest.param(popularity.make_learner(), 0.1160, 0.1175, id="popularity"),
        pytest.param(nmf.make_learner(nmf.NmfConfig()), 0.2535, 0.2415, id="nmf"),
        pytest.param(als.make_learner(als.AlsConfig()), 0.2800, 0.2660, id="als"),
        pytest.param(item_item.make_ease(item_item.EaseConfig()), 0.2750, 0.2650, id="ease"),
    ],
)
def test_movielens_figures_are_reached(shared: Path, learner: Learner, recall: float, ndcg: float) -> None:
    """Recall@20 and NDCG@20 on all test users of the MovieLens-1M split are no worse than when this was written."""
    folder = shared / "data" / "ml1m_split"
    halves, pool = split_of_files(folder / "train.txt", folder / "test.txt")
    found = judge(learn(learner, Given(halves.train, pool)), halves, pool, EVERYBODY).metrics
    assert found["users_judged"] == 6_022
    assert found["recall_at_20"] >= recall
    assert found["ndcg_at_20"] >= ndcg
