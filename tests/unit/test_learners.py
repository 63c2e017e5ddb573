"""What every learner promises, on data whose answer one sees by eye: two groups, and a withheld diagonal."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from features.content import LENGTH
from features.errors import CannotScoreError, TooManyArtworksError
from features.weights import KINDS
from serving.bundle import Bundle, Part
from serving.model import Model, make_model
from tests.given import DAY, SIDE, checkerboard, given_likes, given_signals, model_of, signals
from training import als, blend, bpr, item_item, nmf, popularity, roster, svd
from training.dataset import make_snapshot
from training.learner import Given, Learner, learn
from training.pool import bare_pool
from training.probes import check_probes, make_probes
from training.replay import rows_in

PARTS = [als.make_learner(als.AlsConfig(n_components=4)), item_item.make_ease(item_item.EaseConfig(penalty=1.0))]
LEARNERS = [
    nmf.make_learner(nmf.NmfConfig(n_components=2)),
    nmf.make_learner(nmf.NmfConfig(n_components=2, batch_size=4)),
    svd.make_learner(svd.SvdConfig(n_components=2)),
    als.make_learner(als.AlsConfig(n_components=4)),
    als.make_learner(als.AlsConfig(n_components=4, scaled=False, regularisation=0.1)),
    bpr.make_learner(bpr.BprConfig(n_components=8, iterations=400)),
    item_item.make_cosine(item_item.NeighbourConfig()),
    item_item.make_bm25(item_item.NeighbourConfig()),
    item_item.make_graph_filter(item_item.GraphConfig()),
    item_item.make_graph_filter(item_item.GraphConfig(n_components=2)),
    PARTS[1],
    blend.make_learner(PARTS, blend.BlendConfig(least_judged=SIDE), lambda _: None),
]
every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)


def rows(given: Given, artworks: list[int]) -> np.ndarray:
    """Catalogue rows of artworks by their numbers."""
    return rows_in(given.pool, [f"artwork {work:02}" for work in artworks])


def met_by(user: int) -> list[int]:
    """The artworks that a user of the checker-board has met."""
    return [work for work in range(SIDE) if work != user and (user - work) % 2 == 0]


@every_learner
def test_the_withheld_diagonal_is_recommended(learner: Learner) -> None:
    """Of all that a user has not met, the one artwork of the user's own group comes first."""
    given = given_likes(checkerboard())
    model = model_of(learner, given)
    for user in range(SIDE):
        unseen = [work for work in range(SIDE) if work not in met_by(user)]
        met = rows(given, met_by(user))
        scores = model.score(met, np.ones(len(met), np.float32), rows(given, unseen))
        assert unseen[int(scores.argmax())] == user


@every_learner
def test_a_user_nobody_trained_on_is_served_by_taste(learner: Learner) -> None:
    """One like of a stranger is enough to tell the groups apart."""
    given = given_likes(checkerboard())
    scores = model_of(learner, given).score(rows(given, [4]), np.ones(1, np.float32), rows(given, [*range(SIDE)]))
    assert scores[[0, 2, 6, 8, 10]].mean() > scores[1::2].mean()
    assert int(scores.argmax()) % 2 == 0


@every_learner
def test_unknown_artworks_without_content_cannot_be_scored(learner: Learner) -> None:
    """NaN, not zero."""
    given = given_likes(checkerboard())
    ids = [*given.pool.ids, "never heard of"]
    model = make_model(learn(learner, given)).aligned(ids, np.zeros((len(ids), LENGTH), np.float32))
    scores = model.score(np.array([0], np.int32), np.ones(1, np.float32), np.array([0, SIDE], np.int32))
    assert np.isnan(scores).tolist() == [False, True]
    assert model.tiers(np.array([0, SIDE], np.int32)).tolist() == ["behaviour", "none"]


@every_learner
@pytest.mark.parametrize("weights", [[], [-1.0]])
def test_a_user_without_likes_gets_the_popular_first(learner: Learner, weights: list[float]) -> None:
    """No signal, or dislikes alone, score by the prior."""
    fans = signals([(f"fan {number}", "artwork 07", 1.0) for number in range(9)])
    given = given_likes(pl.concat([checkerboard(), fans]))
    model = model_of(learner, given)
    known = rows(given, [1])[: len(weights)]
    assert model.score(known, np.array(weights, np.float32), rows(given, [*range(SIDE)])).argmax() == 7


@every_learner
def test_the_same_seed_gives_the_same_arrays(learner: Learner) -> None:
    """Byte for byte, whatever the order of the rows; parallel sums of a library alone may differ in the last bits."""
    frame = checkerboard()
    once, again = (learn(learner, given_likes(each)) for each in (frame, frame.reverse()))
    assert once.arrays.keys() == again.arrays.keys()
    for name, array in once.arrays.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(again.arrays[name], array, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(again.arrays[name], array)


@every_learner
def test_probes_tell_a_bundle_that_scores_otherwise(learner: Learner, tmp_path: object) -> None:
    """Every kind of bundle carries probes, and they notice other numbers."""
    bundle = learn(learner, given_likes(checkerboard()))
    probed = dataclasses.replace(bundle, arrays={**bundle.arrays, **make_probes(bundle)})
    check_probes(probed, tmp_path)  # type: ignore[arg-type]
    changed = {name: array[::-1] for name, array in probed.arrays.items() if name.endswith("factors")}
    changed |= {name: -array for name, array in probed.arrays.items() if name.endswith("values")}
    with pytest.raises(Exception, match="scores differ"):
        check_probes(dataclasses.replace(probed, arrays={**probed.arrays, **changed}), tmp_path)  # type: ignore[arg-type]


def test_als_solves_each_row_once_with_nearly_its_own_regularisation() -> None:
    """Rows are taken together where these differ by little; a row without signals is left."""
    config = als.AlsConfig()
    degrees = np.array([*range(0, 1001, 7), *[5] * 1200])
    confidence = csr_matrix((np.arange(1000) < degrees[:, None]).astype(np.float32))
    taken = list(als._buckets(confidence, config))
    base, each = als._ridge(config, 1000)
    assert sorted(np.concatenate([rows for rows, _, _ in taken])) == list(range(1, len(degrees)))
    for rows, part, regularisation in taken:
        assert (np.diff(part.indptr) == degrees[rows]).all()
        assert base + each * degrees[rows] == pytest.approx(np.full(len(rows), regularisation), rel=0.1)


@pytest.mark.parametrize("scaled", [True, False])
def test_als_fold_in_finds_the_user_that_training_ended_with(*, scaled: bool) -> None:
    """The solve at request time minimises the very loss that the library's user step does, dislikes included."""
    draw = np.random.default_rng(3)
    pairs = [
        (f"u{u:02}", f"artwork {a:02}", float(draw.choice([-0.5, 0.5, 1.0, 2.0])))
        for u in range(40)
        for a in draw.permutation(30)[: 3 + u % 9]
    ]
    given = given_signals(signals(pairs).sort("user_id", "artwork_id"))
    config = als.AlsConfig(n_components=6, scaled=scaled, iterations=1, regularisation=0.05)
    bundle = learn(als.make_learner(config), given)
    factors = bundle.arrays["factors"].astype(np.float64)
    ranker = make_model(bundle).rankers[0][1]
    certainty, base, each = bundle.arrays["ridge"]
    for user in range(40):
        row = given.interactions.matrix[[user]].toarray()[0]
        known = np.flatnonzero(row).astype(np.int32)
        if not (row > 0).any():
            continue
        vector = ranker.user_vector(known, row[known])  # type: ignore[union-attr]
        confidence = np.ones(len(row))
        confidence[known] += certainty * np.abs(row[known])
        gradient = factors.T @ (confidence * (factors @ vector - (row > 0))) + (base + each * len(known)) * vector
        np.testing.assert_allclose(gradient, 0, atol=1e-3 * np.abs(factors).sum())


def test_filters_score_by_their_formulae() -> None:
    """A request's scores are the dense products of the papers, for users of the training and their own weights."""
    draw = np.random.default_rng(5)
    pairs = [(f"u{u:02}", f"artwork {a:02}", 1.0) for u in range(30) for a in draw.permutation(20)[: 3 + u % 8]]
    given = given_likes(signals(pairs).sort("user_id", "artwork_id"))
    weights = given.interactions.matrix.toarray().astype(np.float64)
    roots = [np.sqrt(weights.sum(axis=axis)) for axis in (1, 0)]
    normal = weights / roots[0][:, None] / roots[1]
    basis = np.linalg.svd(normal)[2][:4].T
    low_pass = basis / roots[1][:, None] @ (basis * roots[1][:, None]).T
    inverse = np.linalg.inv((weights > 0).T.astype(float) @ (weights > 0) + 10.0 * np.eye(20))
    ease = -inverse / np.diag(inverse)
    np.fill_diagonal(ease, 0)
    graph = item_item.GraphConfig
    for learner, likeness in (
        (item_item.make_graph_filter(graph()), normal.T @ normal),
        (svd.make_learner(svd.SvdConfig(n_components=4)), low_pass),
        (item_item.make_graph_filter(graph(n_components=4, low_pass=0.5)), normal.T @ normal + 0.5 * low_pass),
        (item_item.make_ease(item_item.EaseConfig(penalty=10.0)), ease),
    ):
        model = model_of(learner, given)
        for row in weights:
            known = np.flatnonzero(row).astype(np.int32)
            scores = model.score(known, row[known].astype(np.float32), np.arange(20, dtype=np.int32))
            np.testing.assert_allclose(scores, row @ likeness, atol=1e-4)


def test_a_part_that_brings_nothing_is_left_out_of_a_blend() -> None:
    """A single model can win: noise beside a model that tells the groups apart gets no weight."""
    noise = Learner("noise", "factors", "constant", popularity.make_learner().fit)
    learners = [noise, item_item.make_ease(item_item.EaseConfig(penalty=1.0))]
    bundle = learn(
        blend.make_learner(learners, blend.BlendConfig(least_judged=SIDE), lambda _: None), given_likes(checkerboard())
    )
    assert [part.name for part in bundle.parts] == ["ease"]
    assert not any(name.startswith("noise/") for name in bundle.arrays)


def test_ease_refuses_a_pool_too_large_to_invert() -> None:
    """And a blend goes on without it."""
    small = item_item.make_ease(item_item.EaseConfig(most_artworks=SIDE - 1))
    given = given_likes(checkerboard())
    with pytest.raises(TooManyArtworksError, match="takes 11 at most"):
        learn(small, given)
    said: list[str] = []
    bundle = learn(blend.make_learner([small, PARTS[0]], blend.BlendConfig(least_judged=SIDE), said.append), given)
    assert [part.name for part in bundle.parts] == ["als"]
    assert any("takes 11 at most" in line for line in said)


def test_new_artworks_are_scored_by_their_content() -> None:
    """An artwork that nobody met gets factors from its content, and stands where its like stands."""
    draw = np.random.default_rng(0)
    pairs = [
        (f"u{u}", f"artwork {a:02}", 1.0)
        for u in range(40)
        for a in range(80)
        if (u - a) % 2 == 0 and draw.random() < 0.5
    ]
    given = given_signals(signals(pairs).sort("user_id", "artwork_id"))
    sides = np.zeros((82, LENGTH), np.float32)
    sides[np.arange(82), np.arange(82) % 2] = 1.0
    given = dataclasses.replace(given, pool=dataclasses.replace(given.pool, vectors=sides[:80]))
    model = make_model(learn(als.make_learner(als.AlsConfig(n_components=4)), given))
    aligned = model.aligned([*given.pool.ids, "new even", "new odd"], sides)
    new = np.array([80, 81], np.int32)
    scores = aligned.score(np.array([0, 2, 4], np.int32), np.ones(3, np.float32), new)
    assert scores[0] > scores[1]
    assert aligned.tiers(new).tolist() == ["content", "content"]


def test_a_model_grows_with_its_catalogue() -> None:
    """Aligned in two steps or at once: the same scores."""
    given = given_likes(checkerboard())
    model = make_model(learn(PARTS[0], given))
    vectors = np.eye(SIDE + 2, LENGTH, dtype=np.float32)
    ids = ["new one", *given.pool.ids, "new two"]
    once = model.aligned(ids, vectors)
    again = model.aligned(ids[:1], vectors[:1]).aligned(ids[:5], vectors[:5]).aligned(ids, vectors)
    every = np.arange(len(ids), dtype=np.int32)
    one = np.ones(1, np.float32)
    np.testing.assert_array_equal(once.score(every[3:4], one, every), again.score(every[3:4], one, every))


def test_a_blend_without_anybody_to_score_says_so() -> None:
    """Content alone cannot score a user without likes."""
    model = content_model()
    with pytest.raises(CannotScoreError):
        model.score(np.zeros(0, np.int32), np.zeros(0, np.float32), np.arange(3, dtype=np.int32))


def content_model() -> Model:
    """A blend of content alone over three artworks."""
    manifest = learn(roster.make_learner("content"), given_likes(checkerboard())).manifest
    part = Part(name="content", kind="content", fold_in="none")
    model = make_model(Bundle(manifest, {}, ""))
    assert model.bundle.parts[0].kind == part.kind
    return model.aligned(["a", "b", "c"], np.eye(3, LENGTH, dtype=np.float32))


@pytest.mark.parametrize("learner", LEARNERS[:-1], ids=lambda learner: learner.name)
def test_displays_alone_train_as_well_as_likes(learner: Learner) -> None:
    """Where nothing tells of taste all weights are small and equal, and the unit must not matter."""
    given = given_signals(checkerboard().with_columns(weight=pl.lit(0.05, pl.Float32), taste=pl.lit(None, pl.Float32)))
    model = model_of(learner, given)
    for user in range(SIDE):
        unseen = [work for work in range(SIDE) if work not in met_by(user)]
        met = rows(given, met_by(user))
        scores = model.score(met, np.full(len(met), 0.05, np.float32), rows(given, unseen))
        assert unseen[int(scores.argmax())] == user


def with_sides(given: Given) -> Given:
    """The checker-board with content: an even artwork looks even."""
    sides = np.zeros((len(given.pool.ids), LENGTH), np.float32)
    sides[np.arange(len(sides)), np.arange(len(sides)) % 2] = 1.0
    return dataclasses.replace(given, pool=dataclasses.replace(given.pool, vectors=sides))


def test_with_too_few_people_to_choose_by_a_blend_is_content_and_says_so() -> None:
    """Twelve users cannot weigh models; one of them alone has a taste in content."""
    content, said = roster.make_learner("content"), list[str]()
    few = blend.make_learner([*PARTS, content], blend.BlendConfig(least_judged=SIDE + 1), said.append)
    bundle = learn(few, with_sides(given_likes(checkerboard())))
    assert [(part.name, part.weight) for part in bundle.parts] == [("content", 1.0)]
    assert bundle.manifest.params["too_little"].startswith("12 validation users are too few to choose by, 13 are")
    assert bundle.manifest.params["too_little"] in said


def test_without_content_too_few_people_get_all_parts_in_equal_shares() -> None:
    """Nothing to prefer, so nothing is preferred."""
    learners = [*PARTS, roster.make_learner("content")]
    few = blend.make_learner(learners, blend.BlendConfig(least_judged=SIDE + 1), lambda _: None)
    bundle = learn(few, given_likes(checkerboard()))
    assert [(part.name, part.weight) for part in bundle.parts] == [("als", 1.0), ("ease", 1.0)]


@pytest.mark.parametrize(("most_tried", "penalty"), [(1_000, 1.0), (10, 1e9)])
def test_the_best_settings_of_a_part_are_taken_where_the_data_are_few(most_tried: int, penalty: float) -> None:
    """Settings that tell nobody apart lose, unless more signals than may be tried leave only the first settings."""
    blunt = Learner("ease", "factors", "constant", popularity.make_learner().fit, {"penalty": 1e9})
    settings = [blunt, item_item.make_ease(item_item.EaseConfig(penalty=1.0))]
    config = blend.BlendConfig(least_judged=SIDE, most_tried=most_tried)
    bundle = learn(blend.make_learner(settings, config, lambda _: None), given_likes(checkerboard()))
    assert bundle.manifest.params["ease_penalty"] == penalty


def test_a_blend_is_chosen_by_what_was_shown_where_the_data_tell() -> None:
    """Who chose what to show is not taste: popularity finds what was shown next, and loses against telling it apart."""
    pairs = [(f"user {user:02}", work) for user in range(40) for work in range(60)]
    hour = {pair: DAY + timedelta(hours=(7 * place) % 100) for place, pair in enumerate(pairs)}
    shown = pl.DataFrame(
        {
            "user_id": [user for user, _ in pairs],
            "artwork_id": [f"artwork {work:02}" for _, work in pairs],
            "kind": pl.Series(
                ["like" if (int(user[-2:]) - work) % 2 == 0 else "skip" for user, work in pairs], dtype=pl.Enum(KINDS)
            ),
            "value": pl.Series([None] * len(pairs), dtype=pl.Float32),
            "at": pl.Series([hour[pair] for pair in pairs], dtype=pl.Datetime("us", "UTC")),
        }
    ).sort("user_id", "artwork_id")
    given = Given(make_snapshot(shown, 90.0), bare_pool(shown["artwork_id"].unique().sort().to_list()))
    learners = [popularity.make_learner(), item_item.make_ease(item_item.EaseConfig(penalty=1.0))]
    bundle = learn(blend.make_learner(learners, blend.BlendConfig(), lambda _: None), given)
    assert [part.name for part in bundle.parts] == ["ease"]
    assert bundle.manifest.params["chosen_by"] == "AUC of what was shown on 40 validation users"


def test_a_lead_that_may_be_chance_does_not_displace_the_safe_part() -> None:
    """Seventeen users of thirty say nothing yet; all thirty do."""

    def case(right: int) -> blend.Listed:
        scores = np.zeros((2, 40), np.float32)
        scores[1 - right, 0] = scores[right, 3] = 1.0
        return blend.Listed(scores, np.arange(40) == 3, 1)

    by_chance = [case(right) for right in [0] * 13 + [1] * 17]
    for_sure = [case(1)] * 30
    assert np.argmax(blend.search(by_chance, 2)) == 1
    assert np.argmax(blend.search(by_chance, 2, safe=0)) == 0
    assert blend.search(for_sure, 2, safe=0) == [0.0, 1.0]
