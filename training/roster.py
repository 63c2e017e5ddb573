"""Every learner by its name, with its usual settings; and which of them a blend is made of."""

from __future__ import annotations

from collections.abc import Callable

from training import als, blend, bpr, content, item_item, nmf, popularity, svd
from training.learner import Learner

MAKERS: dict[str, Callable[[int], Learner]] = {
    "popularity": lambda _: popularity.make_learner(),
    "content": content.make_learner,
    "nmf": lambda seed: nmf.make_learner(nmf.NmfConfig(seed=seed)),
    "minibatch-nmf": lambda seed: nmf.make_learner(nmf.NmfConfig(batch_size=1_024, seed=seed)),
    "svd": lambda seed: svd.make_learner(svd.SvdConfig(seed=seed)),
    "als": lambda seed: als.make_learner(als.AlsConfig(seed=seed)),
    "plain-als": lambda seed: als.make_learner(_plain_als(seed)),
    "bpr": lambda seed: bpr.make_learner(bpr.BprConfig(seed=seed)),
    "cosine": lambda _: item_item.make_cosine(item_item.NeighbourConfig()),
    "bm25": lambda _: item_item.make_bm25(item_item.NeighbourConfig()),
    "linear-filter": lambda seed: item_item.make_graph_filter(item_item.GraphConfig(seed=seed)),
    "gf-cf": lambda seed: item_item.make_graph_filter(item_item.GraphConfig(n_components=64, seed=seed)),
    "ease": lambda _: item_item.make_ease(item_item.EaseConfig()),
}
BLENDED = ("als", "ease", "linear-filter", "svd", "content")
DEFAULT = "blend"
NAMES = (*MAKERS, DEFAULT)


def make_learner(name: str, seed: int = 0, on_step: Callable[[str], None] = lambda _: None) -> Learner:
    """The learner of this name with its usual settings. Raises KeyError for a name that is not in NAMES."""
    if name != DEFAULT:
        return MAKERS[name](seed)
    parts = [settings for each in BLENDED for settings in (MAKERS[each](seed), *OTHERS.get(each, _none)(seed))]
    return blend.make_learner(parts, blend.BlendConfig(seed=seed), on_step)


def _other_als(seed: int) -> list[Learner]:
    """Surer of what was seen and less regularised, for sparse data."""
    tried = ((0.1, 0.01), (0.1, 0.001))
    return [als.make_learner(als.AlsConfig(unobserved=one, regularisation=two, seed=seed)) for one, two in tried]


def _other_ease(_: int) -> list[Learner]:
    """A weaker penalty, for sparse data."""
    return [item_item.make_ease(item_item.EaseConfig(penalty=100.0))]


def _none(_: int) -> list[Learner]:
    """One way only."""
    return []


#: Further settings of a part that a blend tries where the data are few enough.
OTHERS: dict[str, Callable[[int], list[Learner]]] = {"als": _other_als, "ease": _other_ease}


def _plain_als(seed: int) -> als.AlsConfig:
    """One regularisation for all rows, at what a search on dense data found."""
    return als.AlsConfig(scaled=False, n_components=64, unobserved=0.2, regularisation=6.0, seed=seed)
