"""From likes to wishes: medoids that exist, new DNA that is like them and like nothing else, diversity."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import Catalogue, activated, empty
from features.dna import DnaKind
from features.pool_reading import append
from features.settings import Settings
from serving.generation.candidates import STAND_INS, find_candidates
from serving.generation.demand import new_users
from serving.generation.diversity import diversity_of
from serving.generation.need import LeadTime, floor_orders
from serving.generation.painter import usual_range
from serving.generation.planner import MOST_EACH, floor_levels
from serving.generation.prices import stockout_costs
from serving.generation.situation import People, Taste
from serving.generation.wishes import Looks, Medoid, looks_in, looks_of, new_dna, style_hints

NOTHING = Taste(np.zeros(0, np.int32), np.zeros(0, np.float32))  # no signal yet

SETTINGS = Settings()
STUB = json.dumps([0.5] * 50)


def artwork(key: int, style: str = "cubism", dna: str | None = None) -> dict[str, Any]:
    """A row of the catalogue query; its DNA depends on the key, near to that of others in its style."""
    middle = np.random.default_rng(sum(style.encode())).uniform(0.2, 0.8, 50)
    near = np.clip(middle + np.random.default_rng(key).normal(0, 0.05, 50), 0, 1)
    return {
        "artwork_key": key, "id": f"a-{key}", "created": float(key), "prompt": f"{style} study",
        "dna_vector": json.dumps(near.round(3).tolist()) if dna is None else dna, "motifs": [], "styles": [style],
        "artists": [], "orientation": None, "quality_score": 80, "image_url": f"/{key}.webp",
    }  # fmt: skip


def pool(rows: list[dict[str, Any]]) -> Catalogue:
    """The pool of these rows, all active."""
    found = append(empty(), rows)
    return dataclasses.replace(found, active=activated(found, found.keys))


def people(count: int, styles: list[str] | None = None) -> People:
    """Users of whom nothing is known, but perhaps the styles they chose."""
    nothing = [np.zeros(0, np.int32)] * count
    ids = [f"user-{number}" for number in range(count)]
    return People(ids, new_users(count, 60.0), nothing, [styles or []] * count, [None] * count, [None] * count)


def likes(*keys: int) -> Taste:
    """One like of each."""
    return Taste(np.array(keys, dtype=np.int32), np.ones(len(keys), dtype=np.float32))


TWO_STYLES = pool([artwork(key, "cubism" if key % 2 else "fauvism") for key in range(40)])


def test_medoids_are_what_at_risk_users_liked_and_reach_who_likes_the_like() -> None:
    """Two who like cubism share a medoid; a third, of fauvism, has one apart; who is not at risk sways nothing."""
    tastes = [likes(1, 3), likes(5, 7), likes(2, 4), likes(9)]
    found = find_candidates(TWO_STYLES, people(4), tastes, np.array([0.9, 0.8, 0.7, 0.0]))
    assert set(found.artwork_rows.tolist()) <= {1, 3, 5, 7, 2, 4}
    for row, users in zip(found.artwork_rows.tolist(), found.users.toarray() > 0, strict=True):
        assert users.tolist() == ([True, True, False, True] if row % 2 else [False, False, True, False])


def test_who_has_liked_nothing_still_gets_candidates_in_the_chosen_style() -> None:
    """A new heavy user is not forgotten; one who is not at risk waits until something is known."""
    found = find_candidates(TWO_STYLES, people(2, ["Fauvism"]), [NOTHING] * 2, np.array([0.9, 0.0]))
    assert 1 <= len(found.artwork_rows) <= STAND_INS
    assert all(row % 2 == 0 for row in found.artwork_rows)
    assert found.users.toarray().tolist() == [[1.0, 0.0]] * len(found.artwork_rows)


@pytest.mark.parametrize("dna", [STUB, "no JSON", json.dumps([0.5] * 49)])
def test_for_a_medoid_without_usable_dna_stands_the_nearest_with_one(dna: str) -> None:
    """Of the same style, since the words still tell."""
    rows = [artwork(key, "cubism" if key % 2 else "fauvism", None if key > 1 else dna) for key in range(20)]
    catalogue = pool(rows)
    found = find_candidates(catalogue, people(1), [likes(1)], np.array([1.0]))
    (row,) = found.artwork_rows.tolist()
    assert catalogue.dna_kinds[row] == DnaKind.REAL
    assert row % 2 == 1


def test_where_nothing_has_usable_dna_there_are_no_candidates() -> None:
    """And nothing breaks."""
    stubs = pool([artwork(key, dna=STUB) for key in range(5)])
    for catalogue, taste in ((stubs, likes(1)), (pool([]), NOTHING)):
        found = find_candidates(catalogue, people(1), [taste], np.array([1.0]))
        assert (len(found.artwork_rows), found.users.shape) == (0, (0, 1))


@given(seed=st.integers(0, 10_000), jitter=st.floats(0, 0.5))
@settings(deadline=None)
def test_new_dna_is_valid_and_apart_from_all_that_is_taken(seed: int, jitter: float) -> None:
    """Within the usual ranges; at least the least distance from the pool and from one another; or there is none."""
    least = 0.1
    looks = Looks(least, [looks_in(TWO_STYLES)])
    medoid = Medoid("a-1", 1, np.array(json.loads(artwork(1)["dna_vector"]), dtype=np.float32), (), "")
    low, high = usual_range()
    taken = looks_in(TWO_STYLES)
    for place in range(4):
        dna = new_dna(medoid, looks, (seed, place), jitter)
        if dna is None:
            continue
        assert (dna >= low).all()
        assert (dna <= high).all()
        look = looks_of(dna[None])
        assert float(np.linalg.norm(taken - look, axis=1).min()) >= least - 1e-3
        taken = np.vstack([taken, look])


def test_equal_seeds_give_equal_dna_and_others_another() -> None:
    """So a plan of one epoch is the same wherever it is made."""
    medoid = Medoid("a-1", 1, np.full(50, 0.7, dtype=np.float32), (), "")
    first, again, other = (
        new_dna(medoid, Looks(0.1), seed, SETTINGS.order_jitter) for seed in ((7, 0), (7, 0), (8, 0))
    )
    assert first is not None
    assert other is not None
    assert again is not None
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_jitter_nothing_new_can_be_made() -> None:
    """The medoid itself is taken."""
    medoid = Medoid("a-1", 1, np.array(json.loads(artwork(1)["dna_vector"]), dtype=np.float32), (), "")
    assert new_dna(medoid, Looks(0.1, [looks_in(TWO_STYLES)]), (1, 1), 0.0) is None


def test_style_hints_are_the_medoids_own_and_then_the_commonest_around() -> None:
    """At most three, each once, no empty ones."""
    assert style_hints(["b", ""], [["a", "b"], ["c"], ["a", None]]) == ("b", "a", "c")  # type: ignore[list-item]
    assert style_hints([], []) == ()


def test_diversity_tells_a_varied_pool_from_a_narrow_one() -> None:
    """Two styles in equal parts: one bit; more of one look narrows both; the closed form is the mean of pairs."""
    mixed = diversity_of(TWO_STYLES)
    assert mixed.entropy == pytest.approx(1.0)
    unit = TWO_STYLES.vectors / np.linalg.norm(TWO_STYLES.vectors, axis=1, keepdims=True)
    pairs = 1 - (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    assert mixed.spread == pytest.approx(float(pairs.mean()), abs=1e-5)
    more = diversity_of(TWO_STYLES, np.repeat(TWO_STYLES.vectors[:1], 80, axis=0), [["fauvism"]] * 80)
    assert more.entropy < mixed.entropy
    assert more.spread < mixed.spread
    assert not more.keeps(0.98, mixed)
    assert mixed.keeps(1.0, mixed)


def test_an_empty_pool_has_no_diversity() -> None:
    """Nor a pool of one."""
    assert (diversity_of(pool([])).entropy, diversity_of(pool([])).spread) == (0.0, 0.0)
    assert diversity_of(pool([artwork(1)])).spread == 0.0


@given(level=st.integers(0, 60), tabs=st.integers(0, 2))
def test_the_floor_as_levels_asks_for_as_many_as_the_floor_lacks(level: int, tabs: int) -> None:
    """Falling, each of them reached, none for who is away."""
    users = dataclasses.replace(new_users(1, 60.0), tabs=np.array([float(tabs)]))
    levels = floor_levels(users, np.array([level]), LeadTime(50.0, 90.0), SETTINGS)
    wanted = min(int(floor_orders(users, np.array([level]), LeadTime(50.0, 90.0), SETTINGS)[0]), MOST_EACH)
    assert int((levels.need[0] > 0).sum()) == wanted == int(levels.reach.sum())
    assert (np.diff(levels.need[0]) <= 0).all()


def test_a_stock_out_costs_more_in_a_higher_tier() -> None:
    """From the lowest price to the highest; the middle lies between them; an unknown plan is free."""
    free, plus, pro, odd = stockout_costs(["free", "Premium", "pro", "no such plan"], SETTINGS)
    assert (free, pro, odd) == (0.10, 0.50, 0.10)
    assert plus == pytest.approx(math.sqrt(0.05))
